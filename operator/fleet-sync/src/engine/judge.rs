//! Plan: the want-list against what is there, as a value.

use std::collections::BTreeMap;
use std::iter::Peekable;

use fleet_store::{Entry, EntryState, RunSorter, Snapshot, Sorted};
use fleet_types::{Reason, RepoPath};

use super::base::Base;
use super::run::Run;
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
    /// What the transfer takes on the disk, in whole blocks.
    pub disk_bytes: u64,
    /// Units that cannot advance, and why.
    pub refusals: BTreeMap<u16, Problem>,
}

struct Judge<'a> {
    run: &'a Run,
    transfer: RunSorter<Fetch>,
    fetch: Share,
    keep: Share,
    remove: Share,
    disk_bytes: u64,
    block_size: u64,
    refusals: BTreeMap<u16, Problem>,
    /// The paths of which the current one is a longer form.
    prefixes: Vec<(RepoPath, u16)>,
}

/// Compares. `advances` tells whether a unit can be refused: one that is carried forward cannot.
pub(super) fn judge(
    run: &Run,
    wants: Sorted<Want>,
    advances: &dyn Fn(u16) -> bool,
) -> Result<Plan, Problem> {
    let block_size = run.shelves.target().free_space()?.block_size;
    let mut judge = Judge {
        run,
        transfer: RunSorter::new(&run.shelves.spill_dir()),
        fetch: Share::default(),
        keep: Share::default(),
        remove: Share::default(),
        disk_bytes: 0,
        block_size,
        refusals: BTreeMap::new(),
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
        disk_bytes,
        refusals,
        ..
    } = judge;
    Ok(Plan {
        wants,
        transfer: transfer.finish()?,
        fetch,
        keep,
        remove,
        disk_bytes,
        refusals,
    })
}

impl Judge<'_> {
    fn gone(&mut self, path: &RepoPath, entry: &Entry) {
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
        let kept = before.is_some_and(|entry| {
            entry.state == EntryState::Present
                && want.same_content(entry) == Some(true)
                && !self.run.shelves.damage.contains(&entry.digest)
        });
        let size = before.map_or(want.known_size(), |entry| entry.size);
        match want.state {
            WantState::Stored => self.keep.add(want.path.as_str(), want.size),
            WantState::Carried => self.keep.add(want.path.as_str(), size),
            WantState::Payload if kept => self.keep.add(want.path.as_str(), size),
            WantState::Payload => return self.missing(wanted, before, advances),
            WantState::Absent | WantState::Excluded => {
                self.check_mutation(wanted, before, advances);
                if let Some(entry) = before {
                    self.gone(&want.path, entry);
                }
            }
        }
        Ok(())
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
        self.disk_bytes = self.disk_bytes.saturating_add(
            want.known_size()
                .div_ceil(self.block_size)
                .saturating_mul(self.block_size),
        );
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
        } = conflict;
        let text = format!(
            "{path} is listed with two different contents, {} and {}; the upstream must correct its indices",
            digests.0, digests.1
        );
        self.refuse_one_of(*first, *second, text, advances);
    }

    /// A path must not be a file and a directory at once. All paths that begin with the same text are neighbours.
    fn check_directories(&mut self, wanted: &Wanted, advances: &dyn Fn(u16) -> bool) {
        let path = &wanted.want.path;
        while self
            .prefixes
            .last()
            .is_some_and(|(prefix, _)| !path.as_str().starts_with(prefix.as_str()))
        {
            self.prefixes.pop();
        }
        let is_inside =
            |prefix: &RepoPath| path.as_str().as_bytes().get(prefix.as_str().len()) == Some(&b'/');
        let file = self
            .prefixes
            .iter()
            .find(|(prefix, _)| is_inside(prefix))
            .cloned();
        if let Some((file, unit)) = file {
            let text = format!(
                "{file} is listed as a file, and {path} needs a directory of that name; the upstream must correct its indices"
            );
            self.refuse_one_of(unit, wanted.want.unit, text, advances);
        }
        self.prefixes.push((path.clone(), wanted.want.unit));
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
    if !want.guarded || want.state == WantState::Carried || verification.allow_mutation {
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
        "{} was known with {} bytes and SHA-256 {}, and is now listed with {} bytes and {}; if the upstream says that this is right, add path and sha256 to verification.allowMutations",
        want.path,
        before.size,
        before.digest,
        want.size,
        want.digest_text()
    );
    Some(Problem::new(Reason::ContentMutated, text))
}

/// The want-list with all that is said about one path as one item.
pub(super) struct Merged<I: Iterator<Item = fleet_store::Result<Want>>> {
    wants: Peekable<I>,
}

impl<I: Iterator<Item = fleet_store::Result<Want>>> Merged<I> {
    pub fn new(wants: I) -> Self {
        Merged {
            wants: wants.peekable(),
        }
    }
}

impl<I: Iterator<Item = fleet_store::Result<Want>>> Iterator for Merged<I> {
    type Item = Result<Result<Wanted, Disagreement>, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut wanted = match self.wants.next()? {
            Ok(want) => Wanted::new(want),
            Err(e) => return Some(Err(e.into())),
        };
        let mut conflict = None;
        while let Some(other) = self.wants.next_if(|next| {
            next.as_ref()
                .is_ok_and(|next| next.path == wanted.want.path)
        }) {
            if let Ok(Err(found)) = other.map(|other| wanted.add(other)) {
                conflict = conflict.or(Some(found));
            }
        }
        Some(Ok(conflict.map_or(Ok(wanted), Err)))
    }
}

