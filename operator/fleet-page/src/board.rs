//! What is shown, made at most once a second however many look, and shared by all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fleet_plan::score::Score;
use fleet_plan::summary::{MirrorSummary, Note, Program};
use fleet_types::lock;
use jiff::Timestamp;

use crate::history::{History, Strip};
use crate::row::{Mood, Row};
use crate::seen::{Look, Seen, Source};

/// How the page tells things.
#[derive(Debug, Clone)]
pub struct Manner {
    /// How commands are written; none where there is no cluster that they could be for.
    pub program: Option<Program>,
    /// Fixed words only: no sentence in which words of an upstream may stand, and no commands. For a page that strangers see.
    pub fixed_words: bool,
}

/// The status page: what it is told, and what it remembers.
pub struct Board {
    source: Box<dyn Source>,
    pub(crate) manner: Manner,
    history: Mutex<History>,
    latest: Mutex<Option<Arc<Fleet>>>,
    asked_at: Mutex<Option<Timestamp>>,
}

/// The fleet at one moment.
pub struct Fleet {
    pub told_at: Timestamp,
    /// Whether everything is known.
    pub complete: bool,
    pub teller: String,
    pub caveat: String,
    /// The worst first, then by namespace and name.
    pub rows: Vec<Arc<Row>>,
    /// What each row was made of.
    pub(crate) seen: BTreeMap<(String, String), (Seen, Arc<Row>)>,
    pub(crate) look: Look,
    /// How many there are of each mood.
    pub moods: [usize; Mood::ALL.len()],
    /// Places in `rows` of those of which a sync runs.
    pub running: Vec<usize>,
}

/// What is made is shown for so long.
const SHOWN_MILLISECONDS: i64 = 1000;
/// Somebody who asked so long ago may still look.
const LOOKS: i64 = 60;

impl Board {
    pub fn new(source: Box<dyn Source>, manner: Manner) -> Board {
        Board {
            source,
            manner,
            history: Mutex::default(),
            latest: Mutex::default(),
            asked_at: Mutex::default(),
        }
    }

    /// Looks, and remembers how each region stands; to be called twice a minute, whether anybody looks at the page or not.
    /// False while not everything is known: then nothing is remembered, and it is worth looking again soon.
    pub fn tick(&self, now: Timestamp) -> bool {
        let fleet = self.fleet(now);
        if !fleet.complete {
            return false;
        }
        let mut history = lock(&self.history);
        for row in &fleet.rows {
            row.remember(&mut history, now);
        }
        history.keep_only(|line| {
            let mut parts = line.splitn(3, '/');
            let (Some(namespace), Some(name), Some(region)) =
                (parts.next(), parts.next(), parts.next())
            else {
                return false;
            };
            let key = (namespace.to_owned(), name.to_owned());
            let known = fleet.seen.get(&key).map(|(_, row)| &row.summary.regions);
            known.is_some_and(|known| known.iter().any(|of| of.region == region))
        });
        true
    }

    /// The fleet as it is now, or was within the last second. Whoever comes while it is made waits for it.
    pub fn fleet(&self, now: Timestamp) -> Arc<Fleet> {
        let mut latest = lock(&self.latest);
        if let Some(known) = latest.as_ref() {
            let age = now.as_millisecond() - known.told_at.as_millisecond();
            if (0..SHOWN_MILLISECONDS).contains(&age) {
                return known.clone();
            }
        }
        let made = Arc::new(Fleet::of(self.source.look(now), latest.as_deref(), now));
        *latest = Some(made.clone());
        made
    }

    /// Hours of the regions of a row, in their order.
    pub(crate) fn strips(&self, row: &Row, now: Timestamp) -> Vec<Strip> {
        row.strips(&lock(&self.history), now)
    }

    /// What the checks of a row's regions come to, by region.
    pub(crate) fn scores(&self, row: &Row, now: Timestamp) -> BTreeMap<String, Score> {
        let told = &row.summary;
        self.source.scores(&told.namespace, &told.mirror, now)
    }

    /// What is remembered of one Mirror's hours, to be kept.
    pub fn hours_of(&self, namespace: &str, mirror: &str) -> History {
        let prefix = format!("{namespace}/{mirror}/");
        lock(&self.history).part(|line| line.starts_with(&prefix))
    }

    /// Takes over what was kept of one Mirror's hours.
    pub fn take_up(&self, namespace: &str, mirror: &str, kept: History) {
        let prefix = format!("{namespace}/{mirror}/");
        lock(&self.history).take_up(kept.part(|line| line.starts_with(&prefix)));
    }

    pub(crate) fn note_asked(&self, now: Timestamp) {
        *lock(&self.asked_at) = Some(now);
    }

    /// Whether somebody looks at the page, as far as one can tell: what costs questions is asked only then.
    pub fn is_watched(&self, now: Timestamp) -> bool {
        let asked_at = *lock(&self.asked_at);
        asked_at.is_some_and(|at| (0..LOOKS).contains(&(now.as_second() - at.as_second())))
    }

    /// A note's sentence as it may be shown.
    pub(crate) fn words(&self, note: &Note) -> String {
        match self.manner.fixed_words {
            true => note.reason.description().trim().to_owned(),
            false => note.message.clone(),
        }
    }

    /// A summary as it may be shown.
    pub(crate) fn shown(&self, told: &MirrorSummary) -> MirrorSummary {
        let mut shown = told.clone();
        for note in shown.problems.iter_mut().chain(&mut shown.held) {
            note.message = self.words(note);
        }
        if self.manner.fixed_words {
            let endpoints = shown.endpoints.iter_mut();
            endpoints.for_each(|endpoint| endpoint.message.clear());
        }
        shown
    }
}

impl Fleet {
    fn of(mut look: Look, before: Option<&Fleet>, now: Timestamp) -> Fleet {
        let none = BTreeMap::new();
        let mut seen = BTreeMap::new();
        for one in std::mem::take(&mut look.mirrors) {
            let known = before.and_then(|before| before.seen.get(&one.key()));
            let stands = known
                .map(|(_, row)| row)
                .filter(|row| row.stands(&one, now));
            let row = stands.cloned().unwrap_or_else(|| {
                let progress = look.progress.get(&one.key()).unwrap_or(&none);
                Arc::new(Row::of(&one, progress, now))
            });
            seen.insert(one.key(), (one, row));
        }
        let mut rows: Vec<Arc<Row>> = seen.values().map(|(_, row)| row.clone()).collect();
        // The order within a mood is that of the keys.
        rows.sort_by_key(|row| row.mood);
        let count = |mood: Mood| rows.iter().filter(|row| row.mood == mood).count();
        let running = (rows.iter().enumerate())
            .filter(|(_, row)| row.is_running())
            .map(|(place, _)| place)
            .collect();
        Fleet {
            told_at: now,
            complete: look.complete,
            teller: look.teller.clone(),
            caveat: look.caveat.clone(),
            moods: Mood::ALL.map(count),
            running,
            rows,
            seen,
            look,
        }
    }

    pub fn count(&self, mood: Mood) -> usize {
        self.moods[mood as usize]
    }

    /// A Mirror with what is known of it.
    pub(crate) fn find(&self, namespace: &str, name: &str) -> Option<&(Seen, Arc<Row>)> {
        self.seen.get(&(namespace.to_owned(), name.to_owned()))
    }
}
