//! What docs/requirements.md says holds a requirement is there.

#![expect(clippy::unwrap_used, reason = "what cannot be read fails the test")]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// The names of every function in the workspace's Rust code.
fn functions(folder: &Path, found: &mut HashSet<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let code = fs::read_to_string(&path).unwrap();
            let names = code.split("fn ").skip(1).map(|rest| {
                rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .next()
                    .unwrap_or_default()
            });
            found.extend(names.map(str::to_owned));
        }
    }
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn each_requirement_is_held_by_something_that_exists() {
    let root = root();
    let mut known = HashSet::new();
    functions(&root.join("crates"), &mut known);
    functions(&root.join("tests"), &mut known);
    let page = fs::read_to_string(root.join("docs/requirements.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| R"));
    let mut numbers = Vec::new();
    for row in rows.filter(|row| !row.starts_with("| R |")) {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let (number, held_by) = (cells[0], cells[cells.len() - 1].trim_end_matches('|'));
        numbers.push(number[1..].parse::<u32>().unwrap());
        let mut holders = 0;
        for name in quoted(held_by) {
            let is_test = name.contains('_')
                && name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            if is_test {
                assert!(known.contains(name), "{number}: there is no test {name}");
                holders += 1;
            } else if name.starts_with("docs/") || name.starts_with("tests/") {
                assert!(root.join(name).exists(), "{number}: there is no {name}");
                holders += 1;
            }
        }
        assert!(
            holders > 0 || held_by.starts_with("not yet: "),
            "{number}: name a test or a page, or say why not yet"
        );
    }
    assert_eq!(numbers, (1..=241).collect::<Vec<_>>());
}
