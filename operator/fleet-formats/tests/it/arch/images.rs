//! Installation images: what their checksums name, and where that is served.

use std::ops::ControlFlow;

use fleet_formats::seam::{
    Allowances, AllowedState, Format, Item, Promise, Rejected, RootContent, Trust, UnitIndex,
    VerifyContext,
};
use fleet_types::{Accepted, Reason};
use serde_json::json;

use super::archive::*;

const UNIT: &str = "iso";
const SUMS: &str = "iso/latest/sha256sums.txt";
const OTHER_SUMS: &str = "iso/latest/b2sums.txt";
/// 2024-06-01T00:00:00Z
const JUNE: i64 = 1_717_200_000;
const NOW: i64 = JUNE + 1_000_000;

fn format(include: serde_json::Value) -> impl Format {
    arch(json!({"repos": ["core"], "architectures": ["x86_64"], "include": include})).unwrap()
}

fn sums(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("{SHA256}  {name}\n"))
        .collect()
}

fn other_sums(names: &[&str]) -> String {
    let digest = "0".repeat(128);
    names
        .iter()
        .map(|name| format!("{digest}  {name}\n"))
        .collect()
}

fn verified(roots: &[RootContent], context: &VerifyContext<'_>) -> Result<UnitIndex, Rejected> {
    format(json!({"iso": true})).unit_index(UNIT, roots, Some(context))
}

fn context<'a>(
    accepted: Option<&'a Accepted>,
    allowances: &'a Allowances,
    settled: bool,
) -> VerifyContext<'a> {
    const NOBODY: &Trust = &Trust::nothing_is_judged();
    VerifyContext {
        now: NOW,
        trust: NOBODY,
        accepted,
        allowances,
        settled,
    }
}

