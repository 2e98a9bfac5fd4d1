"""What the chart makes of its values."""

import json
import re
import tempfile
import unittest
from pathlib import Path

import helm_python
from chart import CHART, NAMESPACE, RELEASE, ROLES, ROOT, VALUE_SETS, overlaid, rendered, rendered_set, value_set

KUBERNETES = "v1.30.0"
WARNING = 2
# Closing connections after the drain.
ROOM_S = 10
EVENT_BYTES_MAX = 256 * 1024


def quantity(text):
    """Bytes of a quantity such as `1Gi`."""
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", text).groups()
    return int(number) * {"Mi": 1024**2, "Gi": 1024**3}[unit]


def env_names(container):
    return {each["name"] for each in container.get("env", [])}


class TheChart(unittest.TestCase):
    def test_passes_strict_lint(self):
        for name in VALUE_SETS:
            with self.subTest(name):
                report = helm_python.lint(CHART, value_set(name), strict=True, kube_version=KUBERNETES)
                self.assertEqual(report["errors"], [])
                self.assertEqual([each for each in report["messages"] if each["severity"] >= WARNING], [])

    def test_packages_and_renders_the_same_from_the_archive(self):
        values = value_set("production")
        with tempfile.TemporaryDirectory() as folder:
            archive = helm_python.package(CHART, destination=folder)
            self.assertRegex(Path(archive).name, r"^fanfare-[0-9.]+\.tgz$")
            with helm_python.Chart.load(archive) as packed, helm_python.Chart.load(CHART) as chart:
                names = {"name": RELEASE, "namespace": NAMESPACE}
                self.assertEqual(packed.render(values, **names), chart.render(values, **names))

    def test_has_the_version_of_the_workspace(self):
        cargo = (ROOT / "Cargo.toml").read_text()
        [version] = re.findall(r'^version = "(.+)"$', cargo.split("[workspace.package]")[1], re.MULTILINE)
        with helm_python.Chart.load(CHART) as chart:
            self.assertEqual(chart.metadata["appVersion"], version)

    def test_no_two_objects_share_kind_and_name(self):
        for name in VALUE_SETS:
            with self.subTest(name):
                named = [(each["kind"], each["metadata"]["name"]) for each in rendered_set(name).objects]
                self.assertEqual(len(named), len(set(named)))

    def test_a_long_release_name_makes_no_name_too_long(self):
        values = overlaid(value_set("everything"), {"fullnameOverride": ""})
        with helm_python.Chart.load(CHART) as chart:
            manifests = chart.render(values, name="r" * 53, namespace=NAMESPACE)
        names = [line.split()[1] for text in manifests.values() for line in text.splitlines() if line.startswith("  name: ")]
        self.assertLessEqual(max(map(len, names)), 63)


