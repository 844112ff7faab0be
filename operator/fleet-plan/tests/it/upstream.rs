//! Planning an Upstream: when it is asked, and what its status says.

use crate::model::at;
use fleet_api::Upstream;
use fleet_api::upstream::{Signatures, UpstreamType};
use fleet_plan::{ObservedUpstream, Probe, ProbeAnswer, SeenAttempt, plan_upstream};
use fleet_types::Reason;
use fleet_types::documents::UnitReport;
use jiff::Timestamp;

fn seen(now: &str, probes: Vec<Probe>) -> ObservedUpstream {
    ObservedUpstream {
        now: at(now),
        units: vec!["b".into(), "a".into(), "b".into()],
        probes,
        ..ObservedUpstream::default()
    }
}

fn has(unit: &str, when: &str, byte: u8, date: Option<Timestamp>) -> Probe {
    let answer = ProbeAnswer::Has {
        digest: crate::model::digest(byte).to_string(),
        date,
    };
    Probe::after(None, unit.to_owned(), at(when), answer)
}

#[test]
fn each_unit_is_asked_once_an_interval_and_a_quiet_authority_is_not_written_about() {
    let mut upstream = crate::model::upstream();
    upstream.status = None;
    let plan = plan_upstream(&upstream, &seen("2026-01-01T10:00:00Z", vec![]));
    assert_eq!(plan.probe, ["a", "b"]);
    let its_own = at("2026-01-01T08:00:00Z");
    let date = Some(its_own);
    let probes = |when| vec![has("a", when, 1, date), has("b", when, 2, date)];
    let plan = plan_upstream(
        &upstream,
        &seen("2026-01-01T10:00:00Z", probes("2026-01-01T10:00:00Z")),
    );
    assert!(plan.probe.is_empty() && plan.status_changed);
    assert_eq!(plan.wake_at, Some(at("2026-01-01T10:10:00Z")));
    assert_eq!(
        plan.status.revision[0].observed_at.as_ref().unwrap().0,
        its_own,
        "it was there before us"
    );
    upstream.status = Some(plan.status);
    let later = plan_upstream(
        &upstream,
        &seen("2026-01-01T10:10:00Z", probes("2026-01-01T10:10:00Z")),
    );
    assert!(!later.status_changed && later.events.is_empty());
    let mut newer = probes("2026-01-01T10:20:00Z");
    newer[0] = has(
        "a",
        "2026-01-01T10:20:00Z",
        9,
        Some(at("2026-01-01T09:00:00Z")),
    );
    let plan = plan_upstream(&upstream, &seen("2026-01-01T10:20:00Z", newer));
    assert_eq!(
        plan.status.revision[0].observed_at.as_ref().unwrap().0,
        at("2026-01-01T10:20:00Z")
    );
    assert_eq!(
        plan.status.revision_date.unwrap().0,
        at("2026-01-01T09:00:00Z")
    );
}

fn failed(unit: &str, failures: u32) -> Probe {
    Probe {
        unit: unit.to_owned(),
        at: at("2026-01-01T10:00:00Z"),
        answer: ProbeAnswer::Failed {
            reason: Reason::UpstreamUnreachable,
            message: "connection refused".into(),
        },
        failures,
        before: None,
    }
}

/// `Ready` and `Stalled` of an Upstream that was planned with these probes and attempts, as (status, reason).
fn usable(
    upstream: &mut Upstream,
    probes: Vec<Probe>,
    attempts: Vec<SeenAttempt>,
) -> (String, String, bool) {
    let seen = ObservedUpstream {
        attempts,
        units: probes
            .iter()
            .map(|probe| probe.unit.clone())
            .chain(["a".into()])
            .collect(),
        ..seen("2026-01-01T10:00:00Z", probes)
    };
    let plan = plan_upstream(upstream, &seen);
    let mut all = plan.status.conditions.iter();
    let ready = all.find(|found| found.type_ == "Ready").unwrap().clone();
    let stalled = plan
        .status
        .conditions
        .iter()
        .any(|found| found.type_ == "Stalled");
    upstream.status = Some(plan.status);
    assert!(!plan_upstream(upstream, &seen).status_changed, "said once");
    (ready.status, ready.reason, stalled)
}

