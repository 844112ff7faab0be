//! Lines of files that only ever grow, and are nowhere else: synced, and in memory where the volume has no room, until it has.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use fleet_types::{Sha256, lock};

use crate::disk::{Disk, Shelf};
use crate::draft::is_full;

/// What is in memory of them at most, in bytes: some 100,000 versions.
const MOST: usize = 16 << 20;
/// Files that are read or written at once. A disk syncs many together nearly as fast as one.
const TURNS: usize = 64;

/// Lines that wait for room, and whose turn it is.
#[derive(Debug)]
pub struct Unwritten {
    waiting: Mutex<BTreeMap<Sha256, Vec<u8>>>,
    /// Held while a file of the key is read or grows: nobody sees half a line, and nobody waits for other files.
    turns: [Mutex<()>; TURNS],
}

impl Default for Unwritten {
    fn default() -> Self {
        Unwritten {
            waiting: Mutex::default(),
            turns: [const { Mutex::new(()) }; TURNS],
        }
    }
}

impl Unwritten {
    fn turn(&self, key: &Sha256) -> Option<MutexGuard<'_, ()>> {
        let [first, ..] = key.0;
        self.turns.get(usize::from(first) % TURNS).map(lock)
    }

    fn of(&self, key: &Sha256) -> Vec<u8> {
        lock(&self.waiting).get(key).cloned().unwrap_or_default()
    }
}

impl Disk {
    /// All lines of a key: those of its file, and those that wait for room.
    pub fn lines(&self, shelf: Shelf, key: &Sha256) -> io::Result<Vec<u8>> {
        let _turn = self.unwritten.turn(key);
        let mut lines = self.read(shelf, key)?.unwrap_or_default();
        let waiting = self.unwritten.of(key);
        if !waiting.is_empty() {
            if !lines.is_empty() && !lines.ends_with(b"\n") {
                lines.push(b'\n');
            }
            lines.extend_from_slice(&waiting);
        }
        Ok(lines)
    }

    /// Adds lines to the file of a key, synced; and those that waited for room, once there is some.
    pub fn append(&self, shelf: Shelf, key: &Sha256, lines: &[u8]) -> io::Result<()> {
        let mut has_room = self.grow(shelf, key, lines)?;
        while has_room {
            let first = lock(&self.unwritten.waiting).keys().next().copied();
            let Some(waiting) = first else { break };
            has_room = self.grow(shelf, &waiting, &[]).unwrap_or(false);
        }
        Ok(())
    }

    /// Adds lines, and those of the same key that wait. False where they wait from now on.
    fn grow(&self, shelf: Shelf, key: &Sha256, lines: &[u8]) -> io::Result<bool> {
        let _turn = self.unwritten.turn(key);
        let mut all = self.unwritten.of(key);
        all.extend_from_slice(lines);
        if all.is_empty() {
            // Another has written them meanwhile.
            return Ok(true);
        }
        let appended = append(&self.path(shelf, key), &all);
        let mut waiting = lock(&self.unwritten.waiting);
        match appended {
            Err(error) if is_full(&error) => {
                let held: usize = waiting.values().map(Vec::len).sum();
                if held + lines.len() > MOST {
                    return Err(error);
                }
                if waiting.is_empty() {
                    tracing::error!(
                        "the volume has no room for what was promised for versions: it is in memory until there is, and is forgotten if the program ends before"
                    );
                }
                waiting.insert(*key, all);
                Ok(false)
            }
            Err(error) => Err(error),
            Ok(()) => {
                waiting.remove(key);
                Ok(true)
            }
        }
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
        lock(&disk.unwritten.waiting).extend(waiting);
        assert_eq!(disk.lines(Shelf::Pins, &first).unwrap(), b"1\n2\n");
        assert_eq!(disk.lines(Shelf::Pins, &second).unwrap(), b"3\n");
        disk.append(Shelf::Pins, &first, b"4\n").unwrap();
        assert!(lock(&disk.unwritten.waiting).is_empty());
        let read = |key| disk.read(Shelf::Pins, key).unwrap().unwrap();
        assert_eq!(
            (&read(&first)[..], &read(&second)[..]),
            (&b"1\n2\n4\n"[..], &b"3\n"[..])
        );
    }

    #[test]
    fn files_that_grow_at_once_have_whole_lines_and_all_of_them() {
        const EACH: usize = 20;
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), "npm", "http://a").unwrap();
        let (shared, own) = (key(&[b"shared"]), |name: u8| key(&[&[name]]));
        std::thread::scope(|threads| {
            for name in 0..4_u8 {
                let disk = &disk;
                threads.spawn(move || {
                    for number in 0..EACH {
                        let line = format!("{name} {number}\n");
                        for key in [shared, own(name)] {
                            disk.append(Shelf::Pins, &key, line.as_bytes()).unwrap();
                            let read = disk.lines(Shelf::Pins, &key).unwrap();
                            assert!(read.ends_with(b"\n"), "half a line was seen");
                        }
                    }
                });
            }
        });
        let count = |key| {
            let lines = disk.lines(Shelf::Pins, &key).unwrap();
            lines.split(|byte| *byte == b'\n').count() - 1
        };
        assert_eq!(count(shared), 4 * EACH);
        assert!((0..4).all(|name| count(own(name)) == EACH));
    }
}
