//! What a run says about itself: the fields of the worker's report that planning needs.

use std::collections::BTreeMap;

use fleet_types::{Outcome, Reason, UnitRevision};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The report of one run, as it stands in a termination message and in the store. Unknown fields are ignored and
/// missing ones empty, so that a newer or older worker is still understood.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunReport {
    /// `Published`, `Unchanged` or `Failed`.
    pub result: String,
    /// One of [`Reason`]'s words.
    pub reason: String,
    pub message: String,
    pub suites: Vec<SuiteReport>,
    pub snapshot: Option<String>,
    pub revision: Vec<UnitRevision>,
    /// High-water marks as the run left them, where it was told others.
    pub accepted: Vec<Mark>,
    pub files_fetched: u64,
    pub bytes_fetched: u64,
    pub requests: u64,
    pub seconds: f64,
    pub retry_after_seconds: Option<u64>,
    #[serde(
        deserialize_with = "instant::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub started_at: Option<Timestamp>,
    #[serde(
        deserialize_with = "instant::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub finished_at: Option<Timestamp>,
}

/// A high-water mark: what [`fleet_types::Accepted`] is, with reasons that may be another version's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    #[serde(flatten)]
    pub revision: UnitRevision,
    #[serde(default)]
    pub identity: BTreeMap<String, String>,
    #[serde(default)]
    pub allowed: Vec<String>,
    #[serde(default)]
    pub instead_of: Option<i64>,
}

/// How one suite fared.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SuiteReport {
    pub suite: String,
    pub result: String,
    pub reason: String,
    pub message: String,
}

impl RunReport {
    /// Reads a termination message; none where it is not a report (the kubelet's own words, or nothing).
    pub fn parse(text: &str) -> Option<RunReport> {
        let report: RunReport = serde_json::from_str(text.trim()).ok()?;
        (!report.reason.is_empty()).then_some(report)
    }

    /// The reason as a word of the list; a word that this version does not know is `Unknown`.
    pub fn reason(&self) -> Reason {
        reason_of(&self.reason)
    }

    /// The first unit, by its name, of which the upstream told two truths.
    pub fn contradiction(&self) -> Option<&SuiteReport> {
        let units = self.suites.iter();
        let contradictory = units.filter(|suite| reason_of(&suite.reason).is_contradiction());
        contradictory.min_by(|one, other| one.suite.cmp(&other.suite))
    }

    /// Whether everything that was declared is verified and current.
    pub fn succeeded(&self) -> bool {
        self.reason().outcome() == Outcome::Good
    }
}

/// The reason that a word stands for.
pub fn reason_of(word: &str) -> Reason {
    Reason::ALL
        .iter()
        .copied()
        .find(|reason| reason.as_str() == word)
        .unwrap_or(Reason::Unknown)
}

/// Instants as the worker and the server write them: RFC 3339, or whole or broken seconds since 1970.
pub(crate) mod instant {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Seconds(i64),
        Broken(f64),
        Text(String),
    }

    pub fn option<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Ok(match Option::<Form>::deserialize(deserializer)? {
            Some(Form::Seconds(seconds)) => Timestamp::from_second(seconds).ok(),
            Some(Form::Broken(seconds)) => Timestamp::from_second(seconds as i64).ok(),
            Some(Form::Text(text)) => text.parse().ok(),
            None => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_from_a_termination_message_and_anything_else_is_none() {
        let text = r#"{"mirror":"debian","result":"Failed","reason":"KeyUnknown","message":"x","seconds":1.5,
            "startedAt":"2026-01-01T00:00:00Z","finishedAt":1767225605,"newField":[]}"#;
        let report = RunReport::parse(text).unwrap();
        assert_eq!(report.reason(), Reason::KeyUnknown);
        assert_eq!(
            report.finished_at.unwrap() - report.started_at.unwrap(),
            jiff::Span::new().seconds(5).fieldwise()
        );
        assert!(!report.succeeded());
        for text in ["", "Error: killed", "{}", "[1]", r#"{"reason":3}"#] {
            assert_eq!(RunReport::parse(text), None, "{text:?}");
        }
        assert_eq!(reason_of("SomethingNewer"), Reason::Unknown);
    }
}
