"""The chart as Helm renders it."""

import functools
import json
from pathlib import Path

import helm_python
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/fanfare"
VALUES = ROOT / "tests/helm/values"
VALUE_SETS = ["minimal", "production", "dev", "hpa", "keda", "everything"]
RELEASE, NAMESPACE = "prod", "licensing"
ROLES = ["ingest", "dispatcher", "exporter"]


def value_set(name):
    return yaml.safe_load((VALUES / f"{name}.yaml").read_text())


def overlaid(values, over):
    """`values` with `over` laid over it, as Helm does it."""
    if not (isinstance(values, dict) and isinstance(over, dict)):
        return over
    return values | {key: overlaid(values.get(key), value) for key, value in over.items()}


class Rendered:
    """The objects of one rendering."""

    def __init__(self, manifests):
        self.objects = []
        for path, text in manifests.items():
            if not path.endswith("NOTES.txt"):
                loaded = yaml.load_all(text, Loader=yaml.CSafeLoader)
                self.objects += [each for each in loaded if each is not None]

    def all(self, kind):
        return [each for each in self.objects if each["kind"] == kind]

    def one(self, kind, name):
        found = [each for each in self.all(kind) if each["metadata"]["name"] == name]
        assert len(found) == 1, f"{len(found)} objects are {kind} {name}"
        return found[0]

    def has(self, kind, name):
        return any(each["metadata"]["name"] == name for each in self.all(kind))

    def pods(self):
        """Whatever makes pods, with the pod's template."""
        for each in self.objects:
            if each["kind"] in ("Deployment", "StatefulSet", "Job", "DaemonSet"):
                yield each, each["spec"]["template"]

    def role(self, role, fullname=f"{RELEASE}-fanfare"):
        return self.one("Deployment", f"{fullname}-{role}")["spec"]["template"]["spec"]

    def settings(self, fullname=f"{RELEASE}-fanfare"):
        return self.one("ConfigMap", fullname)["data"]


def rendered(values, cluster=None):
    """Renders with these values; `cluster` answers what the templates look up."""
    with helm_python.Chart.load(CHART) as chart:
        names = {"name": RELEASE, "namespace": NAMESPACE}
        if cluster is None:
            return Rendered(chart.render(values, **names))
        with helm_python.Config(kubeconfig_content=json.dumps(cluster), namespace=NAMESPACE) as config:
            return Rendered(config.render(chart, values, **names))


@functools.cache
def rendered_set(name):
    return rendered(value_set(name))
