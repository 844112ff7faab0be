//! What a person is told of a Mirror, for the command line: from its manifest, its status, and what its runs say of their
//! progress. The status was written by the planner; what has become of it by time alone follows the same rules.

pub(crate) mod copies;
pub(crate) mod endpoints;
mod notes;
mod words;

use std::collections::BTreeMap;

use fleet_api::{
    ConditionStatus, ConditionType, Mirror, MirrorStatus, RegionState, RegionStatus, ReplicaStatus,
    Trigger, Upstream,
};
use fleet_types::{Outcome, Reason, human_size};
use jiff::{SignedDuration, Timestamp};
use kube_core::ResourceExt;
use serde::Serialize;

pub use self::endpoints::EndpointSummary;
pub use self::notes::{Note, short};
pub use self::words::{Program, capital, enumeration, span};

use crate::client_files::list_url;
use crate::due;
use crate::freshness;
use crate::news;
use crate::schedule::{later, seconds};
use crate::timing::{self, Due, Timing};
use crate::verdict::{Verdict, said};

/// So long after a run was due nobody wonders yet why it has not begun.
const OVERDUE: SignedDuration = SignedDuration::from_mins(2);

/// What is known of a Mirror.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    pub mirror: &'a Mirror,
    /// None where it does not exist or cannot be read.
    pub upstream: Option<&'a Upstream>,
    /// How far runs are, by the name of their Job; only of those that could be asked.
    pub progress: &'a BTreeMap<String, Progress>,
    pub now: Timestamp,
}

/// How far a run is, as it says itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// One fixed word for what it does at the moment, for example `fetch`.
    pub phase: String,
    /// What it means to fetch, as far as it knows by now.
    pub planned_bytes: u64,
    pub received_bytes: u64,
    pub planned_files: u64,
    pub received_files: u64,
}

impl Progress {
    /// The part of the planned bytes that is here, in hundredths; none while there is nothing to fetch.
    pub fn percent(&self) -> Option<u64> {
        let done = u128::from(self.received_bytes.min(self.planned_bytes)) * 100;
        let percent = done.checked_div(u128::from(self.planned_bytes))?;
        u64::try_from(percent).ok()
    }
}

impl std::fmt::Display for Progress {
    /// `fetch 43% of 1.2 GiB`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.percent() {
            Some(percent) => {
                let planned = human_size(self.planned_bytes);
                write!(f, "{} {percent}% of {planned}", self.phase)
            }
            None => f.write_str(&self.phase),
        }
    }
}

/// A Mirror in a few values.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MirrorSummary {
    pub namespace: String,
    pub mirror: String,
    pub upstream: String,
    /// What `kubectl get` shows: `Serving`, or why it is not ready, and what else should be seen.
    pub state: String,
    /// Whether nothing is wrong: every region serves, verified and fresh.
    pub well: bool,
    /// The worst of what is wrong.
    #[serde(skip)]
    pub outcome: Outcome,
    /// The same as an exit code: 0, 1 manifest, 2 upstream or cluster, 3 refused, 4 storage.
    pub exit_code: u8,
    /// A region that is behind for longer is stale.
    pub objective_seconds: u64,
    /// The snapshot that all regions serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_sync: Option<Timestamp>,
    pub regions: Vec<RegionSummary>,
    /// Where clients get the list of the regions, for apt's `mirror+http` and pacman's `Include`; none where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<String>,
    /// What the Upstream's endpoints have, where it has others than its authority.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<EndpointSummary>,
    /// What is wrong, the root first.
    pub problems: Vec<Note>,
    /// What does not go on as it would by itself, and why.
    pub held: Vec<Note>,
}

/// A region in a few values.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionSummary {
    pub region: String,
    /// Of its worst replica.
    pub state: RegionState,
    /// Whether a serving pod of it is ready, so that its clients reach somebody.
    pub ready: bool,
    /// Of how many replicas how many are, where there are several: `1/2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<String>,
    pub lag: Lag,
    /// Since when the authority has had something newer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind_since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind_seconds: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Whether clients can be given something: a snapshot, or a registry.
    #[serde(skip)]
    pub has_content: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Timestamp>,
    /// Failed runs since then.
    pub failures: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunSummary>,
}