/// By path: the names beside it, whether each may move on, and what promises it.
fn listed(include: serde_json::Value, text: &str) -> Result<Vec<String>, Rejected> {
    let format = format(include);
    let index = format.read(UNIT, &[root(SUMS, text.as_bytes())])?;
    let mut found = Vec::new();
    format.read_index(&index.groups[0], &mut text.as_bytes(), &mut |item| {
        let Item::File(file) = item else {
            panic!("{item:?}")
        };
        let alias = &file.aliases[0];
        let promise = match &file.promise {
            Promise::Digest { exact: false, .. } => "a digest".to_owned(),
            Promise::SignatureOver { path, .. } => format!("over {path}"),
            other => panic!("{other:?}"),
        };
        let moves = if alias.mutable { "moving" } else { "fixed" };
        found.push(format!(
            "{} = {} ({moves}, guarded {}), {promise}",
            file.path, alias.path, file.guarded
        ));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

#[test]
fn a_release_is_below_its_date_for_good_and_below_latest_as_long_as_it_is_that() {
    let text = sums(&["archlinux-2024.06.01-x86_64.iso", "archlinux-x86_64.iso"]);
    assert_eq!(
        listed(json!({"iso": true}), &text).unwrap(),
        [
            "iso/2024.06.01/archlinux-2024.06.01-x86_64.iso = iso/latest/archlinux-2024.06.01-x86_64.iso (fixed, guarded true), a digest",
            "iso/2024.06.01/archlinux-2024.06.01-x86_64.iso.sig = iso/latest/archlinux-2024.06.01-x86_64.iso.sig (fixed, guarded false), over iso/2024.06.01/archlinux-2024.06.01-x86_64.iso",
            "iso/2024.06.01/archlinux-x86_64.iso = iso/latest/archlinux-x86_64.iso (moving, guarded true), a digest",
            "iso/2024.06.01/archlinux-x86_64.iso.sig = iso/latest/archlinux-x86_64.iso.sig (moving, guarded false), over iso/2024.06.01/archlinux-x86_64.iso",
        ]
    );
    let unsigned = listed(json!({"iso": true, "signatures": false}), &text).unwrap();
    assert_eq!(unsigned.len(), 2, "{unsigned:?}");

    let names = ["archlinux-2024.06.01-x86_64.iso"];
    let roots = [
        root(SUMS, sums(&names).as_bytes()),
        root(OTHER_SUMS, other_sums(&names).as_bytes()),
    ];
    let index = verified(&roots, &context(None, Allowances::NONE, true)).unwrap();
    assert_eq!((index.revision.date, index.groups.len()), (JUNE, 2));
    let names = index.groups.iter().flat_map(|group| &group.files);
    let names: Vec<String> = names
        .map(|file| format!("{} = {}", file.path, file.aliases[0].path))
        .collect();
    assert_eq!(
        names,
        [
            "iso/latest/sha256sums.txt = iso/2024.06.01/sha256sums.txt",
            "iso/latest/b2sums.txt = iso/2024.06.01/b2sums.txt"
        ]
    );
}

#[test]
fn images_are_a_unit_only_where_they_are_asked_for() {
    assert_eq!(format(json!({})).units(), ["core/x86_64"]);
    assert_eq!(format(json!({"iso": true})).units(), ["core/x86_64", "iso"]);
    assert!(format(json!({})).roots(UNIT).is_err());
    let plan = format(json!({"iso": true})).roots(UNIT).unwrap();
    assert_eq!(plan.probes[0].path.as_str(), SUMS);
    assert_eq!(plan.companions[0].path.as_str(), OTHER_SUMS);
}

#[test]
fn sums_that_cannot_be_are_refused_each_for_what_it_is() {
    let image = "archlinux-2024.06.01-x86_64.iso";
    let line = format!("{SHA256}  {image}\n");
    for (text, reason, says) in [
        (
            String::new(),
            Reason::IndexMalformed,
            "no file with the date",
        ),
        (
            sums(&["archlinux-x86_64.iso"]),
            Reason::IndexMalformed,
            "no file with the date",
        ),
        (
            sums(&["a-2024.13.01-b"]),
            Reason::IndexMalformed,
            "no file with the date",
        ),
        (
            sums(&[image, "archlinux-2024.07.01-x86_64.iso"]),
            Reason::IndexMalformed,
            "two releases, 2024.06.01 and 2024.07.01",
        ),
        (
            format!("{line}{line}"),
            Reason::IndexMalformed,
            "line 2 names",
        ),
        (
            line.repeat(2).replacen(image, "../x", 1),
            Reason::UnsafePath,
            "\"../x\"",
        ),
        (
            sums(&[".hidden-2024.06.01"]),
            Reason::UnsafePath,
            "no file beside it",
        ),
        (
            sums(&[&format!("{}-2024.06.01", "a".repeat(242))]),
            Reason::UnsafePath,
            "no file beside it",
        ),
        (
            sums(&["a/b-2024.06.01"]),
            Reason::UnsafePath,
            "no file beside it",
        ),
        (
            format!("{}  {image}\n", &SHA256[1..]),
            Reason::IndexMalformed,
            "line 1 is not a digest",
        ),
        (
            "<html>Not Found</html>\n".to_owned(),
            Reason::IndexMalformed,
            "line 1 is not a digest",
        ),
        (
            format!("\\{line}"),
            Reason::IndexMalformed,
            "line 1 is not a digest",
        ),
    ] {
        let refused = listed(json!({"iso": true}), &text).unwrap_err();
        assert_eq!(refused.reason, reason, "{text}: {refused}");
        assert!(refused.message.contains(says), "{text}: {refused}");
    }
    // As sha256sum writes it for files that it reads as bytes.
    assert_eq!(
        listed(json!({"iso": true}), &line.replace("  ", " *"))
            .unwrap()
            .len(),
        2
    );
    let missing = verified(&[], &context(None, Allowances::NONE, true)).unwrap_err();
    assert_eq!(missing.reason, Reason::UpstreamIncomplete);
    assert!(missing.message.contains("arch.include.iso"), "{missing}");
}

#[test]
fn two_lists_of_different_releases_are_read_once_more_and_then_refused() {
    let roots = [
        root(SUMS, sums(&["archlinux-2024.06.01-x86_64.iso"]).as_bytes()),
        root(
            OTHER_SUMS,
            other_sums(&["archlinux-2024.07.01-x86_64.iso"]).as_bytes(),
        ),
    ];
    for settled in [false, true] {
        let refused = verified(&roots, &context(None, Allowances::NONE, settled)).unwrap_err();
        assert_eq!(
            (refused.reason, refused.unsettled),
            (Reason::IndexMalformed, !settled)
        );
    }
}

#[test]
fn latest_goes_forward_only_unless_a_person_says_so() {
    let of = |name: &str| {
        verified(
            &[root(SUMS, sums(&[name]).as_bytes())],
            &context(None, Allowances::NONE, true),
        )
        .unwrap()
    };
    let newer = Accepted::from(of("archlinux-2024.06.02-x86_64.iso").revision);
    let roots = [root(
        SUMS,
        sums(&["archlinux-2024.06.01-x86_64.iso"]).as_bytes(),
    )];
    let refused = verified(&roots, &context(Some(&newer), Allowances::NONE, true)).unwrap_err();
    assert_eq!(refused.reason, Reason::RollbackDetected);
    assert!(
        refused.message.contains("release of 2024.06.01"),
        "{refused}"
    );
    let allowances = Allowances {
        states: vec![AllowedState {
            digest: roots[0].sha256,
            reasons: vec![Reason::RollbackDetected],
        }],
        expired: false,
    };
    let through = verified(&roots, &context(Some(&newer), &allowances, true)).unwrap();
    assert_eq!(through.allowed, [Reason::RollbackDetected]);

    let future = [root(
        SUMS,
        sums(&["archlinux-2124.06.01-x86_64.iso"]).as_bytes(),
    )];
    let refused = verified(&future, &context(None, Allowances::NONE, true)).unwrap_err();
    assert_eq!(refused.reason, Reason::IndexFromFuture);
}
