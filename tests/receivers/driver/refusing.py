"""What was delivered is taken again as it was, and refused with anything changed."""

from delivering import target
from events import AWKWARD
from tampering import STALE, tampered


def check_refusals(receivers, recorders, endpoints, report):
    stale = []
    for route, _ in endpoints:
        arrived = recorders[route.process].at(target(route))
        if not report.check(arrived, f"{route.title}: there is a delivery to tamper with"):
            continue
        genuine = arrived[-1]

        def status(request, route=route):
            return receivers.send(route.process, request["method"], request["target"],
                                  request["headers"], request["body"])[0]

        report.check(status(genuine) < 300, f"{route.title}: takes it again as it was")
        for what, request in tampered(route, genuine):
            code = status(request)
            report.check(code >= 400, f"{route.title}: refuses it with {what}", str(code))
        if route.verifies and (route.timed or route.wire.timed):
            stale.append((route, genuine, status))
    receivers.set_clock(STALE)
    for route, genuine, status in stale:
        report.check(status(genuine) >= 400, f"{route.title}: refuses it {STALE} s later")
    receivers.set_clock("+0")
    check_processed_once(receivers, endpoints, report)
    check_messages(recorders, endpoints, report)


def check_processed_once(receivers, endpoints, report):
    """After retries and repetitions, the idempotent handler has processed each event once."""
    path = "/webhooks/traffic-orchestrator"
    if not any(route.path == path for route, _ in endpoints):
        return
    ids = [one["id"] for one in receivers.seen().get(("node", path), [])]
    held = ids and len(ids) == len(set(ids))
    report.check(held, "the idempotent handler processes each event once", str(ids))


def check_messages(recorders, endpoints, report):
    """Messages to people name the license, and not in JSON."""
    word = AWKWARD.split()[0]
    for route, _ in endpoints:
        if route.dialect in ("slack", "discord"):
            for one in recorders[route.process].at(target(route)):
                held = word in one["body"].decode()
                report.check(held, f"{route.title}: the message names it", one["body"].decode())
