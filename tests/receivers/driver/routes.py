"""Which receiver stands for which dialect, and how its requests are read."""

import dataclasses
import json
import re


@dataclasses.dataclass(frozen=True)
class Wire:
    """Where a dialect's requests carry what receivers look at."""

    signatures: tuple = ()  # headers
    within: str = r"[0-9a-f]{64}"  # a signature, in such a header
    hexadecimal: bool = True
    others: tuple = ()  # further headers that must be there
    timed: bool = False  # whether a receiver refuses what is older than five minutes


BASE64 = r"(?<=,)[A-Za-z0-9+/=]{40,}"
STANDARD = Wire(("webhook-signature", "svix-signature"), BASE64, False,
                ("webhook-id", "webhook-timestamp"), True)
WIRES = {
    "keyport": Wire(("x-keyport-signature",)),
    "keyport-docs": Wire(("x-keyport-signature",), others=("x-keyport-timestamp",), timed=True),
    "licvalidator": Wire(("x-webhook-signature",)),
    "keygen": Wire(("keygen-signature",), r'(?<=signature=")[^"]+', False, ("date", "digest"), True),
    "traffic": Wire(("x-signature-sha256",)),
    "getkeymanager": Wire(("x-webhook-signature",)),
    "standard": STANDARD,
    "cloudevents": STANDARD,
    "stripe": Wire(("stripe-signature",), r"(?<=v1=)[0-9a-f]{64}", timed=True),
    "github": Wire(("x-hub-signature-256",), others=("x-github-event", "x-github-delivery")),
    "slack": Wire(),
    "discord": Wire(),
}


@dataclasses.dataclass(frozen=True)
class Route:
    """One endpoint of Fanfare's and the receiver behind it."""

    dialect: str
    process: str
    path: str
    options: dict = dataclasses.field(default_factory=dict)
    verifies: bool = True  # the published samples that verify nothing do not
    timed: bool = False  # checks the time though not every receiver of the dialect does
    reads: str = "event"  # or "payload": what the receiver tells of

    @property
    def title(self):
        return f"{self.dialect} at {self.process}{self.path}"

    @property
    def wire(self):
        return WIRES[self.dialect]


def keygen():
    for algorithm in ("ed25519", "rsa-sha256", "rsa-pss-sha256", "ecdsa-p256"):
        for process in ("node", "python"):
            version = "1.8" if process == "node" else "1.5"
            options = {"algorithm": algorithm, "api_version": version}
            yield Route("keygen", process, f"/keygen/{algorithm}", options)


def cloudevents():
    for mode in ("structured", "binary", "batch"):
        for process in ("node", "python"):
            options = {"mode": mode, "type_prefix": "com.example.", "source": "/fanfare/receivers"}
            if mode == "batch":
                options["batch"] = {"max_events": 10, "max_wait_ms": 100}
            yield Route("cloudevents", process, f"/cloudevents/{mode}", options)


def standard():
    for process in ("node", "python"):
        yield Route("standard", process, "/standardwebhooks")
        yield Route("standard", process, "/svix", {"svix_headers": True})
        yield Route("standard", process, "/ed25519", {"ed25519": True})
    yield Route("standard", "node", "/svix-headers-only", {"svix_headers": True})


ROUTES = [
    Route("keyport", "node", "/webhooks/keyport"),
    Route("keyport", "node", "/octokit/keyport"),
    Route("keyport", "python", "/hmac/keyport"),
    Route("keyport-docs", "node", "/octokit/keyport-docs"),
    Route("keyport-docs", "python", "/hmac/keyport-docs"),
    Route("licvalidator", "node", "/webhooks/license-validator", verifies=False),
    Route("licvalidator", "node", "/webhook"),
    Route("licvalidator", "python", "/webhook"),
    Route("licvalidator", "php", "/webhook"),
    Route("licvalidator", "node", "/octokit/licvalidator"),
    Route("keygen", "node", "/my/webhook/url", verifies=False, reads="payload"),
    *keygen(),
    Route("traffic", "node", "/webhooks/traffic-orchestrator"),
    Route("traffic", "node", "/octokit/traffic", {"timestamp": "off"}),
    Route("traffic", "python", "/hmac/traffic"),
    Route("traffic", "python", "/hmac/traffic-timestamp", {"timestamp": "attempt_field"},
          timed=True),
    Route("traffic", "python", "/hmac/traffic-created", {"timestamp": "restamp_created"},
          timed=True),
    Route("getkeymanager", "node", "/octokit/getkeymanager"),
    Route("getkeymanager", "node", "/octokit/getkeymanager-prefixed",
          {"signature_prefix": "sha256="}),
    Route("getkeymanager", "python", "/hmac/getkeymanager"),
    *standard(),
    Route("stripe", "node", "/stripe"),
    Route("stripe", "python", "/stripe"),
    Route("github", "node", "/octokit/github"),
    Route("github", "node", "/octokit/middleware"),
    *cloudevents(),
    Route("slack", "node", "/slack", verifies=False),
    Route("discord", "node", "/discord", verifies=False),
]


def header(request, name):
    return next((value for one, value in request["headers"] if one.lower() == name), None)


def read(dialect, request):
    """(id, type, data) of each event in a request, by the dialect's documents."""
    body = json.loads(request["body"])
    if dialect == "cloudevents":
        if "batch" in header(request, "content-type"):
            return [(one["id"], one["type"], one["data"]) for one in body]
        if header(request, "ce-id"):
            return [(header(request, "ce-id"), header(request, "ce-type"), body)]
        return [(body["id"], body["type"], body["data"])]
    if dialect == "standard":
        return [(header(request, "webhook-id"), body["type"], body["data"])]
    if dialect == "github":
        event_type = github_type(header(request, "x-github-event"), body)
        return [(header(request, "x-github-delivery"), event_type, body)]
    if dialect == "keyport-docs":
        return [(body["timestamp"], body["event"], body["data"])]
    if dialect in ("slack", "discord"):
        words = re.split(r"[\n*]+", body.get("text") or body["content"])
        return [(None, next(word for word in words if word), body)]
    return [read_told(dialect, body)]


def github_type(name, payload):
    """A ping has no action."""
    return f"{name}.{payload['action']}" if "action" in payload else name


def read_told(dialect, value):
    """The same of what a receiver told that it read."""
    if dialect == "licvalidator":
        return value.get("deliveryId"), value["event"], value["data"]
    if dialect == "getkeymanager":
        return value["delivery_id"], value["event"], value["payload"]
    if dialect == "keygen":
        attributes = value["data"]["attributes"]
        token = value["data"]["meta"]["idempotencyToken"]
        return token, attributes["event"], json.loads(attributes["payload"])
    if dialect == "stripe":
        return value["id"], value["type"], value["data"]["object"]
    if dialect == "keyport-docs":
        return value["timestamp"], value["event"], value["data"]
    if dialect == "standard":
        return None, value["type"], value["data"]
    if dialect == "github":
        payload = value["payload"]
        return value["id"], github_type(value["name"], payload), payload
    return value.get("id"), value["type"], value["data"]
