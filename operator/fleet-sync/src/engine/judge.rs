//! Plan: the want-list against what is there, as a value.

use std::collections::BTreeMap;

use fleet_store::{Entry, EntryState, RunSorter, Sorted};
use fleet_types::{Reason, RepoPath, Sha256};

use super::endorse::{Arrived, is_endorsed_still};
use super::fetching::{Fetch, Signature, SignatureFetch, Signatures};
use super::inputs::exclude_rule;
use super::lost::{Lost, LostFiles};
use super::memory::OmittedIndex;
use super::merge::{Merge, Merged, Pair, Previous};
use super::mutation::mutation;
use super::plan::{Plan, Refusals};
use super::preflight::addition;
use super::run::Ground;
use super::tally::Tally;
use super::want::{Disagreement, Want, WantState, Wanted};
use crate::Problem;
use crate::report::Share;

struct Judge<'a> {
    ground: &'a Ground,
    arrived: &'a Arrived,
    transfer: RunSorter<Fetch>,
    fetch: Share,
    keep: Share,
    remove: Share,
    exclude: Share,
    on_demand: Share,
    /// Roots, and in a dry run indices, that are yet to become blobs of the real store.
    stored: BTreeMap<Sha256, u64>,
    tally: Tally,
    refusals: Refusals,
    lost: LostFiles,
    signatures: RunSorter<Signature>,
    missing_signatures: RunSorter<SignatureFetch>,
    previous: Previous,
    /// The paths of which the current one is a longer form.
    prefixes: Vec<Prefix>,
}

/// A path that others may lie below.
#[derive(Clone)]
struct Prefix {
    path: RepoPath,
    unit: u16,
    /// As opposed to a root or an index, which no rule leaves out.
    is_payload: bool,
}

/// Compares. `arrived` is what this run fetched before. `advances` tells whether a unit can be refused: one that is carried forward cannot.
pub(super) fn judge(
    ground: &Ground,
    (wants, omitted): (Sorted<Want>, Vec<(u16, OmittedIndex)>),
    arrived: &Arrived,
    advances: &dyn Fn(u16) -> bool,
) -> Result<Plan, Problem> {
    let mut judge = Judge {
        ground,
        arrived,
        transfer: RunSorter::new(&ground.stock.shelves.spill_dir()),
        fetch: Share::default(),
        keep: Share::default(),
        remove: Share::default(),
        exclude: Share::default(),
        on_demand: Share::default(),
        stored: BTreeMap::new(),
        tally: Tally::default(),
        refusals: Refusals::new(),
        lost: LostFiles::new(),
        signatures: RunSorter::new(&ground.stock.shelves.spill_dir()),
        missing_signatures: RunSorter::new(&ground.stock.shelves.spill_dir()),
        previous: Previous::default(),
        prefixes: Vec::new(),
    };
    for pair in Merge::new(Merged::new(wants.iter()), ground.stock.base.as_ref()) {
        ground.watch.stop.check()?;
        match pair? {
            Pair::Conflict(conflict) => judge.disagree(&conflict, advances),
            Pair::Gone(path, entry) => judge.gone(&path, &entry),
            Pair::Wanted(wanted, before) => {
                judge.wanted(&wanted, before.as_ref(), advances)?;
                judge.previous.note(wanted.want.path, before);
            }
        }
    }
    let Judge {
        transfer,
        fetch,
        keep,
        remove,
        exclude,
        on_demand,
        stored,
        tally,
        refusals,
        lost,
        signatures,
        missing_signatures,
        ..
    } = judge;
    let transfer = transfer.finish()?;
    let signatures = Signatures {
        all: signatures.finish()?,
        missing: missing_signatures.finish()?,
    };
    // Nobody knows the size of a signature; it is one file.
    let of_signatures = (0..signatures.missing.len()).map(|_| 0);
    let stored = stored.into_values().chain(of_signatures);
    Ok(Plan {
        addition: addition(ground, &transfer, stored, wants.len())?,
        wants,
        transfer,
        fetch,
        keep,
        remove,
        exclude,
        on_demand,
        tally,
        refusals,
        lost,
        omitted,
        signatures,
    })
}

