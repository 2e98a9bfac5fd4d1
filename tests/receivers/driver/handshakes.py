"""CloudEvents' abuse protection: nothing is sent to a target that has not agreed to it."""

from events import EVERYWHERE, event
from fanfare import wait_for

SECONDS = 20


def check_handshakes(fanfare, recorders, secret, report):
    options = {"handshake": True, "origin": "hooks.example.net"}
    endpoints = {}
    for path in ("/consent/agrees", "/consent/refuses"):
        url = f"http://127.0.0.1:{recorders['node'].port}{path}"
        wanted = {"url": url, "dialect": "cloudevents", "event_types": ["*"], "secret": secret,
                  "dialect_options": options}
        endpoints[path] = fanfare.call("POST", "/v1/endpoints", wanted)["id"]

    def requests(path, method):
        return [one for one in recorders["node"].at(path) if one["method"] == method]

    for path in endpoints:
        wait_for(f"OPTIONS at {path}", SECONDS, lambda path=path: requests(path, "OPTIONS"))
        asked = {n.lower(): v for n, v in requests(path, "OPTIONS")[0]["headers"]}
        held = asked.get("webhook-request-origin") == "hooks.example.net"
        report.check(held, f"{path} is asked for consent with the origin", str(asked))
    fanfare.call("POST", "/v1/events", event(EVERYWHERE) | {"id": "evt_with_consent"})
    wait_for("a delivery with consent", SECONDS, lambda: requests("/consent/agrees", "POST"))
    sent = {n.lower(): v for n, v in requests("/consent/agrees", "POST")[0]["headers"]}
    report.check(sent.get("webhook-request-origin") == "hooks.example.net",
                 "a delivery says the origin that was agreed to", str(sent))
    report.check(not requests("/consent/refuses", "POST"),
                 "nothing is sent to a target that has not agreed")
    for path, agreed in (("/consent/agrees", True), ("/consent/refuses", False)):
        consent = fanfare.call("GET", f"/v1/endpoints/{endpoints[path]}")["consent"]
        report.check(bool(consent and consent["granted_at"]) == agreed,
                     f"the endpoint at {path} shows whether it agreed", str(consent))