/// How a copy stands to the authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Lag {
    /// It serves what the authority has.
    Current,
    /// It serves something older.
    Behind,
    /// A sync found it current, and nobody may ask in between.
    Assumed,
    Unknown,
}

/// A run that is under way.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunSummary {
    pub job: String,
    pub trigger: Trigger,
    /// 0 for the first run of a round, n for its nth retry.
    pub retry: i32,
    pub started_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// The summary of a Mirror.
pub fn summary(known: &Known) -> MirrorSummary {
    let status = known.status();
    let problems = notes::problems(known);
    let outcomes = problems.iter().map(|note| note.reason.outcome());
    let worst = outcomes.fold(Outcome::Good, Outcome::worst);
    MirrorSummary {
        namespace: known.namespace(),
        mirror: known.name(),
        upstream: known.mirror.spec.upstream_ref.name.clone(),
        state: status.state.clone().unwrap_or_else(|| "NotSeen".to_owned()),
        well: problems.is_empty(),
        outcome: worst,
        exit_code: worst.exit_code(),
        objective_seconds: known.mirror.spec.freshness.objective.as_secs(),
        snapshot: status.snapshot.clone(),
        next_sync: status.next_sync_time.as_ref().map(|at| at.0),
        regions: (status.regions.iter())
            .map(|region| known.region(&status, region))
            .collect(),
        list: list_url(known.mirror),
        endpoints: endpoints::endpoints(known),
        problems,
        held: notes::held(known),
    }
}

