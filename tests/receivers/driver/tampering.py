"""What a receiver must refuse: a genuine request with one thing changed."""

import base64
import hashlib
import re

STALE = "+301"


def without(request, names):
    return {**request, "headers": [(n, v) for n, v in request["headers"] if n.lower() not in names]}


def changed(request, names, change):
    headers = [(n, change(v) if n.lower() in names else v) for n, v in request["headers"]]
    return {**request, "headers": headers}


def flip(body):
    """Another letter in the body's last word: still JSON, of the same length."""
    at = [match.start() for match in re.finditer(rb'[a-y](?=[a-z]*")', body)][-1]
    return body[:at] + bytes([body[at] + 1]) + body[at + 1:]


def another(signature):
    """One character of a signature is another one."""
    text, at = signature.group(), 5
    return text[:at] + ("1" if text[at] == "0" else "0") + text[at + 1:]


def digest_made_to_fit(request):
    digest = base64.b64encode(hashlib.sha256(flip(request["body"])).digest()).decode()
    names = ("digest", "keygen-digest")
    fitting = changed(request, names, lambda _: f"sha-256={digest}")
    return {**fitting, "body": flip(request["body"])}


def tampered(route, request):
    """(what was done, the request) for everything that the route's receiver must refuse."""
    if not route.verifies:
        yield "cut in half", {**request, "body": request["body"][: len(request["body"]) // 2]}
        if route.dialect in ("keygen", "slack", "discord"):
            yield "other members", {**request, "body": b'{"event":{}}'}
        return
    wire = route.wire
    yield "a byte of the body flipped", {**request, "body": flip(request["body"])}
    yield "a byte appended", {**request, "body": request["body"] + b" "}
    yield "another signature", changed(
        request, wire.signatures, lambda value: re.sub(wire.within, another, value))
    yield "no signature", without(request, wire.signatures)
    for name in wire.others:
        names = (name, name.replace("webhook-", "svix-"))
        yield f"no {name}", without(request, names)
    if wire.hexadecimal:
        yield "upper-case hexadecimal", changed(
            request, wire.signatures,
            lambda value: re.sub(wire.within, lambda match: match.group().upper(), value))
    if route.dialect == "keygen":
        yield "flipped, with a digest that fits", digest_made_to_fit(request)
