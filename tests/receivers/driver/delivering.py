"""Genuine deliveries: what each receiver got, and that it took it."""

import json

from events import AWKWARD, EVERYWHERE, TYPES, event, expected_data, includes, name_of
from routes import read, read_told

RETRY_DELAY_S = 1
OPEN_AFTER = 1000


def make_endpoints(fanfare, recorders, routes, secret, report):
    """An endpoint for each route; the ids by route."""
    endpoints = {}
    for route in routes:
        wanted = {
            "url": f"http://127.0.0.1:{recorders[route.process].port}{target(route)}",
            "dialect": route.dialect, "event_types": ["*"], "name": route.title,
            "retry": {"delays_s": [RETRY_DELAY_S]}, "dialect_options": route.options,
            # What fails shall be told as that, and not wait behind an open circuit.
            "circuit": {"open_after": OPEN_AFTER},
        }
        if route.wire.signatures and route.dialect != "keygen":
            wanted["secret"] = secret
        try:
            endpoints[id(route)] = (route, fanfare.call("POST", "/v1/endpoints", wanted)["id"])
        except RuntimeError as error:
            report.check(False, f"{route.title}: there is an endpoint", str(error))
    return list(endpoints.values())


def target(route):
    """Each endpoint has a URL of its own; Keygen signs the query too."""
    return f"{route.path}?tenant=acme&for={route.dialect}"


def publish(fanfare, recorders, endpoints):
    """Publishes one event of each type. The answers to the last are lost once, so that it comes
    again everywhere. Answers each with its deliveries."""
    published = []
    for number, event_type in enumerate(TYPES):
        submitted = event(event_type)
        if event_type == EVERYWHERE:
            for route, _ in endpoints:
                recorders[route.process].lost.add(target(route))
        fanfare.call("POST", "/v1/events", submitted)
        published.append(submitted)
        # Two at a time, so that a batch has something to gather.
        if number % 2 == 1:
            settle(fanfare, published)
    return [(one, fanfare.deliveries(one["id"])) for one in published]


def settle(fanfare, published):
    for one in published:
        fanfare.deliveries(one["id"])


def check_deliveries(receivers, recorders, endpoints, published, report):
    seen = receivers.seen()
    for route, endpoint in endpoints:
        arrived = recorders[route.process].at(target(route))
        for submitted, deliveries in published:
            found = [one for one in deliveries if one["endpoint_id"] == endpoint]
            check_one(route, submitted, found, arrived, report)
        told = seen.get((route.process, route.path), [])
        check_told(route, published, told, report)
        refused = [(one["status"], one["text"][:200]) for one in arrived if one["status"] >= 300]
        report.check(not refused, f"{route.title} takes every delivery", str(refused[:2]))
    check_calls(seen, endpoints, report)


def check_one(route, submitted, found, arrived, report):
    """One event at one endpoint: delivered if the dialect has a name for it, and not otherwise."""
    event_type = submitted["type"]
    name = name_of(route.dialect, event_type)
    claim = f"{route.title}: {event_type}"
    if name is None:
        report.check(not found, f"{claim} is not sent, having no name", str(found))
        return
    statuses = [one["status"] for one in found]
    if not report.check(statuses == ["delivered"], f"{claim} is delivered", str(found)[:300]):
        return
    if route.dialect in ("slack", "discord"):
        return
    if route.dialect == "cloudevents":
        name = f"com.example.{name}"
    requests = [
        (request, one) for request in arrived for one in read(route.dialect, request)
        if one[1] == name]
    times = 2 if event_type == EVERYWHERE else 1
    report.check(len(requests) == times, f"{claim} arrives {times} time(s)", str(len(requests)))
    ids = {one[0] for _, one in requests}
    report.check(len(ids) == 1 and None not in ids, f"{claim} has one id", str(ids))
    if route.dialect in ("keyport", "traffic", "standard", "stripe", "cloudevents"):
        report.check(ids == {submitted["id"]}, f"{claim} has the event's id", str(ids))
    wanted = expected_data(route.dialect, submitted)
    for request, (_, _, data) in requests:
        report.check(includes(data, wanted), f"{claim} has its data", json.dumps(data)[:600])
        raw = AWKWARD.replace("\\", "\\\\").replace('"', '\\"').encode()
        if route.dialect in ("standard", "cloudevents"):
            report.check(raw in request["body"], f"{claim} has its data byte for byte")


def check_told(route, published, told, report):
    """What the receiver's own code read is what was sent."""
    if route.process == "php" or route.dialect in ("slack", "discord"):
        return
    if route.reads == "payload":
        wanted = expected_data(route.dialect, published[0][0])
        held = bool(told) and all(includes(one, wanted) for one in told)
        report.check(held, f"{route.title} reads the payload", json.dumps(told)[:300])
        return
    flat = [one for value in told for one in (value if isinstance(value, list) else [value])]
    read_by_receiver = [read_told(route.dialect, one) for one in flat]
    prefix = "com.example." if route.dialect == "cloudevents" else ""
    for submitted, _ in published:
        name = name_of(route.dialect, submitted["type"])
        if name is None:
            continue
        matching = [one for one in read_by_receiver if one[1] == prefix + name]
        claim = f"{route.title} reads {submitted['type']}"
        once = route.path == "/webhooks/traffic-orchestrator"
        times = 2 if submitted["type"] == EVERYWHERE and not once else 1
        report.check(len(matching) == times, f"{claim} {times} time(s)", str(len(matching)))
        wanted = expected_data(route.dialect, submitted)
        held = all(includes(one[2], wanted) for one in matching)
        report.check(held, f"{claim} with its data", json.dumps(matching)[:600])


def check_calls(seen, endpoints, report):
    """What KeyPort's own handler does with the fields that it reads."""
    if not any(route.path == "/webhooks/keyport" for route, _ in endpoints):
        return
    calls = seen.get(("node", "/webhooks/keyport/calls"), [])
    email = "zoë@example.com"
    for wanted in (
        ["startRenewalSequence", email],
        ["notifyFraudTeam", {"key": "KP-ABCD-EFGH-IJKL", "ip": "203.0.113.9"}],
        ["updateCRM", email, {"status": "revoked"}],
    ):
        report.check(wanted in calls, f"KeyPort's handler calls {wanted[0]}", str(calls))
