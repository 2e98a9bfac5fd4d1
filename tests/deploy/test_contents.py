"""The image's contents, run without a container engine: the same file system, user, command and environment."""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import yaml

ROOT = pathlib.Path(__file__).parents[2]
FANFARE = pathlib.Path(os.environ.get("FANFARE_BIN", ROOT / "target/debug/fanfare"))
README = (ROOT / "README.md").read_text()
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
STARTS_WITHIN_S = 20
ENDS_WITHIN_S = 30


def instruction(name):
    """The last of the Dockerfile's instructions of this name, its lines joined."""
    joined = DOCKERFILE.replace("\\\n", " ")
    return re.findall(rf"^{name} (.*)$", joined, re.M)[-1]


def root_file_system(folder):
    """What the build puts into /image: the binary, the libraries it names, certificates."""
    files = {FANFARE: "/usr/local/bin/fanfare"}
    for line in subprocess.run(["ldd", FANFARE], capture_output=True, text=True, check=True).stdout.splitlines():
        library = re.search(r"(/\S+) \(0x", line)
        if library:
            files[pathlib.Path(library[1]).resolve()] = library[1]
    for source, inside in files.items():
        place = folder / inside.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, place)
    # The engine brings proc, dev and resolv.conf.
    for directory in ("proc", "dev", "tmp", "etc/ssl/certs", instruction("WORKDIR").lstrip("/")):
        (folder / directory).mkdir(parents=True, exist_ok=True)
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", folder / "etc/ssl/certs")
    (folder / "etc/resolv.conf").write_text("nameserver 127.0.0.1\n")


def environment():
    """What the image sets."""
    return dict(pair.split("=", 1) for pair in instruction("ENV").split())


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def services():
    """The addresses in the compose file, as they are here."""
    store = os.environ["FANFARE_TEST_POSTGRES_URL"]
    database = "deploy_" + os.urandom(6).hex()

    def sql(statement):
        subprocess.run(["psql", "-Xq", store, "-c", statement], check=True)

    sql(f"create database {database}")
    unittest.addModuleCleanup(sql, f"drop database {database} with (force)")
    return {
        "FANFARE__STORE__URL": store.rsplit("/", 1)[0] + "/" + database,
        "FANFARE__BROKER__URL": os.environ["FANFARE_TEST_AMQP_URL"],
        "FANFARE__REDIS__URL": os.environ["FANFARE_TEST_REDIS_URL"],
    }


