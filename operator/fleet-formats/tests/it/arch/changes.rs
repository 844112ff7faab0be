//! Whether one state of a database can follow another.

use fleet_formats::seam::{Change, Format, Rejected};
use fleet_types::Reason;
use serde_json::{Value, json};

use super::archive::*;

/// Packages by name, version and when they were built.
type Packages<'a> = &'a [(&'a str, &'a str, i64)];

fn database(packages: Packages) -> Vec<u8> {
    let described = |(name, version, built): &(&str, &str, i64)| {
        let desc = desc(name, &format!("%BUILDDATE%\n{built}\n\n"));
        let desc = desc.replace("%VERSION%\n1-1", &format!("%VERSION%\n{version}"));
        described(&format!("{name}-{version}"), &desc)
    };
    archive(&packages.iter().map(described).collect::<Vec<_>>())
}

fn judged(
    before: Packages,
    now: Packages,
    is_clocked: bool,
    downgrades: Value,
) -> Result<Vec<String>, Rejected> {
    let mut content = json!({"repos": ["core"], "architectures": ["x86_64"]});
    content["downgrades"] = downgrades;
    let old = || Ok(vec![root(DATABASE, &database(before))]);
    let change = Change {
        old: &old,
        new: &[root(DATABASE, &database(now))],
        is_clocked,
    };
    arch(content).unwrap().judge_change(UNIT, &change)
}

const BEFORE: Packages = &[("a", "2-1", 200), ("b", "2-1", 300), ("c", "1-1", 100)];

#[test]
fn a_way_back_of_the_whole_is_refused_where_no_clock_says_better() {
    let back: Packages = &[("a", "1-1", 150), ("b", "1-9", 250), ("c", "1-1", 100)];
    let refused = judged(BEFORE, back, false, json!("Note")).unwrap_err();
    assert_eq!(refused.reason, Reason::RollbackDetected);
    assert!(
        refused
            .message
            .contains("all 2 packages were built earlier"),
        "{refused}"
    );
    assert!(
        judged(BEFORE, back, true, json!("Note")).is_ok(),
        "the clock knows better"
    );
    for (why, now) in [
        (
            "one of them is newer",
            &[("a", "1-1", 150), ("b", "3-1", 350), ("c", "1-1", 100)][..],
        ),
        (
            "one is rebuilt at the same second",
            &[("a", "1-1", 150), ("b", "2-2", 300), ("c", "1-1", 100)],
        ),
        (
            "something newer came",
            &[
                ("a", "1-1", 150),
                ("b", "2-1", 300),
                ("c", "1-1", 100),
                ("d", "1-1", 400),
            ],
        ),
        ("packages went elsewhere", &[("c", "1-1", 100)]),
        ("nothing is left", &[]),
        ("nothing is other", BEFORE),
    ] {
        assert!(judged(BEFORE, now, false, json!("Note")).is_ok(), "{why}");
    }
    // What comes back with it was there once.
    let with_old: Packages = &[
        ("a", "1-1", 150),
        ("b", "2-1", 300),
        ("c", "1-1", 100),
        ("d", "1-1", 50),
    ];
    assert!(judged(BEFORE, with_old, false, json!("Note")).is_err());
}

#[test]
fn a_lower_version_is_told_and_refused_on_request() {
    let now: Packages = &[("a", "2-1", 200), ("b", "1.9-1", 400), ("c", "2-1", 500)];
    let notes = judged(BEFORE, now, true, json!("Note")).unwrap();
    assert_eq!(
        notes,
        ["1 package has a lower version than before: b 1.9-1 after 2-1"]
    );
    let refused = judged(BEFORE, now, true, json!("Refuse")).unwrap_err();
    assert_eq!(refused.reason, Reason::RollbackDetected);
    assert!(refused.message.contains("arch.downgrades"), "{refused}");
    // An epoch says that it is meant.
    let epoch: Packages = &[("a", "2-1", 200), ("b", "1:1.9-1", 400), ("c", "1-1", 100)];
    assert_eq!(
        judged(BEFORE, epoch, true, json!("Refuse")).unwrap(),
        [""; 0]
    );

    let many: Vec<String> = (0..9).map(|number| format!("p{number}")).collect();
    let state = |version| {
        many.iter()
            .map(move |name| (name.as_str(), version, 100))
            .collect::<Vec<_>>()
    };
    let notes = judged(&state("2-1"), &state("1-1"), true, json!("Note")).unwrap();
    assert!(
        notes[0].starts_with("9 packages have") && notes[0].ends_with("and 4 more"),
        "{notes:?}"
    );
}

#[test]
fn a_database_that_cannot_be_read_is_refused_as_such() {
    let old = || Ok(vec![root(DATABASE, &database(BEFORE))]);
    let cut = &database(BEFORE)[..600];
    let change = Change {
        old: &old,
        new: &[root(DATABASE, cut)],
        is_clocked: false,
    };
    let refused = core().judge_change(UNIT, &change).unwrap_err();
    assert_eq!(refused.reason, Reason::IndexMalformed, "{refused}");
}
