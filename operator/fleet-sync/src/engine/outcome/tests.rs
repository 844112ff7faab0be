//! What a run came to, told from what happened to each unit.

use super::*;

fn units() -> Vec<String> {
    vec!["stable".to_owned(), "updates".to_owned()]
}

fn published() -> Served {
    Served {
        result: RunResult::Published,
        reason: Reason::Published,
        message: "new".to_owned(),
        revision: Vec::new(),
    }
}

#[test]
fn the_worst_suite_decides_the_reason_and_what_was_published_the_result() {
    let refusals = Refusals::from([(1, Problem::new(Reason::IndexExpired, "too old"))]);
    let outcomes = Outcomes::of(&units(), refusals, Some(published()), "");
    assert_eq!(
        (outcomes.result, outcomes.reason),
        (RunResult::Published, Reason::IndexExpired)
    );
    assert_eq!(
        outcomes
            .each
            .iter()
            .map(|unit| unit.reason)
            .collect::<Vec<_>>(),
        [Reason::Published, Reason::IndexExpired]
    );
}

#[test]
fn a_full_disk_is_worse_than_a_refused_suite() {
    let refusals = Refusals::from([(0, Problem::new(Reason::IndexExpired, "too old"))]);
    let outcomes = Outcomes::stopped(
        &units(),
        refusals,
        Problem::new(Reason::StorageFull, "full"),
    );
    assert_eq!(
        (outcomes.result, outcomes.reason),
        (RunResult::Failed, Reason::StorageFull)
    );
    assert_eq!(
        outcomes
            .each
            .iter()
            .map(|unit| unit.reason)
            .collect::<Vec<_>>(),
        [Reason::IndexExpired, Reason::StorageFull]
    );
}