/// One path of the want-list or of the base.
pub(super) enum Pair {
    Wanted(Wanted, Option<Entry>),
    Gone(RepoPath, Entry),
    Conflict(Disagreement),
}

/// The want-list and the base, side by side in the order of paths.
pub(super) struct Merge<'a, W: Iterator<Item = Result<Result<Wanted, Disagreement>, Problem>>> {
    wants: Peekable<W>,
    base: Peekable<Box<dyn Iterator<Item = (RepoPath, Entry)> + 'a>>,
}

impl<'a, W: Iterator<Item = Result<Result<Wanted, Disagreement>, Problem>>> Merge<'a, W> {
    pub fn new(wants: W, base: Option<&'a Base>) -> Self {
        let entries: Box<dyn Iterator<Item = (RepoPath, Entry)> + 'a> = match base {
            Some(base) => Box::new(base.snapshot.iter()),
            None => Box::new(std::iter::empty()),
        };
        Self::over(wants, entries)
    }

    pub fn over(wants: W, entries: Box<dyn Iterator<Item = (RepoPath, Entry)> + 'a>) -> Self {
        Merge {
            wants: wants.peekable(),
            base: entries.peekable(),
        }
    }
}

impl<W: Iterator<Item = Result<Result<Wanted, Disagreement>, Problem>>> Iterator for Merge<'_, W> {
    type Item = Result<Pair, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        let wanted_path = match self.wants.peek() {
            Some(Ok(Ok(wanted))) => Some(&wanted.want.path),
            Some(Ok(Err(conflict))) => Some(&conflict.path),
            // Handed on below.
            Some(Err(_)) | None => None,
        }
        .cloned();
        let failed = matches!(self.wants.peek(), Some(Err(_)));
        let before = self.base.next_if(|(path, _)| {
            !failed && wanted_path.as_ref().is_none_or(|wanted| path <= wanted)
        });
        match before {
            Some((path, entry)) if wanted_path.as_ref() != Some(&path) => {
                Some(Ok(Pair::Gone(path, entry)))
            }
            before => Some(self.wants.next()?.map(|said| match said {
                Ok(wanted) => Pair::Wanted(wanted, before.map(|(_, entry)| entry)),
                Err(conflict) => Pair::Conflict(conflict),
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fleet_types::Sha256;
    use proptest::prelude::*;

    use super::*;

    fn want(path: &str, unit: u16, content: u8) -> Want {
        Want {
            path: RepoPath::new(path).unwrap(),
            unit,
            state: WantState::Payload,
            size: u64::from(content),
            exact: true,
            sha256: Some(Sha256([content; 32])),
            sha512: None,
            mutable: false,
            guarded: true,
            mtime: 0,
        }
    }

    fn entry(content: u8) -> Entry {
        want("x", 0, content).entry(EntryState::Present, None, 0)
    }

    fn listing() -> impl Strategy<Value = BTreeMap<String, u8>> {
        prop::collection::btree_map("[a-c]{1,2}(/[a-c]{1,2})?", 1..4_u8, 0..12)
    }

    proptest! {
        #[test]
        fn applying_the_difference_to_what_is_there_gives_what_is_wanted(have in listing(), wanted in listing(), twice in any::<bool>()) {
            let mut list: Vec<Want> = wanted.iter().map(|(path, content)| want(path, 0, *content)).collect();
            if twice {
                list.extend(wanted.iter().map(|(path, content)| want(path, 1, *content)));
                list.sort_by(|a, b| (&a.path, a.unit).cmp(&(&b.path, b.unit)));
            }
            let base = have.iter().map(|(path, content)| (RepoPath::new(path).unwrap(), entry(*content)));
            let mut result = have.clone();
            for pair in Merge::over(Merged::new(list.into_iter().map(Ok)), Box::new(base)) {
                match pair.unwrap() {
                    Pair::Gone(path, _) => prop_assert!(result.remove(path.as_str()).is_some()),
                    Pair::Wanted(wanted, before) => {
                        prop_assert_eq!(before.map(|entry| entry.size as u8), have.get(wanted.want.path.as_str()).copied());
                        prop_assert_eq!(wanted.units.len(), if twice { 2 } else { 1 });
                        result.insert(wanted.want.path.to_string(), wanted.want.size as u8);
                    }
                    Pair::Conflict(_) => prop_assert!(false, "nothing conflicts here"),
                }
            }
            prop_assert_eq!(result, wanted);
        }
    }

    #[test]
    fn two_contents_under_one_name_are_a_conflict_that_names_both_units() {
        let list = [want("a", 0, 1), want("a", 2, 2)];
        let mut merged = Merged::new(list.into_iter().map(Ok));
        let conflict = merged.next().unwrap().unwrap().unwrap_err();
        assert_eq!((conflict.first, conflict.second), (0, 2));
        assert!(merged.next().is_none());
    }

    #[test]
    fn new_bytes_under_a_guarded_name_are_a_mutation_until_allowed() {
        let judge = |verification: &Verification| {
            mutation(
                &want("a", 0, 2),
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
