"""Every pod passes the *restricted* pod security standard, and what is Fanfare's own goes further."""

import copy
import unittest

from chart import ROLES, VALUE_SETS, rendered_set

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SECCOMP = {"RuntimeDefault", "Localhost"}
CAPABILITIES = {"NET_BIND_SERVICE"}
HANDLERS = ["httpGet", "tcpSocket"]


def containers(spec):
    return [*spec.get("initContainers", []), *spec["containers"], *spec.get("ephemeralContainers", [])]


def handlers(container):
    """Where a probe or a hook could be sent to another host."""
    asked = [container.get(each, {}) for each in ["startupProbe", "livenessProbe", "readinessProbe"]]
    asked += container.get("lifecycle", {}).values()
    return [each[kind] for each in asked for kind in HANDLERS if kind in each]


def pod_violations(spec):
    """What the standard forbids of a pod as a whole."""
    security = spec.get("securityContext", {})
    for shared in ["hostNetwork", "hostPID", "hostIPC"]:
        if spec.get(shared):
            yield shared
    for volume in spec.get("volumes", []):
        if not set(volume) - {"name"} <= VOLUMES:
            yield f"volume {volume['name']}"
    for forbidden in ["sysctls", "seLinuxOptions", "windowsOptions", "appArmorProfile"]:
        if security.get(forbidden):
            yield forbidden


def container_violations(spec, container):
    """What the standard forbids or demands of a container, with what it has from its pod."""
    pod, own = spec.get("securityContext", {}), container.get("securityContext", {})
    both = pod | own
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if both.get("runAsNonRoot") is not True:
        yield "runAsNonRoot"
    if both.get("runAsUser") == 0:
        yield "runAsUser"
    if both.get("seccompProfile", {}).get("type") not in SECCOMP:
        yield "seccompProfile"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []) or not set(capabilities.get("add", [])) <= CAPABILITIES:
        yield "capabilities"
    if own.get("procMount", "Default") != "Default":
        yield "procMount"
    for forbidden in ["seLinuxOptions", "windowsOptions", "appArmorProfile"]:
        if own.get(forbidden):
            yield forbidden
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "hostPort"
    if any("host" in handler for handler in handlers(container)):
        yield "host of a probe"


def violations(spec):
    found = list(pod_violations(spec))
    for container in containers(spec):
        found += [f"{container['name']}: {each}" for each in container_violations(spec, container)]
    return found


class Pods(unittest.TestCase):
    def test_pass_the_restricted_standard(self):
        for name in VALUE_SETS:
            for owner, template in rendered_set(name).pods():
                with self.subTest(f"{name} {owner['metadata']['name']}"):
                    self.assertEqual(violations(template["spec"]), [])

    def test_have_no_access_to_the_cluster(self):
        for name in VALUE_SETS:
            for owner, template in rendered_set(name).pods():
                self.assertIs(template["spec"]["automountServiceAccountToken"], False, owner["metadata"]["name"])
            kinds = {each["kind"] for each in rendered_set(name).objects}
            self.assertEqual(kinds & {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}, set())

    def test_have_limits_and_requests(self):
        for name in VALUE_SETS:
            for owner, template in rendered_set(name).pods():
                for container in containers(template["spec"]):
                    with self.subTest(f"{name} {owner['metadata']['name']} {container['name']}"):
                        self.assertIn("memory", container["resources"]["limits"])
                        self.assertEqual(set(container["resources"]["requests"]), {"cpu", "memory"})

    def test_of_fanfare_run_as_65532_on_a_read_only_root_and_write_nowhere(self):
        objects = rendered_set("production")
        specs = [objects.role(role) for role in ROLES] + [objects.all("Job")[0]["spec"]["template"]["spec"]]
        for spec in specs:
            self.assertEqual(spec["securityContext"]["runAsUser"], 65532)
            self.assertNotIn("volumes", spec)
            for container in containers(spec):
                self.assertIs(container["securityContext"]["readOnlyRootFilesystem"], True)


def spoiled(spoil):
    spec = copy.deepcopy(rendered_set("minimal").role("ingest"))
    spoil(spec, spec["containers"][0])
    return violations(spec)


class TheCheck(unittest.TestCase):
    def test_finds_each_violation(self):
        def own(**security):
            return lambda spec, container: container["securityContext"].update(security)

        def pod(**security):
            return lambda spec, container: spec["securityContext"].update(security)

        cases = {
            "hostNetwork": lambda spec, container: spec.update(hostNetwork=True),
            "hostPID": lambda spec, container: spec.update(hostPID=True),
            "volume": lambda spec, container: spec.update(volumes=[{"name": "v", "hostPath": {"path": "/"}}]),
            "sysctls": pod(sysctls=[{"name": "a", "value": "b"}]),
            "privileged": own(privileged=True),
            "allowPrivilegeEscalation": own(allowPrivilegeEscalation=True),
            "runAsNonRoot": pod(runAsNonRoot=False),
            "runAsUser": own(runAsUser=0),
            "seccompProfile": pod(seccompProfile={"type": "Unconfined"}),
            "capabilities": own(capabilities={"drop": ["NET_RAW"]}),
            "procMount": own(procMount="Unmasked"),
            "hostPort": lambda spec, container: container["ports"][0].update(hostPort=80),
            "host of a probe": lambda spec, container: container["livenessProbe"]["httpGet"].update(host="h"),
        }
        for expected, spoil in cases.items():
            with self.subTest(expected):
                found = spoiled(spoil)
                self.assertEqual(len(found), 1, found)
                self.assertIn(expected, found[0])


if __name__ == "__main__":
    unittest.main()
