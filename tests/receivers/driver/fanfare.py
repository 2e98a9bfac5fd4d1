"""A Fanfare process of its own, and its API."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request

API_KEY = "ff_receivers_operator_key_0123456789"
TENANT = "receivers"
START_SECONDS = 30
STOP_SECONDS = 30
SETTLED_SECONDS = 40


def wait_for(what, seconds, probe):
    """What the probe answers, once that is true."""
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"gave up waiting for {what}")
        time.sleep(0.05)


class Fanfare:
    """`fanfare serve` with its data in a folder."""

    def __init__(self, folder, port):
        self.base = f"http://127.0.0.1:{port}"
        self.log = folder / "fanfare.log"
        environment = {
            "PATH": os.environ["PATH"],
            "FANFARE__HTTP__LISTEN": f"127.0.0.1:{port}",
            "FANFARE__STORE__URL": f"sqlite://{folder}/fanfare.db",
            "FANFARE__BROKER__URL": f"embedded://{folder}",
            "FANFARE__SECURITY__ALLOW_PRIVATE_TARGETS": "true",
            "FANFARE__BOOTSTRAP__API_KEY": API_KEY,
        }
        self.process = subprocess.Popen(
            [os.environ["FANFARE_BIN"], "serve"],
            cwd=folder,
            env=environment,
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
        )

    def ready(self):
        """Waits until it serves, and makes the tenant."""

        def answers():
            if self.process.poll() is not None:
                raise RuntimeError(f"fanfare ended:\n{self.log.read_text()}")
            try:
                return self.call("GET", "/readyz", raw=True)
            except (OSError, urllib.error.URLError):
                return None

        wait_for("Fanfare", START_SECONDS, answers)
        plan = {"id": TENANT, "name": "Receivers", "plan": "enterprise"}
        self.call("POST", "/v1/tenants", plan)
        return self

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def call(self, method, path, body=None, raw=False):
        """The answer's JSON; a refusal is an error that shows what was said."""
        request = urllib.request.Request(self.base + path, method=method)
        request.add_header("Authorization", f"Bearer {API_KEY}")
        request.add_header("Fanfare-Tenant", TENANT)
        data = None
        if body is not None:
            data = json.dumps(body, ensure_ascii=False).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, data, timeout=30) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read().decode()}") from None
        return True if raw else json.loads(text or b"null")

    def deliveries(self, event):
        """All deliveries of an event, by endpoint, once each has come to its end."""

        def settled():
            items = self.call("GET", f"/v1/deliveries?event={event}&limit=200")["items"]
            over = all(one["status"] in ("delivered", "failed", "discarded") for one in items)
            return items if items and over else None

        try:
            return wait_for(f"the deliveries of {event}", SETTLED_SECONDS, settled)
        except TimeoutError:
            return self.call("GET", f"/v1/deliveries?event={event}&limit=200")["items"]
