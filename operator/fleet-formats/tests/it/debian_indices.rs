//! What indices list, and what is wrong with those that lie.

use fleet_api::mirror::{DebianContent, DebianInclude, DebianPackages, PackageRule};
use fleet_formats::debian::Debian;
use fleet_formats::seam::{Format, IndexGroup, Item, Payload, Promise, Rejected, Unusable};
use fleet_types::{Digest, Expected, Reason, RepoPath};

pub const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub const PACKAGES: u16 = 1;
pub const SOURCES: u16 = 2;
const CHECKSUMS: u16 = 3;
const DIFFERENCES: u16 = 4;

fn read(kind: u16, stem: &str, text: &str) -> Result<Vec<Payload>, Rejected> {
    read_with(DebianPackages::default(), kind, stem, text)
}

fn read_with(
    packages: DebianPackages,
    kind: u16,
    stem: &str,
    text: &str,
) -> Result<Vec<Payload>, Rejected> {
    let (files, unusable) = items(packages, kind, stem, text)?;
    assert_eq!(unusable, []);
    Ok(files)
}

pub fn items(
    packages: DebianPackages,
    kind: u16,
    stem: &str,
    text: &str,
) -> Result<(Vec<Payload>, Vec<Unusable>), Rejected> {
    let words = |word: &str| vec![word.to_owned()];
    let slice = DebianContent {
        suites: words("stable"),
        components: words("main"),
        architectures: words("amd64"),
        include: DebianInclude::default(),
        aliases: vec![],
        release_names: vec![],
        packages,
    };
    let stem = RepoPath::new(stem).unwrap();
    let group = IndexGroup {
        stem,
        lists_payload: true,
        required: true,
        files: vec![],
        uncompressed: None,
        kind,
    };
    let (mut files, mut unusable) = (Vec::new(), Vec::new());
    Debian::new(slice)?.read_index(&group, &mut text.as_bytes(), &mut |item| {
        match item {
            Item::File(payload) => files.push(payload),
            Item::Unusable(entry) => unusable.push(entry),
        }
        std::ops::ControlFlow::Continue(())
    })?;
    Ok((files, unusable))
}

/// The paths that are listed, and of what cannot be used the name and why.
pub fn sorted_out(kind: u16, text: &str) -> (Vec<String>, Vec<(String, String)>) {
    let (files, unusable) = items(
        DebianPackages::default(),
        kind,
        "dists/stable/main/Index",
        text,
    )
    .unwrap();
    let files = files.into_iter().map(|file| file.path.to_string());
    let unusable = unusable.into_iter().map(|entry| (entry.name, entry.why));
    (files.collect(), unusable.collect())
}

pub fn reason(kind: u16, text: &str) -> (Reason, String) {
    let refused = read(kind, "dists/stable/main/Index", text).unwrap_err();
    (refused.reason, refused.message)
}

fn listed(kind: u16, stem: &str, text: &str) -> Vec<(String, u64, bool)> {
    let payload = read(kind, stem, text).unwrap().into_iter();
    payload
        .map(|payload| {
            (
                payload.path.to_string(),
                promised(&payload).0.size,
                payload.guarded,
            )
        })
        .collect()
}

/// And whether the size is exact.
fn promised(payload: &Payload) -> (Expected, bool) {
    match payload.promise {
        Promise::Digest { expected, exact } => (expected, exact),
        ref other => panic!("{other:?}"),
    }
}

pub fn package(name: &str, fields: &str) -> String {
    format!("Package: {name}\nDescription: text\n more text\n{fields}\n")
}

#[test]
fn packages_are_listed_relative_to_the_repository() {
    let one = package(
        "one",
        &format!("Filename: pool/main/o/one_1%3a1+b~2_amd64.deb\nSize: 12\nSHA256: {A}\n"),
    );
    let flat = package(
        "two",
        &format!("Filename: ./two.deb\nSize: 0\nMD5sum: x\nSHA512: {A}{A}\n"),
    );
    assert_eq!(
        listed(
            PACKAGES,
            "dists/stable/main/binary-amd64/Packages",
            &format!("{one}{flat}")
        ),
        [
            ("pool/main/o/one_1%3a1+b~2_amd64.deb".to_owned(), 12, true),
            ("two.deb".to_owned(), 0, true)
        ]
    );
    let digests: Vec<_> = read(PACKAGES, "Packages", &flat)
        .unwrap()
        .iter()
        .map(|payload| promised(payload).0.digest)
        .collect();
    assert!(matches!(digests[..], [Digest::Sha512(_)]));
}

