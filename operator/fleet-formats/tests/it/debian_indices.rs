//! What indices list, and what is wrong with those that lie.

use fleet_formats::debian::{Debian, DebianSlice, Include, PackageRule, PackageRules};
use fleet_formats::seam::{Format, IndexGroup, Item, Payload, Rejected, Unusable};
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
    let (files, unusable) = items(packages, kind, stem, text)?;
    assert_eq!(unusable, []);
    Ok(files)
}

fn items(
    packages: PackageRules,
    kind: u16,
    stem: &str,
    text: &str,
) -> Result<(Vec<Payload>, Vec<Unusable>), Rejected> {
    let words = |word: &str| vec![word.to_owned()];
    let slice = DebianSlice {
        suites: words("stable"),
        components: words("main"),
        architectures: words("amd64"),
        include: Include::default(),
        aliases: vec![],
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
        Ok(())
    })?;
    Ok((files, unusable))
}

/// The paths that are listed, and of what cannot be used the name and why.
fn sorted_out(kind: u16, text: &str) -> (Vec<String>, Vec<(String, String)>) {
    let (files, unusable) = items(
        PackageRules::default(),
        kind,
        "dists/stable/main/Index",
        text,
    )
    .unwrap();
    let files = files.into_iter().map(|file| file.path.to_string());
    let unusable = unusable.into_iter().map(|entry| (entry.name, entry.why));
    (files.collect(), unusable.collect())
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

/// As apt: the others can be installed, and what cannot be told is not guessed.
#[test]
fn a_bad_stanza_costs_its_package_and_no_other() {
    let file = |name: &str| format!("Filename: {name}.deb\nSize: 1\nSHA256: {A}\n");
    let good = |name: &str| package(name, &file(name));
    let cases = [
        (
            "Filename: odd.deb\nSize: 1\nMD5sum: x\nSHA1: y\n".to_owned(),
            "WeakHash",
        ),
        (
            format!("Filename: ../odd.deb\nSize: 1\nSHA256: {A}\n"),
            "UnsafePath",
        ),
        (
            format!("Filename: pool/../odd.deb\nSize: 1\nSHA256: {A}\n"),
            "UnsafePath",
        ),
        (
            format!("Filename: pool/\nSize: 1\nSHA256: {A}\n"),
            "UnsafePath",
        ),
        (format!("Size: 1\nSHA256: {A}\n"), "no Filename"),
        (format!("Filename:\nSize: 1\nSHA256: {A}\n"), "no Filename"),
        (format!("Filename: a\nSHA256: {A}\n"), "no Size"),
        (format!("Filename: a\nSize: -1\nSHA256: {A}\n"), "Size"),
        (format!("Filename: a\nSize: x1\nSHA256: {A}\n"), "Size"),
        (
            format!("Filename: a\nSize: 99999999999999999999\nSHA256: {A}\n"),
            "Size",
        ),
        (
            format!("Filename: a\nSize: 1099511627777\nSHA256: {A}\n"),
            "Size",
        ),
        ("Filename: a\nSize: 1\nSHA256: abc\n".to_owned(), ""),
        (
            format!("Filename: a\nFilename: b\nSize: 1\nSHA256: {A}\n"),
            "filename stands twice",
        ),
        (
            file("odd") + "Section: a\nsection : b\n",
            "section stands twice",
        ),
        (file("odd") + "Package: other\n" + &file("other"), "twice"),
        ("no field\n".to_owned() + &file("odd"), "neither a field"),
    ];
    for (fields, word) in cases {
        for text in [
            good("before") + &package("odd", &fields) + &good("behind"),
            // The last of a file without an empty line.
            good("before")
                + &good("behind")
                + package("odd", &fields).trim_end_matches('\n')
                + "\n",
        ] {
            let (files, unusable) = sorted_out(PACKAGES, &text);
            assert_eq!(files, ["before.deb", "behind.deb"], "{fields}");
            let [(name, why)] = &unusable[..] else {
                panic!("{fields}: {unusable:?}")
            };
            assert!(
                name == "odd" && why.contains(word) && why.contains("line"),
                "{fields}: {why}"
            );
        }
    }
}

#[test]
fn stanzas_that_apt_reads_are_read_as_apt_reads_them() {
    let text = format!(
        " a line that continues nothing\nPackage : one\n: no name\nTwo words: x\nX:\n  y\n\rFilename\t: //pool//./one.deb\r\r\nSize: 1\nSHA256:\n {A}\n\r\r\n\n\nPackage: two\nFilename: /two.deb\nSize: 1\nSHA256: {A}"
    );
    assert_eq!(sorted_out(PACKAGES, &text).0, ["pool/one.deb", "two.deb"]);
    let many: String = (0..5000).map(|number| format!("F{number}: x\n")).collect();
    let (files, unusable) = sorted_out(PACKAGES, &(package("odd", &many) + &text));
    assert_eq!((files.len(), unusable.len()), (2, 1), "{unusable:?}");
}

/// apt looks for the colon in the next stanza, which then is a part of this one.
#[test]
fn a_line_without_a_colon_at_the_end_costs_the_next_stanza_too() {
    let good = |name: &str| package(name, &format!("Filename: {name}\nSize: 1\nSHA256: {A}\n"));
    let text = good("one").trim_end().to_owned() + "\njunk\n\n" + &good("two") + &good("three");
    let (files, unusable) = sorted_out(PACKAGES, &text);
    assert_eq!(files, ["three"]);
    let names: Vec<_> = unusable.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["one", "two"]);
    let closed = good("one").trim_end().to_owned() + "\njunk\n here: it ends\n\n" + &good("two");
    assert_eq!(sorted_out(PACKAGES, &closed).0, ["two"]);
}

