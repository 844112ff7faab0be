use super::*;

const DAY: i64 = 86_400;
const NOW: i64 = 1_800_000_000;

fn name(text: &str) -> PackageName {
    PackageName::new(text).unwrap()
}

fn patterns(text: &[&str]) -> Patterns {
    Patterns::new(text.iter().copied()).unwrap()
}

fn guard() -> Guard {
    Guard {
        minimum_age: 3 * DAY,
        trust_upstream_time: true,
        ..Guard::default()
    }
}

fn facts(published: Option<i64>, seen: i64, was_there: bool) -> Facts<'static> {
    Facts {
        published,
        seen,
        was_there,
        mutated: None,
    }
}

fn other() -> Integrity {
    Integrity::parse("sha1-qZk+NkcGgWq6PiVxeFDCbJzQ2J0=").unwrap()
}

fn judged(guard: &Guard, facts: Facts<'_>) -> Verdict {
    guard.version(&name("p"), "1.0.0", &facts, NOW)
}

#[test]
fn reserved_names_and_lists_hold_whole_packages_back() {
    let guard = Guard {
        reserved: patterns(&["@corp/*", "corp-*"]),
        allow: Some(patterns(&["@types/*", "left-*", "corp-x"])),
        deny: vec![
            Deny {
                packages: patterns(&["left-pad"]),
                version: None,
                reason: "write it yourself".into(),
            },
            Deny {
                packages: patterns(&["left-x"]),
                version: Some("2.0.0".into()),
                reason: "broken".into(),
            },
        ],
        ..Guard::default()
    };
    let by = |package: &str| guard.package(&name(package)).held().map(|held| held.by);
    assert_eq!(by("@corp/a"), Some(HeldBy::Reserved));
    assert_eq!(by("corp-x"), Some(HeldBy::Reserved));
    assert_eq!(by("left-pad"), Some(HeldBy::Deny));
    assert_eq!(by("right-pad"), Some(HeldBy::Allow));
    assert_eq!((by("left-x"), by("@types/node")), (None, None));
    let version =
        |version: &str| guard.version(&name("left-x"), version, &facts(None, 0, true), NOW);
    assert_eq!(version("1.0.0"), Verdict::Open);
    assert!(version("2.0.0").held().unwrap().reason.contains("broken"));
}

#[test]
fn age_counts_from_what_cannot_be_made_up() {
    for (known, opens) in [
        (facts(Some(NOW - 4 * DAY), NOW, true), None),
        (facts(Some(NOW - DAY), NOW, true), Some(NOW + 2 * DAY)),
        // It came later with an old date.
        (
            facts(Some(NOW - 400 * DAY), NOW - DAY, false),
            Some(NOW + 2 * DAY),
        ),
        (
            facts(Some(NOW + DAY), NOW - 9 * DAY, false),
            Some(NOW + 4 * DAY),
        ),
        (facts(Some(NOW - 400 * DAY), NOW - 3 * DAY, false), None),
        // No date at all.
        (facts(None, NOW - 2 * DAY, true), Some(NOW + DAY)),
    ] {
        assert_eq!(
            judged(&guard(), known).held().and_then(|held| held.opens),
            opens,
            "{known:?}"
        );
    }
    let strict = Guard {
        trust_upstream_time: false,
        ..guard()
    };
    assert_eq!(
        judged(&strict, facts(Some(0), NOW, true)).changes(),
        Some(NOW + 3 * DAY)
    );
}

#[test]
fn a_waiver_opens_one_version_until_its_end() {
    let waiver = |until| Waiver {
        package: "p".into(),
        version: "1.0.0".into(),
        until,
    };
    let young = facts(Some(NOW), NOW, true);
    let waived = Guard {
        waivers: vec![waiver(NOW + 5)],
        ..guard()
    };
    assert_eq!(judged(&waived, young).held(), None);
    assert_eq!(judged(&waived, young).changes(), Some(NOW + 5));
    assert!(
        waived
            .version(&name("p"), "1.0.1", &young, NOW)
            .held()
            .is_some()
    );
    let over = Guard {
        waivers: vec![waiver(NOW)],
        ..guard()
    };
    assert!(judged(&over, young).held().is_some());
    let other = other();
    let mutated = Facts {
        mutated: Some(&other),
        ..young
    };
    let verdict = judged(&waived, mutated);
    let held = verdict.held().unwrap();
    assert_eq!(held.by, HeldBy::Mutation);
    // What is to be written, and where.
    let names = [other.to_string(), "guard.allowMutations".to_owned()];
    assert!(
        names.iter().all(|name| held.reason.contains(name)),
        "{held:?}"
    );
}

#[test]
fn what_is_approved_is_of_one_package() {
    let approved = Guard {
        mutations: vec![Mutation {
            package: "p".into(),
            version: "1.0.0".into(),
            integrity: other(),
        }],
        ..guard()
    };
    let other = other();
    let of = |package: &str| approved.approved(&name(package)).collect::<Vec<_>>().len();
    assert_eq!((of("p"), of("q")), (1, 0));
    assert!(
        approved
            .approved(&name("p"))
            .all(|it| it == ("1.0.0", &other))
    );
}

#[test]
fn a_dry_run_tells_and_lets_in_what_only_rules_hold() {
    let dry = Guard {
        dry_run: true,
        deny: vec![Deny {
            packages: patterns(&["q"]),
            version: None,
            reason: String::new(),
        }],
        ..guard()
    };
    let young = facts(Some(NOW), NOW, true);
    assert!(matches!(judged(&dry, young), Verdict::WouldBeHeld(held) if held.by == HeldBy::Age));
    assert!(matches!(dry.package(&name("q")), Verdict::WouldBeHeld(_)));
    let other = other();
    let mutated = Facts {
        mutated: Some(&other),
        ..young
    };
    assert!(judged(&dry, mutated).held().is_some());
    let reserved = Guard {
        reserved: patterns(&["q"]),
        ..dry
    };
    assert!(reserved.package(&name("q")).held().is_some());
}
