//! An audit: a mirror that is served, looked at as clients do, and judged as an upstream is.
//!
//! Roots and indices come and are judged as in a run that has nothing yet, in a store that goes with the audit. Then each
//! root and index is asked for by each of its names, since a run is content with one; and of what indices list so many
//! files as were asked for, with the signatures over them.

mod drawing;

use std::collections::{BTreeMap, BTreeSet};

use fleet_fetch::{Arrival, Delivery, FailureKind, Sink};
use fleet_store::RunSorter;
use fleet_types::{Digest, Expected, Reason, RepoPath, Sha256, UnitRevision, counted};

use self::drawing::sample;
use super::blocking::blocking;
use super::endorse::endorse;
use super::fetching::{Fetch, Fetched, SignatureFetch, Signatures};
use super::gather::Stance;
use super::holes::Again;
use super::judges::Judges;
use super::plan::{Plan, Refusals};
use super::preflight::reserve;
use super::publish::revision;
use super::room::Reservation;
use super::run::Run;
use super::stages::Standing;
use super::want::{Signed, Want, WantState};
use crate::audit::{AuditReport, AuditedUnit, Finding, Sampling};
use crate::report::Share;
use crate::{Phase, Problem};

/// Findings that are worth reading one by one.
const MOST_TOLD: usize = 50;

/// What was looked at, and what is wrong with it.
#[derive(Default)]
pub(super) struct Audited {
    refusals: Refusals,
    revision: Vec<UnitRevision>,
    indices: Share,
    absent: Share,
    listed: Share,
    sampled: Share,
    findings: Vec<Finding>,
    findings_total: u64,
    worst: Option<Problem>,
}

/// Something that is asked for by one name.
struct Asked {
    path: RepoPath,
    promise: Promised,
    /// No index gives its size: it may turn out to be larger than what is drawn.
    may_be_larger: bool,
}

enum Promised {
    /// A root or an index, or another name of what is stored: its content is known.
    Known { digest: Sha256, size: u64 },
    /// Payload, as in [`Fetch`].
    Payload { expected: Expected, exact: bool },
    /// Judged when it is there.
    Signature { over: Signed, max_bytes: u64 },
}

impl Run {
    /// Looks at all units that can be believed, whatever the others are.
    pub(super) async fn audit(&self, sampling: Sampling) -> Result<Audited, Problem> {
        let mut audited = Audited::default();
        let mut refusals = Refusals::new();
        let listed = self.lister().list(&mut refusals).await?;
        let again = Again::default();
        let mut standing = self.stand(listed, &again, &refusals).await?;
        let sample = self.draw(&mut standing, sampling, &mut audited).await?;
        audited.revision = revision(&self.ground, &standing.stances);
        if let Some((plan, room)) = sample {
            self.look_at(plan, &room, &mut audited).await?;
        }
        // What is only too old hides nothing else.
        let mut refused: Vec<&Problem> = standing.refusals.values().collect();
        refused.sort_by_key(|problem| problem.reason.is_of_age());
        for problem in refused {
            audited.is_wrong(problem.clone());
        }
        audited.refusals = standing.refusals;
        Ok(audited)
    }

    /// What is to be asked for; none where no unit is believed. What brings keys has been fetched then.
    async fn draw(
        &self,
        standing: &mut Standing,
        sampling: Sampling,
        audited: &mut Audited,
    ) -> Result<Option<(Plan, Reservation)>, Problem> {
        let advances = |standing: &Standing| {
            let mut stances = standing.stances.iter();
            stances.any(|stance| matches!(stance, Stance::Advance(_)))
        };
        let mut came = Vec::new();
        loop {
            let Some(plan) = self.plan_while(standing, &advances).await? else {
                return Ok(None);
            };
            if audited.listed.files == 0 {
                audited.listed = plan.fetch.clone();
            }
            let ground = self.ground.clone();
            let plan = blocking(move || sample(&ground, plan, sampling)).await?;
            let room = reserve(&self.ground, &plan)?;
            let with_keys = self.take_keys(plan, &room, &mut came, standing).await?;
            if let Some(plan) = with_keys {
                return Ok(Some((plan, room)));
            }
        }
    }

