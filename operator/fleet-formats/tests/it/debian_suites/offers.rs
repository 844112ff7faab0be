//! What is declared is a wish; what the signed list holds is the truth.

use fleet_types::Accepted;

use super::*;

fn index_of(slice: DebianContent, text: &str) -> UnitIndex {
    let folder = match slice.suites[0].as_str() {
        "./" => String::new(),
        suite => format!("dists/{suite}/"),
    };
    let roots = [root(&format!("{folder}Release"), text)];
    verify(slice, &roots, &context(&Trust::nothing_is_judged())).unwrap()
}

fn declared(components: &[&str], architectures: &[&str]) -> DebianContent {
    DebianContent {
        components: strings(components),
        architectures: strings(architectures),
        ..slice("stable", DebianInclude::default())
    }
}

fn lacks(index: &UnitIndex) -> Vec<&str> {
    index.lacks.iter().map(|lack| lack.word.as_str()).collect()
}

fn required(index: &UnitIndex) -> Vec<&str> {
    let groups = index.groups.iter().filter(|group| group.required);
    groups
        .map(|group| group.stem.as_str().trim_start_matches("dists/stable/"))
        .collect()
}

const BARE: &str = "Suite: stable\nDate: Sat, 07 Jun 2025 10:12:13 UTC\n";

fn head(more: &str) -> String {
    format!("{BARE}{more}")
}

#[test]
fn the_list_counts_where_the_lines_lie() {
    let files = ["main/binary-amd64/Packages.xz"];
    for lines in [
        "Components: testing\nArchitectures: amd64\n",
        "Components: main\nArchitectures: arm64\n",
        "",
    ] {
        let index = index_of(
            declared(&["main"], &["amd64"]),
            &release(&head(lines), &files),
        );
        assert_eq!(stems(&index), ["main/binary-amd64/Packages"], "{lines}");
        assert!(
            index.lacks.is_empty() && index.notes.is_empty(),
            "{index:?}"
        );
    }
    let prefixed = HEAD.replace("main contrib", "updates/main");
    assert!(
        verify_text("stable", &release(&prefixed, &FILES))
            .unwrap()
            .lacks
            .is_empty()
    );
}

#[test]
fn what_is_not_offered_together_is_a_hole_and_what_nothing_answers_to_is_lacking() {
    let files = [
        "main/binary-amd64/Packages.xz",
        "main/binary-arm64/Packages.xz",
        "extra/binary-amd64/Packages.xz",
    ];
    let text = release(
        &head("Components: main extra\nArchitectures: amd64 arm64 armhf\n"),
        &files,
    );
    let index = index_of(
        declared(&["main", "extra"], &["amd64", "arm64", "armhf"]),
        &text,
    );
    assert_eq!(required(&index).len(), 3);
    assert!(index.lacks.is_empty(), "announced is enough: {index:?}");
    let notes = index.notes.concat();
    for hole in ["extra/arm64", "main/armhf", "extra/armhf"] {
        assert!(notes.contains(hole), "{notes}");
    }
    assert!(!notes.contains("main/arm64"), "{notes}");

    let index = index_of(declared(&["main", "contrib"], &["amd64", "s390x"]), &text);
    assert_eq!(lacks(&index), ["component contrib", "architecture s390x"]);
    assert!(
        index.lacks[0].message.contains("it offers extra, main"),
        "{index:?}"
    );
    assert!(
        index.lacks[1]
            .message
            .contains("it offers amd64, arm64, armhf"),
        "{index:?}"
    );
    let of_sources = DebianContent {
        include: DebianInclude {
            sources: true,
            ..DebianInclude::default()
        },
        ..declared(&["main"], &["amd64"])
    };
    assert_eq!(lacks(&index_of(of_sources, &text)), ["index Sources"]);
}

#[test]
fn binary_all_is_needed_where_apt_asks_for_it() {
    let files = [
        "main/binary-amd64/Packages.xz",
        "main/binary-all/Packages.xz",
    ];
    let needed = |lines: &str, architectures: &[&str]| {
        let index = index_of(
            declared(&["main"], architectures),
            &release(&head(lines), &files),
        );
        assert!(index.lacks.is_empty(), "{index:?}");
        required(&index).contains(&"main/binary-all/Packages")
    };
    assert!(needed("Architectures: all amd64\n", &["amd64"]));
    assert!(needed("", &["amd64"]));
    assert!(!needed("Architectures: amd64\n", &["amd64"]));
    let included = "Architectures: all amd64\nNo-Support-for-Architecture-all: Packages\n";
    assert!(!needed(included, &["amd64"]));
    assert!(
        needed("Architectures: amd64\n", &["all"]),
        "it alone is declared"
    );

    let only_all = release(&head("Architectures: all amd64\n"), &files[1..]);
    let index = index_of(declared(&["main"], &["amd64"]), &only_all);
    assert_eq!(required(&index), ["main/binary-all/Packages"]);
    assert!(
        index.lacks.is_empty() && index.notes.is_empty(),
        "{index:?}"
    );
}

