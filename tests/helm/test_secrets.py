"""Secrets are in Secrets, and the master key stays what it is."""

import base64
import json
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import helm_python
from chart import NAMESPACE, VALUE_SETS, overlaid, rendered, rendered_set, value_set

# In every secret of the value sets.
MARK = "pa55"
MASTER_KEY_BYTES = 32
KINDS = {
    "/api/v1": ("v1", "secrets", "Secret"),
    "/apis/apps/v1": ("apps/v1", "deployments", "Deployment"),
}


def contents(objects, name):
    return {key: base64.b64decode(value).decode() for key, value in objects.one("Secret", name)["data"].items()}


def master_key(objects, name="prod-fanfare-master-key"):
    return contents(objects, name)["master-key"]


class Cluster:
    """As much of an API server as Helm asks when it looks up a Secret or a Deployment."""

    def __init__(self, *objects):
        known = {(each["kind"], each["metadata"]["name"]): each for each in objects}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.answer(*look_up(known, self.path.split("?")[0]))

            def answer(self, status, document):
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Keeps the test's output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        address = f"http://127.0.0.1:{self.server.server_port}"
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": address}}],
            "users": [{"name": "test", "user": {}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def look_up(known, path):
    """Status and document: the list of resources of a version, or an object."""
    for prefix, (version, plural, kind) in KINDS.items():
        if path == prefix:
            resource = {"name": plural, "singularName": "", "namespaced": True, "kind": kind, "verbs": ["get"]}
            return 200, {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": [resource]}
        start = f"{prefix}/namespaces/{NAMESPACE}/{plural}/"
        if path.startswith(start):
            found = known.get((kind, path.removeprefix(start)))
            if found:
                return 200, found
    return 404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}


def secret(name, **data):
    encoded = {key.replace("_", "-"): base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}, "data": encoded}


class Secrets(unittest.TestCase):
    def test_are_nowhere_but_in_secrets(self):
        for name in VALUE_SETS:
            for each in rendered_set(name).objects:
                if each["kind"] != "Secret":
                    self.assertNotIn(MARK, json.dumps(each), f"{name}: {each['kind']} {each['metadata']['name']}")

    def test_given_values_are_in_the_charts_own(self):
        own = contents(rendered_set("minimal"), "prod-fanfare")
        self.assertEqual(own["store-url"], "postgres://fanfare:pa55-store@db:5432/fanfare")
        self.assertEqual(set(own), {"store-url", "broker-url", "redis-url"})

    def test_existing_ones_are_taken_and_none_is_made(self):
        objects = rendered_set("production")
        self.assertEqual(objects.all("Secret"), [])
        [container] = objects.role("dispatcher")["containers"]
        taken = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in container["env"]}
        self.assertEqual(taken["FANFARE__STORE__URL"], {"name": "fanfare-db-app", "key": "uri"})
        self.assertEqual(taken["FANFARE__SECURITY__MASTER_KEY"]["name"], "fanfare-master-key-vault")

    def test_optional_ones_are_variables_only_where_they_are_given(self):
        [container] = rendered_set("minimal").role("exporter")["containers"]
        self.assertEqual(
            {each["name"] for each in container["env"]},
            {f"FANFARE__{each}" for each in ["STORE__URL", "BROKER__URL", "REDIS__URL", "SECURITY__MASTER_KEY"]},
        )


class TheMasterKey(unittest.TestCase):
    def test_is_made_of_32_random_bytes_and_the_same_for_the_job(self):
        objects = rendered(value_set("minimal"))
        key = master_key(objects)
        self.assertEqual(len(base64.b64decode(key)), MASTER_KEY_BYTES)
        self.assertEqual(master_key(objects, "prod-fanfare-migrate"), key)
        self.assertNotEqual(master_key(rendered(value_set("minimal"))), key)

    def test_outlives_the_release_and_refuses_changes(self):
        kept = rendered_set("minimal").one("Secret", "prod-fanfare-master-key")
        self.assertEqual(kept["metadata"]["annotations"]["helm.sh/resource-policy"], "keep")
        self.assertTrue(kept["immutable"])
        self.assertNotIn("helm.sh/hook", kept["metadata"]["annotations"])

    def test_stays_what_it_is_on_upgrade(self):
        key = base64.b64encode(b"k" * MASTER_KEY_BYTES).decode()
        with Cluster(secret("prod-fanfare-master-key", master_key=key)) as cluster:
            upgraded = rendered(value_set("minimal"), cluster)
        self.assertEqual(master_key(upgraded), key)
        self.assertEqual(master_key(upgraded, "prod-fanfare-migrate"), key)

    def test_another_value_is_refused(self):
        other = base64.b64encode(b"o" * MASTER_KEY_BYTES).decode()
        with Cluster(secret("prod-fanfare-master-key", master_key=base64.b64encode(b"k" * 32).decode())) as cluster:
            values = overlaid(value_set("minimal"), {"secrets": {"masterKey": {"value": other}}})
            with self.assertRaisesRegex(helm_python.HelmError, "is not the key in the Secret") as refused:
                rendered(values, cluster)
        self.assertNotIn(other, str(refused.exception))

    def test_a_lost_one_is_not_replaced(self):
        ingest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "prod-fanfare-ingest"}}
        with Cluster(ingest) as cluster:
            with self.assertRaisesRegex(helm_python.HelmError, "prod-fanfare-master-key is gone"):
                rendered(value_set("minimal"), cluster)

    def test_nothing_there_is_a_first_install(self):
        with Cluster() as cluster:
            objects = rendered(value_set("minimal"), cluster)
        self.assertEqual(len(base64.b64decode(master_key(objects))), MASTER_KEY_BYTES)


class ATrial(unittest.TestCase):
    def test_makes_one_password_for_services_and_roles(self):
        data = contents(rendered_set("dev"), "prod-fanfare-dev")
        for url in ["store-url", "broker-url", "redis-url"]:
            self.assertIn(f":{data['password']}@", data[url])

    def test_keeps_its_password_on_upgrade(self):
        with Cluster(secret("prod-fanfare-dev", password="kept")) as cluster:
            data = contents(rendered(value_set("dev"), cluster), "prod-fanfare-dev")
        self.assertEqual(data["password"], "kept")


if __name__ == "__main__":
    unittest.main()
