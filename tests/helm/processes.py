"""Private services, and processes with exactly the environment of a rendered container."""

import base64
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from chart import RELEASE, ROOT
from pip._vendor import certifi

SERVICES = ROOT / "tests/services.sh"
FANFARE = os.environ.get("FANFARE_BIN", str(ROOT / "target/debug/fanfare"))
READY_S = 30
STOP_S = 40
COMMAND_S = 60


def eventually(what, limit_s, look):
    """Waits until `look` answers something true and answers that."""
    deadline = time.monotonic() + limit_s
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {limit_s} s: {what}")
        time.sleep(0.05)
    return seen


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def status(url):
    """The status of an answer; none if nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


class Services:
    """PostgreSQL, RabbitMQ and Redis for one test class."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="fanfare-helm."))
        try:
            subprocess.run([SERVICES, "up", self.folder], check=True, stdout=subprocess.DEVNULL)
        except BaseException:
            self.remove()
            raise
        lines = (self.folder / "env").read_text().replace("export ", "").splitlines()
        env = {name: value.strip("'") for name, value in (line.split("=", 1) for line in lines)}
        self.urls = {
            "FANFARE__STORE__URL": env["FANFARE_TEST_POSTGRES_URL"],
            "FANFARE__BROKER__URL": env["FANFARE_TEST_AMQP_URL"],
            "FANFARE__REDIS__URL": env["FANFARE_TEST_REDIS_URL"],
        }

    def remove(self):
        subprocess.run([SERVICES, "remove", self.folder], check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)


# What is not here is where nobody answers: roles must be able to do without. What would be mounted is a file.
ELSEWHERE = {
    "FANFARE__BROKER__MANAGEMENT_URL": "http://fanfare:secret@127.0.0.1:9",
    "FANFARE__OTEL__ENDPOINT": "http://127.0.0.1:9",
    "SSL_CERT_FILE": certifi.where(),
}


class Cluster:
    """What Kubernetes does with a container: its environment out of the objects it refers to."""

    def __init__(self, objects, services):
        self.objects, self.services = objects, services

    def secret(self, name, key):
        found = [each for each in self.objects.all("Secret") if each["metadata"]["name"] == name]
        if not found:
            # An existing one: a master key, or a URL that is replaced below.
            return base64.b64encode(b"m" * 32).decode()
        return base64.b64decode(found[0]["data"][key]).decode()

    def settings(self, name):
        found = [each for each in self.objects.all("ConfigMap") if each["metadata"]["name"] == name]
        return found[0]["data"] if found else {}

    def environment(self, container):
        env = {}
        for source in container.get("envFrom", []):
            env |= self.settings(source["configMapRef"]["name"])
        for each in container["env"]:
            given = each.get("valueFrom", {}).get("secretKeyRef")
            env[each["name"]] = self.secret(given["name"], given["key"]) if given else each["value"]
        replaced = self.services.urls | ELSEWHERE
        return {name: replaced.get(name, value) for name, value in env.items()}

    def run(self, container):
        """An init container or one of the Job's, to its end."""
        command = [FANFARE, *container["args"]]
        done = subprocess.run(command, env=self.environment(container), capture_output=True, text=True, timeout=COMMAND_S)
        assert done.returncode == 0, f"{container['args']} ended with {done.returncode}:\n{done.stdout}{done.stderr}"

    def migrate(self, fullname=f"{RELEASE}-fanfare"):
        jobs = self.objects.all("Job")
        pod = jobs[0]["spec"]["template"]["spec"] if jobs else self.objects.role("ingest", fullname)
        steps = pod["initContainers"] + (pod["containers"] if jobs else [])
        for container in steps:
            if "command" not in container:
                self.run(container)


class Role:
    """A role's container as a process."""

    def __init__(self, cluster, container, folder):
        env = cluster.environment(container)
        self.name = container["name"]
        self.url = f"http://{env['FANFARE__HTTP__LISTEN']}"
        self.probes = {each: container[each]["httpGet"]["path"] for each in ["livenessProbe", "readinessProbe"]}
        self.log = folder / f"{self.name}-{env['FANFARE__HTTP__LISTEN'].rsplit(':')[-1]}.log"
        with self.log.open("w") as log:
            command = [FANFARE, *container["args"]]
            self.child = subprocess.Popen(command, env=env, cwd=folder, stdout=log, stderr=subprocess.STDOUT)

    def fail(self, what):
        raise AssertionError(f"{self.name} {what}:\n{self.log.read_text()[-4000:]}")

    def ready(self):
        def look():
            if self.child.poll() is not None:
                self.fail(f"ended with {self.child.returncode}")
            return status(self.url + self.probes["readinessProbe"]) == 200

        try:
            eventually(f"{self.name} is ready", READY_S, look)
        except AssertionError as error:
            self.fail(str(error))
        return self

    def terminate(self):
        self.child.send_signal(signal.SIGTERM)

    def ended(self):
        """The exit code after a SIGTERM."""
        return self.child.wait(STOP_S)

    def kill(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
