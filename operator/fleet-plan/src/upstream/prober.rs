//! Where the controller may not ask, a Job does in its place: Upstreams that need a Secret, and rsync endpoints of others. When
//! one begins, what the last one told, and what is wrong where none could. All of it is told by the Jobs and pods that there
//! are: the last one that ended stays until the next one has.

use std::collections::BTreeMap;

use fleet_api::mirror::{Content, PodSettings, Region};
use fleet_api::{ConditionStatus, ConditionType, Mirror, Upstream, labels};
use fleet_types::Reason;
use fleet_types::documents::{ProbeFailure, ProbeReport, ProbedUnit};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube_core::ResourceExt;

use super::seen::{ObservedUpstream, Probe, ProbeAnswer};
use crate::build::{Ask, probe_job};
use crate::fleet::away_from_control_plane;
use crate::freshness::job_interval;
use crate::names;
use crate::observed::{SeenJob, SeenPod, SeenWarning, Settings, last_line};
use crate::pods;
use crate::schedule::later;
use crate::verdict::{Verdict, said};

/// So many probe Jobs of a cluster run at once.
const AT_ONCE: usize = 8;
/// When that is looked at again.
const LATER: SignedDuration = SignedDuration::from_secs(15);
/// So long nobody wonders why a Job has not begun.
const PATIENCE: SignedDuration = SignedDuration::from_mins(2);
/// So long after the end of a Job its pod's last word may still come.
const LAST_WORD: SignedDuration = SignedDuration::from_mins(1);

/// What is known of the Jobs that ask one Upstream.
#[derive(Debug, Clone, Default)]
pub struct Prober {
    pub jobs: Vec<SeenJob>,
    pub pods: Vec<SeenPod>,
    /// What Kubernetes says about these Jobs.
    pub warnings: Vec<SeenWarning>,
    /// What is asked for; none where no Mirror of it can be carried out.
    pub errand: Option<Errand>,
    /// How many Jobs ask other Upstreams now.
    pub running_elsewhere: usize,
    /// Why the last one could not be made.
    pub refused: Option<String>,
    /// The one that was heard last, by its uid.
    pub heard: Option<String>,
}

/// What a Job asks for and how its pod is.
#[derive(Debug, Clone, PartialEq)]
pub struct Errand {
    pub image: String,
    /// What Mirrors declare, each once.
    pub contents: Vec<Content>,
    pub pods: PodSettings,
    pub region: Region,
}

impl Errand {
    /// Of the Mirrors of an Upstream, in an order that does not change by itself. The pod is as those of the first.
    pub fn of<'m>(
        mirrors: impl IntoIterator<Item = &'m Mirror>,
        settings: &Settings,
    ) -> Option<Errand> {
        let mut errand: Option<Errand> = None;
        for mirror in mirrors {
            let spec = &mirror.spec;
            let allowed = settings.allow_control_plane || away_from_control_plane(spec).is_ok();
            let pods = pods::settings(&spec.pods, &settings.pods, &settings.pods_allowed);
            let mut regions = spec.regions.iter();
            let fetching = regions.find(|region| region.follows.is_none());
            let (Ok(pods), true, Some(region)) = (pods, allowed, fetching) else {
                continue;
            };
            let errand = errand.get_or_insert_with(|| Errand {
                image: settings.image.clone(),
                contents: Vec::new(),
                pods,
                region: region.clone(),
            });
            if !errand.contents.contains(&spec.content) {
                errand.contents.push(spec.content.clone());
            }
        }
        errand
    }

    /// The Job that asks for these units after the upstream was last asked at that time.
    fn job(&self, upstream: &Upstream, units: &[String], last: Option<Timestamp>) -> Job {
        let of_them = |content: &&Content| content.units().iter().any(|unit| units.contains(unit));
        let contents: Vec<Content> = self.contents.iter().filter(of_them).cloned().collect();
        let generation = upstream.metadata.generation.unwrap_or(0);
        let uid = upstream.uid().unwrap_or_default();
        let after = last.map_or_else(|| "nothing".to_owned(), |at| at.to_string());
        let occasion = format!("{uid}/{generation}/after {after}");
        let ask = Ask {
            name: names::probe_name(&upstream.name_any(), &occasion),
            image: &self.image,
            pods: &self.pods,
            region: &self.region,
            units,
            contents: &contents,
        };
        probe_job(upstream, &ask)
    }
}

/// What is to be done about Jobs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProberPlan {
    pub start: Option<Box<Job>>,
    /// Names and uids.
    pub remove: Vec<(String, String)>,
    pub wake_at: Option<Timestamp>,
}

/// What the last Job told.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// Its uid.
    pub job: String,
    /// When it began to ask, at the earliest.
    pub at: Timestamp,
    pub authority: Vec<(String, ProbeAnswer)>,
    pub endpoints: BTreeMap<String, Vec<(String, ProbeAnswer)>>,
}

