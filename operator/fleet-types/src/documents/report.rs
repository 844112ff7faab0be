//! What a run came to.

use serde::{Deserialize, Serialize};

use super::{KeptSnapshot, LeftOut, UnixSeconds};
use crate::{Accepted, Outcome, Reason, UnitRevision};

/// Kubernetes keeps the last 4,096 bytes of a termination message; ours stays clear of that.
const TERMINATION_MESSAGE_BYTES: usize = 2048;

/// Whether something new is served. Why, and whether it is good, says [`Reason`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RunResult {
    /// A new snapshot is served. `reason` may still be that of a unit that was refused and carried forward.
    Published,
    /// There is a new snapshot, and servers are told to serve it by whoever started the run.
    Prepared,
    /// What was served still is, and that is right: nothing is new, or a person pinned or rolled back.
    Unchanged,
    /// What was served still is, and something is wrong. Also what a later version may say.
    #[default]
    #[serde(other)]
    Failed,
}

impl RunResult {
    /// Whether there is a new snapshot.
    pub const fn is_new(self) -> bool {
        match self {
            RunResult::Published | RunResult::Prepared => true,
            RunResult::Unchanged | RunResult::Failed => false,
        }
    }

    /// What a run can have come to that ended for this reason; nothing where no run ends so. Some only prepare; those publish
    /// by themselves only where what serves is of an earlier version.
    pub const fn of(reason: Reason, prepares: bool) -> &'static [RunResult] {
        match reason.outcome() {
            Outcome::Good if matches!(reason, Reason::Published) => &[RunResult::Published],
            Outcome::Good if matches!(reason, Reason::Prepared) => match prepares {
                true => &[RunResult::Prepared],
                false => &[],
            },
            Outcome::Good => &[RunResult::Unchanged],
            // What was refused or could not be had is carried forward beside what is new.
            Outcome::Upstream | Outcome::Refused => match prepares {
                true => &[RunResult::Prepared, RunResult::Failed],
                false => &[RunResult::Published, RunResult::Failed],
            },
            Outcome::Manifest | Outcome::Storage => &[RunResult::Failed],
            Outcome::Cluster => match reason {
                // Runs that never began, or left no report.
                Reason::SyncJobLost
                | Reason::SyncUnschedulable
                | Reason::ImageNotPulled
                | Reason::PodCrashing
                | Reason::PodNotReady
                | Reason::CreationRefused => &[RunResult::Failed],
                _ => &[],
            },
        }
    }

    /// The word itself.
    pub const fn as_str(self) -> &'static str {
        match self {
            RunResult::Published => "Published",
            RunResult::Prepared => "Prepared",
            RunResult::Unchanged => "Unchanged",
            RunResult::Failed => "Failed",
        }
    }
}

/// One run of one Mirror: `state/report.json`, a termination message, a line on standard output. Only without `reason` is
/// it no report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    #[serde(default)]
    pub mirror: String,
    #[serde(default)]
    pub result: RunResult,
    /// That of the worst unit; it decides the exit code.
    pub reason: Reason,
    #[serde(default)]
    pub message: String,
    /// An older version wrote `suites`.
    #[serde(default, alias = "suites")]
    pub units: Vec<UnitReport>,
    /// What is served now.
    #[serde(default)]
    pub snapshot: Option<String>,
    /// The newest snapshot on the volume: what may be ordered next, and what others may copy. Never cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepared: Option<KeptSnapshot>,
    /// Of the newest snapshot: the one that is served, or the one that a pin or a roll-back holds back.
    #[serde(default)]
    pub revision: Vec<UnitRevision>,
    /// What is remembered of units from now on, where the caller did not say the same: also which state a person let
    /// through, and why it would have been refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<Accepted>,
    #[serde(default)]
    pub files_fetched: u64,
    /// Bytes of bodies.
    #[serde(default)]
    pub bytes_fetched: u64,
    /// Of these, what indices of snapshots were that another mirror of ours made.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub index_bytes: u64,
    #[serde(default)]
    pub requests: u64,
    #[serde(default)]
    pub seconds: f64,
    /// When the upstream asked to be left alone, in seconds after `finishedAt`.
    #[serde(default)]
    pub retry_after_seconds: Option<u64>,
    /// When fewer than are wanted are left of the keys that signed what the run took for true, as the keyring has them: the
    /// earliest of all units. None where that never comes, and where nothing was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_expires_at: Option<UnixSeconds>,
    /// Of a run that copied what another mirror of ours had: when that one last found that the upstream has nothing newer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_at: Option<UnixSeconds>,
    #[serde(default)]
    pub started_at: UnixSeconds,
    #[serde(default)]
    pub finished_at: UnixSeconds,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// One unit in a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnitReport {
    /// Debian: the suite. An older version wrote `suite`.
    #[serde(alias = "suite")]
    pub unit: String,
    pub result: RunResult,
    pub reason: Reason,
    pub message: String,
    /// Of the state that is served or would be: what its indices list in a way that nothing can be copied by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOut>,
}

impl Report {
    /// The name of the document in `state/`.
    pub const DOCUMENT: &str = "report";

