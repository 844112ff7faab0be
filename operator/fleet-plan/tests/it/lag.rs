//! How far a copy is said to be behind, against how far it is: random histories of an authority, with probes that get no answer,
//! controllers that are away, and an upstream whose clock is wrong.

use fleet_api::Upstream;
use fleet_plan::freshness::{BehindUnit, Confirmed, Freshness, measure};
use fleet_plan::{ObservedUpstream, Probe, ProbeAnswer, plan_upstream};
use fleet_types::{Reason, Sha256, UnitRevision};
use jiff::Timestamp;
use proptest::prelude::*;

use crate::model::{SUITE, at, upstream};

/// Seconds between two probes.
const INTERVAL: i64 = 600;

#[derive(Debug, Clone)]
enum Event {
    Wait(u16),
    /// The authority has its next state.
    Publish,
    /// It does not answer, or does again.
    Silence(bool),
    /// The controller is away for so many seconds, and the next one knows only what the status says.
    Restart(u16),
    /// The copy takes what the authority has at this moment.
    Sync,
    /// The copy takes an older state, by so many.
    Back(u8),
}

struct World {
    now: i64,
    upstream: Upstream,
    /// When each state was published; its number is its place.
    published: Vec<i64>,
    /// By how many seconds the upstream's clock is wrong; none where states have no date.
    skew: Option<i64>,
    silent: bool,
    probe: Option<Probe>,
    next_probe: i64,
    confirmed: Vec<Confirmed>,
    serves: usize,
    before: Vec<BehindUnit>,
    /// Answers so far: when, and which state they showed; whether the next one remembers this.
    answers: Vec<(i64, usize)>,
    /// When controllers began.
    starts: Vec<i64>,
}

fn state(number: usize) -> Sha256 {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    Sha256(bytes)
}

