//! One Mirror as it stands in the list.

use std::collections::BTreeMap;

use fleet_api::{Mirror, RegionState};
use fleet_plan::summary::{
    Known, Lag, MirrorSummary, Note, Progress, RegionSummary, enumeration, summary,
};
use fleet_types::Reason;
use jiff::Timestamp;

use crate::history::{History, Standing, Strip};
use crate::seen::Seen;

/// How a Mirror is, the worst first: in this order they stand in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mood {
    Trouble,
    Held,
    Well,
}

impl Mood {
    pub const ALL: [Mood; 3] = [Mood::Trouble, Mood::Held, Mood::Well];

    /// As it stands in addresses and classes.
    pub const fn word(self) -> &'static str {
        match self {
            Mood::Trouble => "trouble",
            Mood::Held => "held",
            Mood::Well => "well",
        }
    }
}

/// A Mirror in the list.
#[derive(Debug, Clone)]
pub struct Row {
    pub versions: (u64, u64),
    pub judged_at: Timestamp,
    pub mood: Mood,
    pub summary: MirrorSummary,
    /// What it copies, in a few words.
    pub content: String,
}

/// So long a judgement stands while nothing but time changes.
const STANDS: i64 = 30;

impl Row {
    /// Judges a Mirror.
    pub fn of(seen: &Seen, progress: &BTreeMap<String, Progress>, now: Timestamp) -> Row {
        let mirror = match seen.mirror.object() {
            Ok(mirror) => mirror,
            Err(problem) => return Row::unreadable(seen, problem, now),
        };
        let upstream = seen.upstream.as_ref().and_then(|held| held.object().ok());
        let known = Known {
            mirror,
            upstream,
            progress,
            now,
        };
        let mut told = summary(&known);
        told.namespace.clone_from(&seen.namespace);
        Row {
            versions: seen.versions,
            judged_at: now,
            mood: match (told.well, told.held.is_empty()) {
                (false, _) => Mood::Trouble,
                (true, false) => Mood::Held,
                (true, true) => Mood::Well,
            },
            summary: told,
            content: content(mirror),
        }
    }

    fn unreadable(seen: &Seen, problem: &str, now: Timestamp) -> Row {
        let reason = Reason::InvalidSpec;
        Row {
            versions: seen.versions,
            judged_at: now,
            mood: Mood::Trouble,
            summary: MirrorSummary {
                namespace: seen.namespace.clone(),
                mirror: seen.name.clone(),
                upstream: String::new(),
                state: reason.to_string(),
                well: false,
                outcome: reason.outcome(),
                exit_code: reason.outcome().exit_code(),
                objective_seconds: 0,
                snapshot: None,
                next_sync: None,
                regions: Vec::new(),
                list: None,
                endpoints: Vec::new(),
                problems: vec![Note {
                    reason,
                    since: None,
                    message: problem.to_owned(),
                }],
                held: Vec::new(),
            },
            content: String::new(),
        }
    }

    /// Whether the judgement still stands. Of what runs it is made anew each time.
    pub fn stands(&self, seen: &Seen, now: Timestamp) -> bool {
        let age = now.as_second() - self.judged_at.as_second();
        self.versions == seen.versions && (0..STANDS).contains(&age) && !self.is_running()
    }

    pub fn is_running(&self) -> bool {
        self.summary
            .regions
            .iter()
            .any(|region| region.run.is_some())
    }

    /// What is worth saying first.
    pub fn headline(&self) -> Option<&Note> {
        let told = &self.summary;
        told.problems.first().or(told.held.first())
    }

    /// Notes how each region stands.
    pub fn remember(&self, history: &mut History, now: Timestamp) {
        for region in &self.summary.regions {
            history.note(&self.line(region), standing(region), now);
        }
    }

    /// The name of a region's hours.
    pub fn line(&self, region: &RegionSummary) -> String {
        let told = &self.summary;
        format!("{}/{}/{}", told.namespace, told.mirror, region.region)
    }

    /// The hours of each region, in their order.
    pub fn strips(&self, history: &History, now: Timestamp) -> Vec<Strip> {
        let regions = self.summary.regions.iter();
        regions
            .map(|region| history.strip(&self.line(region), now))
            .collect()
    }
}

/// How a region stands, for its hours.
pub fn standing(region: &RegionSummary) -> Standing {
    let serves = region.ready && region.has_content;
    match (serves, region.state, region.lag) {
        (false, ..) => Standing::Down,
        (true, RegionState::Stale | RegionState::Withdrawn, _) => Standing::Late,
        (true, _, Lag::Unknown) => Standing::Untold,
        (true, ..) => Standing::Good,
    }
}

/// What a Mirror copies: units, and of which machines.
fn content(mirror: &Mirror) -> String {
    let content = &mirror.spec.content;
    if let Some(npm) = &content.npm {
        return match npm.allow.is_empty() {
            true => "all packages of a registry".to_owned(),
            false => enumeration(&npm.allow),
        };
    }
    let architectures = match (&content.debian, &content.arch) {
        (Some(debian), _) => debian.architectures.join(" "),
        (None, Some(arch)) => arch.architectures.join(" "),
        (None, None) => String::new(),
    };
    let mut units: Vec<String> = match (&content.debian, &content.arch) {
        (Some(debian), _) => debian.suites.clone(),
        (None, Some(arch)) => arch.repos.clone(),
        (None, None) => Vec::new(),
    };
    let more = units.len().saturating_sub(4);
    units.truncate(4);
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let of = match architectures.is_empty() {
        true => String::new(),
        false => format!(" for {architectures}"),
    };
    format!("{}{more}{of}", units.join(", "))
}