impl Judge<'_> {
    fn gone(&mut self, path: &RepoPath, entry: &Entry) {
        self.tally.gone(entry);
        self.give_up(path, entry);
    }

    fn give_up(&mut self, path: &RepoPath, entry: &Entry) {
        if entry.state == EntryState::Present {
            self.remove.add(path.as_str(), entry.size);
        }
    }

    fn wanted(
        &mut self,
        wanted: &Wanted,
        before: Option<&Entry>,
        advances: &dyn Fn(u16) -> bool,
    ) -> Result<(), Problem> {
        self.check_directories(wanted, advances);
        let want = &wanted.want;
        self.tally.wanted(wanted, before);
        let kept = before.is_some_and(|entry| {
            entry.state == EntryState::Present
                && self.ground.stock.is_same(want, entry, &self.previous)
                && !self.ground.stock.shelves.damage.contains(&entry.digest)
                && is_endorsed_still(self.ground, want, entry)
        });
        let size = before.map_or(want.known_size(), |entry| entry.size);
        match want.state {
            WantState::Stored => {
                self.store(want);
                self.keep.add(want.path.as_str(), want.size);
            }
            WantState::Carried => self.keep.add(want.path.as_str(), size),
            WantState::Payload if kept => self.keep.add(want.path.as_str(), size),
            WantState::Payload => return self.missing(wanted, before, advances),
            WantState::OnDemand => {
                self.check_mutation(wanted, before, advances);
                self.on_demand.add(want.path.as_str(), want.size);
            }
            WantState::Absent | WantState::Excluded | WantState::Unusable => {
                match want.state {
                    WantState::Excluded => {
                        self.exclude.add(want.path.as_str(), want.known_size());
                    }
                    WantState::Unusable => {}
                    _ => drop(self.check_mutation(wanted, before, advances)),
                }
                if let Some(entry) = before {
                    self.give_up(&want.path, entry);
                }
            }
        }
        Ok(())
    }

    fn store(&mut self, want: &Want) {
        let known = self.ground.stock.shelves.known();
        if let Some(digest) = want.sha256
            && !known.is_some_and(|store| store.has_blob(&digest, want.size))
        {
            self.stored.insert(digest, want.size);
        }
    }

    fn missing(
        &mut self,
        wanted: &Wanted,
        before: Option<&Entry>,
        advances: &dyn Fn(u16) -> bool,
    ) -> Result<(), Problem> {
        let want = &wanted.want;
        if self.check_mutation(wanted, before, advances) {
            return Ok(());
        }
        if let Some(signed) = &want.over {
            let here = want
                .sha256
                .or_else(|| self.arrived.over(&want.path, signed));
            match here {
                Some(_) => self.keep.add(want.path.as_str(), want.known_size()),
                None => {
                    self.fetch.add(want.path.as_str(), want.known_size());
                    let fetch = SignatureFetch::new(wanted, signed);
                    self.missing_signatures.push(&fetch)?;
                }
            }
            return Ok(self.signatures.push(&Signature {
                path: want.path.clone(),
                over: (**signed).clone(),
                units: wanted.units.clone(),
                here,
            })?);
        }
        let Some(expected) = want.expected() else {
            return Ok(());
        };
        // Blobs of a run that never made a snapshot, and content that is known under another name.
        if let Some(size) = self.ground.stock.shelves.size_of(want) {
            self.keep.add(want.path.as_str(), size);
            return Ok(());
        }
        self.fetch.add(want.path.as_str(), want.known_size());
        Ok(self.transfer.push(&Fetch {
            expected,
            exact: want.exact,
            path: want.path.clone(),
            units: wanted.units.clone(),
        })?)
    }

    /// The mutation rule: new bytes under a known name. True where it is broken.
    fn check_mutation(
        &mut self,
        wanted: &Wanted,
        before: Option<&Entry>,
        advances: &dyn Fn(u16) -> bool,
    ) -> bool {
        let problem = mutation(
            &wanted.want,
            before,
            self.ground.stock.base.as_ref(),
            &self.ground.rules.options.verification,
        );
        let Some(problem) = problem else { return false };
        if wanted.want.optional {
            let lost = Lost::unfit(problem.message.clone());
            self.lost.insert(wanted.want.path.clone(), lost);
        }
        for unit in wanted.units.iter().filter(|unit| advances(**unit)) {
            self.refusals
                .entry(*unit)
                .or_insert_with(|| problem.clone());
        }
        true
    }

    fn disagree(&mut self, conflict: &Disagreement, advances: &dyn Fn(u16) -> bool) {
        let Disagreement {
            path,
            first,
            second,
            digests,
            optional,
        } = conflict;
        let text = format!(
            "{path} is listed with two different contents, {} and {}; the upstream must correct its indices; until then, {} lets the rest through",
            digests.0,
            digests.1,
            exclude_rule(&[path.as_str()])
        );
        if *optional {
            self.lost.insert(path.clone(), Lost::unfit(text));
        } else {
            self.refuse_one_of(*first, *second, text, advances);
        }
    }

    /// A path must not be a file and a directory at once. All paths that begin with the same text are neighbours.
    fn check_directories(&mut self, wanted: &Wanted, advances: &dyn Fn(u16) -> bool) {
        if wanted.want.state.is_left_out() {
            return;
        }
        let path = &wanted.want.path;
        while self
            .prefixes
            .last()
            .is_some_and(|prefix| !path.as_str().starts_with(prefix.path.as_str()))
        {
            self.prefixes.pop();
        }
        let is_inside =
            |prefix: &RepoPath| path.as_str().as_bytes().get(prefix.as_str().len()) == Some(&b'/');
        let file = self
            .prefixes
            .iter()
            .find(|prefix| is_inside(&prefix.path))
            .cloned();
        if let Some(file) = file {
            let left_out = if file.is_payload { &file.path } else { path };
            let text = format!(
                "{} is listed as a file, and {path} needs a directory of that name; the upstream must correct its indices; until then, {} lets the rest through",
                file.path,
                exclude_rule(&[left_out.as_str()])
            );
            self.refuse_one_of(file.unit, wanted.want.unit, text, advances);
        }
        self.prefixes.push(Prefix {
            path: path.clone(),
            unit: wanted.want.unit,
            is_payload: matches!(wanted.want.state, WantState::Payload | WantState::OnDemand),
        });
    }

    /// The later one in declared order that can be refused.
    fn refuse_one_of(
        &mut self,
        first: u16,
        second: u16,
        text: String,
        advances: &dyn Fn(u16) -> bool,
    ) {
        let mut units = [first.max(second), first.min(second)].into_iter();
        if let Some(unit) = units.find(|unit| advances(*unit)) {
            self.refusals
                .entry(unit)
                .or_insert_with(|| Problem::new(Reason::PathConflict, text));
        }
    }
}
