"""The services of a trial: as little as the chart does for them."""

import resource
import subprocess
import tempfile
import unittest
from pathlib import Path

from chart import overlaid, rendered, rendered_set, value_set

SERVICES = ["postgres", "rabbitmq", "redis"]
FILES_MAX = 65_536


def spec(objects, service):
    [found] = [each["spec"] for owner, each in objects.pods() if owner["metadata"]["name"].endswith(f"-{service}")]
    return found


class ATrial(unittest.TestCase):
    def test_its_services_run_where_and_from_what_registry_fanfare_does(self):
        given = {
            "nodeSelector": {"pool": "trial"},
            "tolerations": [{"key": "trial", "operator": "Exists"}],
            "extraVolumes": [{"name": "private-ca", "configMap": {"name": "private-ca"}}],
        }
        over = {"imagePullSecrets": [{"name": "registry"}], "pod": given}
        objects = rendered(overlaid(value_set("dev"), over))
        for service in SERVICES:
            pod = spec(objects, service)
            self.assertEqual(pod["imagePullSecrets"], [{"name": "registry"}], service)
            self.assertEqual(pod["nodeSelector"], given["nodeSelector"], service)
            self.assertEqual(pod["tolerations"], given["tolerations"], service)
            self.assertNotIn("private-ca", [each["name"] for each in pod["volumes"]])
            self.assertEqual(pod["securityContext"]["runAsUser"], 999)
            self.assertEqual(pod["securityContext"]["fsGroupChangePolicy"], "OnRootMismatch")

    def test_rabbitmq_starts_with_a_bounded_number_of_files(self):
        [container] = spec(rendered_set("dev"), "rabbitmq")["containers"]
        with tempfile.TemporaryDirectory() as folder:
            start = Path(folder) / "docker-entrypoint.sh"
            start.write_text('#!/bin/sh\necho "$(ulimit -n) $*"\n')
            start.chmod(0o755)
            command = [*container["command"], *container["args"]]
            env = {"PATH": f"{folder}:/usr/bin:/bin"}
            _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        files = FILES_MAX if most == resource.RLIM_INFINITY else min(FILES_MAX, most)
        self.assertEqual(done.stdout.split(), [str(files), "rabbitmq-server"])


if __name__ == "__main__":
    unittest.main()