#[test]
fn sources_alone_can_be_declared() {
    let with_sources = DebianInclude {
        sources: true,
        ..DebianInclude::default()
    };
    let text = release(
        &head("Architectures: source\n"),
        &[
            "main/source/Sources.xz",
            "main/i18n/Translation-en.bz2",
            "main/binary-all/Packages.xz",
        ],
    );
    for architectures in [&[][..], &["source"]] {
        let slice = DebianContent {
            include: with_sources,
            ..declared(&["main"], architectures)
        };
        let index = index_of(slice, &text);
        assert_eq!(stems(&index), ["main/source/Sources"]);
        assert!(
            index.lacks.is_empty() && index.notes.is_empty(),
            "{index:?}"
        );
    }
    let index = index_of(declared(&["main"], &["amd64", "source"]), &text);
    assert_eq!(lacks(&index), ["architecture amd64"]);

    let flat = |include, files: &[&str]| {
        let index = index_of(slice("./", include), &release(BARE, files));
        let stems: Vec<_> = index
            .groups
            .iter()
            .map(|group| group.stem.to_string())
            .collect();
        (stems, lacks(&index).join(", "))
    };
    assert_eq!(
        flat(with_sources, &["Sources.gz"]),
        (vec!["Sources".to_owned()], String::new())
    );
    assert_eq!(
        flat(DebianInclude::default(), &["Sources.gz"]).1,
        "index Packages"
    );
    assert_eq!(flat(with_sources, &["Packages"]).1, "index Sources");
}

fn names_of(unit: &str, slice: DebianContent, roots: &[RootContent]) -> Vec<Vec<String>> {
    let files = Debian::new(slice).unwrap().unlisted(unit, roots).unwrap();
    let names = |files: &Vec<fleet_formats::seam::RootFile>| {
        files.iter().map(|file| file.path.to_string()).collect()
    };
    files.iter().map(names).collect()
}

#[test]
fn indices_are_read_by_their_usual_names_only_where_nobody_signs_and_nothing_lists_them() {
    let all = || declared(&["main"], &["amd64"]);
    let names = names_of("stable", all(), &[]);
    let first: Vec<_> = names.iter().map(|names| names[0].as_str()).collect();
    assert_eq!(
        first,
        [
            "dists/stable/main/binary-amd64/Packages.xz",
            "dists/stable/main/binary-all/Packages.xz"
        ]
    );
    assert_eq!(
        names[0].last().unwrap(),
        "dists/stable/main/binary-amd64/Packages"
    );
    let signed = Trust {
        signatures: SignaturePolicy::Required,
        ..Trust::nothing_is_judged()
    };
    let index = [root("dists/stable/main/binary-amd64/Packages.xz", "a")];
    let refused = verify(all(), &index, &context(&signed)).unwrap_err();
    assert_eq!(refused.reason, Reason::UpstreamIncomplete);
    let roots = |text: &str| [root("dists/stable/Release", text)];
    let listed = release(HEAD, &FILES);
    assert!(names_of("stable", all(), &roots(&listed)).is_empty());
    let weak = listed.split_once("SHA256:").unwrap().0;
    let of_weak = names_of("stable", all(), &roots(weak));
    assert_eq!(of_weak[0].len(), 3, "those that are listed: {of_weak:?}");
    assert_eq!(names_of("stable", all(), &roots(BARE)).len(), 2);
}

#[test]
fn what_was_read_is_the_state_where_nothing_else_is() {
    let trust = Trust::nothing_is_judged();
    let state = |roots: &[RootContent], known: Option<&UnitRevision>| {
        let known = known.map(|known| Accepted::from(known.clone()));
        let context = VerifyContext {
            accepted: known.as_ref(),
            ..context(&trust)
        };
        verify(slice("./", DebianInclude::default()), roots, &context)
    };
    let first = state(&[root("Packages", "a")], None).unwrap();
    assert_eq!(first.groups.len(), 1);
    assert!(first.roots.is_empty() && !first.revision.is_dated());
    assert_eq!(first.groups[0].files[0].expected.size, 1);
    let other = state(&[root("Packages", "b")], Some(&first.revision)).unwrap();
    assert_ne!(
        other.revision.digest, first.revision.digest,
        "and it is no contradiction"
    );
    let dated = UnitRevision {
        date: DATE,
        ..first.revision.clone()
    };
    assert!(state(&[root("Packages", "c")], Some(&dated)).is_ok());
    assert_eq!(
        state(&[], None).unwrap_err().reason,
        Reason::UpstreamIncomplete
    );

    // What is said of sizes and digests is obeyed, however weak it is.
    let listing = |size: &str, md5: &str| format!("Origin: x\nMD5Sum:\n {md5} {size} Packages\n");
    let md5_of_a = "0cc175b9c0f1b6a831c399e269772661";
    let read = |text: &str| state(&[root("Release", text), root("Packages", "a")], None);
    assert_eq!(read(&listing("1", md5_of_a)).unwrap().groups.len(), 1);
    for wrong in [listing("2", md5_of_a), listing("1", MD5)] {
        assert_eq!(
            read(&wrong).unwrap_err().reason,
            Reason::DigestMismatch,
            "{wrong}"
        );
    }
}
