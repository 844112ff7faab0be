//! The chart carries copies of the kinds' definitions, since Helm reads nothing outside of it; and it grants no right
//! to Secrets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The definitions in a folder, by file name.
fn definitions(folder: &Path) -> BTreeMap<String, String> {
    let entries =
        std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().ends_with(".mirrorfleet.dev.yaml"))
        })
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                std::fs::read_to_string(&path).unwrap(),
            )
        })
        .collect()
}

#[test]
fn the_chart_installs_the_kinds_as_they_are() {
    let kinds = definitions(&top().join("crds"));
    assert!(!kinds.is_empty(), "crds/ is empty");
    let copies = definitions(&top().join("charts/mirrorfleet/files/crds"));
    assert!(
        kinds == copies,
        "the chart's copies are out of date; run charts/copy-crds.sh (`make crds` does)"
    );
}

#[test]
fn no_rule_of_the_chart_names_secrets() {
    let templates = top().join("charts/mirrorfleet/templates");
    for entry in std::fs::read_dir(templates).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let granted = text
            .lines()
            .filter(|line| line.trim_start().starts_with("resources:") && line.contains('['));
        for line in granted {
            assert!(
                !line.contains("secrets") && !line.contains('*'),
                "{}: {line}",
                path.display()
            );
        }
    }
}