#[test]
fn an_authority_that_cannot_be_used_is_not_ready_after_three_probes_and_until_it_answers() {
    let mut upstream = crate::model::upstream();
    let told = |status: &str, reason: &str| (status.to_owned(), reason.to_owned(), false);
    let away = told("False", "UpstreamUnreachable");
    let good = told("True", "Ready");
    for failures in [1, 2] {
        assert_eq!(
            usable(&mut upstream, vec![failed("a", failures)], vec![]),
            good
        );
    }
    let some = vec![failed("a", 9), has("b", "2026-01-01T10:00:00Z", 2, None)];
    assert_eq!(
        usable(&mut upstream, some, vec![]),
        good,
        "it answers about b"
    );
    assert_eq!(usable(&mut upstream, vec![failed("a", 3)], vec![]), away);
    assert_eq!(
        usable(&mut upstream, vec![], vec![]),
        away,
        "a restart knows no probe"
    );
    assert_eq!(
        usable(&mut upstream, vec![failed("a", 1)], vec![]),
        away,
        "nor counts them"
    );
    let back = vec![has("a", "2026-01-01T10:00:00Z", 2, None)];
    assert_eq!(usable(&mut upstream, back, vec![]), good);
}

#[test]
fn a_keyring_that_no_run_can_use_stalls_the_upstream_until_one_can() {
    let mut upstream = crate::model::upstream();
    let attempt = |reason: Reason| SeenAttempt {
        mirror: "m".to_owned(),
        region: "eu".to_owned(),
        unit: None,
        reason,
        message: "as the test says".to_owned(),
        key_expires_at: None,
    };
    let answers = || vec![has("a", "2026-01-01T10:00:00Z", 2, None)];
    for reason in [
        Reason::KeyringNotFound,
        Reason::KeyringInvalid,
        Reason::CredentialsNotFound,
    ] {
        let told = ("False".to_owned(), reason.as_str().to_owned(), true);
        assert_eq!(
            usable(&mut upstream, answers(), vec![attempt(reason)]),
            told
        );
    }
    let good = ("True".to_owned(), "Ready".to_owned(), false);
    assert_eq!(
        usable(&mut upstream, answers(), vec![attempt(Reason::Published)]),
        good
    );
}

/// Nobody signs it and it has no Release, which is all that a probe reads; runs read its indices.
#[test]
fn an_archive_whose_state_only_runs_can_tell_is_ready_while_they_succeed() {
    let mut upstream = crate::model::upstream();
    upstream.spec.trust.signatures = Signatures::None;
    let ended = |reason: Reason| SeenAttempt {
        mirror: "m".to_owned(),
        region: "eu".to_owned(),
        unit: None,
        reason,
        message: "as the test says".to_owned(),
        key_expires_at: None,
    };
    let told = |status: &str, reason: &str| (status.to_owned(), reason.to_owned(), false);
    let away = told("False", "UpstreamUnreachable");
    let probes = || vec![failed("a", 9)];
    assert_eq!(usable(&mut upstream, probes(), vec![]), away);
    let runs = vec![ended(Reason::Published)];
    assert_eq!(
        usable(&mut upstream, probes(), runs.clone()),
        told("True", "Ready")
    );
    let status = upstream.status.clone().unwrap();
    let mut reachable = status.conditions.iter();
    let reachable = reachable.find(|found| found.type_ == "Reachable").unwrap();
    assert_eq!(
        (reachable.status.as_str(), reachable.reason.as_str()),
        ("Unknown", "NotProbed")
    );
    let why = reachable.message.as_str();
    assert!(why.contains("a: ") && why.contains("(connection refused)"));
    assert!(status.revision.is_empty(), "{:?}", status.revision);
    let lost = vec![ended(Reason::UpstreamUnreachable)];
    assert_eq!(usable(&mut upstream, probes(), lost), away);
    upstream.spec.trust.signatures = Signatures::Required;
    assert_eq!(usable(&mut upstream, probes(), runs), away);
}

