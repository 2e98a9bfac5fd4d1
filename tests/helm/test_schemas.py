"""Every object is valid: for three versions of Kubernetes, and for the operators whose kinds are used."""

import copy
import functools
import json
import unittest
from pathlib import Path

import jsonschema
from chart import VALUE_SETS, rendered_set
from kubernetes_validate import utils as kubernetes

# The oldest that the chart takes, one between, the newest there are schemas for.
VERSIONS = ["1.30", "1.34", "1.37"]
# What the chart uses of a custom resource, and nothing else allowed.
CUSTOM = {path.stem: path for path in (Path(__file__).parent / "schemas").glob("*.json")}

# Reading them anew for every object takes minutes.
kubernetes.schema_contents = functools.cache(kubernetes.schema_contents)


def is_custom(each):
    return each["kind"] in CUSTOM


def check_custom(each):
    schema = json.loads(CUSTOM[each["kind"]].read_text())
    jsonschema.Draft202012Validator(schema).validate(each)


class Objects(unittest.TestCase):
    def test_are_valid_for_three_versions_of_kubernetes(self):
        for version in VERSIONS:
            for name in VALUE_SETS:
                for each in rendered_set(name).objects:
                    if not is_custom(each):
                        with self.subTest(f"{version} {name} {each['kind']} {each['metadata']['name']}"):
                            kubernetes.validate(each, version, strict=True)

    def test_of_operators_are_valid_for_them(self):
        seen = set()
        for name in VALUE_SETS:
            for each in filter(is_custom, rendered_set(name).objects):
                with self.subTest(f"{name} {each['kind']} {each['metadata']['name']}"):
                    check_custom(each)
                seen.add(each["kind"])
        self.assertEqual(seen, set(CUSTOM))

    def test_would_be_refused_with_a_mistake(self):
        broken = copy.deepcopy(rendered_set("minimal").one("Deployment", "prod-fanfare-ingest"))
        broken["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPorts"] = 1
        with self.assertRaises(kubernetes.ValidationError):
            kubernetes.validate(broken, VERSIONS[0], strict=True)
        broken = copy.deepcopy(rendered_set("keda").one("ScaledObject", "prod-fanfare-dispatcher"))
        broken["spec"]["minReplicas"] = broken["spec"].pop("minReplicaCount")
        with self.assertRaises(jsonschema.ValidationError):
            check_custom(broken)


if __name__ == "__main__":
    unittest.main()
