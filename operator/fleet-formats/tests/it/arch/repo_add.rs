//! Databases that pacman's own repo-add makes, read by us.

use std::fs;
use std::path::Path;
use std::process::Command;

use fleet_formats::seam::{Item, Promise};
use fleet_types::{Reason, Sha256};
use sha2::Digest as _;
use tempfile::TempDir;

use super::archive::*;

fn run(folder: &Path, program: &str, arguments: &[&str]) {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .args(arguments)
        .env("LC_ALL", "C");
    let output = command.output();
    let output = output.unwrap_or_else(|error| {
        panic!("these tests need {program} (Debian: makepkg, libarchive-tools): {error}")
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
}

/// A package as makepkg makes it, as far as repo-add reads it.
fn build(folder: &Path, name: &str, version: &str) -> String {
    let info = format!(
        "pkgname = {name}\npkgbase = {name}\npkgver = {version}\npkgdesc = für alle\nurl = https://example.org\n\
         builddate = 1700000000\npackager = Somebody\nsize = 1\narch = any\nlicense = GPL\ngroup = base\ndepend = glibc\n"
    );
    fs::write(folder.join(".PKGINFO"), info).unwrap();
    let file = format!("{name}-{version}-any.pkg.tar.zst");
    run(folder, "bsdtar", &["--zstd", "-cf", &file, ".PKGINFO"]);
    file
}

#[test]
fn databases_of_repo_add_are_read_as_they_were_meant() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path();
    let long = "a-package-whose-name-is-so-long-that-its-place-in-the-archive-does-not-fit-into-the-hundred-bytes-of-ustar";
    let packages = [
        ("glibc", "2.38-7"),
        ("c++utils", "1:0.1.r5.gabc-1"),
        (long, "1-1"),
    ]
    .map(|(name, version)| build(folder, name, version));
    // What repo-add takes for the package's signature.
    fs::write(folder.join(format!("{}.sig", packages[0])), [0x89; 310]).unwrap();
    for suffix in ["gz", "zst", "xz", "bz2"] {
        let database = format!("core-{suffix}.db.tar.{suffix}");
        let mut arguments = vec!["-q", database.as_str()];
        arguments.extend(packages.iter().map(String::as_str));
        run(folder, "repo-add", &arguments);
        let listed = items(&core(), &fs::read(folder.join(&database)).unwrap()).unwrap();
        let mut given = 0;
        let mut found = Vec::new();
        for item in &listed {
            let Item::File(payload) = item else {
                panic!("{item:?}")
            };
            match &payload.promise {
                Promise::Digest { expected, .. } => {
                    let bytes = fs::read(folder.join(payload.path.file_name())).unwrap();
                    assert_eq!(expected.size, bytes.len() as u64);
                    let digest = Sha256(sha2::Sha256::digest(&bytes).into());
                    assert_eq!(expected.digest.to_string(), digest.to_string());
                    found.push(payload.path.file_name().to_owned());
                }
                Promise::Given { content, .. } => {
                    assert_eq!(content, &[0x89; 310]);
                    given += 1;
                }
                Promise::SignatureOver { .. } => {}
            }
        }
        let mut expected = packages.to_vec();
        expected.sort();
        found.sort();
        assert_eq!((found, given), (expected, 1), "{suffix}");
        // The links and lists that repo-add makes beside it.
        let files = folder.join(format!("core-{suffix}.files"));
        assert_eq!(
            items(&core(), &fs::read(files).unwrap()).unwrap().len(),
            listed.len()
        );
    }
    // Taken out again, one after the other.
    for name in ["glibc", "c++utils", long] {
        run(folder, "repo-remove", &["-q", "core-gz.db.tar.gz", name]);
    }
    let empty = fs::read(folder.join("core-gz.db.tar.gz")).unwrap();
    assert_eq!(items(&core(), &empty).unwrap(), []);
}

#[test]
fn forms_that_repo_add_can_make_and_nobody_serves_are_refused_by_name() {
    let dir = TempDir::new().unwrap();
    let package = build(dir.path(), "glibc", "2.38-7");
    run(dir.path(), "repo-add", &["-q", "core.db.tar.gz", &package]);
    let plain = dir.path().join("core.tar");
    run(
        dir.path(),
        "bsdtar",
        &["-cf", "core.tar", "@core.db.tar.gz"],
    );
    assert_eq!(items(&core(), &fs::read(&plain).unwrap()).unwrap().len(), 2);
    run(
        dir.path(),
        "bsdtar",
        &["--lzma", "-cf", "core.lzma", "@core.db.tar.gz"],
    );
    let refused = items(&core(), &fs::read(dir.path().join("core.lzma")).unwrap()).unwrap_err();
    assert_eq!(refused.reason, Reason::IndexMalformed);
    assert!(refused.message.contains("lzma"), "{refused}");
}
