//! What a run came to: the JSON object of the command line's contract, also kept in the store's `state/`.

use fleet_types::{Accepted, Reason, RepoPath, UnitRevision};
use serde::{Deserialize, Serialize};

use crate::Problem;

/// Kubernetes keeps the last 4,096 bytes of a termination message; ours stays clear of that.
const TERMINATION_MESSAGE_BYTES: usize = 2048;

/// Whether something new is served. Why, and whether it is good, says [`Reason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunResult {
    /// A new snapshot is served. `reason` may still be that of a unit that was refused and carried forward.
    Published,
    /// What was served still is, and that is right: nothing is new, or a person pinned or rolled back.
    Unchanged,
    /// What was served still is, and something is wrong.
    Failed,
}

/// One run of one Mirror.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub mirror: String,
    pub result: RunResult,
    /// That of the worst unit; it decides the exit code.
    pub reason: Reason,
    pub message: String,
    pub suites: Vec<SuiteReport>,
    /// What is served now.
    #[serde(default)]
    pub snapshot: Option<String>,
    /// Of the newest snapshot: the one that is served, or the one that a pin or a roll-back holds back.
    pub revision: Vec<UnitRevision>,
    /// What is remembered of units from now on, where the caller did not say the same: also which state a person let
    /// through, and why it would have been refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<Accepted>,
    pub files_fetched: u64,
    /// Bytes of bodies.
    pub bytes_fetched: u64,
    pub requests: u64,
    pub seconds: f64,
    /// When the upstream asked to be left alone, in seconds after `finishedAt`.
    #[serde(default)]
    pub retry_after_seconds: Option<u64>,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub started_at: i64,
    pub finished_at: i64,
}

/// One suite (unit) in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SuiteReport {
    pub suite: String,
    pub result: RunResult,
    pub reason: Reason,
    pub message: String,
    /// Of the state that is served or would be: what its indices list in a way that nothing can be copied by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOut>,
}

/// Entries of indices that cannot be used. The others of their suite are served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftOut {
    /// Once for each index that has one.
    pub entries: u64,
    /// The first few: the package and why.
    pub sample: Vec<String>,
}

impl LeftOut {
    const SAMPLE: usize = 5;
    /// More of one index, and more than a hundredth of it, is no index any more.
    const MAX_ENTRIES: u64 = 20;

    pub(crate) fn add(&mut self, name: &str, why: &str) {
        self.entries += 1;
        if self.sample.len() < Self::SAMPLE {
            self.sample.push(format!("{name} ({why})"));
        }
    }

    pub(crate) fn is_too_much(&self, of: u64) -> bool {
        self.entries > Self::MAX_ENTRIES && self.entries.saturating_mul(100) > of
    }

    /// That is: too much. `index` is where.
    pub(crate) fn refused(&self, index: &RepoPath, of: u64) -> Problem {
        let text = format!(
            "{index}: {} of {of} entries cannot be used, more than {} and a hundredth: {}; the upstream must publish its index anew, or packages.exclude or content.exclude leave them out",
            self.entries,
            Self::MAX_ENTRIES,
            self.sample()
        );
        Problem::new(Reason::IndexMalformed, text)
    }

    /// For people; none where nothing is left out.
    pub(crate) fn note(&self) -> Option<String> {
        let entries = match self.entries {
            0 => return None,
            1 => "1 entry of its indices is".to_owned(),
            entries => format!("{entries} entries of its indices are"),
        };
        Some(format!(
            "{entries} left out, since nothing can be copied by them: {}",
            self.sample()
        ))
    }

    fn sample(&self) -> String {
        let more = if self.entries > self.sample.len() as u64 {
            ", …"
        } else {
            ""
        };
        self.sample.join(", ") + more
    }
}

impl std::ops::AddAssign for LeftOut {
    fn add_assign(&mut self, other: LeftOut) {
        self.entries += other.entries;
        let room = Self::SAMPLE.saturating_sub(self.sample.len());
        self.sample.extend(other.sample.into_iter().take(room));
    }
}

