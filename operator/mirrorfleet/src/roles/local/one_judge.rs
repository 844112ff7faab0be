//! One history, told to the controller's status and to this process's memory, makes the same run due and the same copy
//! fresh.

use std::collections::BTreeMap;

use fleet_api::upstream::UpstreamStatus;
use fleet_plan::alone::judge_upstream;
use fleet_plan::schedule::{later, seconds};
use fleet_types::{Reason, UnitRevision};
use proptest::prelude::*;

use self::world::{Event, NAME, START, World, events, state, world, world_that};
use super::memory::Memory;

mod world;

proptest! {
    #[test]
    fn the_controller_and_local_judge_alike(
        events in events(),
        min_interval in proptest::option::of(prop_oneof![Just("30m"), Just("9h")]),
        retries in 0u32..4,
        on_upstream_change in any::<bool>(),
    ) {
        let mut world = world_that(min_interval, retries, on_upstream_change);
        world.judged_alike();
        for event in events {
            world.happens(&event);
            world.judged_alike();
        }
    }
}

#[test]
fn a_pin_alone_is_not_behind_and_one_that_holds_something_newer_back_is() {
    let mut world = world(None, 0);
    let run = |reason| Event::Run {
        seconds: 5,
        reason,
        retry_after: None,
    };
    world.happens(&run(Reason::Published));
    world.judged_alike();
    world.happens(&run(Reason::Pinned));
    world.judged_alike();
    assert!(world.copy.behind().is_empty(), "nothing newer is known");
    world.happens(&Event::Publish {
        digest: 2,
        good_for: None,
    });
    world.happens(&run(Reason::Pinned));
    world.judged_alike();
    assert_eq!(world.copy.behind().len(), 1);
}

#[test]
fn nothing_is_held_for_objects_that_there_are_not() {
    let mut world = world(None, 0);
    world.happens(&Event::Run {
        seconds: 5,
        reason: Reason::Published,
        retry_after: None,
    });
    world.judged_alike();
    let status = world.copy.objects().0.status.as_ref().unwrap();
    let said: Vec<&str> = status.conditions.iter().map(|it| &*it.type_).collect();
    assert!(
        said.contains(&"Ready") && !said.contains(&"Reconciling"),
        "{said:?}"
    );
}

#[test]
fn a_run_that_was_refused_does_not_tell_what_the_authority_has_and_what_was_behind_stays_so() {
    let mut world = world(None, 0);
    let (old, new) = (state(1, world.now, None), state(2, world.now, None));
    world.served = Some(old.clone());
    let mut superseded = |reason, revision: &[UnitRevision]| {
        world.copy.heard(reason, "", revision, world.now);
        world.told().regions[0].superseded
    };
    let (old, new) = ([old], [new]);
    assert_eq!(superseded(Reason::Published, &old), Some(None));
    assert_eq!(superseded(Reason::SignatureBad, &[]), None);
    let behind = superseded(Reason::Unchanged, &new);
    assert!(behind.flatten().is_some());
    assert_eq!(superseded(Reason::SignatureBad, &[]), behind);
}

#[test]
fn after_a_restart_the_store_knows_whom_to_leave_alone() {
    let mut world = world(Some("9h"), 3);
    let started_at = world.now;
    world.pass(60);
    let report = world.report(started_at, Reason::UpstreamBusy, Some(1800));
    let memory = Memory::new("declared", Some(&report), later(world.now, seconds(300)));
    let due = memory.next(&world.timing(), None).unwrap();
    assert_eq!(
        (due.trigger, due.at),
        (fleet_api::Trigger::Retry, later(world.now, seconds(1800)))
    );
    let report = world.report(started_at, Reason::Unchanged, None);
    let memory = Memory::new("declared", Some(&report), later(world.now, seconds(300)));
    let due = memory.next(&world.timing(), None).unwrap();
    assert_eq!(
        (due.trigger, due.at),
        (
            fleet_api::Trigger::Schedule,
            later(started_at, seconds(9 * 3600))
        )
    );
}