fn instant(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

impl World {
    fn new(skew: Option<i64>) -> World {
        let now = at("2026-01-01T00:00:00Z").as_second();
        let mut upstream = upstream();
        upstream.status = None;
        let mut world = World {
            now,
            upstream,
            published: vec![now - 1000],
            skew,
            silent: false,
            probe: None,
            next_probe: now,
            confirmed: Vec::new(),
            serves: 0,
            before: Vec::new(),
            answers: Vec::new(),
            starts: vec![now],
        };
        world.pass(0);
        world
    }

    fn newest(&self) -> usize {
        self.published.len() - 1
    }

    fn date(&self, number: usize) -> Option<i64> {
        self.skew.map(|skew| self.published[number] + skew)
    }

    /// Time goes on, and the controller asks when that is due.
    fn pass(&mut self, seconds: i64) {
        let until = self.now + seconds;
        while self.next_probe <= until {
            self.now = self.next_probe;
            self.ask();
            self.next_probe = self.now + INTERVAL;
            self.judged();
        }
        self.now = until;
        self.judged();
    }

    fn ask(&mut self) {
        let answer = match self.silent {
            true => ProbeAnswer::Failed {
                reason: Reason::UpstreamUnreachable,
                message: "refused".to_owned(),
            },
            false => ProbeAnswer::Has {
                digest: state(self.newest()).to_string(),
                date: self.date(self.newest()).map(instant),
            },
        };
        if !self.silent {
            self.answers.push((self.now, self.newest()));
        }
        let unit = SUITE.to_owned();
        let probe = Probe::after(self.probe.as_ref(), unit, instant(self.now), answer);
        self.probe = Some(probe.clone());
        let seen = ObservedUpstream {
            now: instant(self.now),
            units: vec![SUITE.to_owned()],
            probes: vec![probe],
            confirmed: self.confirmed.clone(),
            ..ObservedUpstream::default()
        };
        self.upstream.status = Some(plan_upstream(&self.upstream, &seen).status);
    }

    fn happens(&mut self, event: &Event) {
        match event {
            Event::Wait(seconds) => self.pass((*seconds).into()),
            Event::Publish => {
                self.pass(1);
                self.published.push(self.now);
                self.pass(1);
            }
            Event::Silence(silent) => self.silent = *silent,
            Event::Restart(away) => {
                self.probe = None;
                self.next_probe = self.now + i64::from(*away);
                self.now = self.next_probe;
                self.starts.push(self.now);
                self.pass(0);
            }
            Event::Sync if self.silent => {}
            Event::Sync => {
                self.serves = self.newest();
                self.confirmed = vec![Confirmed {
                    unit: SUITE.to_owned(),
                    digest: state(self.serves).to_string(),
                    at: instant(self.now),
                }];
            }
            Event::Back(by) => {
                // Not beyond what is remembered: that is told by the copy's own date, which a wrong clock makes worthless.
                let least = self.newest().saturating_sub(6);
                self.serves = self.serves.saturating_sub((*by).into()).max(least);
                self.confirmed.clear();
            }
        }
        self.judged();
    }

    /// What is said holds, both ways.
    fn judged(&mut self) {
        let Some(status) = &self.upstream.status else {
            return;
        };
        let served = UnitRevision {
            unit: SUITE.to_owned(),
            digest: state(self.serves),
            date: self.date(self.serves).unwrap_or(0),
            valid_until: None,
        };
        let units = [SUITE.to_owned()];
        let now = instant(self.now);
        let told = measure(&units, &status.revision, &[served], &self.before, now);
        let Ok(told) = told else {
            return;
        };
        told.remember(&mut self.before);
        let reported = told.superseded_at().map(Timestamp::as_second);
        let superseded = self.published.get(self.serves + 1).copied();
        let first_newer = self.answers.iter().find(|(_, state)| *state > self.serves);
        match (superseded, first_newer) {
            (Some(truly), Some((seen, _))) => {
                let reported = reported.unwrap_or_else(|| {
                    panic!("state {} is behind and nobody says so", self.serves)
                });
                assert!(reported <= truly, "said {reported}, truly {truly}");
                self.is_near(truly, reported, *seen);
            }
            // No answer since then: it cannot be known.
            (Some(truly), None) => {
                let heard = self.answers.iter().any(|(at, _)| *at > truly);
                assert!(!heard, "an answer showed it");
            }
            // Nobody can tell that it is newer than what was seen.
            (None, _) if self.skew.is_none() && !self.was_shown() => {}
            (None, _) => assert_eq!(told, Freshness::Current),
        }
    }

    fn was_shown(&self) -> bool {
        self.answers.iter().any(|(_, state)| *state == self.serves)
    }

    /// Too early by no more than an interval and the time without answers: no earlier than the last answer before the first that
    /// showed something newer. What an answer told a controller that has gone is lost, but for when the state was first seen, and
    /// for what runs found, which statuses hold: then that is the bound.
    fn is_near(&self, truly: i64, reported: i64, seen: i64) {
        let Some((last, showed)) = self.answers.iter().rfind(|(at, _)| *at < seen) else {
            // The very first answer: nobody can say since when.
            return;
        };
        if *showed != self.serves && self.skew.is_none() {
            // It came and went between two answers, and nothing says what came before it.
            return;
        }
        let is_forgotten = |start: &i64| *last < *start && *start <= seen;
        let known = match self.starts.iter().any(is_forgotten) {
            true => self.first_seen(*showed).max(self.found_by_a_run(*showed)),
            false => *last,
        };
        assert!(
            reported >= known,
            "said {reported}, truly {truly}, and nothing newer was there at {known}"
        );
    }

    /// When a state that answers showed is known to have come: the very first one by its own date, where that can be.
    fn first_seen(&self, number: usize) -> i64 {
        let mut answers = self.answers.iter();
        let first = answers.find(|(_, state)| *state == number);
        let at = first.map_or(i64::MIN, |(at, _)| *at);
        let is_the_first = self.answers.first().is_some_and(|(_, it)| *it == number);
        let own = self.date(number).filter(|_| is_the_first);
        own.map_or(at, |date| date.min(at))
    }

    /// When a run last found the authority to have a state that the copy serves; never, as far as anybody remembers, else.
    fn found_by_a_run(&self, number: usize) -> i64 {
        let digest = state(number).to_string();
        let mut found = self.confirmed.iter().filter(|it| it.digest == digest);
        found.next().map_or(i64::MIN, |it| it.at.as_second())
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0u16..2000).prop_map(Event::Wait),
        4 => Just(Event::Publish),
        1 => any::<bool>().prop_map(Event::Silence),
        1 => (0u16..60000).prop_map(Event::Restart),
        2 => Just(Event::Sync),
        1 => (1u8..4).prop_map(Event::Back),
    ];
    prop::collection::vec(event, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn lag_is_never_too_short_and_too_long_by_no_more_than_nobody_could_know(
        events in events(),
        skew in prop_oneof![Just(None), (-100_000i64..100_000).prop_map(Some)],
    ) {
        let mut world = World::new(skew);
        for event in &events {
            world.happens(event);
        }
    }
}

/// More states come than an Upstream's status remembers.
#[test]
fn a_copy_that_is_older_than_all_that_is_remembered_counts_from_what_was_told_of_it() {
    for skew in [None, Some(0), Some(-33_650), Some(33_650)] {
        let mut world = World::new(skew);
        for _ in 0..12 {
            world.happens(&Event::Publish);
            world.pass(INTERVAL);
        }
        let told = world.before[0].superseded_at.0.as_second();
        let truly = world.published[1];
        assert!(truly - INTERVAL <= told && told <= truly, "{told} {truly}");
    }
}

#[test]
fn a_region_that_moves_to_a_state_that_was_superseded_before_counts_from_then() {
    let mut world = World::new(Some(0));
    for _ in 0..3 {
        world.happens(&Event::Publish);
        world.pass(INTERVAL);
    }
    world.serves = 1;
    world.before.clear();
    world.judged();
    let told = world.before[0].superseded_at.0.as_second();
    let truly = world.published[2];
    assert!(truly - INTERVAL <= told && told <= truly, "{told} {truly}");
}
