//! List and verify: which state of a unit the upstream has, over as few requests as possible, and whether to believe it.

use std::collections::BTreeMap;

use fleet_fetch::{Arrival, FailureKind, FetchError, Validators};
use fleet_formats::seam::{RootFile, RootPlan, UnitIndex, Verified};
use fleet_types::documents::UnixSeconds;
use fleet_types::{ClockReading, Outcome, Reason, Relation, RepoPath};

use super::clock::stands;
use super::known::Known;
use super::one_clock::Contradiction;
use super::pace::Pace;
use super::root::{Probe, Root, arrived, no_roots};
use super::rules::Rules;
use super::stock::Stock;
use super::upstream::Upstream;
use super::watch::Watch;
use super::witness::Heard;
use crate::Problem;

/// A state of a unit that passed its verification.
pub(super) struct Listed {
    pub index: Verified<UnitIndex>,
    pub roots: Vec<Root>,
    /// The very state that the base has.
    pub unchanged: bool,
    /// What to remember of the endpoints that have this state, once it is accepted: by URL.
    pub known: Vec<(String, Known)>,
    /// How the clock stood of the endpoint that it was found at.
    pub clock: Option<ClockReading>,
    /// Which endpoints contradict each other, where something was found out of that.
    pub contradictions: Option<Vec<Contradiction>>,
    /// Whether the endpoint that it was found at keeps pace with the authority, where that can be told.
    pub pace: Option<Pace>,
}

/// What one endpoint has: read and verified.
#[derive(Clone)]
pub(super) struct State {
    pub endpoint: usize,
    pub index: Verified<UnitIndex>,
    pub probe: Known,
    pub roots: Vec<Root>,
    pub unchanged: bool,
}

/// Roots that were asked for together, before it is known which of them count.
pub(super) type Ahead = BTreeMap<RepoPath, Result<Arrival, FetchError>>;

/// Finds the newest state of each unit that can be believed. What of it is in this file, in `roots`, `unlisted`,
/// `witness` and `one_clock` is about one unit; `states` puts them together.
#[derive(Clone, Copy)]
pub(super) struct Lister<'a> {
    pub rules: &'a Rules,
    pub stock: &'a Stock,
    pub watch: &'a Watch,
    pub upstream: &'a Upstream,
}

