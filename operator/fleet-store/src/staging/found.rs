//! Content that is staged: what an earlier run has left of it as a whole, killed before it made it a blob, and what has come of
//! it so far.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use fleet_types::Expected;

use super::{DOING, Hasher, Reservation, Staged, StagedFile, Staging};
use crate::error::{Doing, Result};
use crate::fs::{is_read_only, open_file};

impl Staging {
    /// Takes up what is there of this content where it is all of it, and right: it is hashed again. None where it is to be
    /// fetched, or goes on from a part.
    pub fn take_whole(&self, expected: &Expected) -> Result<Option<Staged>> {
        let mut hasher = Hasher::new(&expected.digest)?;
        let (reservation, is_first) = self.reserve(&expected.digest);
        let Reservation { path, .. } = &reservation;
        let mut file = match open_file(path) {
            Ok(file) if is_first => file,
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e).doing(DOING),
            _ => return Ok(None),
        };
        if file.metadata().doing(DOING)?.len() != expected.size {
            return Ok(None);
        }
        let size = hasher.update_from(&mut file).doing(DOING)?;
        let (digest, believed) = hasher.finish();
        if (believed, size) != (expected.digest, expected.size) {
            return Ok(None);
        }
        Ok(Some(Staged {
            digest,
            size,
            is_read_only: is_read_only(&file).doing(DOING)?,
            reservation: Some(reservation),
        }))
    }
}

impl StagedFile {
    /// The file, for who reads what has come of it.
    pub fn reader(&self) -> Result<File> {
        let path = self.reservation.as_ref().map(|at| at.path.as_path());
        File::open(path.unwrap_or(Path::new(""))).doing("reading a download")
    }
}
