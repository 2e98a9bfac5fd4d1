"""Who reaches whom: Ingress, Gateway, network policies, scraping."""

import ipaddress
import json
import re
import unittest

from chart import NAMESPACE, RELEASE, ROLES, ROOT, rendered_set

METRICS = ROOT / "docs/metrics.md"
# What the Prometheus Operator gives every target of a ServiceMonitor before it follows the relabelings.
THE_OPERATORS_LABELS = ["container", "endpoint", "instance", "job", "namespace", "node", "pod", "service"]

# Where no endpoint is: the cluster, its nodes, their metadata service, the machine itself.
NOT_THE_INTERNET = [
    "10.0.0.1",
    "10.255.255.254",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.1.1",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "0.0.0.0",
    "224.0.0.1",
    "::1",
    "fd00::1",
    "fe80::1",
    "fd00:ec2::254",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:a00:1::",
]
THE_INTERNET = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "192.169.0.1", "100.128.0.1", "2606:4700::1111", "2a00::1"]


def egress(objects, role, fullname=f"{RELEASE}-fanfare"):
    return objects.one("NetworkPolicy", f"{fullname}-{role}")["spec"].get("egress", [])


def lets_out(rules, address, port):
    """Whether these rules let a packet to an address outside of the cluster."""
    address = ipaddress.ip_address(address)
    for rule in rules:
        if port not in [each["port"] for each in rule.get("ports", [{"port": port}])]:
            continue
        for block in (peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer):
            network = ipaddress.ip_network(block["cidr"])
            excepted = [ipaddress.ip_network(each) for each in block.get("except", [])]
            if network.version == address.version and address in network and not any(address in each for each in excepted):
                return True
    return False


class NetworkPolicies(unittest.TestCase):
    def test_every_pod_is_under_one(self):
        for name in ["production", "dev", "everything"]:
            with self.subTest(name):
                objects = rendered_set(name)
                selectors = [each["spec"]["podSelector"]["matchLabels"] for each in objects.all("NetworkPolicy")]
                for owner, template in objects.pods():
                    labels = template["metadata"]["labels"].items()
                    covering = [each for each in selectors if each.items() <= labels]
                    self.assertEqual(len(covering), 1, owner["metadata"]["name"])

    def test_all_close_both_ways(self):
        for name in ["production", "dev", "everything"]:
            for each in rendered_set(name).all("NetworkPolicy"):
                self.assertEqual(each["spec"]["policyTypes"], ["Ingress", "Egress"])

    def test_the_dispatcher_reaches_the_internet_and_nothing_that_is_close(self):
        rules = egress(rendered_set("dev"), "dispatcher")
        for address in THE_INTERNET:
            self.assertTrue(lets_out(rules, address, 443), address)
        for address in NOT_THE_INTERNET:
            self.assertFalse(lets_out(rules, address, 443), address)
        self.assertFalse(lets_out(rules, "1.1.1.1", 22))

    def test_ports_and_further_peers_can_be_given(self):
        rules = egress(rendered_set("everything"), "dispatcher", "hooks")
        self.assertTrue(lets_out(rules, "1.1.1.1", 8443))
        self.assertTrue(lets_out(rules, "10.30.0.7", 3128))
        self.assertFalse(lets_out(rules, "10.40.0.7", 3128))

    def test_the_exporter_stays_in(self):
        self.assertFalse(lets_out(egress(rendered_set("production"), "exporter"), "1.1.1.1", 443))

    def test_all_and_the_job_reach_name_servers_and_the_services(self):
        objects = rendered_set("production")
        for role in [*ROLES, "migrate"]:
            text = json.dumps(egress(objects, role))
            for needed in ["kube-system", '"port": 53', "cnpg.io/cluster", "fanfare-mq", "10.20.0.0/24"]:
                self.assertIn(needed, text, role)
        for component in ["postgres", "rabbitmq", "redis"]:
            self.assertIn(component, json.dumps(egress(rendered_set("dev"), "dispatcher")))

    def test_a_trial_lets_nobody_else_to_its_services(self):
        for component in ["postgres", "rabbitmq", "redis"]:
            spec = rendered_set("dev").one("NetworkPolicy", f"prod-fanfare-{component}")["spec"]
            [rule] = spec["ingress"]
            [peer] = rule["from"]
            self.assertEqual(peer["podSelector"]["matchLabels"]["app.kubernetes.io/instance"], RELEASE)

    def test_name_servers_can_be_elsewhere(self):
        rules = egress(rendered_set("everything"), "exporter", "hooks")
        self.assertTrue(lets_out(rules, "169.254.20.10", 53))
        self.assertTrue(lets_out(rules, "169.254.20.10", 5353))
        self.assertFalse(lets_out(egress(rendered_set("production"), "exporter"), "169.254.20.10", 53))

    def test_who_may_ask_and_scrape_can_be_given(self):
        objects = rendered_set("everything")
        for role, names in [
            ("ingest", ["licensing", "monitoring"]),
            ("dispatcher", ["monitoring"]),
            ("exporter", ["monitoring"]),
        ]:
            [rule] = objects.one("NetworkPolicy", f"hooks-{role}")["spec"]["ingress"]
            peers = [{"namespaceSelector": {"matchLabels": {"name": name}}} for name in names]
            self.assertEqual(rule["from"], peers)

    def test_otherwise_everybody_asks_and_the_cluster_scrapes(self):
        objects = rendered_set("production")
        [rule] = objects.one("NetworkPolicy", "prod-fanfare-ingest")["spec"]["ingress"]
        self.assertNotIn("from", rule)
        for role in ["dispatcher", "exporter"]:
            [rule] = objects.one("NetworkPolicy", f"prod-fanfare-{role}")["spec"]["ingress"]
            self.assertEqual(rule["from"], [{"namespaceSelector": {}}])