impl Report {
    /// The exit code of the command line's contract.
    pub fn exit_code(&self) -> u8 {
        self.reason.outcome().exit_code()
    }

    /// The report as JSON in at most 2 KiB. The worst unit's message is the report's own and names what helps, so it is
    /// cut late: before it go those of suites, suites that went well, marks and the revision; after it, other suites.
    pub fn to_termination_message(&self) -> String {
        let mut report = self.clone();
        for limits in [(1200, 1200), (900, 400), (900, 60)] {
            report.cut_messages(limits);
            if let Some(text) = report.short_enough() {
                return text;
            }
        }
        report
            .suites
            .retain(|suite| suite.result == RunResult::Failed);
        // A mark that is left out is still unlike what the caller knows in the next run, and told then.
        report.accepted.sort_by_key(|mark| mark.allowed.is_empty());
        while report.short_enough().is_none() && report.accepted.len() > 1 {
            report.accepted.pop();
        }
        if let Some(text) = report.short_enough() {
            return text;
        }
        report.revision.clear();
        for limits in [(900, 60), (400, 160), (160, 60)] {
            report.cut_messages(limits);
            if let Some(text) = report.short_enough() {
                return text;
            }
        }
        report.accepted.clear();
        // What says something about the upstream as a whole goes last.
        report
            .suites
            .sort_by_key(|suite| !suite.reason.is_contradiction());
        while report.short_enough().is_none() && report.suites.pop().is_some() {}
        report.mirror = cut(&report.mirror, 253);
        report.short_enough().unwrap_or_default()
    }

    /// In bytes: of the report's own, and of each suite's.
    fn cut_messages(&mut self, (limit, suites): (usize, usize)) {
        self.message = cut(&self.message, limit);
        for suite in &mut self.suites {
            suite.message = cut(&suite.message, suites);
            // The message says the names too.
            if let Some(left_out) = &mut suite.left_out {
                left_out.sample.clear();
            }
        }
    }

    fn short_enough(&self) -> Option<String> {
        serde_json::to_string(self)
            .ok()
            .filter(|text| text.len() <= TERMINATION_MESSAGE_BYTES)
    }
}

/// The text itself, or its beginning and an ellipsis in at most `limit` bytes.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut end = limit.saturating_sub("…".len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", text.get(..end).unwrap_or_default())
}

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanReport {
    pub mirror: String,
    /// `Unchanged` where a run would have nothing to do, `Published` where it would publish, else `Failed`.
    pub result: RunResult,
    pub reason: Reason,
    pub message: String,
    pub suites: Vec<SuiteReport>,
    pub fetch: Share,
    pub keep: Share,
    pub remove: Share,
    /// Listed by the upstream, and left out by the manifest.
    #[serde(default)]
    pub exclude: Share,
    /// None where nothing would be fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<Room>,
    /// Of the state that would be published.
    pub revision: Vec<UnitRevision>,
    pub requests: u64,
    /// For indices alone.
    pub bytes_fetched: u64,
    pub seconds: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
}

impl PlanReport {
    /// The exit code that says whether a run would be good, as far as the indices tell.
    pub fn exit_code(&self) -> u8 {
        self.reason.outcome().exit_code()
    }
}

/// What a run would add to the volume, and what there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Room {
    /// Contents, each once however many names it has.
    pub files: u64,
    /// What they take, in whole blocks, less what earlier runs left of them.
    pub bytes: u64,
    /// For the snapshot's own index, at most.
    pub index_bytes: u64,
    /// Stays free.
    pub reserve_bytes: u64,
    pub free_bytes: u64,
}

/// Some of the paths of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    pub files: u64,
    pub bytes: u64,
    /// The first few, in the order of their names.
    pub sample: Vec<String>,
}

impl Share {
    const SAMPLE: usize = 20;

    pub(crate) fn add(&mut self, path: &str, bytes: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.sample.len() < Self::SAMPLE {
            self.sample.push(path.to_owned());
        }
    }
}
