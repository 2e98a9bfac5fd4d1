"""A receiver that still has the old secret goes on working while a new one is taking over."""

from delivering import target
from events import EVERYWHERE, event

GRACE_S = 3600


def check_rotation(fanfare, recorders, endpoints, report):
    rotating = [one for one in endpoints
                if one[0].verifies and one[0].dialect not in ("keygen", "slack", "discord")]
    for _, endpoint in rotating:
        fanfare.call("POST", f"/v1/endpoints/{endpoint}/rotate_secret", {"grace_s": GRACE_S})
    submitted = event(EVERYWHERE) | {"id": "evt_after_rotation"}
    fanfare.call("POST", "/v1/events", submitted)
    found = fanfare.deliveries(submitted["id"])
    for route, endpoint in rotating:
        statuses = [(one["status"], one["attempt_count"]) for one in found
                    if one["endpoint_id"] == endpoint]
        held = statuses == [("delivered", 1)]
        last = [one["text"][:200] for one in recorders[route.process].at(target(route))][-1:]
        report.check(held, f"{route.title}: takes the old secret's signature during a rotation",
                     f"{statuses} {last}")