#[test]
fn an_authority_that_fails_keeps_its_last_revision_and_touches_reachable_only() {
    let mut upstream = crate::model::upstream();
    let failed = |unit: &str| failed(unit, 1);
    let before = upstream.status.clone().unwrap().revision;
    let seen = ObservedUpstream {
        now: at("2026-01-01T10:00:00Z"),
        units: vec![crate::model::SUITE.into()],
        probes: vec![failed(crate::model::SUITE)],
        ..ObservedUpstream::default()
    };
    let plan = plan_upstream(&upstream, &seen);
    assert_eq!(plan.status.revision, before);
    let condition = |kind: &str| {
        plan.status
            .conditions
            .iter()
            .find(|found| found.type_ == kind)
            .unwrap()
            .clone()
    };
    assert_eq!(
        (
            condition("Reachable").status.as_str(),
            condition("Ready").status.as_str()
        ),
        ("False", "True")
    );
    assert_eq!(plan.events.len(), 1);
    upstream.status = Some(plan.status.clone());
    let again = plan_upstream(&upstream, &seen);
    assert!(
        again.events.is_empty() && !again.status_changed,
        "said once"
    );
}

#[test]
fn an_authority_with_credentials_is_not_asked() {
    let mut upstream = crate::model::upstream();
    upstream.spec.access.credentials_ref = Some(fleet_api::upstream::SecretRef {
        name: "tier1".into(),
    });
    let plan = plan_upstream(&upstream, &seen("2026-01-01T10:00:00Z", vec![]));
    assert!(plan.probe.is_empty() && plan.wake_at.is_none() && plan.status.revision.is_empty());
}

#[test]
fn when_keys_expire_is_told_by_the_runs_that_succeeded() {
    let mut upstream = crate::model::upstream();
    let run = |reason: Reason, expires: Option<&str>| SeenAttempt {
        mirror: "m".to_owned(),
        region: "eu".to_owned(),
        unit: None,
        reason,
        message: String::new(),
        key_expires_at: expires.map(at),
    };
    let (may, june) = ("2027-05-01T00:00:00Z", "2027-06-01T00:00:00Z");
    let mut told = |attempts: Vec<SeenAttempt>| {
        let seen = ObservedUpstream {
            attempts,
            ..seen("2026-01-01T10:00:00Z", vec![])
        };
        let plan = plan_upstream(&upstream, &seen);
        let expiry = plan.status.key_expires_at.as_ref().map(|at| at.0);
        let exported = plan.gauges().key_expiry;
        assert_eq!(exported, expiry.map(|at| at.as_second()));
        upstream.status = Some(plan.status);
        expiry
    };
    assert_eq!(told(vec![]), None);
    let both = vec![
        run(Reason::Published, Some(june)),
        run(Reason::Unchanged, Some(may)),
    ];
    assert_eq!(told(both), Some(at(may)), "the earliest");
    let refused = || run(Reason::KeyExpired, None);
    assert_eq!(told(vec![refused()]), Some(at(may)), "what was said stands");
    let one = vec![refused(), run(Reason::Unchanged, Some(june))];
    assert_eq!(told(one), Some(at(june)));
    assert_eq!(told(vec![run(Reason::Unchanged, None)]), None, "never");
    told(vec![run(Reason::Unchanged, Some(june))]);
    assert_eq!(told(vec![]), None, "its Mirrors are gone");
}