#[test]
fn sources_list_every_file_of_a_package() {
    let text = format!(
        "Package: src\nFiles:\n x 1 src.dsc\nDirectory: pool/main/s/src\nChecksums-Sha256:\n {A} 5 src.dsc\n {A} 6 src.tar.xz\n"
    );
    let paths = [
        ("pool/main/s/src/src.dsc".to_owned(), 5, true),
        ("pool/main/s/src/src.tar.xz".to_owned(), 6, true),
    ];
    assert_eq!(listed(SOURCES, "Sources", &text), paths);
    let flat = format!("Package: src\nDirectory: .\nChecksums-Sha512:\n {A}{A} 5 src.dsc\n");
    assert_eq!(
        listed(SOURCES, "Sources", &flat),
        [("src.dsc".to_owned(), 5, true)]
    );
    let slashes =
        format!("Package: src\nDirectory: /pool//src/\nChecksums-Sha256:\n {A} 5 src.dsc\n");
    assert_eq!(sorted_out(SOURCES, &slashes).0, ["pool/src/src.dsc"]);
    for (odd, word) in [
        (
            "Directory: d\nFiles:\n x 1 src.dsc\n".to_owned(),
            "WeakHash",
        ),
        ("Directory: d\n".to_owned(), "no SHA-256"),
        (
            format!("Directory: d\nChecksums-Sha256:\n {A} 5 x\n {A} 5 ../../x\n"),
            "UnsafePath",
        ),
        (
            format!("Directory: ..\nChecksums-Sha256:\n {A} 5 x\n"),
            "UnsafePath",
        ),
        (format!("Checksums-Sha256:\n {A} 5 x\n zzz\n"), "zzz"),
        (
            format!("Directory: d\nDirectory: e\nChecksums-Sha256:\n {A} 5 x\n"),
            "directory stands twice",
        ),
    ] {
        let (files, unusable) = sorted_out(SOURCES, &format!("Package: odd\n{odd}\n{text}"));
        assert_eq!(files.len(), 2, "nothing of the bad one: {odd}");
        assert!(
            unusable[0].0 == "odd" && unusable[0].1.contains(word),
            "{odd}: {unusable:?}"
        );
    }
}

#[test]
fn installer_images_stand_beside_their_checksums() {
    let stem = "dists/stable/main/installer-amd64/current/images/SHA256SUMS";
    let found = read(
        CHECKSUMS,
        stem,
        &format!("{A}  ./netboot/mini.iso\n{A} *vmlinuz\n"),
    )
    .unwrap();
    let paths: Vec<_> = found
        .iter()
        .map(|payload| (payload.path.as_str(), promised(payload).1))
        .collect();
    let base = "dists/stable/main/installer-amd64/current/images";
    assert_eq!(
        paths,
        [
            (format!("{base}/netboot/mini.iso").as_str(), false),
            (format!("{base}/vmlinuz").as_str(), false)
        ]
    );
    let odd = format!(
        "{A}  ../../x\n{A}  /etc/passwd\nabc y\n{A}  vmlinuz\n{}\n",
        "x".repeat(10_000)
    );
    let (files, unusable) = sorted_out(CHECKSUMS, &odd);
    assert_eq!(files, ["dists/stable/main/vmlinuz"]);
    assert_eq!(unusable[0].0, "../../x");
    assert!(
        unusable[1].1.contains("UnsafePath") && unusable[2].1.ends_with("line 3"),
        "{unusable:?}"
    );
    assert!(
        unusable
            .iter()
            .all(|(name, why)| name.len() + why.len() < 500)
    );
}

#[test]
fn differences_list_their_compressed_patches() {
    let stem = "dists/stable/main/binary-amd64/Packages.diff/Index";
    let text = format!(
        "SHA256-Current: {A} 9\nSHA256-Patches:\n {A} 3 T-1\nSHA256-Download:\n {A} 2 T-1.gz\n"
    );
    let path = "dists/stable/main/binary-amd64/Packages.diff/T-1.gz".to_owned();
    assert_eq!(listed(DIFFERENCES, stem, &text), [(path, 2, false)]);
    assert_eq!(
        reason(DIFFERENCES, &format!("SHA256-Download:\n {A} 2 x/T-1.gz\n")).0,
        Reason::UnsafePath
    );
    assert_eq!(
        reason(DIFFERENCES, "SHA1-Download:\n x 2 T-1.gz\n").0,
        Reason::WeakHash
    );
}

#[test]
fn rules_over_packages_mark_what_is_left_out_and_nothing_else() {
    let rule = |name: &str| PackageRule {
        name: Some(name.to_owned()),
        ..PackageRule::default()
    };
    let rules = DebianPackages {
        include: vec![
            rule("a*"),
            PackageRule {
                source: Some("b".to_owned()),
                ..PackageRule::default()
            },
        ],
        exclude: vec![rule("a2")],
    };
    let wanted = |kind, text: &str| -> Vec<(String, bool)> {
        let found = read_with(rules.clone(), kind, "dists/stable/main/Index", text).unwrap();
        let wanted = found.into_iter();
        wanted
            .map(|payload| (payload.path.to_string(), payload.wanted))
            .collect()
    };
    let file = |name: &str| format!("Filename: pool/{name}\nSize: 1\nSHA256: {A}\n");
    let text: String = ["a1", "a2", "c"]
        .map(|name| package(name, &file(name)))
        .concat()
        + &package("d", &format!("Source: b (1.0)\n{}", file("d")));
    let pool = |name: &str, wanted| (format!("pool/{name}"), wanted);
    assert_eq!(
        wanted(PACKAGES, &text),
        [
            pool("a1", true),
            pool("a2", false),
            pool("c", false),
            pool("d", true)
        ]
    );
    let source = |name: &str| {
        format!(
            "Package: {name}\nDirectory: pool\nChecksums-Sha256:\n {A} 1 {name}.dsc\n {A} 1 {name}.tar\n\n"
        )
    };
    assert_eq!(
        wanted(SOURCES, &(source("b") + &source("c"))),
        [
            pool("b.dsc", true),
            pool("b.tar", true),
            pool("c.dsc", false),
            pool("c.tar", false)
        ]
    );
    assert_eq!(
        wanted(CHECKSUMS, &format!("{A}  ./netboot/mini.iso\n")),
        [("dists/stable/main/netboot/mini.iso".to_owned(), true)]
    );
}
