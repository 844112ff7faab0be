//! What is asked of an audit, and what it comes to.

use fleet_types::documents::{Report, RunResult, UnixSeconds};
use fleet_types::{Reason, UnitRevision};
use serde::{Deserialize, Serialize};

use crate::{Problem, Share};

/// How much of what indices list is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// So many files, drawn by lot.
    pub files: usize,
    /// Files larger than this are not drawn.
    pub max_file_bytes: u64,
    /// The same number draws the same files of the same state.
    pub seed: u64,
}

/// What an audit found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditReport {
    pub mirror: String,
    /// Where it was asked.
    pub url: String,
    /// `Audited` where everything that was asked for is as it is promised, else the worst that was found.
    pub reason: Reason,
    pub message: String,
    pub units: Vec<AuditedUnit>,
    /// Of the state that is served.
    pub revision: Vec<UnitRevision>,
    /// Names of roots and indices that were asked for, each by itself.
    pub indices: Share,
    /// Index names that a signed state lists and the mirror does not have, where clients can do without.
    pub absent: Share,
    /// What indices list, name by name, and rules leave in.
    pub listed: Share,
    /// What of it was drawn and asked for.
    pub sampled: Share,
    /// Files that were not as promised: the first of them.
    pub findings: Vec<Finding>,
    pub findings_total: u64,
    /// As in [`Sampling`].
    pub seed: u64,
    pub requests: u64,
    pub bytes_fetched: u64,
    pub seconds: f64,
}

/// What was found of one unit (Debian: suite) as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditedUnit {
    pub unit: String,
    /// `Audited`, or why it is not believed.
    pub reason: Reason,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// A file that is not as promised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    pub path: String,
    pub reason: Reason,
    pub message: String,
}

impl AuditReport {
    /// As runs are reported: what a Job that audits leaves behind.
    pub fn as_run(&self, (started_at, finished_at): (i64, i64)) -> Report {
        Report {
            mirror: self.mirror.clone(),
            result: match self.reason {
                Reason::Audited => RunResult::Unchanged,
                _ => RunResult::Failed,
            },
            reason: self.reason,
            message: self.message.clone(),
            revision: self.revision.clone(),
            bytes_fetched: self.bytes_fetched,
            requests: self.requests,
            seconds: self.seconds,
            started_at: UnixSeconds(started_at),
            finished_at: UnixSeconds(finished_at),
            ..Report::default()
        }
    }

    /// An audit that could not begin.
    pub fn not_begun(mirror: &str, url: &str, problem: Problem) -> AuditReport {
        AuditReport {
            mirror: mirror.to_owned(),
            url: url.to_owned(),
            reason: problem.reason,
            message: problem.message,
            units: Vec::new(),
            revision: Vec::new(),
            indices: Share::default(),
            absent: Share::default(),
            listed: Share::default(),
            sampled: Share::default(),
            findings: Vec::new(),
            findings_total: 0,
            seed: 0,
            requests: 0,
            bytes_fetched: 0,
            seconds: 0.0,
        }
    }
}