    /// Asks for all of it, and judges what comes.
    async fn look_at(
        &self,
        plan: Plan,
        room: &Reservation,
        audited: &mut Audited,
    ) -> Result<(), Problem> {
        let (ground, upstream) = (&self.ground, &self.upstream);
        ground.watch.progress.phase(Phase::Check);
        let asked = asked(&plan, audited)?;
        let Signatures { all, missing } = plan.signatures;
        let judges = Judges::start(ground, &missing);
        let wants = asked.iter().enumerate();
        let wants = wants
            .map(|(tag, asked)| Ok(self.want(tag, asked)))
            .collect();
        let mut came: RunSorter<Fetched> = RunSorter::new(&ground.stock.shelves.spill_dir());
        let mut deliver = |delivery: Delivery| {
            let tag = usize::try_from(delivery.tag).unwrap_or(usize::MAX);
            let Some(asked) = asked.get(tag) else {
                return Ok(());
            };
            match delivery.result {
                Ok(Arrival::Complete(received)) => {
                    if let Promised::Known { digest, .. } = asked.promise {
                        audited.compare(&asked.path, digest, received.digest);
                        return Ok(());
                    }
                    room.landed(received.size);
                    match &asked.promise {
                        Promised::Signature { over, .. } => {
                            judges.signature_came(over, received.digest);
                        }
                        _ => judges.came(received.digest),
                    }
                    came.push(&Fetched {
                        path: asked.path.clone(),
                        digest: received.digest,
                        size: received.size,
                        modified: None,
                    })?;
                }
                Ok(Arrival::NotModified) => {}
                Err(error) if asked.may_be_larger && error.kind == FailureKind::TooLarge => {}
                Err(error) => {
                    let problem = Problem::from(error);
                    if problem.ends_the_run() {
                        return Err(problem);
                    }
                    audited.found(&asked.path, problem);
                }
            }
            Ok(())
        };
        let damage = &ground.stock.shelves.damage;
        upstream.fetch_durably(damage, wants, &mut deliver).await?;
        let at = ground.clone();
        let judging = move || endorse(&at, &all, &came.finish()?, judges.finish());
        let judged = blocking(judging).await?;
        let reason = judged.refusals.values().next();
        let reason = reason.map_or(Reason::SignatureBad, |problem| problem.reason);
        for (path, lost) in &judged.lost {
            audited.found(path, Problem::new(reason, lost.why.clone()));
        }
        Ok(())
    }

    fn want(&self, tag: usize, asked: &Asked) -> fleet_fetch::Want {
        let writers = || self.upstream.writers.clone();
        let sink = match &asked.promise {
            Promised::Known { size, .. } => {
                Sink::spooled(*size, self.ground.stock.shelves.spill_dir())
            }
            Promised::Payload {
                expected,
                exact: true,
            } => Sink::stored(*expected, writers()),
            Promised::Payload { expected, .. } => Sink::stored_up_to(*expected, writers()),
            Promised::Signature { max_bytes, .. } => Sink::stored_small(*max_bytes, writers()),
        };
        fleet_fetch::Want {
            tag: tag as u64,
            sources: vec![asked.path.clone()],
            only: None,
            validators: None,
            likely_missing: false,
            sink,
        }
    }
}

