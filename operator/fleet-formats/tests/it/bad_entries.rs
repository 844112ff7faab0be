//! Entries of indices that cannot be used: what they cost, and what they do not.

use fleet_api::mirror::{DebianPackages, PackageRule};
use fleet_types::Reason;

use crate::debian_indices::{A, PACKAGES, SOURCES, items, package, reason, sorted_out};

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
            file("odd") + "Filename\x0b: other.deb\n",
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
    let rules = |name: &str| DebianPackages {
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
            items(DebianPackages::default(), kind, "dists/stable/Index", text).unwrap();
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