impl Prober {
    /// Decides about Jobs for an Upstream of which `units` are declared.
    pub fn plan(
        &self,
        upstream: &Upstream,
        units: &[String],
        seen: &ObservedUpstream,
    ) -> ProberPlan {
        let standing = || self.jobs.iter().filter(|job| !job.meta.deleting);
        let name = |job: &SeenJob| (job.meta.name.clone(), job.meta.uid.clone());
        let errand = self
            .errand
            .as_ref()
            .filter(|_| upstream.spec.is_asked_by_jobs());
        let Some(errand) = errand.filter(|_| !units.is_empty()) else {
            return ProberPlan {
                remove: standing().map(name).collect(),
                ..ProberPlan::default()
            };
        };
        let last = self.ended().map(|job| &job.meta.uid);
        let old = standing().filter(|job| job.end.is_some() && Some(&job.meta.uid) != last);
        let mut plan = ProberPlan {
            remove: old.map(name).collect(),
            ..ProberPlan::default()
        };
        if let Some(running) = standing().find(|job| job.end.is_none()) {
            let began = running.meta.created_at.unwrap_or(seen.now);
            plan.wake_at = Some(later(began, PATIENCE)).filter(|at| *at > seen.now);
            return plan;
        }
        let last = self.asked_at(upstream, seen);
        let due = last.map_or(seen.now, |at| later(at, job_interval(upstream)));
        if due > seen.now {
            let word = self.ended().and_then(|job| job.end.as_ref()?.at);
            let word = word.map(|at| later(at, LAST_WORD));
            plan.wake_at = [Some(due), word]
                .into_iter()
                .flatten()
                .filter(|at| *at > seen.now)
                .min();
        } else if self.running_elsewhere >= AT_ONCE {
            plan.wake_at = Some(later(seen.now, LATER));
        } else {
            let units = longest_unasked(upstream, units, seen);
            plan.start = Some(Box::new(errand.job(upstream, &units, last)));
        }
        plan
    }

    /// When was last asked by the present manifest; one that was edited is asked at once.
    fn asked_at(&self, upstream: &Upstream, seen: &ObservedUpstream) -> Option<Timestamp> {
        let generation = upstream.metadata.generation.unwrap_or(0).to_string();
        let same = |job: &&SeenJob| {
            job.meta.annotation(labels::PROBES_GENERATION) == Some(generation.as_str())
        };
        let jobs = self.jobs.iter().filter(same);
        let jobs = jobs.filter_map(|job| job.meta.created_at);
        let probes = told_by_jobs(upstream, seen).map(|probe| probe.at);
        jobs.chain(probes).max()
    }

    /// The newest that has ended.
    fn ended(&self) -> Option<&SeenJob> {
        let ended = self.jobs.iter().filter(|job| job.end.is_some());
        ended.max_by_key(|job| (job.meta.created_at, job.meta.name.as_str()))
    }

    fn pod(&self, job: &SeenJob) -> Option<&SeenPod> {
        let mut pods = self.pods.iter();
        pods.find(|pod| pod.job.as_deref() == Some(job.meta.name.as_str()))
    }

    fn report(&self, job: &SeenJob) -> Option<ProbeReport> {
        ProbeReport::read(&self.pod(job)?.end.as_ref()?.message)
    }

    /// What the last Job told by the present manifest. What it was told by an authority that the controller asks is what it has
    /// compared endpoints with, and no more.
    pub fn heard(&self, upstream: &Upstream) -> Option<Heard> {
        let job = self.ended()?;
        let generation = upstream.metadata.generation.unwrap_or(0).to_string();
        let asked = job.meta.annotation(labels::PROBES_GENERATION);
        let report = self
            .report(job)
            .filter(|_| asked == Some(generation.as_str()))?;
        let authority = (report.units.iter()).filter(|_| upstream.spec.needs_secrets());
        let authority = authority.map(|unit| (unit.unit.clone(), answer(unit)));
        let endpoints = report.endpoints.iter().map(|endpoint| {
            let told = report.units.iter().filter_map(|unit| {
                if endpoint.untold.contains(&unit.unit) || unit.failure.is_some() {
                    return None;
                }
                let mut others = endpoint.others.iter();
                let other = others.find(|other| other.unit == unit.unit);
                Some((unit.unit.clone(), answer(other.unwrap_or(unit))))
            });
            (endpoint.name.clone(), told.collect())
        });
        Some(Heard {
            job: job.meta.uid.clone(),
            at: job.meta.created_at?,
            authority: authority.collect(),
            endpoints: endpoints.collect(),
        })
    }