/// All that is asked for: roots and indices by each of their names, and what was drawn.
fn asked(plan: &Plan, audited: &mut Audited) -> Result<Vec<Asked>, Problem> {
    let mut asked = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for want in plan.wants.iter() {
        let Want {
            path,
            state,
            size,
            sha256,
            ..
        } = want?;
        match (state, sha256) {
            (WantState::Stored, Some(digest)) => {
                let promise = Promised::Known { digest, size };
                let is_new = asked.insert(path.clone(), (promise, false)).is_none();
                if is_new {
                    audited.indices.add(path.as_str(), size);
                }
            }
            (WantState::Absent, _) if seen.insert(path.clone()) => {
                audited.absent.add(path.as_str(), size);
            }
            _ => {}
        }
    }
    let mut before: Option<Expected> = None;
    for fetch in plan.transfer.iter() {
        let Fetch {
            path,
            expected,
            exact,
            ..
        } = fetch?;
        // The names of one content are neighbours, and it is stored once.
        let is_stored = before.replace(expected) == Some(expected);
        let promise = match expected.digest {
            _ if !is_stored => Promised::Payload { expected, exact },
            Digest::Sha256(digest) => Promised::Known {
                digest,
                size: expected.size,
            },
            _ => continue,
        };
        let size = if exact { expected.size } else { 0 };
        audited.sampled.add(path.as_str(), size);
        asked.insert(path, (promise, !exact));
    }
    for signature in plan.signatures.missing.iter() {
        let SignatureFetch {
            over,
            path,
            max_bytes,
            ..
        } = signature?;
        let promise = Promised::Signature { over, max_bytes };
        asked.insert(path, (promise, false));
    }
    let asked = asked.into_iter();
    let asked = asked.map(|(path, (promise, may_be_larger))| Asked {
        path,
        promise,
        may_be_larger,
    });
    Ok(asked.collect())
}

impl Audited {
    fn is_wrong(&mut self, problem: Problem) {
        let worst = self.worst.take();
        self.worst = Some(match worst {
            Some(worst) => worst.worst(problem),
            None => problem,
        });
    }

    fn found(&mut self, path: &RepoPath, problem: Problem) {
        self.findings_total += 1;
        if self.findings.len() < MOST_TOLD {
            self.findings.push(Finding {
                path: path.to_string(),
                reason: problem.reason,
                message: problem.message.clone(),
            });
        }
        self.is_wrong(problem);
    }

    fn compare(&mut self, path: &RepoPath, promised: Sha256, served: Sha256) {
        if promised != served {
            let message = format!(
                "{path}: under this name there is other content (sha256 {served}) than the signed index promises ({promised})"
            );
            self.found(path, Problem::new(Reason::DigestMismatch, message));
        }
    }

    fn message(&self) -> String {
        let Some(worst) = &self.worst else {
            return format!(
                "{} of roots and indices and {} of {} are as the signed state promises",
                counted(self.indices.files, "name"),
                self.sampled.files,
                counted(self.listed.files, "listed file"),
            );
        };
        let wrong = self.findings_total + self.refusals.len() as u64;
        match wrong.saturating_sub(1) {
            0 => worst.message.clone(),
            more => format!("{}; and {}", worst.message, counted(more, "more finding")),
        }
    }

    /// The report. `units` are those of the format, in declared order.
    pub(super) fn report(self, mirror: &str, url: &str, units: &[String]) -> AuditReport {
        let unit = |(number, unit): (usize, &String)| {
            let number = u16::try_from(number).ok();
            let refusal = number.and_then(|number| self.refusals.get(&number));
            AuditedUnit {
                unit: unit.clone(),
                reason: refusal.map_or(Reason::Audited, |problem| problem.reason),
                message: refusal.map_or_else(String::new, |problem| problem.message.clone()),
            }
        };
        let good = Problem::new(Reason::Audited, "");
        AuditReport {
            reason: self.worst.as_ref().unwrap_or(&good).reason,
            message: self.message(),
            units: units.iter().enumerate().map(unit).collect(),
            revision: self.revision,
            indices: self.indices,
            absent: self.absent,
            listed: self.listed,
            sampled: self.sampled,
            findings: self.findings,
            findings_total: self.findings_total,
            ..AuditReport::not_begun(mirror, url, good)
        }
    }
}