impl Known<'_> {
    pub fn name(&self) -> String {
        self.mirror.name_any()
    }

    pub fn namespace(&self) -> String {
        self.mirror.namespace().unwrap_or_default()
    }

    pub fn status(&self) -> MirrorStatus {
        self.mirror.status.clone().unwrap_or_default()
    }

    pub(crate) fn said(&self, kind: ConditionType) -> Option<Verdict> {
        said(kind, self.conditions())
    }

    /// What a condition says, if it says that something is wrong, and since when.
    pub(crate) fn complaint(&self, kind: ConditionType) -> Option<(Verdict, Timestamp)> {
        let bad = match kind {
            ConditionType::Stalled => ConditionStatus::True,
            _ => ConditionStatus::False,
        };
        let found = kind.find(self.conditions())?;
        let verdict = Verdict::of(found);
        (verdict.is(bad)).then_some((verdict, found.last_transition_time.0))
    }

    fn conditions(&self) -> &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition] {
        let status = self.mirror.status.as_ref();
        status.map_or(&[], |status| &status.conditions)
    }

    pub(crate) fn objective(&self) -> SignedDuration {
        seconds(self.mirror.spec.freshness.objective.as_secs())
    }

    /// Whether the manifest was edited since the controller looked at it.
    pub(crate) fn is_unseen(&self) -> bool {
        let generation = self.mirror.metadata.generation.unwrap_or(0);
        (self.mirror.status.as_ref()).is_none_or(|status| status.observed_generation < generation)
    }

    /// Each run that is under way, with its region.
    pub(crate) fn runs(&self) -> Vec<(String, RunSummary)> {
        let status = self.status();
        let runs = status.titled().filter_map(|(title, replica)| {
            let run = self.run(replica)?;
            Some((title, run))
        });
        runs.collect()
    }

    fn run(&self, replica: &ReplicaStatus) -> Option<RunSummary> {
        let run = replica.current_run.as_ref()?;
        Some(RunSummary {
            job: run.job.clone(),
            trigger: run.trigger,
            retry: run.retry,
            started_at: run.started_at.0,
            progress: self.progress.get(&run.job).cloned(),
        })
    }

    fn region(&self, status: &MirrorStatus, region: &RegionStatus) -> RegionSummary {
        let since = region.superseded_at.as_ref().map(|since| since.0);
        let replicas = &region.replicas;
        let of_clients = replicas
            .iter()
            .filter(|replica| replica.withdrawn_at.is_none() || region.withdrawn_at.is_some());
        let snapshot = of_clients
            .clone()
            .find_map(|replica| replica.snapshot.clone());
        let has_content = match self.mirror.spec.fills_itself() {
            true => region.state.has_content(),
            false => snapshot.is_some(),
        };
        // What one of several does not say, those do whom clients are led to.
        let is_partly = replicas.len() > 1 && replicas.iter().any(|replica| replica.ready);
        let is_silent = region.state == RegionState::Unknown && !is_partly;
        let lag = match since {
            Some(_) => Lag::Behind,
            None if !has_content || is_silent => Lag::Unknown,
            None => match freshness::judged(&status.conditions) {
                Some(true) => Lag::Current,
                Some(false) => Lag::Assumed,
                None => Lag::Unknown,
            },
        };
        let stale = since.is_some_and(|since| self.now > later(since, self.objective()));
        RegionSummary {
            region: region.name.clone(),
            // The status says so as soon as the controller looks.
            state: match region.state {
                RegionState::Serving if stale => RegionState::Stale,
                state => state,
            },
            ready: replicas.iter().any(|replica| replica.ready),
            replicas: (replicas.len() > 1).then(|| {
                let ready = replicas.iter().filter(|replica| replica.ready).count();
                format!("{ready}/{}", replicas.len())
            }),
            lag,
            behind_since: since,
            behind_seconds: since.map(|since| self.now.duration_since(since).as_secs().max(0)),
            snapshot,
            has_content,
            url: region.url.clone(),
            last_success: crate::status::oldest(of_clients.map(|of| &of.last_success))
                .map(|at| at.0),
            failures: (replicas.iter().map(|replica| replica.consecutive_failures))
                .max()
                .unwrap_or(0),
            run: replicas.iter().find_map(|replica| self.run(replica)),
        }
    }

    /// The next run that the status announces, and what it is for, where that is told by what was declared and what
    /// happened.
    pub(crate) fn next(&self) -> Option<(Timestamp, Option<Due>)> {
        let status = self.status();
        let at = status.next_sync_time.as_ref()?.0;
        let due = self.due();
        Some((at, due.filter(|due| due.at.as_second() == at.as_second())))
    }

    /// The next run by what was declared and what happened, whatever holds it.
    pub(crate) fn due(&self) -> Option<Due> {
        let politeness = self.upstream.map(|upstream| &upstream.spec.politeness);
        let politeness = politeness.cloned().unwrap_or_default();
        let seed = self.mirror.uid().unwrap_or_default();
        let timing = Timing::new(&self.mirror.spec.sync, &politeness, &seed).ok()?;
        let status = self.status();
        let upstream = self.upstream.and_then(|upstream| upstream.status.as_ref());
        let authority = upstream.map_or(&[][..], |upstream| &upstream.revision);
        let dues = status.fetching().filter_map(|(_, replica)| {
            let news_at = news::of_status(self.mirror, &status, replica, authority);
            timing::next(
                &timing,
                &due::history(self.mirror, self.upstream, replica, news_at),
            )
        });
        dues.min_by_key(|due| due.at)
    }

    /// Since when a run has been due that nobody starts and nothing holds.
    pub(crate) fn overdue(&self) -> Option<Timestamp> {
        let (at, _) = self.next()?;
        let held = self.mirror.spec.suspend || !self.runs().is_empty() || self.is_waiting();
        let held = held || self.misfit().is_some() || self.fetching_is_down().is_some();
        (!held && self.now > later(at, OVERDUE)).then_some(at)
    }

    /// A replica that fetches, where the serving pods of all that do have served and are not ready: a run is made beside a
    /// pod that stays.
    pub(crate) fn fetching_is_down(&self) -> Option<String> {
        let status = self.status();
        let is_down = |replica: &ReplicaStatus| replica.snapshot.is_some() && !replica.ready;
        let mut fetching = status.fetching();
        let (first, _) = fetching.next().filter(|(_, first)| is_down(first))?;
        (fetching.all(|(_, replica)| is_down(replica))).then(|| first.name.clone())
    }

    /// That runs wait since regions do not read what the hub writes, and since when.
    pub(crate) fn misfit(&self) -> Option<(Verdict, Timestamp)> {
        let found = ConditionType::Reconciling.find(self.conditions())?;
        let verdict = Verdict::of(found);
        let holds =
            verdict.is(ConditionStatus::True) && verdict.reason == Reason::IndexVersionTooNew;
        holds.then_some((verdict, found.last_transition_time.0))
    }

    /// Whether a run waits for those of other Mirrors at the Upstream.
    pub(crate) fn is_waiting(&self) -> bool {
        let status = self.status();
        let mut words = status.state.iter().flat_map(|state| state.split(','));
        words.any(|word| word == Reason::WaitingForTurn.as_str())
    }
}
