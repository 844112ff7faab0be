//! The files of one state: what is done where one answer lacks some of them, and where endpoints have them in different
//! bytes. What identifies a state is its payload; what clients read are these files.

use std::collections::BTreeMap;

use fleet_fetch::{Arrival, FailureKind, FetchError, Validators};
use fleet_formats::seam::{
    Change, Rejected, RootContent, RootFile, RootPlan, UnitIndex, Verified, let_through,
};
use fleet_store::EntryState;
use fleet_types::{Reason, RepoPath};
use futures::{FutureExt, TryFutureExt};

use super::known::{Known, KnownFile};
use super::list::{Ahead, Listed, Lister, State};
use super::root::{Root, arrived};
use super::witness::Heard;
use crate::Problem;

impl Lister<'_> {
    /// Which of the files that endpoints have of one state are taken: the authority's, and of the others what it lacks.
    /// Files that differ are no contradiction, since what is signed is the same, and each was judged whole.
    pub(super) fn settle(
        &self,
        unit: &str,
        plan: &RootPlan,
        mut state: State,
        heard: Heard,
        authority: Option<State>,
    ) -> Result<Listed, Problem> {
        let mut others = heard.same;
        others.extend(authority);
        let found = state.index.clone();
        others.retain(|other| other.index.revision.digest == found.revision.digest);
        let differs = |other: &State| differ(&other.index, &found);
        let doubt = others.iter().any(differs);
        let of_authority = self.upstream.fetcher.endpoints().authority();
        others.sort_by_key(|other| other.endpoint != of_authority);
        for other in &others {
            let (roots, index) = (other.roots.clone(), other.index.clone());
            let own = std::mem::take(&mut state.roots);
            let (roots, index, held) = match other.endpoint == of_authority {
                true => (roots, index, own),
                false => (own, state.index.clone(), roots),
            };
            (state.roots, state.index) = self.filled(unit, plan, roots, index, held)?;
            state.unchanged = self.stock.has_exactly(plan, &state.index);
        }
        if doubt {
            self.watch.note(
                unit,
                "endpoints have different files of one state, each of them validly signed; the authority's are taken",
            );
        }
        // Which file identifies a state is remembered of the first.
        let mut known: Vec<(usize, Known)> = others
            .into_iter()
            .map(|other| (other.endpoint, other.probe))
            .collect();
        let after_authority = known
            .iter()
            .take(1)
            .filter(|(other, _)| *other == of_authority);
        let clock = state.probe.clock.clone();
        let after_all = heard.at_one_clock.agreeing;
        if heard.at_one_clock.differ {
            // The next run asks again, though it may stand.
            state.probe.clock = None;
        }
        self.judge_change(unit, plan, &state)?;
        known.insert(after_authority.count(), (state.endpoint, state.probe));
        let is_taken = |known: &Known| {
            let mut roots = state.index.roots.iter();
            roots.any(|(path, digest)| path.as_str() == known.path && *digest == known.digest)
        };
        let known = known
            .into_iter()
            .chain(after_all)
            .filter(|(_, known)| is_taken(known))
            .map(|(endpoint, known)| {
                let identity = self.upstream.fetcher.endpoints().identity(endpoint);
                (identity, doubting(known, doubt))
            })
            .collect();
        Ok(Listed {
            known,
            clock,
            contradictions: heard.at_one_clock.contradictions,
            pace: heard.pace,
            index: state.index,
            roots: state.roots,
            unchanged: state.unchanged,
        })
    }

    /// What the format says of a new state beside the one that is served.
    fn judge_change(&self, unit: &str, plan: &RootPlan, state: &State) -> Result<(), Problem> {
        if self.stock.state_of(unit).is_none() || self.stock.is_at(&state.index) {
            return Ok(());
        }
        let old = || match self.stock.read_roots(plan) {
            Ok(roots) => Ok(contents(&roots)),
            Err(problem) => Err(Rejected::new(problem.reason, problem.message)),
        };
        let memory = self.stock.memory.units.get(unit);
        let known = memory.and_then(|memory| memory.clock.as_ref());
        let change = Change {
            old: &old,
            new: &contents(&state.roots),
            is_clocked: known.is_some() && state.probe.clock.is_some(),
        };
        let rejected = match self.rules.options.format.judge_change(unit, &change) {
            Ok(notes) => {
                notes.iter().for_each(|note| self.watch.note(unit, note));
                return Ok(());
            }
            Err(rejected) => rejected,
        };
        let (revision, reason) = (&state.index.revision, rejected.reason);
        if self.rules.allowances(unit).allows(revision.digest, reason) {
            let note = format!("{rejected}; verification.allowed takes it");
            self.watch.note(unit, &note);
            return Ok(());
        }
        let message = match reason {
            Reason::RollbackDetected => {
                format!("{rejected}; {}", let_through(revision, &[reason]))
            }
            _ => rejected.message,
        };
        Err(Problem::new(reason, message))
    }

    /// What the format makes of these files.
    pub(super) fn judged(
        &self,
        unit: &str,
        roots: &[Root],
        settled: bool,
    ) -> Result<Verified<UnitIndex>, Problem> {
        let contents = contents(roots);
        let mark = self
            .stock
            .memory
            .high_water(unit, &self.rules.options.high_water);
        let context = self.rules.verify_context(unit, mark.as_ref(), settled);
        Ok(self
            .rules
            .options
            .format
            .verify(unit, &contents, &context)?)
    }

    /// Verified roots, and with them those of `held`, files of the same state that came from elsewhere, which the
    /// former lack or have in a form that is not believed: a file that one answer lacks is not gone.
    pub(super) fn filled(
        &self,
        unit: &str,
        plan: &RootPlan,
        roots: Vec<Root>,
        index: Verified<UnitIndex>,
        held: Vec<Root>,
    ) -> Result<(Vec<Root>, Verified<UnitIndex>), Problem> {
        let lacks = |root: &&Root| {
            index
                .roots
                .iter()
                .all(|(path, _)| *path != root.content.path)
        };
        if !held.iter().any(|root| lacks(&root)) {
            return Ok((roots, index));
        }
        let is_companion = |root: &Root| {
            let mut companions = plan.companions.iter();
            companions.any(|file| file.path == root.content.path)
        };
        // First what is missing alone, then all that is not the first file, since these may only fit together.
        let merged = |keep: &dyn Fn(&Root) -> bool| {
            let mut merged: Vec<Root> = roots.iter().filter(|root| keep(root)).cloned().collect();
            for root in &held {
                if merged
                    .iter()
                    .all(|other| other.content.path != root.content.path)
                {
                    merged.push(root.clone());
                }
            }
            merged
        };
        let believed = |root: &Root| !lacks(&root);
        let (mut best, mut best_roots) = (index.clone(), roots.clone());
        for candidate in [
            merged(&believed),
            merged(&|root| believed(root) && !is_companion(root)),
        ] {
            if let Ok(filled) = self.judged(unit, &candidate, true)
                && filled.revision.digest == index.revision.digest
                && filled.roots.len() > best.roots.len()
            {
                (best, best_roots) = (filled, candidate);
            }
        }
        Ok((best_roots, best))
    }

    /// Of a unit that is new here, asks for all roots together, and opens connections for what these list meanwhile. Of others one file tells
    /// whether anything is new.
    pub(super) async fn ask_ahead(
        &self,
        unit: &str,
        plan: &RootPlan,
        endpoint: usize,
    ) -> Result<Ahead, Problem> {
        let is_known = self.stock.memory.units.contains_key(unit);
        if is_known || self.stock.state_of(unit).is_some() {
            return Ok(Ahead::new());
        }
        // Before anything else of the endpoint.
        let format = self.rules.options.format.as_ref();
        self.upstream.clock(format, endpoint).await?;
        let files = plan.probes.iter().take(1).chain(&plan.companions);
        let files = files.filter(|file| !self.rules.exclude.is_match(file.path.as_str()));
        let mut asked = Vec::new();
        for file in files {
            let answer = self.upstream.ask_for_root(file, endpoint, None);
            asked.push(answer.map_ok(|answer| (file.path.clone(), answer)).boxed());
        }
        let asked = futures::future::try_join_all(asked);
        let (answers, ()) = futures::join!(asked, self.upstream.open_for_first(endpoint));
        Ok(answers?.into_iter().collect())
    }

    /// Asks for the files of the plan that are not there yet. Each costs a request in every run until it is there, and is
    /// of no use without the one before it, but for signatures. How the endpoint describes what came.
    ///
    /// They are asked for on condition that they are others by now, until one is. The clocks of many upstreams tell
    /// seconds only, so that where they do not fit they are asked for as they are.
    pub(super) async fn add_lacking(
        &self,
        unit: &str,
        plan: &RootPlan,
        roots: &mut Vec<Root>,
        (endpoint, from_base, settled): (usize, bool, bool),
        ahead: &mut Ahead,
    ) -> Result<BTreeMap<String, KnownFile>, Problem> {
        let (mut known, mut as_before) = (BTreeMap::new(), !settled);
        let first = plan.probes.first().map(|file| &file.path);
        let better = plan.probes.iter().take(1).filter(|_| from_base);
        for (file, is_better) in better
            .map(|file| (file, true))
            .chain(plan.companions.iter().map(|file| (file, false)))
        {
            let is_there =
                |path: &RepoPath| roots.iter().any(|root: &Root| root.content.path == *path);
            if is_there(&file.path) || self.rules.exclude.is_match(file.path.as_str()) {
                continue;
            }
            let optional = is_better || first.is_some_and(is_there);
            let held = match as_before {
                true => self.held_companion(unit, file, endpoint),
                false => None,
            };
            let validators = held.as_ref().map(|(held, _)| held.validators.clone());
            let ask = self.upstream.ask_for_root(file, endpoint, validators);
            let answer = match ahead.remove(&file.path) {
                Some(answer) => answer,
                None => ask.await?,
            };
            match (answer, held) {
                (Ok(Arrival::Complete(received)), _) => {
                    let description = KnownFile {
                        digest: received.digest,
                        validators: received.validators.clone(),
                    };
                    known.insert(file.path.to_string(), description);
                    roots.push(arrived(file, received));
                    as_before = false;
                }
                (Ok(Arrival::NotModified), Some((description, content))) => {
                    known.insert(file.path.to_string(), description.clone());
                    roots.push(Root {
                        content,
                        modified: None,
                    });
                }
                (Err(error), _)
                    if !self.upstream.says_not_there(&error)
                        && (!optional || is_decisive(&error)) =>
                {
                    return Err(error.into());
                }
                _ if is_better || plan.is_signature(file) => {}
                _ => break,
            }
        }
        // As a format reads them: the first file first.
        roots.sort_by_key(|root| {
            let mut files = plan.probes.iter().chain(&plan.companions);
            files.position(|file| file.path == root.content.path)
        });
        Ok(known)
    }

    /// A companion as the store has it, and how the endpoint described it.
    fn held_companion(
        &self,
        unit: &str,
        file: &RootFile,
        endpoint: usize,
    ) -> Option<(&KnownFile, RootContent)> {
        let identity = self.upstream.fetcher.endpoints().identity(endpoint);
        let known = self
            .stock
            .memory
            .units
            .get(unit)?
            .endpoints
            .get(&identity)?;
        let held = known.companions.get(file.path.as_str())?;
        let entry = self.stock.entry(&file.path)?;
        let is_of_use = !known.doubted
            && !held.validators.is_empty()
            && (entry.state, entry.digest) == (EntryState::Present, held.digest)
            && !self.stock.shelves.damage.contains(&held.digest);
        let content = is_of_use.then(|| self.stock.shelves.root(file, &held.digest).ok());
        content.flatten().map(|content| (held, content))
    }
}

fn contents(roots: &[Root]) -> Vec<RootContent> {
    roots.iter().map(|root| root.content.clone()).collect()
}

/// Whether the failure of a file that nobody needs decides about the rest: where we are refused as whom we are, or asked
/// to come back later.
fn is_decisive(error: &FetchError) -> bool {
    matches!(
        error.kind,
        FailureKind::Forbidden | FailureKind::Busy { .. } | FailureKind::Local(_)
    )
}

/// Whether two states have a file in different bytes.
fn differ(a: &UnitIndex, b: &UnitIndex) -> bool {
    let of_b = |path| b.roots.iter().find(|(other, _)| other == path);
    a.roots
        .iter()
        .any(|(path, digest)| of_b(path).is_some_and(|(_, other)| other != digest))
}

fn doubting(known: Known, doubt: bool) -> Known {
    let doubted = known.doubted || doubt;
    Known {
        validators: match doubted {
            true => Validators::default(),
            false => known.validators,
        },
        doubted,
        ..known
    }
}