#[test]
fn an_index_that_expired_is_not_fresh_although_the_authority_has_nothing_newer() {
    let fresh = |authority: u8, end: Option<i64>, waited: u16| {
        let mut world = world(None, 0);
        let served = UnitRevision {
            valid_until: end.map(|end| world.now.as_second() + i64::from(waited) + end),
            ..state(1, world.now, None)
        };
        world.served = Some(served.clone());
        if authority > 0 {
            world
                .copy
                .heard(Reason::Unchanged, "", &[served], world.now);
            let has = state(authority, world.now, None);
            world.copy.heard(Reason::Unchanged, "", &[has], world.now);
        }
        world.pass(waited);
        let told = world.told().conditions;
        let fresh = told
            .into_iter()
            .find(|known| known.kind == "Fresh")
            .unwrap();
        (fresh.status, fresh.reason.unwrap())
    };
    use fleet_types::ConditionStatus::{False, True, Unknown};
    let three_hours = 3 * 3600;
    assert_eq!(fresh(1, None, 0), (True, Reason::Fresh));
    assert_eq!(fresh(1, Some(0), 0), (True, Reason::Fresh));
    assert_eq!(fresh(1, Some(-1), 0), (False, Reason::IndexExpired));
    assert_eq!(fresh(0, Some(-1), 0), (False, Reason::IndexExpired));
    assert_eq!(fresh(0, None, 0), (Unknown, Reason::Unknown));
    assert_eq!(fresh(2, None, three_hours + 1), (False, Reason::Stale));
    assert_eq!(fresh(2, None, three_hours), (True, Reason::Fresh));
    let both = fresh(2, Some(-1), three_hours);
    assert_eq!(both, (False, Reason::IndexExpired));
}

/// Metrics of `local` tell what those of a controller do: whose copy it is, why conditions are as they are and since when, and
/// what is known of the Upstream.
#[test]
fn reasons_and_instants_are_told_and_the_upstream_is_told_of() {
    let mut world = world(None, 0);
    let run = |reason| Event::Run {
        seconds: 5,
        reason,
        retry_after: None,
    };
    world.happens(&run(Reason::Published));
    let good = world.told();
    assert_eq!(good.upstream.as_deref(), Some(NAME));
    let (created, begun) = (good.regions[0].created, world.now.as_second());
    assert_eq!(created, Some(START));
    world.pass(3600);
    world.happens(&run(Reason::SignatureBad));
    let (failed, at) = (world.told(), world.now.as_second());
    let told = |kind: &str| {
        let found = failed.conditions.iter().find(|known| known.kind == kind);
        let found = found.unwrap_or_else(|| panic!("no {kind}: {failed:?}"));
        (found.status, found.reason.unwrap(), found.since.unwrap())
    };
    use fleet_types::ConditionStatus::{False, True};
    assert_eq!(told("Verified"), (False, Reason::SignatureBad, at));
    assert_eq!(told("Serving"), (True, Reason::Serving, begun));
    assert_eq!(told("StorageReady"), (True, Reason::VolumeBound, begun));
    assert_eq!((told("Ready").0, told("Ready").1), (True, Reason::Ready));
    assert_eq!(failed.regions[0].consecutive_failures, 1);
    assert_eq!(failed.regions[0].created, created);
    let kinds: Vec<_> = failed.conditions.iter().map(|known| &known.kind).collect();
    assert!(
        !kinds.iter().any(|kind| *kind == "Reconciling"),
        "{kinds:?}"
    );

    let mut said = UpstreamStatus::default();
    let mut upstream = |world: &World| {
        let gauges = judge_upstream([&world.copy], &mut said, world.now).unwrap();
        let told = gauges.conditions.into_iter();
        let told = told.map(|known| (known.kind, (known.status, known.reason.unwrap())));
        (gauges.revision, told.collect::<BTreeMap<_, _>>())
    };
    let (revision, told) = upstream(&world);
    assert_eq!(revision.len(), 1, "what a good run found stands");
    assert_eq!(told["Reachable"], (True, Reason::Reachable));
    assert_eq!(told["Consistent"], (True, Reason::Consistent));
    world.happens(&run(Reason::UpstreamUnreachable));
    let (_, told) = upstream(&world);
    assert_eq!(told["Reachable"], (False, Reason::UpstreamUnreachable));
    world.happens(&run(Reason::Equivocation));
    let (_, told) = upstream(&world);
    assert_eq!(told["Consistent"], (False, Reason::Equivocation));
}