    /// Why no Job could ask; `before` is what was said of it last.
    pub fn failure(&self, now: Timestamp, before: &[Condition]) -> Option<Verdict> {
        let no = |text: String| Some(Verdict::no(Reason::ProbeFailed, text));
        if let Some(refused) = &self.refused {
            return no(format!(
                "the Job that is to ask the upstream cannot be made: {refused}"
            ));
        }
        let running = self
            .jobs
            .iter()
            .find(|job| job.end.is_none() && !job.meta.deleting);
        if let Some(why) = running.and_then(|job| self.stuck(job, now)) {
            return no(why);
        }
        let job = self.ended()?;
        if let Some(report) = self.report(job) {
            let ProbeFailure { reason, message } = report.failure?;
            return Some(Verdict::no(reason, message));
        }
        self.lost(job, now, before)
    }

    /// Why nothing is known of what a Job that has ended was told.
    fn lost(&self, job: &SeenJob, now: Timestamp, before: &[Condition]) -> Option<Verdict> {
        let no = |text: String| Some(Verdict::no(Reason::ProbeFailed, text));
        let name = &job.meta.name;
        let end = job.end.as_ref()?;
        if let Some(last) = self.pod(job).and_then(|pod| pod.end.as_ref()) {
            let word = last_line(&last.message);
            let word = if word.is_empty() { &last.reason } else { &word };
            return no(format!(
                "Job {name}, which was to ask the upstream, ended without a report (exit code {}): {word}; `kubectl describe job {name}` may tell more",
                last.exit_code
            ));
        }
        // It told, and its pod has gone since.
        if end.succeeded || self.heard.as_ref() == Some(&job.meta.uid) {
            return None;
        }
        // What was said while it waited says more than that it waited for too long.
        let known = said(ConditionType::Reachable, before);
        let known =
            known.filter(|it| it.is(ConditionStatus::False) && it.reason == Reason::ProbeFailed);
        let is_late = end.at.is_none_or(|at| later(at, LAST_WORD) <= now);
        match (known, is_late) {
            (Some(known), _) => Some(known),
            (None, true) => no(format!(
                "Job {name}, which was to ask the upstream, left no report: {}; `kubectl describe job {name}` may tell more",
                end.message
            )),
            (None, false) => None,
        }
    }

    /// Why a Job has not begun to ask.
    fn stuck(&self, job: &SeenJob, now: Timestamp) -> Option<String> {
        let name = &job.meta.name;
        let made_at = job.meta.created_at?;
        let pod = self.pod(job);
        if later(made_at, PATIENCE) > now || pod.is_some_and(|pod| pod.running) {
            return None;
        }
        let trouble = pod.and_then(|pod| {
            let trouble = pod.trouble.as_ref();
            let trouble = trouble.map(|it| format!("{}: {}", it.reason, it.message));
            trouble.or_else(|| pod.unschedulable.clone())
        });
        let of_job = self.warnings.iter().filter(|it| it.uid == job.meta.uid);
        let warning = of_job.max_by_key(|it| it.at).map(|it| it.message.clone());
        let why = trouble.or(warning);
        let why = why.unwrap_or_else(|| "nobody says why".to_owned());
        Some(format!(
            "Job {name}, which is to ask the upstream, was made at {made_at} and has not begun: {why}; `kubectl describe job {name}` may tell more"
        ))
    }
}

/// What is known of Jobs.
fn told_by_jobs<'s>(
    upstream: &Upstream,
    seen: &'s ObservedUpstream,
) -> impl Iterator<Item = &'s Probe> {
    let spec = &upstream.spec;
    let authority = (seen.probes.iter()).filter(|_| spec.needs_secrets());
    let endpoints = (spec.endpoints_of_jobs())
        .filter(|_| !spec.needs_secrets())
        .filter_map(|endpoint| seen.endpoints.get(&endpoint.name));
    authority.chain(endpoints.flatten())
}

/// Those that a Job asks for: as many as it can tell of, what was not asked for longest first.
fn longest_unasked(upstream: &Upstream, units: &[String], seen: &ObservedUpstream) -> Vec<String> {
    let asked_at = |unit: &&String| {
        told_by_jobs(upstream, seen)
            .filter(|probe| probe.unit == **unit)
            .map(|probe| probe.at)
            .min()
    };
    let mut units: Vec<&String> = units.iter().collect();
    units.sort_by_key(|unit| (asked_at(unit), (*unit).clone()));
    units
        .into_iter()
        .take(ProbeReport::UNITS)
        .cloned()
        .collect()
}

fn answer(unit: &ProbedUnit) -> ProbeAnswer {
    match &unit.failure {
        Some(ProbeFailure { reason, message }) => ProbeAnswer::Failed {
            reason: *reason,
            message: message.clone(),
        },
        None => ProbeAnswer::Has {
            digest: unit.digest.clone(),
            date: unit.date.and_then(|date| Timestamp::from_second(date).ok()),
        },
    }
}