    /// Reads a termination message; none where it is not a report (the kubelet's own words, or nothing).
    pub fn parse(text: &str) -> Option<Report> {
        serde_json::from_str(text.trim()).ok()
    }

    /// Whether everything that was declared is verified and current.
    pub fn is_good(&self) -> bool {
        self.reason.outcome() == Outcome::Good
    }

    /// When what it found was true of the upstream.
    pub fn found_at(&self) -> UnixSeconds {
        self.confirmed_at.unwrap_or(self.finished_at)
    }

    /// The first unit, by its name, of which the upstream told two truths.
    pub fn contradiction(&self) -> Option<&UnitReport> {
        let contradictory = |unit: &&UnitReport| unit.reason.is_contradiction();
        let units = self.units.iter().filter(contradictory);
        units.min_by(|one, other| one.unit.cmp(&other.unit))
    }

    /// The exit code of the command line's contract.
    pub fn exit_code(&self) -> u8 {
        self.reason.outcome().exit_code()
    }

    /// The report as JSON in at most 2 KiB. The worst unit's message is the report's own and names what helps, so it is
    /// cut late: before it go those of units, units that went well, marks and the revision; after it, other units.
    pub fn to_termination_message(&self) -> String {
        let mut report = self.clone();
        for limits in [(1200, 1200), (900, 400), (900, 60)] {
            report.cut_messages(limits);
            if let Some(text) = report.short_enough() {
                return text;
            }
        }
        report.units.retain(|unit| unit.result == RunResult::Failed);
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
            .units
            .sort_by_key(|unit| !unit.reason.is_contradiction());
        while report.short_enough().is_none() && report.units.pop().is_some() {}
        report.mirror = cut(&report.mirror, 253);
        report.short_enough().unwrap_or_default()
    }

    /// In bytes: of the report's own, and of each unit's.
    fn cut_messages(&mut self, (limit, units): (usize, usize)) {
        self.message = cut(&self.message, limit);
        for unit in &mut self.units {
            unit.message = cut(&unit.message, units);
            // The message says the names too.
            if let Some(left_out) = &mut unit.left_out {
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
pub fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut end = limit.saturating_sub("…".len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_from_a_termination_message_and_anything_else_is_none() {
        let text = r#"{"mirror":"debian","result":"Failed","reason":"KeyUnknown","message":"x","seconds":1.5,
            "startedAt":1767225600,"finishedAt":1767225605,"newField":[]}"#;
        let report = Report::parse(text).unwrap();
        assert_eq!(report.reason, Reason::KeyUnknown);
        assert_eq!(report.finished_at.0 - report.started_at.0, 5);
        assert!(!report.is_good());
        for text in ["", "Error: killed", "{}", "[1]", r#"{"reason":3}"#] {
            assert_eq!(Report::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_a_snapshot_is_copied_by_is_in_every_termination_message() {
        use crate::Sha256;
        use crate::documents::{IndexPin, SnapshotChanges};
        let prepared = KeptSnapshot {
            id: Sha256([0xab; 32]),
            created: UnixSeconds(i64::MAX),
            date: Some(UnixSeconds(i64::MIN)),
            superseded_at: Some(UnixSeconds(i64::MAX)),
            index: Some(IndexPin {
                sha256: Sha256([0xcd; 32]),
                size: u64::MAX,
            }),
            changes: Some(SnapshotChanges {
                added: u64::MAX,
                changed: u64::MAX,
                removed: u64::MAX,
            }),
            bytes: Some(u64::MAX),
        };
        let revision = |n: u8| UnitRevision {
            unit: format!("suite-{n}"),
            digest: Sha256([n; 32]),
            date: i64::MAX,
            valid_until: Some(i64::MAX),
        };
        for (units, bytes) in [(0, 0), (1, 10), (3, 3000), (64, 1), (64, 5000)] {
            let unit = |n: u8| UnitReport {
                unit: format!("suite-{n}"),
                message: "\"".repeat(bytes),
                ..UnitReport::default()
            };
            let report = Report {
                mirror: "m".repeat(253),
                message: "\"".repeat(bytes),
                units: (0..units).map(unit).collect(),
                revision: (0..units).map(revision).collect(),
                accepted: (0..units).map(|n| revision(n).into()).collect(),
                prepared: Some(prepared),
                ..Report::default()
            };
            let text = report.to_termination_message();
            assert!(text.len() <= TERMINATION_MESSAGE_BYTES, "{}", text.len());
            let read = Report::parse(&text).unwrap();
            assert_eq!(
                read.prepared,
                Some(prepared),
                "units: {units}, each of {bytes}"
            );
        }
    }

    #[test]
    fn words_of_a_later_version_and_names_of_an_earlier_one_are_understood() {
        let text = r#"{"result":"Postponed","reason":"SomethingNewer",
            "suites":[{"suite":"trixie","result":"Published","reason":"Published","message":""}]}"#;
        let report = Report::parse(text).unwrap();
        assert_eq!(
            (report.result, report.reason),
            (RunResult::Failed, Reason::Unknown)
        );
        assert_eq!(report.units[0].unit, "trixie");
        let written = serde_json::to_value(&report).unwrap();
        assert_eq!(written["units"][0]["unit"], "trixie");
        assert!(written.get("suites").is_none());
    }
}
