//! What a tree holds besides the files of the snapshot: links, and files that say something about the copy.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;

use fleet_types::RepoPath;

use super::{Claim, DOING, Export};
use crate::error::{Doing, Result};
use crate::links;
use crate::snapshot::Snapshot;

/// Below the marker: which files beside the snapshot's the tree may hold.
const AFTERWARDS: &str = "afterwards.json";

/// A file that says something about the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Afterwards {
    pub path: RepoPath,
    pub content: Vec<u8>,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub mtime: i64,
}

impl Export<'_> {
    /// After the roots, so that a link never leads to what is not there yet.
    pub(super) fn write_links(&mut self, new: &Snapshot, bases: &[Snapshot]) -> Result<()> {
        for (link, target) in new.links() {
            let (link, says) = (
                link.as_str(),
                links::relative(link.as_str(), target.as_str()),
            );
            self.put_link(link, &says, bases)?;
        }
        for (link, _) in bases.iter().flat_map(Snapshot::links) {
            if !new.meta().links.contains_key(link.as_str()) {
                self.tree.unlink(link.as_str()).doing(DOING)?;
            }
        }
        Ok(())
    }

    pub(super) fn put_link(&mut self, link: &str, says: &str, bases: &[Snapshot]) -> Result<()> {
        if !self.tree.link(link, says).doing(DOING)? {
            self.clear_directory(link, bases)?;
            if !self.tree.link(link, says).doing(DOING)? {
                let problem = format!(
                    "{link:?} is a directory there that holds files which are not ours; remove them"
                );
                return Err(self.refuse(problem));
            }
        }
        Ok(())
    }

    pub(super) fn write_afterwards(
        &mut self,
        new: &Snapshot,
        claim: &Claim,
        files: &[Afterwards],
    ) -> Result<()> {
        let files: Vec<&Afterwards> = files
            .iter()
            .filter(|file| new.get(file.path.as_str()).is_none())
            .collect();
        let names: BTreeSet<String> = files.iter().map(|file| file.path.to_string()).collect();
        let before = claim.afterwards()?;
        claim.note_afterwards(&before.union(&names).cloned().collect())?;
        for file in files {
            // A directory of the snapshot in its place stays.
            self.tree
                .write(file.path.as_str(), &file.content, file.mtime)
                .doing(DOING)?;
        }
        for old in before.difference(&names) {
            // Where the snapshot has it now, it was written before.
            if let (Ok(path), None) = (RepoPath::new(old), new.get(old)) {
                self.tree.remove(path.as_str()).doing(DOING)?;
            }
        }
        claim.note_afterwards(&names)
    }
}

impl Claim {
    /// The files beside the snapshot's that the tree may hold.
    fn afterwards(&self) -> Result<BTreeSet<String>> {
        match fs::read(self.marker.join(AFTERWARDS)) {
            // A damaged note only means that an old file may stay.
            Ok(text) => Ok(serde_json::from_slice(&text).unwrap_or_default()),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(e) => Err(e).doing(DOING),
        }
    }

    fn note_afterwards(&self, names: &BTreeSet<String>) -> Result<()> {
        let text = serde_json::to_vec(names)
            .map_err(std::io::Error::from)
            .doing(DOING)?;
        let temporary = self.marker.join("afterwards.new");
        fs::write(&temporary, text).doing(DOING)?;
        fs::rename(&temporary, self.marker.join(AFTERWARDS)).doing(DOING)
    }
}