/// What an upstream that contradicts itself is called, by whom it was found out, and when that is over.
#[test]
fn contradictions_that_runs_find_touch_consistent_only_until_one_finds_none() {
    let mut upstream = crate::model::upstream();
    let attempt = |mirror: &str, reason: Reason| SeenAttempt {
        mirror: mirror.to_owned(),
        region: "eu".to_owned(),
        unit: None,
        reason,
        message: "as the test says".to_owned(),
        key_expires_at: None,
    };
    let mut visit = |attempts: Vec<SeenAttempt>| {
        let seen = ObservedUpstream {
            attempts,
            ..seen(
                "2026-01-01T10:00:00Z",
                vec![
                    has("a", "2026-01-01T10:00:00Z", 1, None),
                    has("b", "2026-01-01T10:00:00Z", 2, None),
                ],
            )
        };
        let plan = plan_upstream(&upstream, &seen);
        let of = |kind: &str| {
            let mut all = plan.status.conditions.iter();
            let found = all.find(|found| found.type_ == kind).unwrap();
            (found.status.clone(), found.reason.clone())
        };
        let consistent = of("Consistent");
        assert_eq!(of("Ready").0, "True");
        let said = plan.events.iter().filter(|event| event.action == "Sync");
        let events = said.count();
        upstream.status = Some(plan.status.clone());
        let again = plan_upstream(&upstream, &seen);
        assert!(
            !again.status_changed && again.events.is_empty(),
            "said once"
        );
        (consistent.0, consistent.1, events)
    };
    let told = |status: &str, reason: Reason, events| {
        (status.to_owned(), reason.as_str().to_owned(), events)
    };
    use Reason::{
        Consistent, Equivocation, IndexExpired, ReleasePairMismatch, Unknown, UpstreamUnreachable,
    };
    assert_eq!(visit(vec![]), told("Unknown", Unknown, 0));
    let away = attempt("m", UpstreamUnreachable);
    assert_eq!(visit(vec![away.clone()]), told("Unknown", Unknown, 0));
    let good = attempt("m", Reason::Published);
    assert_eq!(visit(vec![good.clone()]), told("True", Consistent, 0));
    let bad = attempt("n", Equivocation);
    assert_eq!(
        visit(vec![good.clone(), bad.clone()]),
        told("False", Equivocation, 1)
    );
    assert_eq!(
        visit(vec![bad.clone(), attempt("a", ReleasePairMismatch)]),
        told("False", ReleasePairMismatch, 1),
        "one of several, whatever their order"
    );
    assert_eq!(
        visit(vec![away]),
        told("False", ReleasePairMismatch, 0),
        "a run that did not come so far takes nothing back"
    );
    assert_eq!(
        visit(vec![attempt("m", IndexExpired)]),
        told("True", Consistent, 1)
    );
}

/// A run tells its worst reason; what says something about the upstream must not hide behind it.
#[test]
fn a_suite_that_contradicts_itself_is_told_whatever_else_was_wrong() {
    use Reason::{DigestMismatch, Equivocation, Published, ReleasePairMismatch};
    let consistent = |overall: Reason, suites: &[(&str, Reason)]| {
        let mut world = crate::model::World::new(&["eu"]);
        world.settle();
        world.now = at("2026-01-01T11:00:00Z");
        let plan = world.plan();
        world.apply(&plan);
        let mut report = world.report(overall.as_str());
        report.units = suites
            .iter()
            .map(|(suite, reason)| UnitReport {
                unit: (*suite).to_owned(),
                reason: *reason,
                message: format!("about {suite}"),
                ..UnitReport::default()
            })
            .collect();
        world.end_run(&report);
        let plan = world.plan();
        world.apply(&plan);
        let attempts = SeenAttempt::of(&world.mirror, Some(&world.status()));
        let seen = ObservedUpstream {
            attempts,
            ..seen("2026-01-01T10:00:00Z", vec![])
        };
        let plan = plan_upstream(&crate::model::upstream(), &seen);
        let mut conditions = plan.status.conditions.into_iter();
        let found = conditions.find(|found| found.type_ == "Consistent");
        found
            .map(|found| (found.status, found.reason, found.message))
            .unwrap()
    };
    let told = |reason: Reason, suite: &str| {
        let message = format!("Mirror debian, region eu, {suite}: about {suite}");
        ("False".to_owned(), reason.as_str().to_owned(), message)
    };
    let (one, other) = (("b", Equivocation), ("a", DigestMismatch));
    assert_eq!(
        consistent(DigestMismatch, &[one, other]),
        told(Equivocation, "b")
    );
    assert_eq!(
        consistent(Equivocation, &[("a", Published), one]),
        told(Equivocation, "b")
    );
    let two = [one, ("a", ReleasePairMismatch)];
    assert_eq!(
        consistent(Equivocation, &two),
        told(ReleasePairMismatch, "a")
    );
    let (status, ..) = consistent(DigestMismatch, &[other, ("b", Published)]);
    assert_eq!(status, "True");
}

