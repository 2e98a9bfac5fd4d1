"""What can be said of dashboards, rules and runbooks without running anything but their own tools."""

import collections
import itertools
import re
import subprocess
import unittest

import yaml

import boards

COLUMNS = 24


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}"


class Dashboards(unittest.TestCase):
    def test_they_are_as_their_source_says(self):
        run("/usr/bin/python3", boards.GRAFANA / "source/generate.py", "--check")

    def test_there_are_five_which_know_each_other_by_a_tag(self):
        found = boards.dashboards()
        self.assertEqual(set(found), {"overview", "delivery", "endpoint", "queues", "dependencies"})
        for name, board in found.items():
            self.assertEqual(board["uid"], f"fanfare-{name}")
            self.assertEqual([link["tags"] for link in board["links"]], [board["tags"]])

    def test_every_panel_has_its_own_place_and_words(self):
        for name, board in boards.dashboards().items():
            ids = [panel["id"] for panel in board["panels"]]
            self.assertEqual(len(ids), len(set(ids)), name)
            taken = {}
            for panel in board["panels"]:
                at = panel["gridPos"]
                self.assertLessEqual(at["x"] + at["w"], COLUMNS, panel["title"])
                for cell in itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])):
                    self.assertNotIn(cell, taken, f"{name}: {panel['title']} lies on {taken.get(cell)}")
                    taken[cell] = panel["title"]
            for panel in boards.panels(board):
                self.assertTrue(panel["title"] and panel["description"].endswith("."), f"{name}: {panel['title']}")

    def test_every_panel_asks_the_prometheus_that_was_chosen(self):
        for name, board in boards.dashboards().items():
            for panel in boards.panels(board):
                for asked in panel.get("targets", []):
                    self.assertEqual(asked["datasource"]["uid"], "${datasource}", f"{name}: {panel['title']}")
                    self.assertEqual(panel["datasource"]["uid"], "${datasource}", f"{name}: {panel['title']}")

    def test_every_variable_is_used(self):
        for name, board in boards.dashboards().items():
            asked = " ".join(target["expr"] for panel in boards.panels(board) for target in panel.get("targets", []))
            for variable in board["templating"]["list"]:
                if variable["type"] == "query":
                    self.assertIn(f"${variable['name']}", asked, name)


class Rules(unittest.TestCase):
    def test_panels_and_rules_ask_for_nothing_that_the_code_does_not_measure(self):
        self.assertEqual(boards.metrics_asked_for() - boards.metrics_described(), set())

    def test_promtool_takes_them(self):
        run("promtool", "check", "rules", boards.RULES)

    def test_they_fire_when_they_should_and_only_then(self):
        run("promtool", "test", "rules", boards.RULES_TEST)

    def test_every_alert_has_a_case_that_fires_and_one_that_does_not(self):
        cases = collections.defaultdict(set)
        for test in yaml.safe_load(boards.RULES_TEST.read_text())["tests"]:
            for case in test["alert_rule_test"]:
                cases[case["alertname"]].add(bool(case["exp_alerts"]))
        self.assertEqual(dict(cases), {alert: {True, False} for alert in boards.alerts()})

    def test_every_alert_says_how_bad_what_and_where_to_read_on(self):
        for name, rule in boards.alerts().items():
            self.assertIn(rule["labels"]["severity"], ("critical", "warning"), name)
            self.assertTrue(rule["annotations"]["summary"].endswith("."), name)
            address, anchor = rule["annotations"]["runbook_url"].split("#")
            self.assertTrue(address.endswith("/docs/runbooks.md"), name)
            self.assertEqual(anchor, name.lower())


class Runbooks(unittest.TestCase):
    def test_every_alert_has_its_section_and_every_section_its_alert(self):
        sections = [name for name in boards.runbooks() if name.startswith("Fanfare")]
        self.assertEqual(sections, list(boards.alerts()))

    def test_every_section_says_what_it_means_where_to_look_and_what_to_do(self):
        for name in boards.alerts():
            section = boards.runbooks()[name]
            self.assertEqual(re.findall(r"^\*\*(.+?)\*\*", section, re.MULTILINE), ["Means.", "Look.", "Do."], name)


if __name__ == "__main__":
    unittest.main()
