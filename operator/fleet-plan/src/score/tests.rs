use fleet_types::documents::UnixSeconds;
use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_767_225_600;

fn check(at: i64, seconds: f64, delay: i64) -> Check {
    Check {
        at,
        seconds: Some(seconds),
        last_sync: Some(at - delay),
    }
}

fn failed(at: i64) -> Check {
    Check {
        at,
        seconds: None,
        last_sync: None,
    }
}

fn scored(checks: impl IntoIterator<Item = Check>, now: i64) -> Score {
    let mut all = Checks::default();
    checks.into_iter().for_each(|check| all.note(check));
    all.score(now)
}

fn close(a: Option<f64>, b: f64) -> bool {
    a.is_some_and(|a| (a - b).abs() <= 1e-9 * b.abs().max(1.0))
}

/// As archlinux.org published them: completion, delay, mean, deviation, score.
#[test]
fn the_score_is_the_one_that_archweb_publishes() {
    for (completion, delay, mean, deviation, score) in [
        // mirror.aarnet.edu.au, 2026-09-03
        (
            1.0,
            1749.0,
            0.983_062_470_952_669_7,
            0.213_086_265_106_851,
            1.681_982_069_392_854,
        ),
        // ftp.ntua.gr, 2024-05-01
        (
            1.0,
            6354.0,
            0.435_857_558_125_600_8,
            0.651_286_268_871_614_2,
            2.852_143_826_997_215,
        ),
        // By hand: (36 h + 2 s + 1 s) / 0.75
        (0.75, 129_600.0, 2.0, 1.0, 52.0),
    ] {
        let told = Score {
            checks: 96,
            completion: Some(completion),
            delay: Some(delay),
            duration_avg: Some(mean),
            duration_stddev: Some(deviation),
            ..Score::default()
        };
        assert!(
            close(told.value(), score),
            "{:?} is not {score}",
            told.value()
        );
    }
}

/// The numbers of archweb's own test (`mirrors/tests/test_mirrorstatus.py`): one check of 10 s, 128 hours late.
#[test]
fn one_check_has_no_deviation_and_is_out_of_sync_after_three_days() {
    let told = scored([check(NOW, 10.0, 128 * HOUR)], NOW);
    assert_eq!(told.delay, Some(460_800.0));
    assert_eq!(
        (told.duration_avg, told.duration_stddev),
        (Some(10.0), None)
    );
    assert_eq!(told.value(), Some(138.0));
    assert!(told.is_out_of_sync());
    let timely = scored([check(NOW, 10.0, 72 * HOUR)], NOW);
    assert!(!timely.is_out_of_sync());
}

#[test]
fn what_fails_lowers_the_completion_and_tells_no_delay() {
    let told = scored(
        [
            check(NOW, 1.0, 600),
            failed(NOW + 30),
            check(NOW + 60, 3.0, 1200),
            failed(NOW + 90),
        ],
        NOW + 90,
    );
    assert_eq!((told.checks, told.completion), (4, Some(0.5)));
    assert_eq!((told.delay, told.duration_avg), (Some(900.0), Some(2.0)));
    assert!(close(told.duration_stddev, 2.0_f64.sqrt()));
    assert!(close(told.value(), (0.25 + 2.0 + 2.0_f64.sqrt()) / 0.5));
    assert_eq!(told.last_sync, Some(NOW - 600), "the latest of all");
    assert_eq!(
        (told.first_check, told.last_check),
        (Some(NOW), Some(NOW + 90))
    );
    // Where none succeeded there is nothing to rank by, and it is no good.
    let silent = scored([failed(NOW), failed(NOW + 30)], NOW + 30);
    assert_eq!((silent.completion, silent.value()), (Some(0.0), None));
    assert!(silent.is_out_of_sync() && silent.gauges().is_some());
}

#[test]
fn nothing_is_told_where_nothing_was_checked() {
    let none = Checks::default().score(NOW);
    assert_eq!(none, Score::default());
    assert_eq!((none.value(), none.gauges()), (None, None));
    assert!(!none.is_out_of_sync(), "it is not known");
    // A day later all is forgotten.
    let told = scored([check(NOW, 1.0, 0)], NOW + CUTOFF);
    assert_eq!(told, Score::default());
}

#[test]
fn a_clock_that_was_set_back_leaves_nothing_of_the_future() {
    let checks = [check(NOW + 9 * HOUR, 1.0, 0), check(NOW, 3.0, 60)];
    let told = scored(checks, NOW);
    assert_eq!((told.checks, told.duration_avg), (1, Some(3.0)));
}