class Roles(unittest.TestCase):
    def test_each_runs_its_role_of_the_one_image(self):
        for role in ROLES:
            [container] = rendered_set("minimal").role(role)["containers"]
            self.assertEqual(container["args"], [role])
            self.assertRegex(container["image"], r"^registry\.example\.com/fanfare:[0-9.]+$")
            self.assertNotIn("command", container)

    def test_a_digest_goes_before_the_tag(self):
        [container] = rendered_set("production").role("ingest")["containers"]
        self.assertRegex(container["image"], r"^registry\.example\.com/fanfare@sha256:[0-9a-f]{64}$")
        self.assertEqual(rendered_set("production").role("ingest")["imagePullSecrets"], [{"name": "registry"}])

    def test_the_grace_period_outlasts_the_drain(self):
        for name in VALUE_SETS:
            objects = rendered_set(name)
            fullname = "hooks" if name == "everything" else f"{RELEASE}-fanfare"
            grace_s = int(objects.settings(fullname)["FANFARE__DELIVERY__GRACE_S"])
            for role in ROLES:
                with self.subTest(f"{name} {role}"):
                    pod = objects.role(role, fullname)
                    stop = pod["containers"][0].get("lifecycle", {}).get("preStop", {})
                    leaving_s = stop.get("sleep", {}).get("seconds", 0)
                    self.assertEqual(pod["terminationGracePeriodSeconds"], leaving_s + grace_s + ROOM_S)

    def test_ingest_leaves_the_service_before_it_stops(self):
        [container] = rendered_set("minimal").role("ingest")["containers"]
        self.assertEqual(container["lifecycle"]["preStop"], {"sleep": {"seconds": 5}})

    def test_probes_ask_health_for_life_and_readiness_for_traffic(self):
        for role in ROLES:
            [container] = rendered_set("minimal").role(role)["containers"]
            self.assertEqual(container["livenessProbe"]["httpGet"]["path"], "/healthz")
            self.assertEqual(container["startupProbe"]["httpGet"]["path"], "/healthz")
            self.assertEqual(container["readinessProbe"]["httpGet"]["path"], "/readyz")

    def test_a_pod_that_waits_for_the_store_has_an_hour(self):
        for role in ROLES:
            probe = rendered_set("minimal").role(role)["containers"][0]["startupProbe"]
            self.assertGreaterEqual(probe["periodSeconds"] * probe["failureThreshold"], 3600)

    def test_a_dispatcher_has_room_for_everything_it_may_hold(self):
        code = (ROOT / "crates/dispatcher/src/dispatcher.rs").read_text()
        held = sum(int(each.replace("_", "")) for each in re.findall(r"PREFETCH: u16 = ([0-9_]+);", code))
        [container] = rendered_set("minimal").role("dispatcher")["containers"]
        self.assertGreater(quantity(container["resources"]["limits"]["memory"]), held * EVENT_BYTES_MAX)

    def test_only_ingest_and_dispatcher_have_disruption_budgets(self):
        budgets = {each["metadata"]["name"] for each in rendered_set("minimal").all("PodDisruptionBudget")}
        self.assertEqual(budgets, {"prod-fanfare-ingest", "prod-fanfare-dispatcher"})

    def test_pods_of_a_role_keep_apart(self):
        soft = rendered_set("minimal").role("dispatcher")["affinity"]["podAntiAffinity"]
        self.assertIn("preferredDuringSchedulingIgnoredDuringExecution", soft)
        hard = rendered_set("production").role("dispatcher")["affinity"]["podAntiAffinity"]
        self.assertIn("requiredDuringSchedulingIgnoredDuringExecution", hard)
        [zones] = rendered_set("minimal").role("dispatcher")["topologySpreadConstraints"]
        self.assertEqual(zones["topologyKey"], "topology.kubernetes.io/zone")
        none = rendered(overlaid(value_set("minimal"), {"pod": {"antiAffinity": "none"}}))
        self.assertNotIn("affinity", none.role("dispatcher"))

    def test_an_update_finds_room_where_every_node_has_a_pod(self):
        for name, unavailable in [("minimal", 0), ("production", 1)]:
            spec = rendered_set(name).one("Deployment", "prod-fanfare-dispatcher")["spec"]
            self.assertEqual(spec["strategy"]["rollingUpdate"], {"maxSurge": 1, "maxUnavailable": unavailable})

    def test_what_is_set_for_one_role_stays_with_it(self):
        objects = rendered_set("everything")
        self.assertEqual(objects.role("ingest", "hooks")["priorityClassName"], "high")
        self.assertNotIn("priorityClassName", objects.role("dispatcher", "hooks"))
        self.assertEqual(objects.role("dispatcher", "hooks")["serviceAccountName"], "webhooks")
        self.assertFalse(objects.has("ServiceAccount", "webhooks"))

    def test_a_changed_setting_replaces_the_pods_and_a_changed_chart_does_not(self):
        template = rendered_set("minimal").one("Deployment", "prod-fanfare-ingest")["spec"]["template"]
        changed = rendered(overlaid(value_set("minimal"), {"settings": {"log": {"filter": "debug"}}}))
        changed = changed.one("Deployment", "prod-fanfare-ingest")["spec"]["template"]
        checksum = "checksum/settings"
        self.assertNotEqual(template["metadata"]["annotations"][checksum], changed["metadata"]["annotations"][checksum])
        self.assertNotIn("helm.sh/chart", template["metadata"]["labels"])

    def test_the_exporter_can_be_left_out(self):
        over = {"exporter": {"enabled": False}, "dispatcher": {"autoscaling": {"keda": {"query": "max(lateness)"}}}}
        objects = rendered(overlaid(value_set("everything"), over))
        self.assertFalse([each for each in objects.objects if each["metadata"]["name"].endswith("-exporter")])


