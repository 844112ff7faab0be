//! Blobs that were fetched on demand and found to be what their names say: each is read once before it is served, and again
//! after a day.
//!
//! They were not made durable, and no run looks after them as it does after what a snapshot needs. A file that was written
//! to since, or is another one, is not the one that was looked at; what a disk spoils in place is found within the day.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fleet_types::{Sha256, lock};
use sha2::Digest as _;

/// How long a file is believed to be as it was when it was read.
const GOOD_FOR: Duration = Duration::from_secs(24 * 3600);
/// More are forgotten, some 5 MiB of them.
const MOST: usize = 64 << 10;
/// Files are read one at a time within each of these, so that many who ask for one have it read once.
const DESKS: usize = 64;

pub struct Seen {
    known: Mutex<HashMap<Sha256, (Look, Instant)>>,
    desks: [Mutex<()>; DESKS],
}

/// By which it is known that a file is the one that was read: number, length, and when it was last written to.
type Look = (u64, i64, i64, i64);

impl Default for Seen {
    fn default() -> Self {
        Seen {
            known: Mutex::default(),
            desks: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl Seen {
    /// Whether `file` holds this content of `size` bytes; who `is_sure` has found out. Blocks on the disk.
    pub fn is_right(&self, digest: &Sha256, file: &File, size: u64, is_sure: bool) -> bool {
        let Some(look) = look(file).filter(|look| u64::try_from(look.1) == Ok(size)) else {
            return false;
        };
        if !is_sure && self.knows(digest, &look) {
            return true;
        }
        let [first, ..] = digest.0;
        let _alone = self.desks.get(usize::from(first) % DESKS).map(lock);
        // Somebody may have read it meanwhile.
        let is_right = is_sure || self.knows(digest, &look) || hash(file).ok() == Some(*digest);
        if is_right {
            let mut known = lock(&self.known);
            if known.len() >= MOST {
                known.clear();
            }
            known.insert(*digest, (look, Instant::now()));
        }
        is_right
    }

    fn knows(&self, digest: &Sha256, look: &Look) -> bool {
        let known = lock(&self.known);
        let seen = known.get(digest);
        seen.is_some_and(|(seen, at)| seen == look && at.elapsed() < GOOD_FOR)
    }
}

fn look(file: &File) -> Option<Look> {
    let about = rustix::fs::fstat(file).ok()?;
    Some((
        about.st_ino,
        about.st_size,
        about.st_mtime,
        i64::try_from(about.st_mtime_nsec).unwrap_or_default(),
    ))
}

fn hash(file: &File) -> std::io::Result<Sha256> {
    use std::os::unix::fs::FileExt;
    let mut hasher = sha2::Sha256::new();
    let mut block = vec![0; 128 << 10];
    let mut at = 0;
    loop {
        match file.read_at(&mut block, at)? {
            0 => return Ok(Sha256(hasher.finalize().into())),
            count => {
                hasher.update(block.get(..count).unwrap_or_default());
                at += count as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_read_once_and_again_when_it_was_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blob");
        fs::write(&path, b"content").unwrap();
        let digest = Sha256(sha2::Sha256::digest(b"content").into());
        let seen = Seen::default();
        let is_right = |is_sure| seen.is_right(&digest, &File::open(&path).unwrap(), 7, is_sure);
        assert!(is_right(false) && is_right(false));
        // As long, and at another time.
        fs::write(&path, b"c0ntent").unwrap();
        let later = std::time::SystemTime::now() + Duration::from_secs(5);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(later)
            .unwrap();
        assert!(!is_right(false), "it is another content");
        assert!(is_right(true), "somebody else has found out");
        assert!(
            !seen.is_right(&digest, &File::open(&path).unwrap(), 8, true),
            "never of another size"
        );
    }
}
