//! Which crate may use which: the architecture's arrows, as a test over `cargo metadata`.
//!
//! A crate may use those of the layers below its own and, where its own row says so, single others.
//! Libraries that one crate is there to contain are listed with their owner.

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::process::Command;

    use serde_json::Value;

    /// From the ground up. Crates of one layer do not know each other.
    const LAYERS: &[(&str, &[&str])] = &[
        ("nouns", &["model"]),
        ("ground", &["ambient", "group_commit", "telemetry"]),
        ("core", &["delivery", "dialect"]),
        ("ports", &["broker", "shared_state", "store"]),
        ("rim", &["sender", "web"]),
        (
            "services",
            &[
                "api",
                "dashboard",
                "dispatcher",
                "exporter",
                "ingest",
                "receiver",
            ],
        ),
        ("binary", &["fanfare"]),
        ("tests", &["arrows", "bench", "e2e", "testkit"]),
    ];

    /// Pure: no clock, no randomness, no IO, nothing that waits.
    const PURE: &[&str] = &["model", "delivery", "dialect"];
    const IMPURE: &[&str] = &[
        "ambient",
        "group_commit",
        "rand",
        "reqwest",
        "telemetry",
        "tokio",
    ];

    /// Within the layer `tests`, all stand on this one.
    const TESTS_STAND_ON: &str = "testkit";

    /// What only its owners know, besides tests.
    const CONTAINED: &[(&str, &[&str])] = &[
        ("hyper-rustls", &["sender"]),
        ("lapin", &["broker"]),
        ("opentelemetry", &["telemetry"]),
        ("opentelemetry-otlp", &["telemetry"]),
        ("opentelemetry_sdk", &["telemetry"]),
        ("rand", &["ambient"]),
        ("redis", &["shared_state"]),
        ("reqwest", &["exporter", "fanfare"]),
        ("rusqlite", &["broker", "store"]),
        ("sqlx", &["store"]),
    ];

    /// The normal and build dependencies of every crate of the workspace.
    fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
        let cargo = option_env!("CARGO").unwrap_or("cargo");
        let output = Command::new(cargo)
            .args([
                "metadata",
                "--format-version",
                "1",
                "--no-deps",
                "--offline",
            ])
            .args([
                "--manifest-path",
                concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
            ])
            .output()
            .expect("cargo runs");
        let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
        let text = |value: &Value| value.as_str().expect("a name").to_owned();
        let uses = |package: &Value| {
            let all = package["dependencies"].as_array().expect("a list");
            all.iter()
                .filter(|one| one["kind"] != "dev")
                .map(|one| text(&one["name"]))
                .collect()
        };
        let packages = metadata["packages"].as_array().expect("a list");
        packages
            .iter()
            .map(|package| (text(&package["name"]), uses(package)))
            .collect()
    }

    fn layer(name: &str) -> Option<usize> {
        LAYERS.iter().position(|(_, crates)| crates.contains(&name))
    }

    #[test]
    fn every_crate_has_a_layer_and_uses_only_those_below() {
        let dependencies = dependencies();
        for (name, uses) in &dependencies {
            let own = layer(name).unwrap_or_else(|| panic!("`{name}` has no layer yet"));
            for used in uses.iter().filter(|used| dependencies.contains_key(*used)) {
                let below =
                    layer(used).unwrap_or_else(|| panic!("`{used}` has no layer yet")) < own;
                let test_on_testkit = LAYERS[own].0 == "tests" && used == TESTS_STAND_ON;
                assert!(
                    below || test_on_testkit,
                    "`{name}` ({}) must not use `{used}`",
                    LAYERS[own].0
                );
            }
        }
    }

    #[test]
    fn pure_crates_use_nothing_that_has_effects() {
        let dependencies = dependencies();
        for name in PURE {
            for used in IMPURE {
                assert!(
                    !dependencies[*name].contains(*used),
                    "`{name}` must not use `{used}`"
                );
            }
        }
    }

    #[test]
    fn contained_libraries_are_used_by_their_owners_alone() {
        for (name, uses) in &dependencies() {
            if layer(name).is_some_and(|layer| LAYERS[layer].0 == "tests") {
                continue;
            }
            for (library, owners) in CONTAINED {
                assert!(
                    !uses.contains(*library) || owners.contains(&name.as_str()),
                    "`{name}` must not use `{library}`: that is for {owners:?}"
                );
            }
        }
    }
}
