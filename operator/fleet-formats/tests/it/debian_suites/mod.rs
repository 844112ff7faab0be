//! Suites: each obligation of their verification, and which indices belong to a slice.

mod names;
mod offers;
mod signatures;
mod slices;
mod verification;

use fleet_api::mirror::{DebianAlias, DebianContent, DebianInclude, DebianPackages};
use fleet_formats::debian::Debian;
use fleet_formats::openpgp::Keyring;
use fleet_formats::seam::{
    Allowances, Format, Rejected, RootContent, SignaturePolicy, Trust, UnitIndex, VerifyContext,
};
use fleet_types::{Reason, RepoPath, UnitRevision};

use crate::gpg::{DAY, Gpg, MADE_AT};

/// 2025-06-07T10:12:13Z, the Date of [`RELEASE`].
const DATE: i64 = 1_749_291_133;
const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const MD5: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// A Release with these files, each of 7 bytes.
fn release(head: &str, files: &[&str]) -> String {
    let lines = |digest: &str| {
        files
            .iter()
            .map(|name| format!(" {digest} 7 {name}\n"))
            .collect::<String>()
    };
    format!("{head}MD5Sum:\n{}SHA256:\n{}", lines(MD5), lines(A))
}

const HEAD: &str = "Suite: stable\nCodename: trixie\nDate: Sat, 07 Jun 2025 10:12:13 UTC\n\
    Valid-Until: Sat, 14 Jun 2025 10:12:13 UTC\nAcquire-By-Hash: yes\nArchitectures: all amd64 arm64\nComponents: main contrib\n";

const FILES: [&str; 28] = [
    "main/binary-amd64/Packages",
    "main/binary-amd64/Packages.gz",
    "main/binary-amd64/Packages.xz",
    "main/binary-amd64/Release",
    "main/binary-amd64/Packages.diff/Index",
    "main/binary-arm64/Packages.xz",
    "main/binary-all/Packages.xz",
    "main/i18n/Translation-en.bz2",
    "main/i18n/Translation-en.diff/Index",
    "main/Contents-amd64.gz",
    "main/Contents-all.gz",
    "main/Contents-all.diff/Index",
    "Contents-amd64.diff/Index",
    "main/Contents-source.gz",
    "main/Contents-udeb-amd64.gz",
    "Contents-amd64.gz",
    "main/source/Sources.xz",
    "main/source/Release",
    "main/dep11/Components-amd64.yml.gz",
    "main/dep11/icons-48x48.tar.gz",
    "main/dep11/CID-Index-amd64.json.gz",
    "main/debian-installer/binary-amd64/Packages.xz",
    "main/installer-amd64/current/images/SHA256SUMS",
    "main/installer-amd64/20250101/images/SHA256SUMS",
    "main/cnf/Commands-amd64.xz",
    "contrib/binary-amd64/Packages.xz",
    "non-free/binary-amd64/Packages.xz",
    "main/binary-amd64/Contents.old",
];

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn slice(suite: &str, include: DebianInclude) -> DebianContent {
    DebianContent {
        suites: strings(&[suite]),
        components: strings(&["main"]),
        architectures: strings(&["amd64"]),
        include,
        aliases: vec![],
        release_names: vec![],
        packages: DebianPackages::default(),
    }
}

fn root(path: &str, bytes: impl Into<Vec<u8>>) -> RootContent {
    RootContent::new(RepoPath::new(path).unwrap(), bytes.into())
}

fn context(trust: &Trust) -> VerifyContext<'_> {
    VerifyContext {
        now: DATE + DAY,
        trust,
        accepted: None,
        allowances: Allowances::NONE,
        settled: false,
    }
}

fn verify(
    slice: DebianContent,
    roots: &[RootContent],
    context: &VerifyContext<'_>,
) -> Result<UnitIndex, Rejected> {
    let unit = slice.suites[0].clone();
    Debian::new(slice)?
        .verify(&unit, roots, context)
        .map(|verified| UnitIndex::clone(&verified))
}

fn verify_text(suite: &str, text: &str) -> Result<UnitIndex, Rejected> {
    let path = if suite.ends_with('/') {
        "Release".to_owned()
    } else {
        format!("dists/{suite}/Release")
    };
    verify(
        slice(suite, DebianInclude::default()),
        &[root(&path, text)],
        &context(&Trust::nothing_is_judged()),
    )
}

fn stems(index: &UnitIndex) -> Vec<&str> {
    index
        .groups
        .iter()
        .map(|group| group.stem.as_str().trim_start_matches("dists/stable/"))
        .collect()
}
