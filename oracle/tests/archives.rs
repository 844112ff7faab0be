//! Archives as they are and as they should not be, beside libarchive, by which pacman reads them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use mirrorfleet_oracle::ours;

/// The packages' folders as bsdtar lists them; none where it cannot.
fn listed(database: &Path) -> Option<BTreeSet<String>> {
    let output = Command::new("bsdtar")
        .arg("-tf")
        .arg(database)
        .env("LC_ALL", "C.UTF-8")
        .output();
    let output = output.unwrap_or_else(|error| {
        panic!("this test needs bsdtar (Debian: libarchive-tools): {error}")
    });
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let folders = text.lines().filter_map(|member| member.split_once('/'));
    let folders = folders.map(|(folder, _)| folder.to_owned()).collect();
    output.status.success().then_some(folders)
}

/// The inputs from which the fuzz target begins: whatever we read, libarchive reads, and it has the same packages.
#[test]
fn what_we_read_of_odd_archives_is_what_libarchive_reads() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/arch_database");
    let dir = tempfile::tempdir().unwrap();
    let mut read = 0;
    for file in fs::read_dir(corpus).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        // The first byte says how the fuzz target takes the rest.
        let Some((_, database)) = bytes.split_first() else {
            continue;
        };
        let copy = dir.path().join(path.file_name().unwrap());
        fs::write(&copy, database).unwrap();
        let Ok((packages, left_out)) = ours(database) else {
            continue;
        };
        let folders =
            listed(&copy).unwrap_or_else(|| panic!("libarchive refuses {}", path.display()));
        assert_eq!(
            packages.len() + left_out.len(),
            folders.len(),
            "{}: {folders:?}",
            path.display()
        );
        read += 1;
    }
    assert!(read >= 5, "only {read} of them are read at all");
}
