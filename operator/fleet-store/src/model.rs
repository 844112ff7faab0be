//! A disk for tests that forgets what was not synced.
//!
//! Operations happen on a real directory, so that everything that reads works as always; beside it the model keeps
//! what is durable. [`ModelDisk::cut_power`] rewrites the directory to a state that a power cut may leave: content
//! that was not synced is old, empty, cut short, zeroed or complete, behind what was synced if it was appended; names that were not synced are old or new, each
//! on its own or up to some moment.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::fs::{Disk, FileSystem};

/// A defect that the model adds to the code under test, to show that the tests would notice it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    None,
    /// The syncfs before the renames of a batch is left out: rename first, sync later.
    RenameBeforeSync,
    /// fsync of files is left out.
    NoFileSync,
    /// fsync of directories is left out.
    NoDirectorySync,
}

pub(crate) struct ModelDisk {
    disk: Disk,
    root: PathBuf,
    defect: Defect,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Keeps every file open, so that the number of one that was removed is not used again.
    inodes: BTreeMap<u64, Inode>,
    names: Names,
    pending: Vec<Change>,
    /// Operations until nothing works any more.
    fuel: Option<u32>,
}

type Names = BTreeMap<PathBuf, Node>;

struct Inode {
    file: File,
    durable: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Node {
    Directory,
    File(u64),
}

#[derive(Clone)]
enum Change {
    Add(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, u64),
}

impl Change {
    fn touches(&self, dir: &Path) -> bool {
        let inside = |path: &PathBuf| path.parent() == Some(dir);
        match self {
            Change::Add(path, _) | Change::Remove(path) => inside(path),
            Change::Rename(from, to, _) => inside(from) || inside(to),
        }
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Change::Add(path, node) => drop(names.insert(path.clone(), *node)),
            Change::Remove(path) => drop(names.remove(path)),
            Change::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), Node::File(*inode));
            }
        }
    }
}

/// Chooses for a test; the same seed, the same choices.
pub(crate) struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }
}

impl Inode {
    fn live(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.file.metadata().unwrap().len() as usize];
        self.file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    fn after_power_cut(&self, dice: &mut Dice) -> Vec<u8> {
        let live = self.live();
        if live == self.durable {
            return live;
        }
        // Appending leaves the blocks alone that were synced before; anything else may lose all of the file.
        let kept = if live.starts_with(&self.durable) {
            self.durable.len()
        } else {
            0
        };
        let rest = live.len() - kept;
        match dice.below(5) {
            0 => self.durable.clone(),
            1 => live[..kept].to_vec(),
            2 => live[..kept + dice.below(rest + 1)].to_vec(),
            3 => [&live[..kept], &vec![0; rest]].concat(),
            _ => live,
        }
    }
}

impl ModelDisk {
    /// Everything that is there is durable.
    pub fn new(root: &Path, defect: Defect) -> Arc<ModelDisk> {
        let mut state = State::default();
        add_tree(root, &mut state);
        let disk = Disk::new(root).unwrap();
        Arc::new(ModelDisk {
            disk,
            root: root.to_owned(),
            defect,
            state: Mutex::new(state),
        })
    }

    /// After so many more operations every operation fails.
    pub fn set_fuel(&self, fuel: Option<u32>) {
        self.state.lock().unwrap().fuel = fuel;
    }

    pub fn is_out_of_fuel(&self) -> bool {
        self.state.lock().unwrap().fuel == Some(0)
    }

