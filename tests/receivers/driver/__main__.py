"""Delivers events of a running Fanfare to independent receivers, and tells what did not hold."""

import base64
import contextlib
import pathlib
import secrets
import sys
import tempfile
import time

from delivering import check_deliveries, make_endpoints, publish
from fanfare import Fanfare
from handshakes import check_handshakes
from known_answers import check_known_answers
from receivers import PROCESSES, Receivers, Recorder, free_port
from refusing import check_refusals
from rotating import check_rotation
from routes import ROUTES

# Keygen's algorithms, and the key of the tenant's that each signs with.
KEYS = {"ed25519": "ed25519", "rsa-sha256": "rsa", "rsa-pss-sha256": "rsa",
        "ecdsa-p256": "ecdsa_p256"}


class Report:
    """What was checked and what did not hold."""

    def __init__(self):
        self.held = 0
        self.failures = []

    def check(self, held, claim, detail=""):
        if held:
            self.held += 1
        else:
            self.failures.append(f"{claim}{': ' if detail else ''}{detail}")
        return held

    def finish(self):
        for failure in self.failures:
            print(f"FAILED  {failure}")
        print(f"receivers: {self.held} checks held, {len(self.failures)} failed")
        return 1 if self.failures or not self.held else 0


def signing_keys(fanfare, report):
    """The tenant's public keys as receivers get them: by Keygen's algorithm, and as Standard
    Webhooks writes one."""
    published = {one["algorithm"]: one for one in fanfare.call("GET", "/v1/signing-keys")["items"]}
    keys = {}
    for algorithm, name in KEYS.items():
        if report.check(name in published, f"a public key for {algorithm} is published"):
            key = published[name]
            keys[algorithm] = key["public_key" if name == "ed25519" else "public_key_pem"]
    return {"keys": keys, "whpk": published.get("ed25519", {}).get("whpk", "")}


def check_fanfare(folder, report):
    with contextlib.ExitStack() as stack:
        fanfare = Fanfare(folder, free_port())
        stack.callback(fanfare.stop)
        fanfare.ready()
        known = {one["name"] for one in fanfare.call("GET", "/v1/dialects")["items"]}
        for dialect in sorted({route.dialect for route in ROUTES}):
            report.check(dialect in known, f"the dialect {dialect} is there")
        routes = [route for route in ROUTES if route.dialect in known]
        recorders = {name: Recorder(name) for name in PROCESSES}
        for recorder in recorders.values():
            stack.callback(recorder.stop)
        secret = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
        # The tenant has its key pairs once an endpoint needs them.
        endpoints = make_endpoints(fanfare, recorders, routes, secret, report)
        settings = {"secret": secret, **signing_keys(fanfare, report)}
        receivers = Receivers(folder / "receivers", settings)
        stack.callback(receivers.stop)
        for recorder in recorders.values():
            recorder.receivers = receivers
        published = publish(fanfare, recorders, endpoints)
        check_deliveries(receivers, recorders, endpoints, published, report)
        check_refusals(receivers, recorders, endpoints, report)
        check_rotation(fanfare, recorders, endpoints, report)
        check_handshakes(fanfare, recorders, secret, report)
        fanfare.stop()  # before its receivers, so that nothing is under way to them


def main():
    report = Report()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fanfare-receivers.") as name:
        folder = pathlib.Path(name)
        for part in (check_known_answers, check_fanfare):
            try:
                part(folder, report)
            except (OSError, RuntimeError, LookupError, TypeError, ValueError) as error:
                report.check(False, part.__name__, f"{type(error).__name__}: {error}")
                if "--trace" in sys.argv:
                    raise
    status = report.finish()
    print(f"receivers: {time.monotonic() - began:.0f} s")
    return status


sys.exit(main())
