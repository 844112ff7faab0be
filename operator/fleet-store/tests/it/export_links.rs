//! Exported trees in which links stand for files.

use std::fs;
use std::path::Path;

use fleet_store::*;

use crate::common::*;
use crate::export::{listed, tree};

#[test]
fn links_stand_for_files_that_another_folder_has_too() {
    let (dir, dest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let writer = writer(dir.path());
    let options = ExportOptions {
        stand_ins: vec![StandIns {
            links: "core/os/x86_64".into(),
            files: "pool/packages".into(),
        }],
        ..ExportOptions::default()
    };
    let says = |path: &str| fs::read_link(dest.path().join(path)).ok();
    let first = [
        ("core/os/x86_64/a", "a"),
        ("core/os/x86_64/alone", "alone"),
        ("core/os/x86_64/other", "one"),
        ("core/os/x86_64/sub/a", "a"),
        ("pool/packages/a", "a"),
        ("pool/packages/other", "another"),
    ];
    publish(&writer, 1, &first);
    // An earlier version wrote files.
    writer
        .export(dest.path(), &ExportOptions::default())
        .unwrap();
    assert_eq!(says("core/os/x86_64/a"), None);
    let report = writer.export(dest.path(), &options).unwrap();
    assert_eq!((report.written, report.unchanged), (1, 5));
    assert_eq!(
        says("core/os/x86_64/a").unwrap(),
        Path::new("../../../pool/packages/a")
    );
    for file in ["alone", "other", "sub/a"] {
        assert_eq!(says(&format!("core/os/x86_64/{file}")), None, "{file}");
    }
    assert_eq!(tree(dest.path()), listed(&first));
    let again = writer.export(dest.path(), &options).unwrap();
    assert_eq!((again.written, again.unchanged, again.removed), (0, 6, 0));

    // What is not the same any more is a file again, and what went goes without what it led to.
    let second = [
        ("core/os/x86_64/a", "new"),
        ("core/os/x86_64/b", "b"),
        ("pool/packages/a", "a"),
        ("pool/packages/b", "b"),
    ];
    publish(&writer, 2, &second);
    writer.export(dest.path(), &options).unwrap();
    assert_eq!(says("core/os/x86_64/a"), None);
    assert!(says("core/os/x86_64/b").is_some());
    assert_eq!(tree(dest.path()), listed(&second));
    publish(&writer, 3, &[("pool/packages/b", "b")]);
    writer.export(dest.path(), &options).unwrap();
    assert_eq!(tree(dest.path()), listed(&[("pool/packages/b", "b")]));
}
