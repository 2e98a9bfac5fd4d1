"""Dashboards, rules and runbooks on a Fanfare under load."""

import math
import os
import subprocess
import unittest

import boards
from load import TENANT, Load
from processes import KEY, SERVICES, Installation, eventually

ANSWERS_WITHIN_S = 45
COMMAND_WITHIN_S = 60

# What stays zero even here: nothing is away.
QUIET = {"overview: Dependencies away A"}


class UnderLoad(unittest.TestCase):
    """One installation for all; the tests run in the order of their names."""

    @classmethod
    def setUpClass(cls):
        cls.installation = Installation(cls.addClassCleanup)
        cls.load = Load(cls.installation)
        cls.values = boards.GRAFANA_PUTS_IN | {"endpoint": cls.load.endpoints["certified"]}

    def number(self, expr):
        """The numbers that a query answers, without those that are none."""
        samples = self.installation.query(expr)
        return [value for sample in samples if not math.isnan(value := float(sample["value"][1]))]

    def raised(self):
        """The alerts that fire, or will when they have been true for long enough."""
        return {alert["labels"]["alertname"] for alert in self.installation.ask("alerts")["alerts"]}

    def test_every_query_answers(self):
        silent = [query if query.where in QUIET else query.without_fallback() for query in boards.queries()]
        self.assertGreater(len(silent), 60)

        def look():
            silent[:] = [query for query in silent if not self.number(query.with_values(self.values))]
            return not silent

        try:
            eventually("every query answers", ANSWERS_WITHIN_S, look)
        except AssertionError:
            lines = [f"  {query.where}\n    {query.with_values(self.values)}" for query in silent]
            self.fail("queries without an answer:\n" + "\n".join(lines))

    def test_every_rule_evaluates_and_every_record_has_a_value(self):
        def loaded():
            return [rule for group in self.installation.ask("rules")["groups"] for rule in group["rules"]]

        eventually("every rule is evaluated", ANSWERS_WITHIN_S, lambda: all(r["health"] != "unknown" for r in loaded()))
        broken = {rule["name"]: rule["lastError"] for rule in loaded() if rule["health"] != "ok"}
        self.assertEqual(broken, {})
        self.assertEqual(len(loaded()), len(boards.rules()))
        for rule in boards.rules():
            if "record" in rule:
                eventually(rule["record"], ANSWERS_WITHIN_S, lambda: self.number(rule["record"]))

    def test_alerts_see_what_is_wrong_and_nothing_else(self):
        wrong = {
            "FanfareAttemptsFailing",
            "FanfareCircuitOpen",
            "FanfareDeliveryBudgetBurnsFast",
            "FanfareDeliveryBudgetBurnsSlowly",
            "FanfareEndpointCertificateExpiring",
            "FanfareEndpointFailing",
            "FanfareEventsRejected",
            "FanfareMessagesParked",
        }

        try:
            eventually("these alerts are raised", ANSWERS_WITHIN_S, lambda: self.raised() == wrong)
        finally:
            self.assertEqual(self.raised(), wrong)

    def test_what_the_runbooks_say_works(self):
        """Mends some of what the tests before it look at."""
        installation = self.installation
        values = {
            "URL": installation.url,
            "KEY": KEY,
            "TENANT": TENANT,
            "ENDPOINT": self.load.endpoints["away"],
            "DELIVERY": self.load.delivery("failed"),
            "DATABASE": installation.environment["FANFARE__STORE__URL"],
            "REDIS": installation.service_urls["REDIS_URL"],
            "DISPATCHER": installation.roles["dispatcher"],
            "EXPORTER": installation.roles["exporter"],
            "PATH": f"{installation.services}:{os.path.dirname(os.environ['FANFARE_BIN'])}:{os.environ['PATH']}",
        }
        sections = boards.runbooks()
        first = boards.commands(sections.pop("Before you start"))[-1]
        for name, section in sections.items():
            for command in boards.commands(section):
                with self.subTest(name, command=command):
                    done = subprocess.run(
                        ["bash", "-euo", "pipefail", "-c", f"{first}\n{command}"],
                        env=os.environ | installation.environment | values,
                        capture_output=True,
                        text=True,
                        timeout=COMMAND_WITHIN_S,
                    )
                    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                    self.assertNotEqual(done.stdout, "")

    def test_what_was_there_is_missed(self):
        """Ends what the tests before it need: last by its name."""
        subprocess.run([SERVICES, "kill", "redis", self.installation.services], check=True, stdout=subprocess.DEVNULL)
        self.misses("FanfareDependencyAway")
        self.installation.processes["dispatcher"].stop()
        self.misses("FanfareNobodyDelivers")
        self.installation.processes["exporter"].stop()
        self.misses("FanfareExporterAbsent")

    def misses(self, alert):
        eventually(f"{alert} is raised", ANSWERS_WITHIN_S, lambda: alert in self.raised())


if __name__ == "__main__":
    unittest.main()