class FromOutside(unittest.TestCase):
    def test_an_ingress_lets_in_the_api_and_not_the_metrics(self):
        spec = rendered_set("production").one("Ingress", "prod-fanfare-ingest")["spec"]
        [rule] = spec["rules"]
        paths = [each["path"] for each in rule["http"]["paths"]]
        self.assertIn("/v1", paths)
        for closed in ["/metrics", "/healthz", "/readyz"]:
            self.assertFalse([path for path in paths if closed.startswith(path)], closed)
        self.assertEqual(spec["tls"][0]["secretName"], "fanfare-tls")

    def test_an_ingress_takes_the_largest_batch(self):
        batch = (ROOT / "crates/ingest/src/batch.rs").read_text()
        [mib] = re.findall(r"BATCH_BYTES_MAX: usize = (\d+) \* 1024 \* 1024;", batch)
        annotations = rendered_set("production").one("Ingress", "prod-fanfare-ingest")["metadata"]["annotations"]
        self.assertEqual(annotations["nginx.ingress.kubernetes.io/proxy-body-size"], f"{mib}m")

    def test_a_route_leads_to_the_port_of_the_service(self):
        objects = rendered_set("everything")
        [rule] = objects.one("HTTPRoute", "hooks-ingest")["spec"]["rules"]
        [port] = objects.one("Service", "hooks-ingest")["spec"]["ports"]
        self.assertEqual(rule["backendRefs"], [{"name": "hooks-ingest", "port": port["port"]}])

    def test_services_select_the_pods_of_their_role_and_no_others(self):
        for name in ["minimal", "dev", "everything"]:
            objects = rendered_set(name)
            for service in objects.all("Service"):
                selector = service["spec"]["selector"].items()
                owners = [owner for owner, pod in objects.pods() if selector <= pod["metadata"]["labels"].items()]
                self.assertEqual([each["metadata"]["name"] for each in owners], [service["metadata"]["name"]])


class Scraping(unittest.TestCase):
    def test_the_monitor_selects_every_role_and_none_of_the_trials_services(self):
        [monitor] = rendered_set("everything").all("ServiceMonitor")
        selector = monitor["spec"]["selector"]
        components = selector["matchExpressions"][0]["values"]
        self.assertEqual(components, ROLES)
        for service in rendered_set("everything").all("Service"):
            self.assertLessEqual(selector["matchLabels"].items(), service["metadata"]["labels"].items())
            self.assertEqual(service["spec"]["ports"][0]["name"], monitor["spec"]["endpoints"][0]["port"])
        self.assertEqual(monitor["spec"]["namespaceSelector"]["matchNames"], [NAMESPACE])

    def test_jobs_have_the_names_that_rules_and_dashboards_know(self):
        [monitor] = rendered_set("production").all("ServiceMonitor")
        relabeling = monitor["spec"]["endpoints"][0]["relabelings"][0]
        self.assertEqual((relabeling["targetLabel"], relabeling["replacement"]), ("job", "fanfare-$1"))

    def test_no_label_of_a_target_takes_the_place_of_a_metrics_own(self):
        [monitor] = rendered_set("production").all("ServiceMonitor")
        labels = set(THE_OPERATORS_LABELS)
        for each in monitor["spec"]["endpoints"][0]["relabelings"]:
            if each.get("action") == "labeldrop":
                labels = {label for label in labels if not re.fullmatch(each["regex"], label)}
            else:
                labels.add(each["targetLabel"])
        rows = re.findall(r"^\| `\w+` \| \w+ \| (.*?) \|", METRICS.read_text(), re.MULTILINE)
        own = {label for row in rows for label in re.findall(r"`(\w+)`", row)}
        self.assertIn("endpoint", own)
        self.assertEqual(labels & own, set())


if __name__ == "__main__":
    unittest.main()
