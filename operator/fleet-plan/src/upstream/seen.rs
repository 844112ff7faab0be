//! What planning an Upstream may look at.

use std::collections::BTreeMap;

use fleet_api::{Mirror, MirrorStatus};
use fleet_types::{Outcome, Reason};
use jiff::Timestamp;

use super::prober::Prober;
use crate::freshness::Confirmed;

/// What planning an Upstream may look at.
#[derive(Debug, Clone, Default)]
pub struct ObservedUpstream {
    pub now: Timestamp,
    /// The units that Mirrors of it ask for (Debian: suites), in any order and with repetitions.
    pub units: Vec<String>,
    /// The last probe of each unit; the controller keeps them in memory only, so that a quiet world is not written to.
    pub probes: Vec<Probe>,
    /// Those of each endpoint that was asked, by its name.
    pub endpoints: BTreeMap<String, Vec<Probe>>,
    /// How the last run of each region of its Mirrors ended, in any order.
    pub attempts: Vec<SeenAttempt>,
    /// What its Mirrors' last runs found it to have, in any order.
    pub confirmed: Vec<Confirmed>,
    /// Who asks where the controller may not.
    pub prober: Prober,
}

/// What the last runs of a Mirror found the upstream to have, as its status tells. Who copies from another region has not
/// asked it.
pub fn confirmed(mirror: &Mirror) -> Vec<Confirmed> {
    let Some(status) = &mirror.status else {
        return Vec::new();
    };
    let found = status.replicas().filter_map(|(_, replica)| {
        let last = replica.last_attempt.as_ref()?;
        let asked = last.copies.is_none() && last.reason.outcome() == Outcome::Good;
        let snapshot = replica.snapshot.as_deref().filter(|_| asked)?;
        Some((snapshot, last.started_at.0))
    });
    let units = found.flat_map(|(snapshot, at)| {
        let units = status.units.iter();
        let served = units.filter(move |unit| unit.snapshot == snapshot);
        served.map(move |unit| Confirmed {
            unit: unit.unit.clone(),
            digest: unit.digest.clone(),
            at,
        })
    });
    units.collect()
}

/// How the last run of one region of a Mirror ended, as a whole or for one unit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeenAttempt {
    pub mirror: String,
    pub region: String,
    /// None: the whole run.
    pub unit: Option<String>,
    pub reason: Reason,
    pub message: String,
    /// Of a whole run: [`Attempt::key_expires_at`](fleet_api::Attempt::key_expires_at).
    pub key_expires_at: Option<Timestamp>,
}

impl SeenAttempt {
    /// Those that a status of a Mirror tells of.
    pub fn of(mirror: &Mirror, status: Option<&MirrorStatus>) -> Vec<SeenAttempt> {
        let mut seen = Vec::new();
        let replicas = status.into_iter().flat_map(MirrorStatus::replicas);
        for (region, replica) in replicas {
            // Who copies from another region has not asked the upstream.
            let last = replica.last_attempt.as_ref();
            let Some(last) = last.filter(|last| last.copies.is_none()) else {
                continue;
            };
            let attempt = |unit: Option<&String>, reason: Reason, message: &String| SeenAttempt {
                mirror: mirror.metadata.name.clone().unwrap_or_default(),
                region: region.name.clone(),
                unit: unit.cloned(),
                reason,
                message: message.clone(),
                key_expires_at: last.key_expires_at.as_ref().map(|at| at.0),
            };
            // The worst of a run can be something else.
            let found = last.contradiction.as_ref();
            seen.extend(found.map(|it| attempt(Some(&it.unit), it.reason, &it.message)));
            if found.is_none() || !last.reason.is_contradiction() {
                seen.push(attempt(None, last.reason, &last.message));
            }
        }
        seen
    }

    /// In words.
    pub(super) fn told(&self) -> String {
        let Self {
            mirror,
            region,
            message,
            ..
        } = self;
        match &self.unit {
            Some(unit) => format!("Mirror {mirror}, region {region}, {unit}: {message}"),
            None => format!("Mirror {mirror}, region {region}: {message}"),
        }
    }
}

/// One answer of the authority about one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub unit: String,
    pub at: Timestamp,
    pub answer: ProbeAnswer,
    /// How many probes in a row failed, this one included; 0 where it did not.
    pub failures: u32,
    /// The state that the authority had before what this answer says, and when it was last seen; none where nobody knows.
    pub before: Option<(String, Timestamp)>,
}

impl Probe {
    /// What is known once a unit was asked for at `at`; `last` is what was known before.
    pub fn after(last: Option<&Probe>, unit: String, at: Timestamp, answer: ProbeAnswer) -> Probe {
        let seen = last.and_then(|last| match &last.answer {
            ProbeAnswer::Has { digest, .. } => Some((digest.clone(), last.at)),
            ProbeAnswer::Failed { .. } => last.before.clone(),
        });
        let is_same = |answer: &ProbeAnswer| match (answer, &seen) {
            (ProbeAnswer::Has { digest, .. }, Some((known, _))) => digest == known,
            _ => false,
        };
        Probe {
            failures: match answer {
                ProbeAnswer::Has { .. } => 0,
                ProbeAnswer::Failed { .. } => last.map_or(0, |last| last.failures) + 1,
            },
            before: match is_same(&answer) {
                true => last.and_then(|last| last.before.clone()),
                false => seen,
            },
            unit,
            at,
            answer,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// Digest of the signed payload (hexadecimal) and the upstream's own date of it.
    Has {
        digest: String,
        date: Option<Timestamp>,
    },
    /// It did not answer, or not with an index. Bodies never enter the message.
    Failed { reason: Reason, message: String },
}
