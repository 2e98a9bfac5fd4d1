"""The files under deploy/, read by the tools that will read them."""

import os
import pathlib
import re
import subprocess
import sys
import unittest

import yaml

ROOT = pathlib.Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BIN = pathlib.Path(sys.executable).parent


def run(*command):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=ROOT)


def compose():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


class Compose(unittest.TestCase):
    def test_is_what_the_specification_allows(self):
        done = run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_every_mounted_file_is_there(self):
        for name, service in compose()["services"].items():
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                if source.startswith("."):
                    self.assertTrue((DEPLOY / source).exists(), f"{name}: {source}")

    def test_every_dependency_and_config_is_defined(self):
        whole = compose()
        for name, service in whole["services"].items():
            self.assertLessEqual(set(service.get("depends_on", {})), set(whole["services"]), name)
            configs = {config["source"] for config in service.get("configs", [])}
            self.assertLessEqual(configs, set(whole["configs"]), name)

    def test_every_port_is_published_on_loopback_only(self):
        for name, service in compose()["services"].items():
            for port in service.get("ports", []):
                self.assertTrue(port.startswith("127.0.0.1:"), f"{name}: {port}")

    def test_rabbitmq_has_a_bounded_number_of_files(self):
        self.assertEqual(compose()["services"]["rabbitmq"]["ulimits"], {"nofile": 65536})

    def test_postgresql_is_healthy_only_once_it_is_reached_over_tcp(self):
        check = compose()["services"]["postgres"]["healthcheck"]["test"]
        self.assertEqual(check[check.index("-h") + 1], "127.0.0.1")

    def test_fanfares_containers_may_write_nothing_and_gain_nothing(self):
        services = compose()["services"].items()
        ours = {name: service for name, service in services if service["image"] == "fanfare"}
        self.assertLessEqual({"ingest", "dispatcher", "exporter", "receiver"}, set(ours))
        for name, service in ours.items():
            self.assertTrue(service["read_only"], name)
            self.assertEqual(service["cap_drop"], ["ALL"], name)
            self.assertIn("no-new-privileges:true", service["security_opt"], name)


class Monitoring(unittest.TestCase):
    def test_prometheus_scrapes_every_role_under_the_names_that_alerts_know(self):
        jobs = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"]
        names = {job["job_name"] for job in jobs}
        self.assertEqual(names, {"fanfare-ingest", "fanfare-dispatcher", "fanfare-exporter"})
        for job in jobs:
            for target in job["dns_sd_configs"]:
                self.assertLessEqual(set(target["names"]), set(compose()["services"]))

    def test_grafana_finds_its_dashboards_where_they_are_mounted(self):
        provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/fanfare.yaml").read_text())
        folder = provider["providers"][0]["options"]["path"]
        mounts = dict(volume.split(":")[1::-1] for volume in compose()["services"]["grafana"]["volumes"])
        self.assertEqual(mounts[folder], "./grafana")
        home = compose()["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
        self.assertTrue((DEPLOY / "grafana" / pathlib.Path(home).name).exists())


class Image(unittest.TestCase):
    def test_the_linter_finds_nothing(self):
        done = run(BIN / "hadolint", DEPLOY / "Dockerfile")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_what_is_compiled_for_one_platform_is_no_cache_of_another(self):
        lines = (DEPLOY / "Dockerfile").read_text().splitlines()
        [cache] = [number for number, line in enumerate(lines) if "target=/src/target" in line]
        self.assertIn("id=fanfare-target-$TARGETARCH", lines[cache])
        stage = max(number for number, line in enumerate(lines[:cache]) if line.startswith("FROM "))
        self.assertIn("ARG TARGETARCH", lines[stage:cache])

    def test_everything_that_the_build_needs_is_sent_and_nothing_else(self):
        rules = (ROOT / ".dockerignore").read_text().split()
        self.assertEqual(rules[0], "*")
        sent = {rule[1:] for rule in rules[1:]}
        members = (ROOT / "Cargo.toml").read_text().split("members = [", 1)[1].split("]", 1)[0]
        wanted = {member.strip(' "').removesuffix("/*") for member in members.split(",")}
        self.assertEqual(sent, wanted | {"Cargo.toml", "Cargo.lock"})


class Systemd(unittest.TestCase):
    UNIT = DEPLOY / "systemd/fanfare.service"

    def test_the_unit_is_one(self):
        # The executable need not be installed to check the rest.
        text = self.UNIT.read_text().replace("/usr/local/bin/fanfare", "/bin/true")
        unit = ROOT / "target/deploy-check/fanfare.service"
        unit.parent.mkdir(parents=True, exist_ok=True)
        unit.write_text(text)
        done = run("systemd-analyze", "verify", "--man=no", unit)
        problems = [line for line in done.stderr.splitlines() if "fanfare.service" in line]
        self.assertEqual(problems, [], done.stderr)

    def test_a_mistake_in_the_settings_is_not_started_again(self):
        main = (ROOT / "crates/fanfare/src/main.rs").read_text()
        [mistake] = re.findall(r"^const BAD_CONFIGURATION: u8 = (\d+);", main, re.MULTILINE)
        self.assertIn(f"RestartPreventExitStatus={mistake}", self.UNIT.read_text().splitlines())

    def test_the_service_is_confined(self):
        done = run("systemd-analyze", "security", "--offline=yes", "--threshold=20", self.UNIT)
        self.assertEqual(done.returncode, 0, done.stdout[-2000:] + done.stderr)


class Settings(unittest.TestCase):
    def test_settings_in_examples_exist(self):
        """The binary lists settings that do not exist, and there is none among these."""
        fanfare = pathlib.Path(os.environ.get("FANFARE_BIN", ROOT / "target/debug/fanfare"))
        examples = [service.get("environment", {}) for service in compose()["services"].values()]
        example = (DEPLOY / "systemd/fanfare.env").read_text().splitlines()
        examples.append(dict(line.lstrip("#").split("=", 1) for line in example if "=" in line and "FANFARE__" in line))
        for environment in examples:
            ours = {name: str(value) for name, value in environment.items() if name.startswith("FANFARE__")}
            done = subprocess.run([fanfare, "health", "--url", "http://127.0.0.1:1"], env=ours, capture_output=True, text=True)
            self.assertIn("no answer from", done.stderr, ours)


if __name__ == "__main__":
    unittest.main()
