"""Receivers made of published libraries, and of hmac and cryptography where there is none."""

import base64
import datetime
import email.utils
import hashlib
import hmac
import json
import re
import time

import standardwebhooks
import stripe
import svix
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.v1.http import from_http, from_json
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding

TOLERANCE_S = 300


class Refused(Exception):
    """Why a request is not accepted."""


def header(request, name):
    """The header, which must be there."""
    value = request.headers.get(name)
    if value is None:
        raise Refused(f"no {name}")
    return value


def hmac_hex(name, prefix="", before=lambda request: b""):
    """The body's HMAC in hexadecimal digits, keyed with the secret's own characters."""

    def receive(request, settings):
        body = request.get_data()
        signed = before(request) + body
        code = hmac.new(settings["secret"].encode(), signed, hashlib.sha256).hexdigest()
        if not hmac.compare_digest((prefix + code).encode(), header(request, name).encode()):
            raise Refused("signature")
        return json.loads(body)

    return receive


def fresh(timestamp):
    """Refuses what was signed more than five minutes from now."""
    if abs(time.time() - timestamp) > TOLERANCE_S:
        raise Refused("too old")


def keyport_timestamp(request):
    """What stands before the body in the signed bytes of KeyPort's reference."""
    timestamp = header(request, "X-KeyPort-Timestamp")
    fresh(int(timestamp))
    return f"{timestamp}.".encode()


def traffic_timestamp(request, settings):
    """Traffic Orchestrator's "reject events older than 5 minutes", by the time of the attempt."""
    body = hmac_hex("X-Signature-SHA256")(request, settings)
    fresh(body["timestamp"])
    return body


def traffic_created(request, settings):
    """The same by the only time that its example shows."""
    body = hmac_hex("X-Signature-SHA256")(request, settings)
    fresh(datetime.datetime.fromisoformat(body["created"].replace("Z", "+00:00")).timestamp())
    return body


def standard(request, settings):
    return standardwebhooks.Webhook(settings["secret"]).verify(request.get_data(), request.headers)


def svix_receive(request, settings):
    body = request.get_data()
    svix.Webhook(settings["secret"]).verify(body, dict(request.headers))
    return json.loads(body)


def v1a(request, settings):
    """The asymmetric signature of Standard Webhooks, with the published key alone."""
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    message_id, timestamp, signatures = (header(request, name) for name in names)
    fresh(int(timestamp))
    key = base64.b64decode(settings["whpk"].removeprefix("whpk_"))
    key = ed25519.Ed25519PublicKey.from_public_bytes(key)
    given = [one[4:] for one in signatures.split(" ") if one.startswith("v1a,")]
    if not given:
        raise Refused("no v1a signature")
    body = request.get_data()
    key.verify(base64.b64decode(given[0]), f"{message_id}.{timestamp}.".encode() + body)
    return json.loads(body)


def stripe_receive(request, settings):
    signature = header(request, "Stripe-Signature")
    event = stripe.Webhook.construct_event(request.get_data(), signature, settings["secret"])
    return json.loads(str(event))


def cloudevents_both(request, settings):
    """Read by both of the library's interfaces, which must agree."""
    body = request.get_data()
    standardwebhooks.Webhook(settings["secret"]).verify(body, request.headers, json_parse=False)
    old = from_http(request.headers, body)
    new = from_http_event(HTTPMessage(dict(request.headers), body))
    if (old["id"], old["type"]) != (new.get_id(), new.get_type()):
        raise Refused("the interfaces disagree")
    data = old.data if isinstance(old.data, dict) else json.loads(old.data)
    return [{"id": old["id"], "source": old["source"], "type": old["type"], "data": data}]


def cloudevents_batch(request, settings):
    body = request.get_data()
    standardwebhooks.Webhook(settings["secret"]).verify(body, request.headers, json_parse=False)
    events = [from_json(json.dumps(event)) for event in json.loads(body)]
    return [{"id": one["id"], "source": one["source"], "type": one["type"], "data": one.data}
            for one in events]


def public_key(text):
    """A key as it is published: PEM, or 64 hexadecimal digits for Ed25519."""
    if text.startswith("-----"):
        return serialization.load_pem_public_key(text.encode())
    return ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))


PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.MAX_LENGTH)
ALGORITHMS = {
    "ed25519": (),
    "rsa-sha256": (padding.PKCS1v15(), hashes.SHA256()),
    "rsa-pss-sha256": (PSS, hashes.SHA256()),
    "ecdsa-p256": (ec.ECDSA(hashes.SHA256()),),
}


def keygen(wanted=None):
    """Keygen's HTTP signature, with the published key of one algorithm, or of the one it names."""

    def receive(request, settings):
        given = dict(re.findall(r'(\w+)="([^"]*)"', header(request, "Keygen-Signature")))
        if given.get("headers") != "(request-target) host date digest":
            raise Refused("other headers are signed")
        algorithm = given.get("algorithm")
        if algorithm not in ALGORITHMS or algorithm != (wanted or algorithm):
            raise Refused("another algorithm")
        date, body = header(request, "Date"), request.get_data()
        fresh(email.utils.parsedate_to_datetime(date).timestamp())
        digest = "sha-256=" + base64.b64encode(hashlib.sha256(body).digest()).decode()
        if header(request, "Digest") != digest:
            raise Refused("digest")
        target = request.full_path if request.query_string else request.path
        signed = (f"(request-target): {request.method.lower()} {target}\n"
                  f"host: {header(request, 'Host')}\ndate: {date}\ndigest: {digest}")
        signature = base64.b64decode(given["signature"], validate=True)
        public_key(settings["keys"][algorithm]).verify(signature, signed.encode(), *ALGORITHMS[algorithm])
        return json.loads(body)

    return receive


RECEIVERS = {
    "/hmac/keyport": hmac_hex("X-KeyPort-Signature", "sha256="),
    "/hmac/keyport-docs": hmac_hex("X-KeyPort-Signature", "hmac-sha256=", keyport_timestamp),
    "/hmac/getkeymanager": hmac_hex("X-Webhook-Signature"),
    "/hmac/traffic": hmac_hex("X-Signature-SHA256"),
    "/hmac/traffic-timestamp": traffic_timestamp,
    "/hmac/traffic-created": traffic_created,
    "/standardwebhooks": standard,
    "/svix": svix_receive,
    "/ed25519": v1a,
    "/stripe": stripe_receive,
    "/cloudevents/structured": cloudevents_both,
    "/cloudevents/binary": cloudevents_both,
    "/cloudevents/batch": cloudevents_batch,
    # The vectors are signed for these targets.
    "/webhooks/keygen": keygen(),
    "/keygen": keygen(),
    **{f"/keygen/{one}": keygen(one) for one in ALGORITHMS},
}
