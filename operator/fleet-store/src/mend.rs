//! What a run does about damage that it meets, or is told of.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path};
use std::sync::Arc;

use fleet_types::Sha256;
use serde::de::DeserializeOwned;

use crate::error::{Doing, Result, StoreError};
use crate::{EntryState, Retained, Snapshot, SnapshotId, Writer, document, retain, snapshot};

impl Writer {
    /// A document of `state/` that this writer goes by; one that is damaged is set aside and counts as never written.
    pub fn take_state<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        match self.store.state(name) {
            Err(error) if error.is_damage() => {
                let path = self.shared.layout.state_document(name);
                let copy = document::copy_of(&self.shared.layout, &path);
                let problem = error.cause().unwrap_or_default();
                for path in [Some(path), copy].into_iter().flatten() {
                    self.shared.set_aside(&path, &problem)?;
                }
                Ok(None)
            }
            other => other,
        }
    }

    /// Opens a snapshot; one that is damaged is set aside and counts as never made.
    pub fn take_snapshot(&self, id: &SnapshotId) -> Result<Option<Arc<Snapshot>>> {
        match self.store.snapshot(id) {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(StoreError::SnapshotNotFound { .. }) => Ok(None),
            Err(error) if error.is_damage() => {
                let problem = error.cause().unwrap_or_default();
                self.shared
                    .set_aside(&self.shared.layout.snapshot(id), &problem)?;
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// The names that went; a list that is damaged is set aside and counts as never made.
    pub fn take_retained(&self) -> Result<Option<Arc<Retained>>> {
        retain::take(&self.store, &self.shared)
    }

    /// Blobs that a server of this store found missing or damaged; see [`Store::suspect`].
    pub fn suspects(&self) -> Result<BTreeSet<Sha256>> {
        const DOING: &str = "reading what the server found damaged";
        let mut found = BTreeSet::new();
        for file in fs::read_dir(self.shared.layout.suspects()).doing(DOING)? {
            let name = file.doing(DOING)?.file_name();
            found.extend(name.to_str().and_then(|name| name.parse::<Sha256>().ok()));
        }
        Ok(found)
    }

    /// The blobs that are not there although a snapshot names them, where whole folders of them were lost; looks at none
    /// otherwise.
    pub fn lost_blobs(&self) -> Result<BTreeSet<Sha256>> {
        let mut lost = BTreeSet::new();
        if !self.blobs_were_lost {
            return Ok(lost);
        }
        let retained = self.take_retained()?;
        for (_, gone) in retained.iter().flat_map(|list| list.iter()) {
            let is_here = gone.entry.state == EntryState::Present;
            if is_here && !self.store.has_blob(&gone.entry.digest, gone.entry.size) {
                lost.insert(gone.entry.digest);
            }
        }
        for id in self.store.snapshot_ids()? {
            let index = self.shared.layout.snapshot(&id);
            snapshot::scan_blobs(&index, &id, EntryState::is_here, &mut |digest, size| {
                let digest = Sha256(*digest);
                if !self.store.has_blob(&digest, size) {
                    lost.insert(digest);
                }
            })?;
        }
        Ok(lost)
    }

    /// For a damaged blob that nobody can mend, and why.
    pub fn set_aside_blob(&self, digest: &Sha256, why: &str) -> Result<()> {
        self.shared.set_aside(&self.shared.layout.blob(digest), why)
    }

    /// For what lies under `blobs/` and is none, by the path that [`crate::Finding::StrangeFile`] gives it.
    pub fn set_aside_stranger(&self, path: &Path) -> Result<()> {
        let path = self.shared.layout.blobs().join(path);
        match path.components().any(|part| part == Component::ParentDir) {
            true => Ok(()),
            false => self.shared.set_aside(&path, "it is not a blob"),
        }
    }

    /// They are noted elsewhere.
    pub fn forget_suspects(&self, blobs: &BTreeSet<Sha256>) -> Result<()> {
        for digest in blobs {
            let file = self.shared.layout.suspects().join(digest.to_string());
            match self.shared.fs.remove_file(&file) {
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                other => other.doing("forgetting what the server found damaged")?,
            }
        }
        Ok(())
    }

    /// What this writer found damaged and set aside, in words.
    pub fn what_was_set_aside(&self) -> Vec<String> {
        self.shared.what_was_set_aside()
    }
}
