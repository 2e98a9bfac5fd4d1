"""The environment and arguments of the rendered containers start the real binary, and replace it without loss."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import unittest
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from chart import RELEASE, ROLES, VALUE_SETS, overlaid, rendered, rendered_set, value_set
from processes import Cluster, Role, Services, eventually, free_port, status

KEY = "helm-upgrade-operator-key-0123456789"
# Before, between and after the replacements.
EVENTS_EACH_TIME = 150
ARRIVED_S = 60
WAIT_S = 20


def text_at(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def as_user(number):
    """Begins a command that runs under a number which no passwd knows, as in the pods."""
    if os.getuid() == 0:
        return ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups"]
    return ["unshare", "--user", f"--map-user={number}", f"--map-group={number}"]


def setUpModule():
    global services
    services = Services()
    unittest.addModuleCleanup(services.remove)


class Started(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="fanfare-helm-run."))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def start(self, values, role, fullname=f"{RELEASE}-fanfare"):
        # Pods have an address each; here a port each has to do.
        objects = rendered(overlaid(values, {"http": {"address": "127.0.0.1", "port": free_port()}}))
        [container] = objects.role(role, fullname)["containers"]
        process = Role(Cluster(objects, services), container, self.folder)
        self.addCleanup(process.kill)
        return process

    def assert_stops(self, process):
        self.assertEqual(process.ended(), 0, process.log.read_text()[-4000:])


class Starting(Started):
    def test_every_value_set_migrates_starts_is_ready_and_stops(self):
        for name in VALUE_SETS:
            with self.subTest(name):
                fullname = "hooks" if name == "everything" else f"{RELEASE}-fanfare"
                values = value_set(name)
                Cluster(rendered(values), services).migrate(fullname)
                running = [self.start(values, role, fullname) for role in ROLES]
                for process in running:
                    process.ready()
                    self.assertEqual(status(process.url + process.probes["livenessProbe"]), 200)
                    self.assertEqual(status(process.url + "/metrics"), 200)
                    self.assertEqual(set(self.folder.glob("*")), set(self.folder.glob("*.log")), "wrote a file")
                for process in running:
                    process.terminate()
                for process in running:
                    self.assert_stops(process)

    def test_a_trials_pods_see_that_its_services_answer(self):
        pod = rendered_set("dev").role("ingest")
        wait = pod["initContainers"][0]
        [script] = wait["args"]
        ports = {name: urllib.parse.urlsplit(url).port for name, url in services.urls.items()}
        for before, after in [
            (f"{RELEASE}-fanfare-postgres", "127.0.0.1"),
            (f"{RELEASE}-fanfare-rabbitmq/5672", f"127.0.0.1/{ports['FANFARE__BROKER__URL']}"),
            (f"{RELEASE}-fanfare-redis/6379", f"127.0.0.1/{ports['FANFARE__REDIS__URL']}"),
        ]:
            self.assertIn(before, script)
            script = script.replace(before, after)
        env = {"PATH": os.environ["PATH"], "PGPORT": str(ports["FANFARE__STORE__URL"])}
        command = [*as_user(pod["securityContext"]["runAsUser"]), *wait["command"], script]
        subprocess.run(command, env=env, cwd="/", check=True, timeout=WAIT_S)

    def test_the_exporter_has_the_metrics_that_dispatchers_are_scaled_by(self):
        values = value_set("keda")
        Cluster(rendered(values), services).migrate()
        exporter = self.start(values, "exporter").ready()
        [trigger] = rendered(values).one("ScaledObject", f"{RELEASE}-fanfare-dispatcher")["spec"]["triggers"]
        asked = re.findall(r"(fanfare_\w+)(?:{(part=\"\w+\"))?", trigger["metadata"]["query"])
        metrics = [f"\n{name}{{{label}}} " if label else f"\n{name} " for name, label in asked]
        self.assertEqual(metrics[0].strip(), value_set("hpa")["dispatcher"]["autoscaling"]["hpa"]["metric"])
        eventually(
            f"{metrics} are there", ARRIVED_S, lambda: all(each in text_at(f"{exporter.url}/metrics") for each in metrics)
        )

    def test_ingress_and_route_let_in_every_path_of_the_api(self):
        objects = rendered(value_set("everything"))
        [rule, _] = objects.one("Ingress", "hooks-ingest")["spec"]["rules"]
        [route] = objects.one("HTTPRoute", "hooks-ingest")["spec"]["rules"]
        Cluster(rendered(value_set("minimal")), services).migrate()
        ingest = self.start(value_set("minimal"), "ingest").ready()
        paths = json.loads(text_at(f"{ingest.url}/openapi.json"))["paths"]
        for let_in in [
            [each["path"] for each in rule["http"]["paths"]],
            [each["path"]["value"] for each in route["matches"]],
        ]:
            for path in [*paths, "/docs", "/openapi.json"]:
                self.assertTrue([each for each in let_in if f"{path}/".startswith(f"{each}/")], path)


class Receiver:
    """Takes every delivery and remembers the ids of the events."""

    def __init__(self):
        self.arrived = arrived = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                arrived.append(self.headers["webhook-id"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                """Keeps the test's output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def post(url, document):
    headers = {"Authorization": f"Bearer {KEY}", "Fanfare-Tenant": "upgrade", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(document).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status


class Publisher:
    """Publishes one event after the other to whichever ingest the Service leads to, until it is closed."""

    def __init__(self, ingest):
        self.service = ingest
        self.accepted, self.refused = [], []
        self.lock, self.closed = threading.Lock(), threading.Event()
        self.thread = threading.Thread(target=self.publish, daemon=True)
        self.thread.start()

    def publish(self):
        number = 0
        while not self.closed.is_set():
            number += 1
            event = {"id": f"upgrade-{number}", "type": "license.validated", "data": {"license": {"id": f"lic_{number % 7}"}}}
            with self.lock:
                try:
                    post(f"{self.service.url}/v1/events", event)
                    self.accepted.append(event["id"])
                except OSError as error:
                    self.refused.append(f"{event['id']}: {error}")

    def some_more(self):
        wanted = len(self.accepted) + EVENTS_EACH_TIME
        eventually("events are accepted", ARRIVED_S, lambda: len(self.accepted) >= wanted or self.refused)

    def lead_to(self, ingest):
        with self.lock:
            self.service = ingest

    def close(self):
        self.closed.set()
        self.thread.join()


class Upgrading(Started):
    VALUES = {
        "secrets": {
            "masterKey": {"value": "dXBncmFkZS11cGdyYWRlLXVwZ3JhZGUtdXBncmFkZS0="},
            "bootstrapApiKey": {"value": KEY},
        },
        "settings": {"security": {"allow_private_targets": True}},
    }

    def test_a_rolling_update_under_load_loses_and_repeats_nothing(self):
        values = overlaid(value_set("minimal"), self.VALUES)
        migration = Cluster(rendered(values), services)
        migration.migrate()
        old = {role: self.start(values, role).ready() for role in ["ingest", "dispatcher"]}
        receiver = Receiver()
        self.addCleanup(receiver.close)
        post(f"{old['ingest'].url}/v1/tenants", {"id": "upgrade", "name": "Upgrade", "plan": "enterprise"})
        endpoint = {"url": receiver.url, "dialect": "standard", "event_types": ["*"]}
        post(f"{old['ingest'].url}/v1/endpoints", endpoint)

        publisher = Publisher(old["ingest"])
        self.addCleanup(publisher.close)
        publisher.some_more()
        # The hook, then pod by pod: a new one is ready before an old one goes.
        migration.migrate()
        new = self.start(values, "ingest").ready()
        publisher.lead_to(new)
        old["ingest"].terminate()
        publisher.some_more()
        self.start(values, "dispatcher").ready()
        old["dispatcher"].terminate()
        publisher.some_more()
        publisher.close()
        for process in old.values():
            self.assert_stops(process)

        self.assertEqual(publisher.refused, [])
        eventually("everything has arrived", ARRIVED_S, lambda: set(publisher.accepted) <= set(receiver.arrived))
        self.assertEqual(sorted(receiver.arrived), sorted(publisher.accepted))


if __name__ == "__main__":
    unittest.main()