impl Lister<'_> {
    /// Finds the newest state of a unit that can be believed.
    pub(super) async fn list_unit(&self, unit: &str) -> Result<Listed, Problem> {
        let plan = self.rules.roots(unit)?;
        let endpoints = self.upstream.fetcher.endpoints();
        let mut authority = None;
        // The first endpoint is asked first anyway. Any other one may be behind the authority, also one that is preferred to it.
        // An authority that has a clock tells by it how new it is, and may give nobody more than that.
        if endpoints.authority() > 0 && !self.has_clock(endpoints.authority()).await {
            match self.state(unit, &plan, endpoints.authority()).await {
                // Nothing is new, so nobody else needs to be asked.
                Ok(state) if state.unchanged => {
                    return self.settle(unit, &plan, state, Heard::default(), None);
                }
                Ok(state) => authority = Some(state),
                Err(problem) if is_final(&problem) => return Err(problem),
                Err(problem) => self.watch.progress.note(&format!(
                    "{unit}: how new the authority is cannot be told: {problem}"
                )),
            }
        }
        let (mut first_problem, mut passed_over) = (None, Vec::new());
        for endpoint in endpoints.bulk() {
            let beside = self.state_beside(unit, &plan, endpoint, authority.as_ref());
            let heard = match beside.await {
                Ok(state) => self
                    .hear(unit, &plan, &state, authority.as_ref())
                    .await
                    .map(|heard| (state, heard)),
                Err(problem) => Err(problem),
            };
            match heard {
                Ok((state, heard)) => {
                    let refused = |problem: &Problem| problem.reason.outcome() == Outcome::Refused;
                    for (name, problem) in passed_over.iter().filter(|(_, it)| refused(it)) {
                        self.watch
                            .note(unit, &format!("endpoint {name} is passed over: {problem}"));
                    }
                    let authority = authority.filter(|it| it.endpoint != state.endpoint);
                    return self.settle(unit, &plan, state, heard, authority);
                }
                Err(problem) if is_final(&problem) => return Err(problem),
                Err(problem) => {
                    passed_over.push((endpoints.name(endpoint).to_owned(), problem.clone()));
                    tracing::debug!(unit, endpoint = endpoints.name(endpoint), %problem, "an endpoint's state is of no use");
                    first_problem = Some(
                        first_problem
                            .map_or(problem.clone(), |first: Problem| first.worst(problem)),
                    );
                }
            }
        }
        Err(first_problem.unwrap_or_else(|| {
            Problem::new(Reason::UpstreamUnreachable, "no endpoint is declared")
        }))
    }

    async fn state_beside(
        &self,
        unit: &str,
        plan: &RootPlan,
        endpoint: usize,
        authority: Option<&State>,
    ) -> Result<State, Problem> {
        let Some(authority) = authority else {
            return self.state(unit, plan, endpoint).await;
        };
        if endpoint == authority.endpoint {
            return Ok(authority.clone());
        }
        let state = self.state(unit, plan, endpoint).await?;
        let (ours, theirs) = (&state.index.revision, &authority.index.revision);
        let name = self.upstream.fetcher.endpoints().name(endpoint);
        let text = match self.rules.options.format.compare(ours, theirs) {
            Relation::Older => format!(
                "{unit}: endpoint {name} has the state of {}, the authority that of {}; wait, or name a newer endpoint",
                UnixSeconds(ours.date),
                UnixSeconds(theirs.date)
            ),
            Relation::Undecided => format!(
                "{unit}: endpoint {name} has another state than the authority, and no date tells which is newer; wait, or \
                 name a newer endpoint"
            ),
            Relation::Same | Relation::Newer | Relation::Contradiction => {
                return self.agree(unit, &state, authority).map(|()| state);
            }
        };
        Err(Problem::new(Reason::BehindAuthority, text))
    }

    /// Reads and verifies; once more where the roots were replaced while they were read.
    pub(super) async fn state(
        &self,
        unit: &str,
        plan: &RootPlan,
        endpoint: usize,
    ) -> Result<State, Problem> {
        match self.state_once(unit, plan, endpoint, false).await {
            Err(problem) if problem.unsettled => self.state_once(unit, plan, endpoint, true).await,
            other => other,
        }
    }

    async fn state_once(
        &self,
        unit: &str,
        plan: &RootPlan,
        endpoint: usize,
        settled: bool,
    ) -> Result<State, Problem> {
        let mut ahead = self.ask_ahead(unit, plan, endpoint).await?;
        let probe = match self.probe(unit, plan, endpoint, &mut ahead).await {
            Err(problem)
                if problem.reason == Reason::UpstreamIncomplete
                    || (problem.reason == Reason::UpstreamForbidden
                        && self.may_lack_roots(plan)) =>
            {
                return self.state_without_roots(unit, endpoint, problem).await;
            }
            probe => probe?,
        };
        let of_base = self.stock.roots_of_base(unit, plan, &probe)?;
        let from_base = of_base.is_some();
        let mut roots = of_base.unwrap_or_else(|| vec![probe.root]);
        let mut known = probe.known;
        let how = (endpoint, from_base, settled);
        let is_as_it_was = from_base && self.is_as_it_was(unit, endpoint, &known);
        let companions = self.add_lacking(unit, plan, &mut roots, how, &mut ahead);
        let came = match from_base {
            // Nor is there anything that was not there then.
            true if is_as_it_was => {
                drop(companions);
                BTreeMap::new()
            }
            true => companions.await?,
            // Something is new, so its indices are asked for next.
            false => futures::join!(companions, self.upstream.open_ahead(endpoint)).0?,
        };
        known.companions.extend(came);
        let read = self.add_unlisted(unit, &mut roots, endpoint).await?;
        let index = self.judged(unit, &roots, settled)?;
        let held = match read {
            0 => self.stock.held(plan, &index, from_base)?,
            _ => Vec::new(),
        };
        let (roots, index) = self.filled(unit, plan, roots, index, held)?;
        let state = self.state_of(unit, endpoint, roots, index, Some(known));
        Ok(State {
            unchanged: match read {
                0 => self.stock.has_exactly(plan, &state.index),
                _ => from_base && self.stock.is_at(&state.index),
            },
            ..state
        })
    }

    pub(super) fn verified(
        &self,
        unit: &str,
        endpoint: usize,
        roots: Vec<Root>,
        known: Option<Known>,
        settled: bool,
    ) -> Result<State, Problem> {
        let index = self.judged(unit, &roots, settled)?;
        Ok(self.state_of(unit, endpoint, roots, index, known))
    }

    fn state_of(
        &self,
        unit: &str,
        endpoint: usize,
        roots: Vec<Root>,
        index: Verified<UnitIndex>,
        known: Option<Known>,
    ) -> State {
        for note in &index.notes {
            self.watch.note(unit, note);
        }
        State {
            endpoint,
            probe: known.unwrap_or_else(|| Known {
                path: String::new(),
                digest: index.revision.digest,
                doubted: false,
                clock: None,
                validators: Validators::default(),
                companions: BTreeMap::new(),
            }),
            index,
            roots,
            unchanged: false,
        }
    }

    /// Whether an endpoint says by its clock that it is as it was when it was asked for all that we want of it.
    fn is_as_it_was(&self, unit: &str, endpoint: usize, known: &Known) -> bool {
        let memory = self.stock.memory.units.get(unit);
        let identity = self.upstream.fetcher.endpoints().identity(endpoint);
        let then = memory.and_then(|memory| memory.endpoints.get(&identity));
        let base = self.stock.base.as_ref();
        base.is_some_and(|base| base.snapshot.meta().inputs == self.rules.inputs)
            && then.is_some_and(|then| stands(then.clock.as_ref(), known.clock.as_ref()))
    }

    /// The first of the probes that exists. The one that existed last time is asked for first; where it is new, a better
    /// one may have appeared since.
    pub(super) async fn probe(
        &self,
        unit: &str,
        plan: &RootPlan,
        endpoint: usize,
        ahead: &mut Ahead,
    ) -> Result<Probe, Problem> {
        let remembered = self
            .stock
            .memory
            .units
            .get(unit)
            .and_then(|memory| memory.probe.as_deref());
        let last = plan
            .probes
            .iter()
            .position(|file| Some(file.path.as_str()) == remembered)
            .unwrap_or(0);
        let mut fallback = None;
        if let Some(file) = plan.probes.get(last).filter(|_| last > 0)
            && let Ok(probe) = self.ask_probe(unit, file, endpoint, ahead).await?
        {
            if self.stock.has_probe(unit, &probe) {
                return Ok(probe);
            }
            fallback = Some(probe);
        }
        let (mut missing, mut forbidden) = (None, None);
        for (number, file) in plan.probes.iter().enumerate() {
            if number == last && fallback.is_some() {
                break;
            }
            match self.ask_probe(unit, file, endpoint, ahead).await? {
                Ok(probe) => return Ok(probe),
                Err(error) if error.kind == FailureKind::Forbidden => forbidden = Some(error),
                Err(error) => missing = missing.or(Some(error)),
            }
        }
        if let Some(error) = forbidden.filter(|_| fallback.is_none()) {
            return Err(error.into());
        }
        match (fallback, missing) {
            (Some(probe), _) => Ok(probe),
            (None, Some(error)) => Err(no_roots(unit, error)),
            (None, None) => Err(Problem::new(
                Reason::InvalidSpec,
                format!("{unit}: the format names no root file"),
            )),
        }
    }

    /// The outer error is final, the inner one says that there is no such file.
    async fn ask_probe(
        &self,
        unit: &str,
        file: &RootFile,
        endpoint: usize,
        ahead: &mut Ahead,
    ) -> Result<Result<Probe, FetchError>, Problem> {
        let endpoints = self.upstream.fetcher.endpoints();
        let identity = endpoints.identity(endpoint);
        let format = self.rules.options.format.as_ref();
        // It is hashed while the first answer is waited for.
        let kept = async { self.kept_probe(unit, file, &identity) };
        let (clock, kept) = futures::join!(self.upstream.clock(format, endpoint), kept);
        let clock = clock?.cloned();
        self.not_before(unit, endpoint, clock.as_ref())?;
        let kept = match kept {
            Some(kept) if stands(kept.known.clock.as_ref(), clock.as_ref()) => {
                return Ok(Ok(kept.seen_at(clock)));
            }
            other => other,
        };
        let validators = kept.as_ref().map(|kept| kept.known.validators.clone());
        let validators = validators.filter(|validators| !validators.is_empty());
        let answer = match ahead.remove(&file.path) {
            Some(answer) => self.upstream.there_or_not(answer)?,
            None => self.upstream.fetch_root(file, endpoint, validators).await?,
        };
        Ok(match answer {
            Ok(Arrival::NotModified) => {
                let unasked = || {
                    let url = endpoints.url(endpoint);
                    let text = format!("{url}: an answer 304 to a request without conditions");
                    Problem::new(Reason::UpstreamUnreachable, text)
                };
                Ok(kept.ok_or_else(unasked)?.seen_at(clock))
            }
            Ok(Arrival::Complete(received)) => {
                let known = Known {
                    path: file.path.to_string(),
                    digest: received.digest,
                    doubted: self.stock.is_doubted(unit, &identity, &received.digest),
                    clock,
                    validators: received.validators.clone(),
                    companions: BTreeMap::new(),
                };
                let root = arrived(file, received);
                Ok(Probe { root, known })
            }
            Err(error) => Err(error),
        })
    }

    /// What an endpoint had when it was last asked, where that can be read from the store by its digest.
    fn kept_probe(&self, unit: &str, file: &RootFile, identity: &str) -> Option<Probe> {
        let known = self.stock.memory.units.get(unit)?.endpoints.get(identity)?;
        let shelves = &self.stock.shelves;
        let is_of_use = known.path == file.path.as_str() && !known.doubted;
        if !is_of_use || shelves.damage.contains(&known.digest) {
            return None;
        }
        Some(Probe {
            root: Root {
                content: shelves.root(file, &known.digest).ok()?,
                modified: None,
            },
            known: known.clone(),
        })
    }
}

/// Whether another endpoint would be of no help.
fn is_final(problem: &Problem) -> bool {
    let ends = problem.ends_the_run() && problem.reason != Reason::UpstreamBusy;
    // With another endpoint's word one would choose between two truths.
    ends || problem.reason == Reason::Equivocation
}
