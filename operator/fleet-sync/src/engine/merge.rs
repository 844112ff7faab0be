//! The want-list and the base, side by side.

use std::iter::Peekable;

use fleet_store::Entry;
use fleet_types::RepoPath;

use super::base::Base;
use super::want::{Disagreement, Want, Wanted};
use crate::Problem;

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
        let (wanted_path, failed) = match self.wants.peek() {
            Some(Ok(Ok(wanted))) => (Some(&wanted.want.path), false),
            Some(Ok(Err(conflict))) => (Some(&conflict.path), false),
            // Handed on below.
            Some(Err(_)) => (None, true),
            None => (None, false),
        };
        let is_next = |path: &RepoPath| wanted_path.is_none_or(|wanted| path <= wanted);
        let before = self.base.next_if(|(path, _)| !failed && is_next(path));
        let is_wanted = before.as_ref().map(|(path, _)| wanted_path == Some(path));
        match before {
            Some((path, entry)) if is_wanted == Some(false) => Some(Ok(Pair::Gone(path, entry))),
            before => Some(self.wants.next()?.map(|said| match said {
                Ok(wanted) => Pair::Wanted(wanted, before.map(|(_, entry)| entry)),
                Err(conflict) => Pair::Conflict(conflict),
            })),
        }
    }
}

/// What the base has under the name that was looked at last: a signature mostly comes just after what it is over.
#[derive(Default)]
pub(super) struct Previous(Option<(RepoPath, Entry)>);

impl Previous {
    pub fn note(&mut self, path: RepoPath, entry: Option<Entry>) {
        self.0 = entry.map(|entry| (path, entry));
    }

    /// What it has under a name, if that was the one.
    pub fn entry(&self, path: &RepoPath) -> Option<Entry> {
        let (previous, entry) = self.0.as_ref()?;
        (previous == path).then_some(*entry)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fleet_store::EntryState;
    use proptest::prelude::*;

    use super::*;

    fn entry(content: u8) -> Entry {
        Want::payload("x", 0, content).entry(EntryState::Present, None, 0)
    }

    fn listing() -> impl Strategy<Value = BTreeMap<String, u8>> {
        prop::collection::btree_map("[a-c]{1,2}(/[a-c]{1,2})?", 1..4_u8, 0..12)
    }

    proptest! {
        #[test]
        fn applying_the_difference_to_what_is_there_gives_what_is_wanted(have in listing(), wanted in listing(), twice in any::<bool>()) {
            let mut list: Vec<Want> = wanted.iter().map(|(path, content)| Want::payload(path, 0, *content)).collect();
            if twice {
                list.extend(wanted.iter().map(|(path, content)| Want::payload(path, 1, *content)));
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
        let list = [Want::payload("a", 0, 1), Want::payload("a", 2, 2)];
        let mut merged = Merged::new(list.into_iter().map(Ok));
        let conflict = merged.next().unwrap().unwrap().unwrap_err();
        assert_eq!((conflict.first, conflict.second), (0, 2));
        assert!(merged.next().is_none());
    }
}
