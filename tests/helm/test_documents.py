"""What is generated is up to date, and what the documents say is true."""

import json
import re
import unittest

import generated
import yaml
from chart import CHART, ROLES, ROOT, VALUE_SETS, overlaid, rendered_set, value_set

OPERATIONS = ROOT / "docs/operations.md"
UPDATE = "out of date: run `make helm-files`"


def paths(tree, above=()):
    for key, value in tree.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from paths(value, (*above, key))


def manifests(page):
    """What stands in fenced blocks of YAML."""
    for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        yield from yaml.safe_load_all(block)


class Documents(unittest.TestCase):
    def test_the_readme_has_every_value(self):
        self.assertEqual(generated.README.read_text(), generated.readme(), UPDATE)

    def test_a_value_without_a_comment_is_found(self):
        with self.assertRaisesRegex(generated.Undocumented, "image.tag"):
            generated.tables("# ## Image\n\nimage:\n  # Where.\n  repository: r\n  tag: t\n")

    def test_dashboards_and_rules_are_those_of_deploy(self):
        wanted = generated.copies()
        self.assertEqual({copy for copy in (CHART / "files").rglob("*.*")}, set(wanted), UPDATE)
        for copy, original in wanted.items():
            self.assertEqual(copy.read_bytes(), original.read_bytes(), f"{copy.name} is {UPDATE}")

    def test_dashboards_and_rules_arrive_as_they_are(self):
        objects = rendered_set("everything")
        boards = [each for each in objects.all("ConfigMap") if each["metadata"]["labels"].get("grafana_dashboard")]
        arrived = [json.loads(text) for each in boards for text in each["data"].values()]
        shipped = [json.loads(path.read_text()) for path in (CHART / "files/dashboards").glob("*.json")]
        self.assertEqual({each["uid"] for each in arrived}, {each["uid"] for each in shipped})
        self.assertTrue(all(each in shipped for each in arrived))
        [rule] = rendered_set("production").all("PrometheusRule")
        self.assertEqual(rule["spec"], yaml.safe_load((CHART / "files/rules.yml").read_text()))

    def test_alerts_lead_to_the_runbooks_that_are_given(self):
        [rule] = rendered_set("everything").all("PrometheusRule")
        alerts = [each for group in rule["spec"]["groups"] for each in group["rules"] if "alert" in each]
        for each in alerts:
            self.assertEqual(
                each["annotations"]["runbook_url"],
                f"https://wiki.example.com/fanfare/runbooks#{each['alert'].lower()}",
            )

    def test_the_commands_build_the_image_that_the_chart_asks_for(self):
        [asked] = {each["image"] for each in rendered_set("minimal").role("ingest")["containers"]}
        for page in [ROOT / "README.md", generated.README]:
            named = re.findall(r"registry\.example\.com/fanfare:\S+", page.read_text())
            self.assertEqual(set(named), {asked}, page.name)

    def test_the_example_of_a_database_has_connections_for_all_pods(self):
        pools = (ROOT / "crates/store/src/postgres/pools.rs").read_text()
        of_a_pod = sum(map(int, re.findall(r"^const \w+_MAX: u32 = (\d+);", pools, re.MULTILINE)))
        defaults = yaml.safe_load((CHART / "values.yaml").read_text())
        scaled = sum(defaults[role]["autoscaling"]["maxReplicas"] for role in ["ingest", "dispatcher"])
        # The exporter, and one pod more of each role during an upgrade.
        pods = scaled + 1 + len(ROLES)
        [cluster] = [each for each in manifests(OPERATIONS) if each.get("kind") == "Cluster"]
        connections = int(cluster["spec"]["postgresql"]["parameters"]["max_connections"])
        self.assertGreater(connections, pods * of_a_pod)

    def test_the_secrets_of_the_example_are_made_on_the_same_page(self):
        made = dict(re.findall(r"create secret generic (\S+) --from-literal=([\w-]+)=", OPERATIONS.read_text()))
        names = {each["kind"]: each["metadata"]["name"] for each in manifests(OPERATIONS) if "kind" in each}
        made |= {f"{names['Cluster']}-app": "uri", f"{names['RabbitmqCluster']}-default-user": "connection_string"}
        defaults = yaml.safe_load((CHART / "values.yaml").read_text())["secrets"]
        [given] = [each["secrets"] for each in manifests(OPERATIONS) if "secrets" in each]
        for name, secret in given.items():
            self.assertEqual(made[secret["secret"]], secret.get("key", defaults[name]["key"]), name)

    def test_the_schema_knows_every_value(self):
        schema = json.loads((CHART / "values.schema.json").read_text())

        def resolved(node):
            return schema["definitions"][node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node

        for path in paths(yaml.safe_load((CHART / "values.yaml").read_text())):
            node = schema
            for key in path:
                node = resolved(node)
                if "properties" not in node:
                    break
                self.assertIn(key, node["properties"], ".".join(path))
                node = node["properties"][key]

    def test_the_value_set_everything_turns_every_switch_on(self):
        defaults = yaml.safe_load((CHART / "values.yaml").read_text())
        everything = overlaid(defaults, value_set("everything"))
        for path in paths(defaults):
            # A trial is another installation: it has a value set of its own.
            if path[-1] == "enabled" and path[0] != "dev":
                value = everything
                for key in path:
                    value = value[key]
                self.assertIs(value, True, ".".join(path))
        self.assertIn("dev", VALUE_SETS)


if __name__ == "__main__":
    unittest.main()