#[test]
fn keys_that_expire_are_told_of_a_fortnight_before() {
    use Reason::{KeyExpired, KeyExpiresSoon, KeyringHealthy, KeyringNotFound, NotVerified};
    let mut upstream = crate::model::upstream();
    let expires = at("2026-02-01T00:00:00Z");
    let attempt = |reason, key_expires_at| SeenAttempt {
        mirror: "debian".into(),
        region: "eu".into(),
        unit: None,
        reason,
        message: String::new(),
        key_expires_at,
    };
    let visit = |upstream: &mut Upstream, now: &str, attempts: Vec<SeenAttempt>| {
        let seen = ObservedUpstream {
            attempts,
            ..seen(now, vec![])
        };
        let plan = plan_upstream(upstream, &seen);
        let mut all = plan.status.conditions.iter();
        let found = all.find(|found| found.type_ == "KeyringHealthy").unwrap();
        let told = (found.status.clone(), Reason::of(&found.reason));
        upstream.status = Some(plan.status);
        (told, plan.wake_at)
    };
    let told = |status: &str, reason| (status.to_owned(), reason);
    let good = |at| vec![attempt(Reason::Published, at)];
    let (first, _) = visit(&mut upstream, "2026-01-01T00:00:00Z", vec![]);
    assert_eq!(first, told("Unknown", Reason::Unknown));
    let (healthy, wake) = visit(&mut upstream, "2026-01-01T00:00:00Z", good(Some(expires)));
    assert_eq!(healthy, told("True", KeyringHealthy));
    assert_eq!(wake, Some(at("2026-01-18T00:00:00Z")));
    let (soon, wake) = visit(&mut upstream, "2026-01-18T00:00:00Z", good(Some(expires)));
    assert_eq!(soon, told("False", KeyExpiresSoon));
    assert_eq!(wake, Some(expires));
    let (over, _) = visit(&mut upstream, "2026-02-01T00:00:00Z", good(Some(expires)));
    assert_eq!(over, told("False", KeyExpired));
    // A run read a keyring that is there no more, or one with newer keys.
    let gone = vec![attempt(KeyringNotFound, None)];
    let (missing, _) = visit(&mut upstream, "2026-02-01T00:00:00Z", gone);
    assert_eq!(missing, told("False", KeyringNotFound));
    let (ever, wake) = visit(&mut upstream, "2026-02-01T00:00:00Z", good(None));
    assert_eq!((ever, wake), (told("True", KeyringHealthy), None));
    upstream.spec.trust.signatures = Signatures::None;
    let (none, _) = visit(&mut upstream, "2026-02-01T00:00:00Z", good(None));
    assert_eq!(none, told("Unknown", NotVerified));
}

#[test]
fn a_registry_is_asked_by_its_pods_alone() {
    let mut upstream = crate::model::upstream();
    upstream.spec.upstream_type = UpstreamType::Npm;
    upstream.spec.trust.keyring_ref = None;
    upstream.status = None;
    let seen = ObservedUpstream {
        units: vec![],
        ..seen("2026-01-01T10:00:00Z", vec![])
    };
    let plan = plan_upstream(&upstream, &seen);
    let reachable = plan.status.conditions.iter();
    let reachable: Vec<_> = reachable.filter(|it| it.type_ == "Reachable").collect();
    assert_eq!(
        (reachable[0].status.as_str(), plan.probe.len()),
        ("Unknown", 0)
    );
    assert!(reachable[0].message.contains("when a client wants it"));
}
