"""The receivers by themselves: they take the known answers of each dialect, at the time of those,
and refuse them changed. So what they say about Fanfare counts."""

import json
import pathlib

from receivers import Receivers
from routes import Route
from tampering import STALE, tampered

VECTORS = pathlib.Path(__file__).parents[3] / "crates/dialect/tests/wire/vectors.json"
SIGNED_AT = "2026-04-15 12:00:00"
LATE = "2026-04-15 12:05:01"

KEYGEN = [("node", "/webhooks/keygen"), ("python", "/webhooks/keygen")]
TAKEN_BY = {
    "keyport": [("node", "/webhooks/keyport"), ("node", "/octokit/keyport"),
                ("python", "/hmac/keyport")],
    "keyport-docs": [("node", "/octokit/keyport-docs"), ("python", "/hmac/keyport-docs")],
    "licvalidator-with-deliveryId": [
        ("node", "/webhooks/license-validator"), ("node", "/webhook"), ("python", "/webhook"),
        ("php", "/webhook"), ("node", "/octokit/licvalidator")],
    "traffic-with-attempt-timestamp": [
        ("node", "/webhooks/traffic-orchestrator"), ("node", "/octokit/traffic"),
        ("python", "/hmac/traffic"), ("python", "/hmac/traffic-timestamp")],
    "getkeymanager": [("node", "/octokit/getkeymanager"), ("python", "/hmac/getkeymanager")],
    "keygen-ed25519": [*KEYGEN, ("node", "/my/webhook/url")],
    "keygen-ed25519-api1.5-example-handler": [("node", "/keygen"), ("python", "/keygen")],
    "keygen-rsa-sha256+legacy": KEYGEN,
    "keygen-rsa-pss-sha256": KEYGEN,
    "keygen-ecdsa-p256": KEYGEN,
    "standard-webhooks": [("node", "/standardwebhooks"), ("python", "/standardwebhooks"),
                          ("node", "/svix"), ("python", "/svix")],
    "standard-webhooks-rotation+v1a": [
        ("node", "/ed25519"), ("python", "/ed25519"), ("node", "/standardwebhooks"),
        ("python", "/svix")],
    "stripe": [("node", "/stripe"), ("python", "/stripe")],
    "stripe-rotation": [("node", "/stripe"), ("python", "/stripe")],
    "github": [("node", "/octokit/github"), ("node", "/octokit/middleware")],
    "cloudevents-structured": [("node", "/cloudevents/structured"),
                               ("python", "/cloudevents/structured")],
    "cloudevents-binary": [("node", "/cloudevents/binary"), ("python", "/cloudevents/binary")],
    "cloudevents-batch": [("node", "/cloudevents/batch"), ("python", "/cloudevents/batch")],
}
DIALECTS = ("keyport-docs", "keyport", "licvalidator", "traffic", "getkeymanager", "keygen",
            "standard", "stripe", "github", "cloudevents")


def settings(vectors):
    pem = {name: vectors[f"keygen-{name}"]["public_key_pem"]
           for name in ("rsa-sha256+legacy", "rsa-pss-sha256", "ecdsa-p256")}
    keys = {"ed25519": vectors["keygen-ed25519"]["verify_key_hex"],
            "rsa-sha256": pem["rsa-sha256+legacy"], "rsa-pss-sha256": pem["rsa-pss-sha256"],
            "ecdsa-p256": pem["ecdsa-p256"]}
    whpk = vectors["standard-webhooks-rotation+v1a"]["whpk"]
    return {"secret": vectors["keyport"]["secret"], "keys": keys, "whpk": whpk}


def check_known_answers(folder, report):
    vectors = json.loads(VECTORS.read_text())
    receivers = Receivers(folder / "known", settings(vectors), SIGNED_AT)
    try:
        for name, places in TAKEN_BY.items():
            for process, path in places:
                check_one(receivers, report, vectors[name], (name, process, path))
    finally:
        receivers.stop()


def check_one(receivers, report, vector, place):
    name, process, path = place
    dialect = next(one for one in DIALECTS if name.startswith(one))
    verifies = path not in ("/webhooks/license-validator", "/my/webhook/url")
    timed = path in ("/hmac/traffic-timestamp",)
    route = Route(dialect, process, path, verifies=verifies, timed=timed)
    # Keygen signs the target; for all others the receiver's own path will do.
    target = vector["url"].removeprefix("https://receiver.example")
    if not target.startswith(path):
        target = path
    headers = [("Host", "receiver.example"), *vector["headers"].items()]
    genuine = {"method": "POST", "target": target, "headers": headers,
               "body": vector["body_utf8"].encode()}

    def status(request):
        return receivers.send(
            process, "POST", request["target"], request["headers"], request["body"])

    title = f"the vector {name} at {process}{path}"
    code, _, text = status(genuine)
    report.check(code < 300, f"{title} is taken", f"{code} {text[:200]}")
    for what, request in tampered(route, genuine):
        report.check(status(request)[0] >= 400, f"{title} is refused with {what}")
    if verifies and (route.timed or route.wire.timed):
        receivers.set_clock(LATE)
        report.check(status(genuine)[0] >= 400, f"{title} is refused at {STALE} s")
        receivers.set_clock(SIGNED_AT)