#[test]
fn an_index_that_apt_refuses_is_refused() {
    let good = package(
        "good",
        &format!("Filename: good.deb\nSize: 1\nSHA256: {A}\n"),
    );
    for (text, word) in [
        (
            format!("{good}Filename: x\nSize: 1\nSHA256: {A}\n"),
            "no Package",
        ),
        (good.replace("Package: good", "Package:"), "no Package"),
        (format!("junk\n\n{good}"), "no Package"),
        (format!("{good}Package: x\njunk"), "without a colon"),
        (format!("{good}\njunk\n\n\n"), "no Package"),
        ("hello\n".to_owned(), "no Package"),
        (format!("\n\n{good}"), "empty lines"),
    ] {
        let (refused, message) = reason(PACKAGES, &text);
        assert_eq!(refused, Reason::IndexMalformed, "{text}");
        assert!(
            message.contains(word) && message.contains("main/Index"),
            "{message}"
        );
    }
    assert_eq!(
        sorted_out(PACKAGES, &format!("\n{good}\n\n\n")).0,
        ["good.deb"]
    );
    let endless = format!("{good}Package: x\n{}", " more\n".repeat(1 << 18));
    assert_eq!(reason(PACKAGES, &endless).0, Reason::TooLarge);
}

#[test]
fn what_rules_leave_out_is_not_judged() {
    let rules = |name: &str| PackageRules {
        include: vec![],
        exclude: vec![PackageRule {
            name: Some(name.to_owned()),
            ..PackageRule::default()
        }],
    };
    let text = package("odd", "Filename: ../x\n") + &package("twice", "Section: a\nSection: b\n");
    let unusable = |rule: &str, text: &str| {
        let (files, unusable) = items(rules(rule), PACKAGES, "dists/stable/Index", text).unwrap();
        assert!(files.is_empty());
        unusable
            .into_iter()
            .map(|entry| entry.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(unusable("odd", &text), ["twice"]);
    assert_eq!(unusable("t*", &text), ["odd"]);
    assert!(unusable("*", &text).is_empty());
    let joined = "Package: odd\nFilename: a\nPackage: other\nFilename: b\n";
    assert_eq!(unusable("odd", joined), ["odd"], "the other one is wanted");
    assert!(unusable("o*", joined).is_empty());
}

#[test]
fn the_paths_of_what_cannot_be_used_are_told() {
    let paths = |kind, text: &str| -> Vec<String> {
        let (_, unusable) =
            items(PackageRules::default(), kind, "dists/stable/Index", text).unwrap();
        let paths = unusable.iter().flat_map(|entry| &entry.paths);
        paths.map(ToString::to_string).collect()
    };
    assert_eq!(
        paths(PACKAGES, "Package: a\nFilename: /pool/a.deb\n"),
        ["pool/a.deb"]
    );
    assert_eq!(
        paths(PACKAGES, "Package: a\nFilename: a\nFilename: b\n"),
        ["a", "b"]
    );
    assert!(paths(PACKAGES, "Package: a\nFilename: ../a\n").is_empty());
    let source = "Package: a\nDirectory: pool//a\nFiles:\n x 1 a.dsc\n x 1 a.tar\n";
    assert_eq!(paths(SOURCES, source), ["pool/a/a.dsc", "pool/a/a.tar"]);
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
