//! What a probe Job found out: the termination message of its pod, from which the controller reads it.

use serde::{Deserialize, Serialize};

use super::cut;
use crate::Reason;

/// What a probe Job found out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProbeReport {
    /// Why nobody could be asked, for example that a Secret is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<ProbeFailure>,
    /// What the authority said, unit by unit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<ProbedUnit>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<ProbedEndpoint>,
}

/// Why something is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProbeFailure {
    pub reason: Reason,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// What was said of one unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProbedUnit {
    pub unit: String,
    /// SHA-256 of the signed payload, 64 hexadecimal digits; empty where nothing could be read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// The upstream's date of it, in seconds since 1970-01-01T00:00:00Z.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<ProbeFailure>,
}

/// What an endpoint said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProbedEndpoint {
    pub name: String,
    /// Units of which it has something else than the authority, or nothing that could be read. Of all others of the
    /// report it has the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<ProbedUnit>,
    /// Units of which there was no room to tell; they are among neither.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub untold: Vec<String>,
}

/// What a kubelet keeps of a termination message.
const MOST_BYTES: usize = 4096;
/// What is kept of a sentence, in bytes.
const SENTENCE: usize = 300;

impl ProbeReport {
    /// So many units are asked for in one Job, so that what is said of them always has room.
    pub const UNITS: usize = 16;

    /// As JSON, in no more bytes than a kubelet keeps. What is given up first are sentences, then what is said of endpoints;
    /// of those a unit that is behind is told before others.
    pub fn to_termination_message(&self) -> String {
        let mut report = self.clone();
        report.shorten(SENTENCE);
        if report.fits().is_none() {
            report.shorten("…".len());
        }
        while report.fits().is_none() && report.gives_up_one() {}
        while report.fits().is_none() && report.units.pop().is_some() {}
        report.fits().unwrap_or_default()
    }

    /// What `to_termination_message` wrote; none for anything else.
    pub fn read(message: &str) -> Option<ProbeReport> {
        serde_json::from_str(message).ok()
    }

    fn fits(&self) -> Option<String> {
        let text = serde_json::to_string(self).ok()?;
        (text.len() <= MOST_BYTES).then_some(text)
    }

    fn shorten(&mut self, most: usize) {
        let endpoints = self.endpoints.iter_mut().flat_map(|it| &mut it.others);
        let units = self.units.iter_mut().chain(endpoints);
        let failures = units.filter_map(|unit| unit.failure.as_mut());
        for failure in failures {
            failure.message = cut(&failure.message, most);
        }
        if let Some(failure) = &mut self.failure {
            failure.message = cut(&failure.message, SENTENCE * 4);
        }
    }

    /// Gives up what is said of a unit of the endpoint of which most is, the newest first, or the endpoint with least to say.
    fn gives_up_one(&mut self) -> bool {
        let most = self.endpoints.iter_mut().max_by_key(|it| it.others.len());
        let Some(endpoint) = most.filter(|it| it.others.len() > 1) else {
            return self.endpoints.pop().is_some();
        };
        let newest = (0..endpoint.others.len()).max_by_key(|at| endpoint.others[*at].date);
        let newest = newest.map(|at| endpoint.others.remove(at).unit);
        endpoint.untold.extend(newest);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(number: usize) -> ProbedUnit {
        ProbedUnit {
            unit: format!("a-suite-with-quite-a-long-name-{number:02}"),
            digest: "0f".repeat(32),
            date: Some(1_700_000_000 + number as i64),
            failure: None,
        }
    }

    fn failed(unit: &str, message: &str) -> ProbedUnit {
        ProbedUnit {
            unit: unit.to_owned(),
            failure: Some(ProbeFailure {
                reason: Reason::UpstreamForbidden,
                message: message.to_owned(),
            }),
            ..ProbedUnit::default()
        }
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let report = ProbeReport {
            failure: None,
            units: vec![unit(1), failed("sid", "https://example.org: 401")],
            endpoints: vec![ProbedEndpoint {
                name: "fr".to_owned(),
                others: vec![unit(1)],
                untold: vec![],
            }],
        };
        assert_eq!(
            ProbeReport::read(&report.to_termination_message()),
            Some(report)
        );
        assert_eq!(ProbeReport::read("panicked"), None);
    }

    #[test]
    fn it_always_fits_and_what_the_authority_has_is_given_up_last() {
        let units: Vec<ProbedUnit> = (0..ProbeReport::UNITS).map(unit).collect();
        let endpoints = (0..16).map(|number| ProbedEndpoint {
            name: format!("endpoint-{number}"),
            others: units.clone(),
            untold: Vec::new(),
        });
        let report = ProbeReport {
            failure: None,
            units: units.clone(),
            endpoints: endpoints.collect(),
        };
        let message = report.to_termination_message();
        assert!(message.len() <= MOST_BYTES, "{}", message.len());
        let read = ProbeReport::read(&message).unwrap();
        assert_eq!(read.units, units);
        let long = ProbeReport {
            units: vec![failed("sid", &"é".repeat(9000)); ProbeReport::UNITS],
            ..ProbeReport::default()
        };
        let message = long.to_termination_message();
        let read = ProbeReport::read(&message).unwrap();
        assert!(message.len() <= MOST_BYTES && read.units.len() == ProbeReport::UNITS);
    }

    #[test]
    fn of_an_endpoint_with_much_to_tell_the_oldest_stays() {
        let units: Vec<ProbedUnit> = (0..ProbeReport::UNITS).map(unit).collect();
        let report = ProbeReport {
            failure: None,
            units: units.clone(),
            endpoints: vec![ProbedEndpoint {
                name: "fr".to_owned(),
                others: units.clone(),
                untold: vec![],
            }],
        };
        let read = ProbeReport::read(&report.to_termination_message()).unwrap();
        let told = &read.endpoints[0];
        assert_eq!(told.others[0], units[0]);
        assert_eq!(told.others.len() + told.untold.len(), units.len());
    }
}
