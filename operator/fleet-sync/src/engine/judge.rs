//! Plan: the want-list against what is there, as a value.

use std::collections::BTreeMap;

use fleet_store::{Entry, EntryState, RunSorter, Snapshot, Sorted};
use fleet_types::{Reason, RepoPath, Sha256};

use super::inputs::exclude_rule;
use super::lost::{Lost, LostFiles};
use super::memory::OmittedIndex;
use super::merge::{Merge, Merged, Pair};
use super::preflight::Addition;
use super::run::Run;
use super::shrink::Tally;
use super::want::{Disagreement, Fetch, Want, WantState, Wanted};
use crate::report::Share;
use crate::{Problem, Verification};

/// What has to happen so that the next snapshot is what the want-list says.
pub(super) struct Plan {
    pub wants: Sorted<Want>,
    pub transfer: Sorted<Fetch>,
    pub fetch: Share,
    pub keep: Share,
    pub remove: Share,
    /// Listed, and left out by the manifest.
    pub exclude: Share,
    /// What comes to the disk.
    pub addition: Addition,
    pub tally: Tally,
    /// Units that cannot advance, and why.
    pub refusals: BTreeMap<u16, Problem>,
    /// What no unit needs and cannot be copied; there is another plan without what lists it.
    pub lost: LostFiles,
    /// By unit, the indices that are left out because of what they list.
    pub omitted: Vec<(u16, OmittedIndex)>,
}

struct Judge<'a> {
    run: &'a Run,
    transfer: RunSorter<Fetch>,
    fetch: Share,
    keep: Share,
    remove: Share,
    exclude: Share,
    /// Roots, and in a dry run indices, that are yet to become blobs of the real store.
    stored: BTreeMap<Sha256, u64>,
    tally: Tally,
    refusals: BTreeMap<u16, Problem>,
    lost: LostFiles,
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

/// Compares. `advances` tells whether a unit can be refused: one that is carried forward cannot.
pub(super) fn judge(
    run: &Run,
    (wants, omitted): (Sorted<Want>, Vec<(u16, OmittedIndex)>),
    advances: &dyn Fn(u16) -> bool,
) -> Result<Plan, Problem> {
    let mut judge = Judge {
        run,
        transfer: RunSorter::new(&run.shelves.spill_dir()),
        fetch: Share::default(),
        keep: Share::default(),
        remove: Share::default(),
        exclude: Share::default(),
        stored: BTreeMap::new(),
        tally: Tally::default(),
        refusals: BTreeMap::new(),
        lost: LostFiles::new(),
        prefixes: Vec::new(),
    };
    for pair in Merge::new(Merged::new(wants.iter()), run.base.as_ref()) {
        run.stop.check()?;
        match pair? {
            Pair::Conflict(conflict) => judge.disagree(&conflict, advances),
            Pair::Gone(path, entry) => judge.gone(&path, &entry),
            Pair::Wanted(wanted, before) => judge.wanted(&wanted, before.as_ref(), advances)?,
        }
    }
    let Judge {
        transfer,
        fetch,
        keep,
        remove,
        exclude,
        stored,
        tally,
        refusals,
        lost,
        ..
    } = judge;
    let transfer = transfer.finish()?;
    Ok(Plan {
        addition: run.addition(&transfer, stored.into_values(), wants.len())?,
        wants,
        transfer,
        fetch,
        keep,
        remove,
        exclude,
        tally,
        refusals,
        lost,
        omitted,
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
                && want.same_content(entry) == Some(true)
                && !self.run.shelves.damage.contains(&entry.digest)
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
        let known = self.run.shelves.known();
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
        let Some(expected) = want.expected() else {
            return Ok(());
        };
        // Blobs of a run that never made a snapshot, and content that is known under another name.
        if let Some(size) = self.run.shelves.size_of(want) {
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
        let older = self.run.base.iter().flat_map(|base| &base.older);
        let problem = mutation(
            &wanted.want,
            before,
            older.map(AsRef::as_ref),
            &self.run.options.verification,
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
            is_payload: wanted.want.state == WantState::Payload,
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

/// Why content may not come under its name, looking at all snapshots that still have that name.
pub(super) fn mutation<'a>(
    want: &Want,
    before: Option<&Entry>,
    older: impl Iterator<Item = &'a Snapshot>,
    verification: &Verification,
) -> Option<Problem> {
    let judged = want.guarded && want.state != WantState::Carried;
    if !judged || verification.allow_mutation {
        return None;
    }
    let mut known = before
        .copied()
        .into_iter()
        .chain(older.filter_map(|snapshot| snapshot.get(want.path.as_str())));
    let before = known.find(|entry| entry.guarded && want.same_content(entry) == Some(false))?;
    let allowed = |allowed: &crate::AllowedMutation| {
        allowed.path == want.path.as_str() && Some(allowed.sha256) == want.sha256
    };
    if verification.allow_mutations.iter().any(allowed) {
        return None;
    }
    let text = format!(
        "{} was known with {} bytes and SHA-256 {}, and is now listed with {} bytes and {}; if the upstream says that this is right, put into the Mirror's spec `verification: {{{}}}`",
        want.path,
        before.size,
        before.digest,
        want.size,
        want.digest_text(),
        allowance(want)
    );
    Some(Problem::new(Reason::ContentMutated, text))
}

/// What lets the new content through, and nothing else where that can be said: by its SHA-256.
fn allowance(want: &Want) -> String {
    let path = serde_json::Value::from(want.path.as_str());
    match want.sha256 {
        Some(sha256) => format!("allowMutations: [{{path: {path}, sha256: \"{sha256}\"}}]"),
        None => "mutation: Allow".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(content: u8) -> Entry {
        Want::payload("a", 0, content).entry(EntryState::Present, None, 0)
    }

    #[test]
    fn new_bytes_under_a_guarded_name_are_a_mutation_until_allowed() {
        let judge = |verification: &Verification| {
            mutation(
                &Want::payload("a", 0, 2),
                Some(&entry(1)),
                std::iter::empty(),
                verification,
            )
            .map(|problem| problem.reason)
        };
        assert_eq!(
            judge(&Verification::default()),
            Some(Reason::ContentMutated)
        );
        let allowed = |content: u8| Verification {
            allow_mutations: vec![crate::AllowedMutation {
                path: "a".to_owned(),
                sha256: Sha256([content; 32]),
            }],
            ..Verification::default()
        };
        assert_eq!(
            judge(&allowed(3)),
            Some(Reason::ContentMutated),
            "allowed for other bytes"
        );
        assert_eq!(judge(&allowed(2)), None);
        assert_eq!(
            judge(&Verification {
                allow_mutation: true,
                ..Verification::default()
            }),
            None
        );
    }
}
