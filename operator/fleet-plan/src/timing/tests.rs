use super::*;

fn at(text: &str) -> Timestamp {
    format!("2026-01-01T{text}Z").parse().unwrap()
}

fn timing(min_interval: i64) -> Timing {
    let spec = SyncSpec {
        schedule: Some("0 * * * *".to_owned()),
        retries: Retries {
            limit: 2,
            ..Retries::default()
        },
        ..SyncSpec::default()
    };
    Timing {
        min_interval: SignedDuration::from_secs(min_interval),
        ..Timing::new(&spec, &Politeness::default(), "m").unwrap()
    }
}

fn ended(start: &str, finish: &str, good: bool, retry: i32) -> Option<Ended> {
    Some(Ended {
        started_at: at(start),
        finished_at: at(finish),
        good,
        retry,
        not_before: None,
    })
}

/// Began a round at ten past ten, and it was good.
fn good() -> History {
    History {
        last: ended("10:10:00", "10:11:00", true, 0),
        round_started_at: Some(at("10:10:00")),
        ..History::default()
    }
}

fn due(timing: &Timing, history: &History) -> (Trigger, Timestamp, i32) {
    let due = next(timing, history).unwrap();
    (due.trigger, due.at, due.retry)
}

#[test]
fn the_first_run_is_due_at_once_and_the_next_at_its_slot() {
    let new = History {
        declared_at: at("10:10:00"),
        ..History::default()
    };
    assert_eq!(due(&timing(0), &new), (Trigger::First, at("10:10:00"), 0));
    assert_eq!(
        due(&timing(0), &good()),
        (Trigger::Schedule, at("11:00:00"), 0)
    );
}

#[test]
fn failed_runs_are_retried_with_back_off_until_the_limit() {
    let mut history = History {
        last: ended("10:10:00", "10:11:00", false, 0),
        ..good()
    };
    let (trigger, first, retry) = due(&timing(3600), &history);
    assert_eq!((trigger, retry), (Trigger::Retry, 1));
    assert!(
        first >= at("10:13:00") && first <= at("10:13:30"),
        "{first}"
    );
    history.last = ended("10:13:30", "10:13:30", false, 1);
    let (_, second, retry) = due(&timing(3600), &history);
    assert_eq!(retry, 2);
    assert!(
        second >= at("10:17:30") && second <= at("10:18:30"),
        "{second}"
    );
    history.last = ended("10:20:00", "10:20:00", false, 2);
    assert_eq!(
        due(&timing(3600), &history),
        (Trigger::Schedule, at("11:10:00"), 0),
        "the round began at 10:10, minInterval is 1h"
    );
}

#[test]
fn back_off_has_an_end() {
    let mut patient = timing(0);
    patient.retries.limit = 40;
    patient.schedule = Timing::new(
        &SyncSpec {
            schedule: Some("0 0 30 2 *".to_owned()),
            ..SyncSpec::default()
        },
        &Politeness::default(),
        "m",
    )
    .unwrap()
    .schedule;
    let history = History {
        last: ended("10:10:00", "10:11:00", false, 39),
        ..good()
    };
    let wait = due(&patient, &history).1.duration_since(at("10:11:00"));
    assert!((6 * 3600..=6 * 4500).contains(&wait.as_secs()), "{wait}");
}

#[test]
fn what_was_edited_waits_for_the_upstream_and_not_for_the_least_interval() {
    let mut history = History {
        edited: Some("digest".to_owned()),
        ..good()
    };
    assert_eq!(
        due(&timing(3 * 3600), &history),
        (Trigger::SpecChange, at("10:11:00"), 0)
    );
    history.last.as_mut().unwrap().not_before = Some(at("10:41:00"));
    assert_eq!(
        due(&timing(3 * 3600), &history),
        (Trigger::SpecChange, at("10:41:00"), 0)
    );
    history.request = Some("now".to_owned());
    assert_eq!(
        due(&timing(3 * 3600), &history),
        (Trigger::Request, at("10:11:00"), 0)
    );
}

