//! Decision records: each is on the map, and what is said to hold it is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All tests in Rust, by name.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let names = text.split("fn ").skip(1);
            found.extend(names.filter_map(|rest| rest.split(['(', '<']).next().map(str::to_owned)));
        }
    }
}

/// Names of tests read as sentences: words with underscores between them.
fn is_a_test(name: &&str) -> bool {
    name.contains('_')
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[test]
fn each_decision_is_on_the_map_and_held_by_tests_that_exist() {
    let mut tests = BTreeSet::new();
    functions(&repository().join("operator"), &mut tests);
    let map = fs::read_to_string(repository().join("ARCHITECTURE.md")).unwrap();
    let mut records = 0;
    for entry in fs::read_dir(repository().join("docs/decisions")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "README.md" {
            continue;
        }
        assert!(map.contains(&format!("docs/decisions/{name}")), "{name}");
        let text = fs::read_to_string(&path).unwrap();
        let (_, held) = text.split_once("## What holds it").expect(&name);
        for test in held.split('`').filter(is_a_test) {
            assert!(tests.contains(test), "{name} names {test}");
        }
        records += 1;
    }
    assert!(records > 20, "{records}");
}