    /// Leaves what a power cut may leave, all of it durable.
    pub fn cut_power(self: Arc<Self>, dice: &mut Dice) -> Arc<ModelDisk> {
        let state = self.state.lock().unwrap();
        let mut names = state.names.clone();
        let upto = dice.below(state.pending.len() + 1);
        let each = dice.below(2) == 0;
        for (position, change) in state.pending.iter().enumerate() {
            if if each {
                dice.below(2) == 0
            } else {
                position < upto
            } {
                change.apply(&mut names);
            }
        }
        let contents: BTreeMap<u64, Vec<u8>> = state
            .inodes
            .iter()
            .map(|(number, inode)| (*number, inode.after_power_cut(dice)))
            .collect();
        for file in fs::read_dir(&self.root).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                fs::remove_dir_all(&path).unwrap()
            } else {
                fs::remove_file(&path).unwrap()
            }
        }
        for (path, node) in names {
            // A name in a directory that was forgotten is forgotten with it.
            let _ = match node {
                Node::Directory => fs::create_dir(&path),
                Node::File(number) => fs::write(&path, &contents[&number]),
            };
        }
        ModelDisk::new(&self.root, self.defect)
    }

    fn step(&self) -> io::Result<std::sync::MutexGuard<'_, State>> {
        let mut state = self.state.lock().unwrap();
        match &mut state.fuel {
            Some(0) => return Err(io::Error::other("power cut")),
            Some(fuel) => *fuel -= 1,
            None => {}
        }
        Ok(state)
    }

    fn opened(
        &self,
        path: &Path,
        open: impl FnOnce(&Disk) -> io::Result<File>,
    ) -> io::Result<File> {
        let mut state = self.step()?;
        let existed = path.exists();
        let file = open(&self.disk)?;
        if !existed {
            let number = file.metadata()?.ino();
            // Opened anew: a duplicate would share, and so keep, the lock of a process that is gone.
            state.inodes.insert(
                number,
                Inode {
                    file: File::open(path)?,
                    durable: Vec::new(),
                },
            );
            state
                .pending
                .push(Change::Add(path.to_owned(), Node::File(number)));
        }
        Ok(file)
    }
}

fn add_tree(dir: &Path, state: &mut State) {
    for file in fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            add_tree(&path, state);
            state.names.insert(path, Node::Directory);
        } else {
            let file = File::open(&path).unwrap();
            let number = file.metadata().unwrap().ino();
            let mut inode = Inode {
                file,
                durable: Vec::new(),
            };
            inode.durable = inode.live();
            state.inodes.insert(number, inode);
            state.names.insert(path, Node::File(number));
        }
    }
}

impl FileSystem for Arc<ModelDisk> {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.step()?;
        let existed = path.is_dir();
        self.disk.create_dir(path)?;
        if !existed {
            state
                .pending
                .push(Change::Add(path.to_owned(), Node::Directory));
        }
        Ok(())
    }

    fn open(&self, path: &Path, truncate: bool) -> io::Result<File> {
        self.opened(path, |disk| disk.open(path, truncate))
    }

    fn open_once(&self, path: &Path) -> io::Result<File> {
        self.opened(path, |disk| disk.open_once(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.step()?;
        let number = fs::metadata(from)?.ino();
        self.disk.rename(from, to)?;
        state
            .pending
            .push(Change::Rename(from.to_owned(), to.to_owned(), number));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.step()?;
        self.disk.remove_file(path)?;
        state.pending.push(Change::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        let mut state = self.step()?;
        if self.defect != Defect::NoFileSync
            && let Some(inode) = state.inodes.get_mut(&file.metadata()?.ino())
        {
            inode.durable = inode.live();
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.step()?;
        if self.defect == Defect::NoDirectorySync {
            return Ok(());
        }
        let State { names, pending, .. } = &mut *state;
        pending.retain(|change| {
            let touches = change.touches(path);
            if touches {
                change.apply(names);
            }
            !touches
        });
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        let mut state = self.step()?;
        let renamed = state
            .pending
            .iter()
            .any(|change| matches!(change, Change::Rename(..)));
        if self.defect == Defect::RenameBeforeSync && !renamed {
            return Ok(());
        }
        let State {
            names,
            pending,
            inodes,
            ..
        } = &mut *state;
        pending.drain(..).for_each(|change| change.apply(names));
        inodes
            .values_mut()
            .for_each(|inode| inode.durable = inode.live());
        Ok(())
    }
}