def ask(url, key, document=None):
    """The status of an answer to whoever has this key."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    body = None if document is None else json.dumps(document).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as answer:
        return answer.status


class OneBinary(unittest.TestCase):
    def test_the_readmes_commands_end_with_a_healthy_service_and_a_key(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="fanfare-one-binary-"))
        self.addCleanup(shutil.rmtree, folder)
        file = folder / "fanfare.env"
        shutil.copy(ROOT / "deploy/systemd/fanfare.env", file)
        section = README.split("**One binary.**", 1)[1].split("```")[1]
        [append] = [line for line in section.splitlines() if line.startswith("echo ")]
        subprocess.run(["bash", "-ec", append.replace("sudo tee -a /etc/fanfare/fanfare.env", f"tee -a {file}")],
                       stdout=subprocess.DEVNULL, check=True)
        lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
        address = f"127.0.0.1:{free_port()}"
        settings = {**dict(line.split("=", 1) for line in lines), "FANFARE__HTTP__LISTEN": address}

        process = subprocess.Popen([FANFARE, "serve"], env=settings, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait, ENDS_WITHIN_S)
        self.addCleanup(process.terminate)
        [wait] = [line for line in section.splitlines() if line.startswith("until ")]
        asking = {**os.environ, "PATH": f"{FANFARE.parent}:{os.environ['PATH']}", "FANFARE__HTTP__LISTEN": address}
        subprocess.run(["bash", "-ec", wait], env=asking, check=True, timeout=STARTS_WITHIN_S, capture_output=True)
        self.assertEqual(ask(f"http://{address}/v1/tenants", settings["FANFARE__BOOTSTRAP__API_KEY"]), 200)


class Contents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="fanfare-image-"))
        root_file_system(cls.folder)
        cls.services = services()

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def command(self, arguments, settings):
        user = instruction("USER").split(":")
        cwd = instruction("WORKDIR")
        entry = re.findall(r'"([^"]+)"', instruction("ENTRYPOINT"))
        everything = {**environment(), **settings}
        sandbox = ["bwrap", "--ro-bind", self.folder, "/", "--proc", "/proc", "--dev", "/dev", "--chdir", cwd]
        sandbox += ["--unshare-user", "--unshare-pid", "--as-pid-1", "--unshare-ipc", "--unshare-uts", "--cap-drop", "ALL", "--die-with-parent"]
        sandbox += ["--uid", user[0], "--gid", user[1], "--clearenv"]
        for name, value in everything.items():
            sandbox += ["--setenv", name, value]
        return [str(part) for part in [*sandbox, *entry, *arguments]]

    def settings(self, service):
        """A service's environment in the compose file, with the addresses and a port of this machine."""
        port = free_port()
        ours = {name: str(value) for name, value in COMPOSE[service].get("environment", {}).items()}
        ours.pop("FANFARE__BROKER__MANAGEMENT_URL", None)
        return port, {**ours, **self.services, "FANFARE__HTTP__LISTEN": f"127.0.0.1:{port}"}

    def once(self, service):
        _, settings = self.settings(service)
        command = self.command(COMPOSE[service]["command"], settings)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_every_service_of_the_compose_file_starts_is_healthy_and_ends(self):
        self.once("schema")
        self.once("topology")
        check = re.findall(r'"([^"]+)"', instruction("HEALTHCHECK"))
        for service in ("ingest", "dispatcher", "exporter"):
            with self.subTest(service):
                port, settings = self.settings(service)
                process = subprocess.Popen(self.command(COMPOSE[service]["command"], settings), stderr=subprocess.PIPE,
                                           stdout=subprocess.PIPE, text=True)
                try:
                    self.wait_until_ready(port, process)
                    health = subprocess.run(self.command(check[1:], settings), capture_output=True, text=True)
                    self.assertEqual(health.returncode, 0, health.stderr)
                    user = next(line for line in pathlib.Path(f"/proc/{self.inside(process)}/status").read_text().splitlines()
                                if line.startswith("CapEff"))
                    self.assertEqual(int(user.split()[1], 16), 0, "it has no capabilities")
                finally:
                    pid = self.inside(process)
                    os.kill(pid, 15)
                    out, err = process.communicate(timeout=ENDS_WITHIN_S)
                self.assertEqual(process.returncode, 0, out + err)
                health = subprocess.run(self.command(check[1:], settings), capture_output=True, text=True)
                self.assertEqual(health.returncode, 1)
                self.assertIn("no answer", health.stderr)

    def test_the_readmes_command_publishes_an_event(self):
        self.once("schema")
        self.once("topology")
        port, settings = self.settings("ingest")
        process = subprocess.Popen(self.command(COMPOSE["ingest"]["command"], settings), stderr=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True)
        try:
            self.wait_until_ready(port, process)
            key = settings["FANFARE__BOOTSTRAP__API_KEY"]
            ask(f"http://127.0.0.1:{port}/v1/tenants", key, {"id": "demo", "name": "Demo", "plan": "enterprise"})
            [arguments] = re.findall(r"^docker compose .* exec ingest fanfare (.*)$", README, re.M)
            done = subprocess.run(self.command(arguments.split(), settings), capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertFalse(json.loads(done.stdout)["duplicate"])
        finally:
            os.kill(self.inside(process), 15)
            process.communicate(timeout=ENDS_WITHIN_S)

    def test_the_receiver_of_the_compose_file_starts_and_ends(self):
        arguments = list(COMPOSE["receiver"]["command"])
        port = free_port()
        arguments[arguments.index("--port") + 1] = str(port)
        process = subprocess.Popen(self.command(arguments, {}), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.wait_until_ready(port, process, path="/_received")
        os.kill(self.inside(process), 15)
        out, err = process.communicate(timeout=ENDS_WITHIN_S)
        self.assertEqual(process.returncode, 0, out + err)

    def test_the_image_alone_keeps_its_data_in_its_folder(self):
        """`docker run -v fanfare:/var/lib/fanfare fanfare`: embedded, with only that folder to write in."""
        port = free_port()
        data = self.folder.parent / (self.folder.name + "-data")
        data.mkdir()
        self.addCleanup(shutil.rmtree, data)
        command = self.command(re.findall(r'"([^"]+)"', instruction("CMD")), {"FANFARE__HTTP__LISTEN": f"127.0.0.1:{port}"})
        at = command.index("--proc")
        command[at:at] = ["--bind", str(data), instruction("WORKDIR")]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.wait_until_ready(port, process)
        os.kill(self.inside(process), 15)
        out, err = process.communicate(timeout=ENDS_WITHIN_S)
        self.assertEqual(process.returncode, 0, out + err)
        self.assertTrue(any(data.rglob("*.db")), list(data.rglob("*")))

    def inside(self, process):
        """bwrap waits for its child, which is the process meant."""
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return int(children[0]) if children else process.pid

    def wait_until_ready(self, port, process, path="/readyz"):
        deadline = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                self.fail("it ended: " + "".join(process.communicate()))
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2)
                return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        process.kill()
        self.fail("not ready in time: " + "".join(process.communicate()))


if __name__ == "__main__":
    unittest.main()