class Settings(unittest.TestCase):
    def test_what_is_not_set_is_not_there(self):
        self.assertEqual(
            rendered_set("minimal").settings(),
            {
                "FANFARE__HTTP__LISTEN": "0.0.0.0:8080",
                "FANFARE__DELIVERY__GRACE_S": "25",
                "FANFARE__LOG__FORMAT": "json",
            },
        )

    def test_what_is_set_becomes_a_variable_even_if_it_is_false_or_zero(self):
        settings = {
            "security": {"allow_private_targets": False},
            "otel": {"sample_ratio": 0},
            "delivery": {"egress_addresses": ["203.0.113.10", "2001:db8::1"]},
        }
        data = rendered(overlaid(value_set("minimal"), {"settings": settings})).settings()
        self.assertEqual(data["FANFARE__SECURITY__ALLOW_PRIVATE_TARGETS"], "false")
        self.assertEqual(data["FANFARE__OTEL__SAMPLE_RATIO"], "0")
        self.assertEqual(data["FANFARE__DELIVERY__EGRESS_ADDRESSES"], "203.0.113.10,2001:db8::1")

    def test_those_that_can_be_set_are_those_that_fanfare_reads(self):
        code = ROOT / "crates/fanfare/src"
        read = set()
        for file in [code / "settings.rs", *(code / "settings").glob("*.rs")]:
            read |= set(re.findall(r'\.(?:or|optional|optional_with)(?:::<\w+>)?\(\s*"([a-z_]+\.[a-z_]+)"', file.read_text()))
        schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["settings"]
        sections = schema["properties"].items()
        self.assertEqual({f"{section}.{key}" for section, keys in sections for key in keys["properties"]}, read)
        for each in [schema, *schema["properties"].values()]:
            self.assertIs(each["additionalProperties"], False)

    def test_traces_go_where_they_are_sent(self):
        endpoint = "http://collector.observability:4318"
        objects = rendered(overlaid(value_set("minimal"), {"settings": {"otel": {"endpoint": endpoint}}}))
        self.assertEqual(objects.settings()["FANFARE__OTEL__ENDPOINT"], endpoint)

    def test_every_optional_one_is_passed_on(self):
        objects = rendered_set("everything")
        data = objects.settings("hooks")
        self.assertEqual(data["FANFARE__METRICS__PER_ENDPOINT"], "true")
        self.assertEqual(data["FANFARE__HTTP__PUBLIC_URL"], "https://fanfare.example.com")
        self.assertEqual(data["FANFARE__OTEL__SAMPLE_RATIO"], "0.25")
        [container] = objects.role("exporter", "hooks")["containers"]
        self.assertIn("FANFARE__BROKER__MANAGEMENT_URL", env_names(container))


class Scaling(unittest.TestCase):
    def test_an_autoscaler_and_the_deployment_do_not_both_count_pods(self):
        for name, scaled in [("minimal", False), ("hpa", True), ("everything", True)]:
            fullname = "hooks" if name == "everything" else f"{RELEASE}-fanfare"
            for role in ["ingest", "dispatcher"]:
                with self.subTest(f"{name} {role}"):
                    spec = rendered_set(name).one("Deployment", f"{fullname}-{role}")["spec"]
                    self.assertEqual("replicas" in spec, not scaled)

    def test_ingest_scales_on_cpu(self):
        spec = rendered_set("hpa").one("HorizontalPodAutoscaler", "prod-fanfare-ingest")["spec"]
        self.assertEqual((spec["minReplicas"], spec["maxReplicas"]), (3, 12))
        self.assertEqual(spec["metrics"][0]["resource"]["name"], "cpu")

    def test_the_dispatcher_scales_on_lateness_as_a_whole(self):
        spec = rendered_set("hpa").one("HorizontalPodAutoscaler", "prod-fanfare-dispatcher")["spec"]
        external = spec["metrics"][0]["external"]
        self.assertEqual(external["target"], {"type": "Value", "value": "10"})
        self.assertEqual(external["metric"]["selector"]["matchLabels"], {"namespace": NAMESPACE})
        [trigger] = rendered_set("keda").one("ScaledObject", "prod-fanfare-dispatcher")["spec"]["triggers"]
        self.assertEqual(trigger["metricType"], "Value")
        self.assertEqual(
            trigger["metadata"]["query"],
            'max(fanfare_oldest_overdue_seconds{namespace="licensing"}) and '
            '(time() - max(fanfare_exporter_last_look_timestamp_seconds{part="store",namespace="licensing"}) < 90)',
        )
        self.assertEqual(trigger["metadata"]["ignoreNullValues"], "false")


