//! What indices list, and what is wrong with those that lie.

use fleet_formats::debian::{Debian, DebianSlice, Include, PackageRule, PackageRules};
use fleet_formats::seam::{Format, IndexGroup, Payload, Rejected};
use fleet_types::{Digest, Reason, RepoPath};

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const PACKAGES: u16 = 1;
const SOURCES: u16 = 2;
const CHECKSUMS: u16 = 3;
const DIFFERENCES: u16 = 4;

fn read(kind: u16, stem: &str, text: &str) -> Result<Vec<Payload>, Rejected> {
    read_with(PackageRules::default(), kind, stem, text)
}

fn read_with(
    packages: PackageRules,
    kind: u16,
    stem: &str,
    text: &str,
) -> Result<Vec<Payload>, Rejected> {
    let words = |word: &str| vec![word.to_owned()];
    let slice = DebianSlice {
        suites: words("stable"),
        components: words("main"),
        architectures: words("amd64"),
        include: Include::default(),
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
    let mut found = Vec::new();
    Debian::new(slice)?.read_index(&group, &mut text.as_bytes(), &mut |payload| {
        found.push(payload);
        Ok(())
    })?;
    Ok(found)
}

fn reason(kind: u16, text: &str) -> (Reason, String) {
    let refused = read(kind, "dists/stable/main/Index", text).unwrap_err();
    (refused.reason, refused.message)
}

fn listed(kind: u16, stem: &str, text: &str) -> Vec<(String, u64, bool)> {
    let payload = read(kind, stem, text).unwrap().into_iter();
    payload
        .map(|payload| {
            (
                payload.path.to_string(),
                payload.expected.size,
                payload.guarded,
            )
        })
        .collect()
}

fn package(name: &str, fields: &str) -> String {
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
        .map(|p| p.expected.digest)
        .collect();
    assert!(matches!(digests[..], [Digest::Sha512(_)]));
}

#[test]
fn packages_that_lie_are_refused_and_named() {
    let good = package(
        "good",
        &format!("Filename: good.deb\nSize: 1\nSHA256: {A}\n"),
    );
    let case = |fields: String| reason(PACKAGES, &format!("{good}{}", package("odd", &fields)));
    let (weak, message) = case("Filename: odd.deb\nSize: 1\nMD5sum: x\nSHA1: y\n".to_owned());
    assert_eq!(weak, Reason::WeakHash);
    assert!(
        message.contains("odd") && message.contains("stanza 2") && message.contains("main/Index"),
        "{message}"
    );
    assert_eq!(
        case(format!("Filename: ../odd.deb\nSize: 1\nSHA256: {A}\n")).0,
        Reason::UnsafePath
    );
    assert_eq!(
        case(format!("Filename: /etc/passwd\nSize: 1\nSHA256: {A}\n")).0,
        Reason::UnsafePath
    );
    for fields in [
        format!("Size: 1\nSHA256: {A}\n"),
        format!("Filename: a\nSHA256: {A}\n"),
        format!("Filename: a\nSize: -1\nSHA256: {A}\n"),
        format!("Filename: a\nSize: +1\nSHA256: {A}\n"),
        format!("Filename: a\nSize: 99999999999999999999\nSHA256: {A}\n"),
        format!("Filename: a\nSize: 1099511627777\nSHA256: {A}\n"),
        "Filename: a\nSize: 1\nSHA256: abc\n".to_owned(),
        format!("Filename: a\nFilename: b\nSize: 1\nSHA256: {A}\n"),
        "no field\n".to_owned(),
    ] {
        let (malformed, message) = case(fields.clone());
        assert_eq!(malformed, Reason::IndexMalformed, "{fields}");
        assert!(message.contains("stanza 2"), "{message}");
    }
    let endless = format!("Package: x\n{}", " more\n".repeat(1 << 20));
    assert_eq!(reason(PACKAGES, &endless).0, Reason::TooLarge);
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
    assert_eq!(
        reason(
            SOURCES,
            "Package: src\nDirectory: d\nFiles:\n x 1 src.dsc\n"
        )
        .0,
        Reason::WeakHash
    );
    assert_eq!(
        reason(SOURCES, "Package: src\nDirectory: d\n").0,
        Reason::IndexMalformed
    );
    let escaping = format!("Package: src\nDirectory: d\nChecksums-Sha256:\n {A} 5 ../../x\n");
    assert_eq!(reason(SOURCES, &escaping).0, Reason::UnsafePath);
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
        .map(|payload| (payload.path.as_str(), payload.exact_size))
        .collect();
    let base = "dists/stable/main/installer-amd64/current/images";
    assert_eq!(
        paths,
        [
            (format!("{base}/netboot/mini.iso").as_str(), false),
            (format!("{base}/vmlinuz").as_str(), false)
        ]
    );
    assert_eq!(
        reason(CHECKSUMS, &format!("{A}  ../../x\n")).0,
        Reason::UnsafePath
    );
    assert_eq!(
        reason(CHECKSUMS, &format!("{A}  /etc/passwd\n")).0,
        Reason::UnsafePath
    );
    assert_eq!(reason(CHECKSUMS, "abc x\n").0, Reason::IndexMalformed);
    assert_eq!(
        reason(CHECKSUMS, &"x".repeat(10_000)).0,
        Reason::IndexMalformed
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
    let rules = PackageRules {
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
