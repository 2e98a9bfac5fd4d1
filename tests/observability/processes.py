"""Private services, Fanfare's roles and Prometheus as processes of this test."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from boards import ROOT, RULES

SERVICES = ROOT / "tests/services.sh"
FANFARE = os.environ.get("FANFARE_BIN", ROOT / "target/debug/fanfare")
KEY = "observability-operator-key-0123456789"
READY_S = 30
STOP_S = 30


def eventually(what, limit_s, look):
    """Waits until `look` answers something true and answers that."""
    deadline = time.monotonic() + limit_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {limit_s} s: {what}")
        time.sleep(0.1)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def request(url, body=None, method=None, headers=None):
    """The answer's JSON, or its text."""
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, headers or {}, method=method)
    if data is not None:
        asked.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            text = answer.read().decode()
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{asked.get_method()} {url}: {error.code} {error.read().decode()}") from error
    return json.loads(text) if text.startswith(("{", "[")) else text


def answers(url):
    try:
        request(url)
    except (AssertionError, OSError):
        return False
    return True


class Process:
    """A child whose output goes to a log, which is shown if it ends by itself."""

    def __init__(self, name, command, folder, environment=None):
        self.name, self.log = name, folder / f"{name}.log"
        with self.log.open("w") as log:
            self.child = subprocess.Popen(
                [str(part) for part in command],
                env=os.environ | (environment or {}),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def ready(self, url):
        def look():
            assert self.child.poll() is None, f"{self.name} ended:\n{self.log.read_text()[-3000:]}"
            return answers(url)

        eventually(f"{url} of {self.name} answers", READY_S, look)
        return self

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


class Installation:
    """Ingest, dispatcher, exporter on services of their own, and a Prometheus that scrapes them."""

    def __init__(self, cleanup):
        self.cleanup, self.processes = cleanup, {}
        # Where the user `postgres` can reach it.
        self.folder = Path(tempfile.mkdtemp(prefix="fanfare-observability-"))
        cleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.services = self.folder / "services"
        cleanup(subprocess.run, [SERVICES, "remove", self.services], stdout=subprocess.DEVNULL)
        subprocess.run([SERVICES, "up", self.services], check=True, stdout=subprocess.DEVNULL, timeout=120)
        self.service_urls = self._service_urls()
        self.management = self._management()
        self.certificate = self._certificate()
        self.environment = self._environment()
        for arguments in (["migrate"], ["topology", "apply"]):
            self.fanfare(*arguments)
        self.roles = {role: self._role(role) for role in ("ingest", "dispatcher", "exporter")}
        self.url = self.roles["ingest"]
        self.prometheus = self._prometheus()

    def fanfare(self, *arguments):
        subprocess.run(
            [FANFARE, *arguments], env=os.environ | self.environment, check=True, stdout=subprocess.DEVNULL, timeout=60
        )

    def start(self, name, command, environment=None):
        process = self.processes[name] = Process(name, command, self.folder, environment)
        self.cleanup(process.stop)
        return process

    def call(self, path, body=None, tenant=None, method=None):
        headers = {"Authorization": f"Bearer {KEY}"} | ({"Fanfare-Tenant": tenant} if tenant else {})
        return request(self.url + path, body, method, headers)

    def ask(self, path):
        """Prometheus's answer."""
        return request(f"{self.prometheus}/api/v1/{path}")["data"]

    def query(self, expr):
        return self.ask("query?" + urllib.parse.urlencode({"query": expr}))["result"]

    def _service_urls(self):
        exports = [line.split("=", 1) for line in (self.services / "env").read_text().splitlines()]
        return {name.removeprefix("export FANFARE_TEST_"): value.strip("'") for name, value in exports}

    def _management(self):
        """RabbitMQ's management plugin, on a port of its own."""
        port = free_port()
        listener = f'[{{port, {port}}}, {{ip, "127.0.0.1"}}]'
        setting = (
            f"application:load(rabbitmq_management), application:set_env(rabbitmq_management, tcp_config, {listener})."
        )
        subprocess.run(
            [self.services / "rabbitmqctl", "eval", setting], check=True, stdout=subprocess.DEVNULL, timeout=60
        )
        enable = (
            f". {self.services}/rabbitmq/env; exec /usr/lib/rabbitmq/bin/rabbitmq-plugins -q enable rabbitmq_management"
        )
        subprocess.run(["sh", "-c", enable], check=True, stdout=subprocess.DEVNULL, timeout=60)
        return f"http://guest:guest@127.0.0.1:{port}"

    def _certificate(self):
        """One that ends soon, of an authority that the dispatcher trusts."""
        make = """
            exec 2>openssl.log
            new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "$@"; }
            new -x509 -days 10 -subj '/CN=authority' -keyout authority.key -out authority.pem
            new -subj '/CN=receiver' -keyout receiver.key -out receiver.csr
            printf 'subjectAltName = IP:127.0.0.1' >receiver.ext
            openssl x509 -req -days 10 -in receiver.csr -CA authority.pem -CAkey authority.key -CAcreateserial \
                -extfile receiver.ext -out receiver.pem
        """
        subprocess.run(["bash", "-ec", make], cwd=self.folder, check=True, stdout=subprocess.DEVNULL, timeout=60)
        return self.folder / "receiver.pem", self.folder / "receiver.key"

    def _environment(self):
        database = self.service_urls["POSTGRES_URL"].removesuffix("/postgres") + "/fanfare"
        create = ["psql", "-Xq", self.service_urls["POSTGRES_URL"], "-c", "create database fanfare"]
        subprocess.run(create, check=True, timeout=60)
        return {
            "FANFARE__STORE__URL": database,
            "FANFARE__BROKER__URL": self.service_urls["AMQP_URL"],
            "FANFARE__BROKER__MANAGEMENT_URL": self.management,
            "FANFARE__REDIS__URL": self.service_urls["REDIS_URL"],
            "FANFARE__SECURITY__MASTER_KEY": base64.b64encode(os.urandom(32)).decode(),
            "FANFARE__SECURITY__ALLOW_PRIVATE_TARGETS": "true",
            "FANFARE__BOOTSTRAP__API_KEY": KEY,
            "FANFARE__METRICS__PER_ENDPOINT": "true",
            "SSL_CERT_FILE": str(self.folder / "authority.pem"),
        }

    def _role(self, role):
        port = free_port()
        environment = self.environment | {"FANFARE__HTTP__LISTEN": f"127.0.0.1:{port}"}
        url = f"http://127.0.0.1:{port}"
        self.start(role, [FANFARE, role], environment).ready(f"{url}/readyz")
        return url

    def _prometheus(self):
        jobs = [
            {"job_name": f"fanfare-{role}", "static_configs": [{"targets": [url.removeprefix("http://")]}]}
            for role, url in self.roles.items()
        ]
        # JSON is YAML.
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": jobs,
        }
        (self.folder / "prometheus.yml").write_text(json.dumps(config))
        port = free_port()
        self.start(
            "prometheus",
            [
                "prometheus",
                f"--config.file={self.folder}/prometheus.yml",
                f"--storage.tsdb.path={self.folder}/prometheus",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
        ).ready(f"http://127.0.0.1:{port}/-/ready")
        return f"http://127.0.0.1:{port}"
