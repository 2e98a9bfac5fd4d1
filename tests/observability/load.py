"""A tenant whose endpoints show everything that dashboards are for, and events for them all the time."""

import hmac
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pika

from processes import FANFARE, eventually, free_port, request

TENANT = "acme"
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
BATCH_EVERY_S = 0.5
BATCH = 10
SLOW_S = 1.5


class Hook(BaseHTTPRequestHandler):
    """Answers 204, after `pause_s`."""

    pause_s = 0
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.pause_s)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


class SlowHook(Hook):
    pause_s = SLOW_S


class Load:
    """Endpoints that work, fail, are slow, away, disabled or soon without a certificate."""

    def __init__(self, installation):
        self.installation = installation
        self.stop = threading.Event()
        installation.call("/v1/tenants", {"id": TENANT, "name": "Acme", "plan": "enterprise"})
        good, failing = self._receive("good"), self._receive("failing")
        self.failing = failing
        self.endpoints = {
            "good": self._endpoint(good),
            "failing": self._endpoint(failing, retry={"delays_s": [1, 2]}, circuit={"open_after": 1000}),
            "retried": self._endpoint(failing, retry={"delays_s": [60, 600]}, circuit={"open_after": 1000}),
            "slow": self._endpoint(self._serve(SlowHook), max_in_flight=2),
            "away": self._endpoint(f"http://127.0.0.1:{free_port()}", circuit={"open_after": 2}),
            "disabled": self._endpoint(good),
            "certified": self._endpoint(self._serve(Hook, installation.certificate)),
        }
        installation.call(f"/v1/endpoints/{self.endpoints['disabled']}/disable", {}, TENANT)
        self.source = installation.call("/v1/sources", {"dialect": "keyport"}, TENANT)
        self._publish_what_nobody_understands()
        publisher = threading.Thread(target=self._publish)
        publisher.start()
        installation.cleanup(publisher.join)
        installation.cleanup(self.stop.set)

    def delivery(self, status):
        """The id of a delivery in this state, once there is one."""

        def look():
            found = self.installation.call(f"/v1/deliveries?status={status}&limit=1", tenant=TENANT)["items"]
            return found and found[0]["id"]

        return eventually(f"a delivery is {status}", 30, look)

    def _receive(self, name):
        port = free_port()
        command = [FANFARE, "receive", "--dialect", "standard", "--secret", SECRET, "--port", port]
        self.installation.start(name, command).ready(f"http://127.0.0.1:{port}/_received")
        return f"http://127.0.0.1:{port}"

    def _serve(self, hook, certificate=None):
        server = ThreadingHTTPServer(("127.0.0.1", 0), hook)
        server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.installation.cleanup(server.server_close)
        self.installation.cleanup(server.shutdown)
        scheme = "https" if certificate else "http"
        return f"{scheme}://127.0.0.1:{server.server_port}"

    def _endpoint(self, url, **settings):
        endpoint = {"url": f"{url}/hook", "dialect": "standard", "event_types": ["*"], "secret": SECRET} | settings
        return self.installation.call("/v1/endpoints", endpoint, TENANT)["id"]

    def _publish_what_nobody_understands(self):
        parameters = pika.URLParameters(self.installation.service_urls["AMQP_URL"])
        connection = pika.BlockingConnection(parameters)
        channel = connection.channel()
        durable = pika.BasicProperties(delivery_mode=2, headers={"fanfare-tenant": TENANT})
        channel.basic_publish("license.events", "license.created", b"not an event", durable)
        channel.basic_publish("", "fanfare.deliveries", b"not a delivery", durable)
        connection.close()

    def _publish(self):
        number = 0
        while not self.stop.wait(BATCH_EVERY_S):
            request(f"{self.failing}/_fail?status=503&times=1000", method="POST")
            events = [
                {"type": "license.created", "data": {"license": {"id": f"lic_{number + n}"}}} for n in range(BATCH)
            ]
            number += BATCH
            self.installation.call("/v1/events/batch", events, TENANT)
            self._send_to_the_source(number)

    def _send_to_the_source(self, number):
        """As KeyPort would: signed with the source's secret."""
        event = {"id": f"kp_{number}", "type": "license.created", "data": {}}
        signature = hmac.new(self.source["secret"].encode(), json.dumps(event).encode(), "sha256").hexdigest()
        headers = {"X-KeyPort-Signature": f"sha256={signature}"}
        request(self.installation.url + self.source["url"], event, headers=headers)
