//! Lines of files that only ever grow, and are nowhere else: synced, and in memory where the volume has no room, until it has.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;

use fleet_types::{Sha256, lock};

use crate::disk::{Disk, Shelf};
use crate::draft::is_full;

/// What is in memory of them at most, in bytes: some 100,000 versions.
const MOST: usize = 16 << 20;

/// Lines that wait for room, by key.
#[derive(Debug, Default)]
pub struct Unwritten(Mutex<BTreeMap<Sha256, Vec<u8>>>);

impl Disk {
    /// All lines of a key: those of its file, and those that wait for room.
    pub fn lines(&self, shelf: Shelf, key: &Sha256) -> io::Result<Vec<u8>> {
        let unwritten = lock(&self.unwritten.0);
        let mut lines = self.read(shelf, key)?.unwrap_or_default();
        if let Some(waiting) = unwritten.get(key) {
            if !lines.is_empty() && !lines.ends_with(b"\n") {
                lines.push(b'\n');
            }
            lines.extend_from_slice(waiting);
        }
        Ok(lines)
    }

    /// Adds lines to the file of a key, synced; and those that waited for room, once there is some.
    pub fn append(&self, shelf: Shelf, key: &Sha256, lines: &[u8]) -> io::Result<()> {
        let mut unwritten = lock(&self.unwritten.0);
        let mut all = unwritten.get(key).cloned().unwrap_or_default();
        all.extend_from_slice(lines);
        match append(&self.path(shelf, key), &all) {
            Err(error) if is_full(&error) => {
                let waiting: usize = unwritten.values().map(Vec::len).sum();
                if waiting + lines.len() > MOST {
                    return Err(error);
                }
                if unwritten.is_empty() {
                    tracing::error!(
                        "the volume has no room for what was promised for versions: it is in memory until there is, and is forgotten if the program ends before"
                    );
                }
                unwritten.insert(*key, all);
                return Ok(());
            }
            other => other?,
        }
        unwritten.remove(key);
        while let Some((key, waiting)) = unwritten.first_key_value() {
            let key = *key;
            if append(&self.path(shelf, &key), waiting).is_err() {
                break;
            }
            unwritten.remove(&key);
        }
        Ok(())
    }
}

fn append(path: &Path, lines: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = File::options().create(true).append(true).open(path)?;
    let before = file.metadata()?.len();
    // What a cut left behind must not run into what follows.
    let is_cut = before > 0 && !fs::read(path)?.ends_with(b"\n");
    let written = (|| {
        if is_cut {
            file.write_all(b"\n")?;
        }
        file.write_all(lines)?;
        file.sync_data()
    })();
    // Half a line is none.
    written.inspect_err(|_| drop(file.set_len(before)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::key;

    #[test]
    fn lines_that_wait_are_read_and_written_with_the_next_ones() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), "npm", "http://a").unwrap();
        let (first, second) = (key(&[b"a"]), key(&[b"b"]));
        disk.append(Shelf::Pins, &first, b"1\n").unwrap();
        let waiting = [(first, b"2\n".to_vec()), (second, b"3\n".to_vec())];
        lock(&disk.unwritten.0).extend(waiting);
        assert_eq!(disk.lines(Shelf::Pins, &first).unwrap(), b"1\n2\n");
        assert_eq!(disk.lines(Shelf::Pins, &second).unwrap(), b"3\n");
        disk.append(Shelf::Pins, &first, b"4\n").unwrap();
        assert!(lock(&disk.unwritten.0).is_empty());
        let read = |key| disk.read(Shelf::Pins, key).unwrap().unwrap();
        assert_eq!(
            (&read(&first)[..], &read(&second)[..]),
            (&b"1\n2\n4\n"[..], &b"3\n"[..])
        );
    }
}