#[test]
fn one_copy_that_answers_is_enough_and_who_was_not_asked_is_not_judged() {
    let answered = |seconds, last_sync| Question::Answered { seconds, last_sync };
    let of = |questions: &[Question]| Check::of(NOW, questions);
    let good = answered(0.2, Some(NOW - 60));
    assert_eq!(
        of(&[
            Question::Failed,
            answered(0.1, None),
            answered(0.3, Some(NOW)),
            good
        ]),
        Some(check(NOW, 0.2, 60))
    );
    assert_eq!(of(&[Question::NotAsked]), None);
    assert_eq!(of(&[Question::NotAsked, Question::Failed]), None);
    assert_eq!(of(&[Question::NotAsked, good]), Some(check(NOW, 0.2, 60)));
    for nobody in [&[][..], &[Question::Failed, Question::Failed]] {
        assert_eq!(of(nobody), Some(failed(NOW)));
    }
    // Who serves nothing answers, and has not succeeded; nor has who has a time that has yet to come.
    let empty = Some(Check {
        seconds: Some(0.1),
        ..failed(NOW)
    });
    assert_eq!(of(&[answered(0.1, None)]), empty);
    assert_eq!(of(&[answered(0.1, Some(NOW + 301))]), empty);
    let ahead = of(&[answered(0.1, Some(NOW + 299))]).unwrap();
    assert_eq!(scored([ahead], NOW).delay, Some(0.0));
}

#[test]
fn a_heartbeat_counts_as_it_is_and_else_what_a_run_found_and_no_later_than_the_authority_went_on() {
    let serves = |last_sync: Option<i64>| ServedStatus {
        snapshot: Some("5f".repeat(32)),
        last_sync: last_sync.map(UnixSeconds),
        ..ServedStatus::default()
    };
    assert_eq!(last_sync(&serves(Some(7)), Some(9), Some(3)), Some(7));
    assert_eq!(last_sync(&serves(None), Some(9), None), Some(9));
    assert_eq!(last_sync(&serves(None), Some(9), Some(3)), Some(3));
    assert_eq!(last_sync(&serves(None), Some(9), Some(12)), Some(9));
    assert_eq!(last_sync(&serves(None), None, Some(3)), None);
    let nothing = ServedStatus {
        last_sync: Some(UnixSeconds(7)),
        ..ServedStatus::default()
    };
    assert_eq!(last_sync(&nothing, Some(9), None), None);
}

/// Seconds after the one before, how long it took if anybody answered, and how late it was if it succeeded.
type Told = (i64, Option<(f64, Option<i64>)>);

fn told() -> impl Strategy<Value = Told> {
    let answer = (0.0..30.0_f64, prop::option::of(0..500_000_i64));
    (0..7200_i64, prop::option::of(answer))
}

proptest! {
    /// Sums by the hour come to what archweb's query computes of all checks, and are bounded.
    #[test]
    fn sums_by_the_hour_tell_what_all_checks_do(steps in prop::collection::vec(told(), 1..200)) {
        let mut at = NOW;
        let mut all = Vec::new();
        let mut checks = Checks::default();
        for (step, answer) in steps {
            at += step;
            let check = Check {
                at,
                seconds: answer.map(|(seconds, _)| seconds),
                last_sync: answer.and_then(|(_, delay)| Some(at - delay?)),
            };
            all.push(check);
            checks.note(check);
        }
        prop_assert!(checks.hours.len() <= 24);
        let since = (at.div_euclid(HOUR) - 23) * HOUR;
        prop_assert!(since > at - CUTOFF);
        let counted: Vec<&Check> = all.iter().filter(|check| check.at >= since).collect();
        let durations: Vec<f64> = counted.iter().filter_map(|check| check.seconds).collect();
        let delays: Vec<i64> = counted.iter().filter_map(|check| Some(check.at - check.last_sync?)).collect();
        let score = checks.score(at);
        prop_assert_eq!(score.checks as usize, counted.len());
        prop_assert_eq!(score.completion, Some(delays.len() as f64 / counted.len() as f64));
        prop_assert_eq!(score.last_sync, counted.iter().filter_map(|check| check.last_sync).max());
        prop_assert_eq!(score.first_check, counted.first().map(|check| check.at));
        match durations.len() {
            0 => prop_assert_eq!(score.duration_avg, None),
            count => {
                let mean = durations.iter().sum::<f64>() / count as f64;
                prop_assert!(close(score.duration_avg, mean));
                let squares: f64 = durations.iter().map(|value| (value - mean).powi(2)).sum();
                match count {
                    1 => prop_assert_eq!(score.duration_stddev, None),
                    _ => prop_assert!((score.duration_stddev.unwrap() - (squares / (count - 1) as f64).sqrt()).abs() < 1e-6),
                }
            }
        }
        let delay = (!delays.is_empty()).then(|| (delays.iter().sum::<i64>() as f64 / delays.len() as f64).floor());
        prop_assert_eq!(score.delay, delay);
        prop_assert_eq!(score.value().is_some(), delay.is_some());
    }
}
