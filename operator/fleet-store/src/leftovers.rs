//! What earlier runs left unfinished: room that a download which continues it does not need again.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

use fleet_types::Digest;

use crate::error::{Doing, Result};
use crate::layout::Layout;

/// Bytes on the disk of each staged file, by its name.
#[derive(Debug, Default)]
pub struct Leftovers {
    layout: Option<Layout>,
    bytes: HashMap<OsString, u64>,
}

impl Leftovers {
    pub(crate) fn of(layout: &Layout) -> Result<Leftovers> {
        const DOING: &str = "looking for unfinished downloads";
        let mut bytes = HashMap::new();
        let files = match fs::read_dir(layout.staging()) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Leftovers::default()),
            files => files.doing(DOING)?,
        };
        for file in files {
            let file = file.doing(DOING)?;
            match file.metadata() {
                // Finished or given up meanwhile.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                about => {
                    // The unit of `st_blocks`, whatever the file system's own is.
                    let allocated = about.doing(DOING)?.blocks().saturating_mul(512);
                    bytes.insert(file.file_name(), allocated);
                }
            }
        }
        Ok(Leftovers {
            layout: Some(layout.clone()),
            bytes,
        })
    }

    /// What is on the disk already of the content with this digest.
    pub fn bytes(&self, digest: &Digest) -> u64 {
        // As a rule there is nothing, and no name is made for each of a million files.
        let layout = self.layout.as_ref().filter(|_| !self.bytes.is_empty());
        let staged = layout.map(|layout| layout.staged(digest));
        let name = staged.as_ref().and_then(|path| path.file_name());
        name.and_then(|name| self.bytes.get(name))
            .copied()
            .unwrap_or(0)
    }
}
