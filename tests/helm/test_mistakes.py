"""Mistakes in the values are refused before anything is installed, in words."""

import unittest

import helm_python
from chart import VALUE_SETS, overlaid, rendered, value_set

# What is laid over the minimal values, and what the message must contain.
MISTAKES = {
    "a misspelled key": ({"ingest": {"replica": 3}}, ["/ingest", "replica"]),
    "a misspelled section": ({"ingres": {"enabled": True}}, ["ingres"]),
    "a text for a number": ({"ingest": {"replicas": "three"}}, ["/ingest/replicas", "integer"]),
    "a negative number": ({"dispatcher": {"replicas": -1}}, ["/dispatcher/replicas", "0"]),
    "a text for a switch": ({"networkPolicy": {"enabled": "yes"}}, ["/networkPolicy/enabled", "boolean"]),
    "a digest without its kind": ({"image": {"digest": "0123abcd"}}, ["/image/digest", "sha256:"]),
    "a pull policy that is none": ({"image": {"pullPolicy": "Sometimes"}}, ["/image/pullPolicy", "IfNotPresent"]),
    "a log format that is none": ({"settings": {"log": {"format": "xml"}}}, ["/settings/log/format", "json"]),
    "a misspelled setting": ({"settings": {"delivery": {"grace": 30}}}, ["/settings/delivery", "grace"]),
    "a misspelled section of settings": ({"settings": {"loging": {"format": "text"}}}, ["/settings", "loging"]),
    "a share above the whole": ({"settings": {"otel": {"sample_ratio": 25}}}, ["/settings/otel/sample_ratio", "1"]),
    "a drain without end": ({"settings": {"delivery": {"grace_s": 86400}}}, ["/settings/delivery/grace_s", "600"]),
    "a port out of range": ({"http": {"port": 80808}}, ["/http/port", "65,535"]),
    "a pull secret that is a text": ({"imagePullSecrets": ["registry"]}, ["/imagePullSecrets/0", "object"]),
    "an autoscaler of an unknown kind": ({"dispatcher": {"autoscaling": {"kind": "vpa"}}}, ["/kind", "keda"]),
    "a range that is none": ({"networkPolicy": {"endpoints": {"exceptIPv4": ["10.0.0.0"]}}}, ["exceptIPv4/0"]),
    "an unknown key of a pod": ({"dispatcher": {"pod": {"nodeselector": {}}}}, ["/dispatcher/pod", "nodeselector"]),
    "a quantity that is none": ({"ingest": {"resources": {"limits": {"memory": "512 MB"}}}}, ["/memory"]),
    "no image": ({"image": {"repository": ""}}, ["image.repository is required"]),
    "no store": ({"secrets": {"storeUrl": {"value": ""}}}, ["secrets.storeUrl is required", "dev.enabled=true"]),
    "another database": ({"secrets": {"storeUrl": {"value": "mysql://u:hunter2@h/d"}}}, ["secrets.storeUrl.value must begin with postgres://"]),
    "a broker that is Redis": ({"secrets": {"brokerUrl": {"value": "redis://:hunter2@h"}}}, ["secrets.brokerUrl.value must begin with amqp://"]),
    "a short master key": ({"secrets": {"masterKey": {"value": "hunter2"}}}, ["secrets.masterKey.value must be 32 random bytes"]),
    "value and secret": ({"secrets": {"redisUrl": {"secret": "redis"}}}, ["secrets.redisUrl: give a value or an existing secret"]),
    "one key for two secrets": ({"secrets": {"redisUrl": {"key": "store-url"}}}, ["has the same key in the chart's Secret"]),
    "a secret among the settings": ({"settings": {"store": {"url": "postgres://u:hunter2@h/d"}}}, ["settings.store.url: use secrets.storeUrl"]),
    "the address among the settings": ({"settings": {"http": {"listen": "0.0.0.0:80"}}}, ["settings.http.listen: use http.address"]),
    "a trial with services of its own": ({"dev": {"enabled": True}}, ["secrets.storeUrl: dev.enabled brings its own"]),
    "KEDA without Prometheus": ({"dispatcher": {"autoscaling": {"enabled": True}}}, ["dispatcher.autoscaling.keda.serverAddress is required"]),
    "KEDA without an exporter": (
        {"exporter": {"enabled": False}, "dispatcher": {"autoscaling": {"enabled": True, "keda": {"serverAddress": "http://p"}}}},
        ["dispatcher.autoscaling: the metric is the exporter's"],
    ),
    "an autoscaler without an exporter": (
        {"exporter": {"enabled": False}, "dispatcher": {"autoscaling": {"enabled": True, "kind": "hpa"}}},
        ["dispatcher.autoscaling: the metric is the exporter's"],
    ),
    "fewest above most": ({"ingest": {"autoscaling": {"enabled": True, "minReplicas": 11}}}, ["minReplicas is more than maxReplicas"]),
    "an Ingress for no host": ({"ingress": {"enabled": True}}, ["ingress.hosts is required"]),
    "a route without a Gateway": ({"gateway": {"enabled": True}}, ["gateway.parentRefs is required"]),
    "an ingest that Prometheus does not reach": (
        {
            "networkPolicy": {"enabled": True, "dependencies": [{"to": []}], "ingestFrom": [{"podSelector": {}}]},
            "serviceMonitor": {"enabled": True},
        },
        ["networkPolicy.metricsFrom is required with networkPolicy.ingestFrom"],
    ),
    "closed networks without exceptions": ({"networkPolicy": {"enabled": True}}, ["networkPolicy.dependencies is required"]),
}


def refusal(values):
    try:
        rendered(values)
    except helm_python.HelmError as error:
        return str(error)
    return None


class Mistakes(unittest.TestCase):
    def test_are_refused_in_words(self):
        for name, (over, expected) in MISTAKES.items():
            with self.subTest(name):
                message = refusal(overlaid(value_set("minimal"), over))
                self.assertIsNotNone(message, "was taken")
                for each in expected:
                    self.assertIn(each, message)

    def test_are_all_named_at_once(self):
        message = refusal({"ingress": {"enabled": True}})
        self.assertIn("the values have 5 mistake(s)", message)
        for each in ["image.repository", "storeUrl", "brokerUrl", "redisUrl", "ingress.hosts"]:
            self.assertIn(each, message)

    def test_a_trial_migrates_by_itself_or_not_at_all(self):
        message = refusal(overlaid(value_set("dev"), {"migrations": {"mode": "hook"}}))
        self.assertIn("migrations.mode: with dev.enabled there is nothing to migrate before the install", message)

    def test_no_message_repeats_a_secret(self):
        for name, (over, _) in MISTAKES.items():
            self.assertNotIn("hunter2", refusal(overlaid(value_set("minimal"), over)), name)

    def test_the_value_sets_have_none(self):
        for name in VALUE_SETS:
            self.assertIsNone(refusal(value_set(name)), name)


if __name__ == "__main__":
    unittest.main()
