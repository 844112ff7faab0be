//! Files in whose place a tree has a symbolic link, since another name has the same content: who copies the tree copies
//! that content once.

use super::{DOING, Export};
use crate::error::{Doing, Result};
use crate::links;
use crate::snapshot::Snapshot;
use crate::{Entry, EntryState};

/// Two folders, as paths in the repository, that have files of the same names. In the first there are links to the second,
/// where both have the same content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandIns {
    pub links: String,
    pub files: String,
}

impl Export<'_> {
    /// What the link in the place of a file says; none where there is to be a file, as roots are.
    pub(super) fn says(&self, new: &Snapshot, path: &str, entry: &Entry) -> Option<String> {
        let (folder, name) = path.rsplit_once('/')?;
        let of = |folder: &str| {
            let mut rules = self.stand_ins.iter();
            rules.find(|rule| rule.links == folder)
        };
        let files = &of(folder)?.files;
        let mut roots = self.options.roots_last.iter();
        if roots.any(|root| root.as_str() == path) {
            return None;
        }
        let target = format!("{files}/{name}");
        // A link leads to a file, which is there when it comes.
        let there = new.get(&target).filter(|_| of(files).is_none())?;
        let is_same = there.state == EntryState::Present && there.digest == entry.digest;
        (is_same && !there.mutable).then(|| links::relative(path, &target))
    }

    /// After the content that they lead to, and before what names them.
    pub(super) fn write_stand_ins(&mut self, new: &Snapshot, bases: &[Snapshot]) -> Result<()> {
        if self.stand_ins.is_empty() {
            return Ok(());
        }
        for (path, entry) in new.iter() {
            let path = path.as_str();
            let is_there = entry.state == EntryState::Present;
            let Some(says) = self.says(new, path, &entry).filter(|_| is_there) else {
                continue;
            };
            if self.tree.is_link(path, &says).doing(DOING)? {
                self.report.unchanged += 1;
            } else {
                self.put_link(path, &says, bases)?;
                self.report.written += 1;
            }
        }
        Ok(())
    }
}