class Migration(unittest.TestCase):
    def test_a_job_migrates_before_install_and_upgrade_then_declares_the_topology(self):
        job = rendered_set("minimal").one("Job", "prod-fanfare-migrate")
        self.assertEqual(job["metadata"]["annotations"]["helm.sh/hook"], "pre-install,pre-upgrade")
        pod = job["spec"]["template"]["spec"]
        self.assertEqual([each["args"] for each in pod["initContainers"]], [["migrate"]])
        self.assertEqual([each["args"] for each in pod["containers"]], [["topology", "apply"]])

    def test_the_job_is_not_tried_again_with_a_mistake_in_the_configuration(self):
        main = (ROOT / "crates/fanfare/src/main.rs").read_text()
        [mistake] = re.findall(r"^const BAD_CONFIGURATION: u8 = (\d+);", main, re.MULTILINE)
        spec = rendered_set("minimal").one("Job", "prod-fanfare-migrate")["spec"]
        [rule] = spec["podFailurePolicy"]["rules"]
        self.assertEqual(rule, {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [int(mistake)]}})
        self.assertEqual(spec["template"]["spec"]["restartPolicy"], "Never")

    def test_the_job_needs_nothing_that_comes_after_it(self):
        for name in ["minimal", "production", "hpa", "keda", "everything"]:
            with self.subTest(name):
                objects = rendered_set(name)
                hooks = {
                    (each["kind"], each["metadata"]["name"])
                    for each in objects.objects
                    if "helm.sh/hook" in each["metadata"].get("annotations", {})
                }
                own = {(each["kind"], each["metadata"]["name"]) for each in objects.objects}
                [job] = objects.all("Job")
                pod = job["spec"]["template"]["spec"]
                needed = {("ServiceAccount", pod["serviceAccountName"])}
                for container in pod["initContainers"] + pod["containers"]:
                    for each in container["env"]:
                        if "valueFrom" in each:
                            needed.add(("Secret", each["valueFrom"]["secretKeyRef"]["name"]))
                    for each in container.get("envFrom", []):
                        needed.add(("ConfigMap", each["configMapRef"]["name"]))
                self.assertEqual(needed & own - hooks, set())

    def test_hook_objects_go_when_the_job_has_succeeded(self):
        for each in rendered_set("everything").objects:
            annotations = each["metadata"].get("annotations", {})
            if "helm.sh/hook" in annotations:
                self.assertEqual(annotations["helm.sh/hook-delete-policy"], "before-hook-creation,hook-succeeded")

    def test_in_a_trial_every_pod_waits_and_migrates_by_itself(self):
        objects = rendered_set("dev")
        self.assertEqual(objects.all("Job"), [])
        for role in ROLES:
            steps = [each["name"] for each in objects.role(role)["initContainers"]]
            self.assertEqual(steps, ["wait", "migrate", "topology"])

    def test_it_can_be_left_to_somebody_else(self):
        objects = rendered(overlaid(value_set("minimal"), {"migrations": {"mode": "none"}}))
        self.assertEqual(objects.all("Job"), [])
        self.assertFalse(objects.has("Secret", "prod-fanfare-migrate"))
        self.assertNotIn("initContainers", objects.role("ingest"))


if __name__ == "__main__":
    unittest.main()