#[test]
fn a_process_that_starts_keeps_the_least_interval_and_what_the_upstream_asked_for() {
    let mut history = History {
        started_up_at: Some(at("10:12:00")),
        ..good()
    };
    assert_eq!(
        due(&timing(0), &history),
        (Trigger::Schedule, at("10:12:00"), 0)
    );
    assert_eq!(
        due(&timing(3600), &history),
        (Trigger::Schedule, at("11:10:00"), 0)
    );
    history.last.as_mut().unwrap().not_before = Some(at("12:00:00"));
    assert_eq!(
        due(&timing(3600), &history),
        (Trigger::Schedule, at("12:00:00"), 0)
    );
}

#[test]
fn a_volume_that_is_newer_than_the_last_run_is_filled_at_once() {
    let history = History {
        volume_since: Some(at("10:30:00")),
        ..good()
    };
    assert_eq!(
        due(&timing(3600), &history),
        (Trigger::First, at("10:30:00"), 0)
    );
}

/// The authority was seen to have something else at twenty past ten.
fn with_news() -> History {
    History {
        news_at: Some(at("10:20:00")),
        ..good()
    }
}

fn following_change(min_interval: i64) -> Timing {
    Timing {
        on_upstream_change: true,
        ..timing(min_interval)
    }
}

#[test]
fn a_change_of_the_upstream_makes_a_run_due_only_where_that_is_declared() {
    let scheduled = (Trigger::Schedule, at("11:00:00"), 0);
    assert_eq!(due(&timing(0), &with_news()), scheduled);
    let changed = (Trigger::UpstreamChange, at("10:20:00"), 0);
    assert_eq!(due(&following_change(0), &with_news()), changed);
    assert_eq!(due(&following_change(0), &good()), scheduled);
}

#[test]
fn such_a_run_keeps_the_least_interval_and_what_the_upstream_asked_for() {
    let mut history = with_news();
    let held_back = (Trigger::UpstreamChange, at("10:40:00"), 0);
    assert_eq!(due(&following_change(1800), &history), held_back);
    history.last.as_mut().unwrap().not_before = Some(at("10:50:00"));
    let rests = (Trigger::UpstreamChange, at("10:50:00"), 0);
    assert_eq!(due(&following_change(1800), &history), rests);
    assert!(begins_round(Trigger::UpstreamChange));
}

#[test]
fn a_state_makes_one_run_due_and_one_that_was_seen_during_a_run_another() {
    let seen = |time: &str| History {
        news_at: Some(at(time)),
        ..good()
    };
    let scheduled = (Trigger::Schedule, at("11:00:00"), 0);
    for before in ["10:09:59", "10:10:00"] {
        assert_eq!(due(&following_change(0), &seen(before)), scheduled);
    }
    let meanwhile = (Trigger::UpstreamChange, at("10:11:00"), 0);
    assert_eq!(due(&following_change(0), &seen("10:10:01")), meanwhile);
}

#[test]
fn a_push_makes_one_run_due_at_once_and_one_during_a_run_another_after_it() {
    let pushed = |time: &str| History {
        pushed_at: Some(at(time)),
        ..good()
    };
    let scheduled = (Trigger::Schedule, at("11:00:00"), 0);
    for before in ["10:09:00", "10:10:00"] {
        assert_eq!(due(&timing(0), &pushed(before)), scheduled);
    }
    // Neither the schedule nor the least interval is waited for.
    let at_once = (Trigger::Push, at("10:20:00"), 0);
    assert_eq!(due(&timing(3600), &pushed("10:20:00")), at_once);
    let after_it = (Trigger::Push, at("10:11:00"), 0);
    assert_eq!(due(&timing(0), &pushed("10:10:30")), after_it);
    assert!(!begins_round(Trigger::Push));
}

#[test]
fn who_pushes_all_the_time_gets_a_run_a_minute_and_not_before_the_upstream_wants_one() {
    let mut history = History {
        last: ended("10:10:00", "10:10:05", true, 0),
        pushed_at: Some(at("10:10:06")),
        ..good()
    };
    let rests = (Trigger::Push, at("10:11:00"), 0);
    assert_eq!(due(&timing(0), &history), rests);
    history.last.as_mut().unwrap().not_before = Some(at("10:30:00"));
    let polite = (Trigger::Push, at("10:30:00"), 0);
    assert_eq!(due(&timing(0), &history), polite);
}
