//! Whether a package is believed that another file signs: judged when it comes, since a signature cannot be without it.

use std::io::{self, Read};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Buf, Bytes};
use fleet_formats::seam::{Promise, SignaturePolicy, Trust};
use fleet_store::{Entry, EntryState, Inserter, Snapshot, SnapshotId, Store};
use fleet_types::{Problem, Reason, RepoPath, Sha256, lock};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::options::Vouching;

/// Pieces that wait to be judged.
const PIECES: usize = 4;

/// Whom a Mirror trusts with its packages, with the keys that its newest snapshot brings.
pub struct Trusted {
    vouching: Vouching,
    /// Of the snapshot that it was read from.
    known: Mutex<Option<(SnapshotId, Arc<Trust>)>>,
}

/// Judges one package.
#[derive(Clone)]
pub struct Judge {
    pub trusted: Arc<Trusted>,
    pub path: RepoPath,
    pub digest: Sha256,
}

impl Trusted {
    pub fn new(vouching: Vouching) -> Trusted {
        Trusted {
            vouching,
            known: Mutex::default(),
        }
    }

    /// Where the signature over this package is, where signatures are judged.
    fn signature_of(&self, package: &RepoPath) -> Option<RepoPath> {
        match self.vouching.trust.signatures {
            SignaturePolicy::None => None,
            _ => self.vouching.format.signature_of(package),
        }
    }

    fn trust(&self, store: &Store, snapshot: &Snapshot) -> Result<Arc<Trust>, Problem> {
        let mut known = lock(&self.known);
        if let Some((_, trust)) = known.as_ref().filter(|(id, _)| *id == snapshot.id()) {
            return Ok(trust.clone());
        }
        let Vouching { format, trust } = &self.vouching;
        let mut contents = Vec::new();
        let brings_keys = |(path, entry): &(RepoPath, Entry)| {
            entry.state == EntryState::Present && format.holds_keys(path, trust)
        };
        if trust.keyring_package.is_some() {
            for (path, entry) in snapshot.iter().filter(brings_keys) {
                let file = store
                    .open_blob(&entry.digest)?
                    .ok_or_else(|| missing(&path))?;
                contents.push(Box::new(file) as Box<dyn Read + Send>);
            }
        }
        let trust = Arc::new(format.with_keys(&mut contents, trust)?);
        *known = Some((snapshot.id(), trust.clone()));
        Ok(trust)
    }
}

impl Judge {
    /// Whether a signature decides about this package.
    pub fn is_needed(&self) -> bool {
        self.trusted.signature_of(&self.path).is_some()
    }

    /// Errors say why it is not believed. Blocks on the disk and on `content`, of which all is read.
    pub fn believe(&self, inserter: &Inserter, content: &mut dyn Read) -> Result<(), Problem> {
        let Some(signature) = self.trusted.signature_of(&self.path) else {
            return Ok(());
        };
        let store = inserter.store();
        let Some((snapshot, entry)) = self.signed_in(store, &signature)? else {
            return match self.trusted.vouching.trust.signatures {
                SignaturePolicy::Required => Err(Problem::new(
                    Reason::SignatureMissing,
                    format!("{}: no signature of it was copied", self.path),
                )),
                _ => Ok(()),
            };
        };
        let mut bytes = Vec::new();
        let file = store
            .open_blob(&entry.digest)?
            .ok_or_else(|| missing(&signature))?;
        let failed = |error: io::Error| {
            let text = format!("{signature} cannot be read: {error}");
            Problem::new(Reason::StorageFailed, text)
        };
        let mut file = file.take(Promise::MAX_SIGNATURE_BYTES);
        file.read_to_end(&mut bytes).map_err(failed)?;
        let trust = self.trusted.trust(store, &snapshot)?;
        let format = &self.trusted.vouching.format;
        let judged = format.check_signature(content, &bytes, &trust, now());
        judged
            .map(drop)
            .map_err(|rejected| rejected.at(&self.path).into())
    }

    /// Begins to judge what comes piece by piece.
    pub fn hear(self, inserter: Arc<Inserter>) -> Hearing {
        let (say, heard) = mpsc::channel(PIECES);
        let mut ear = Ear {
            heard,
            piece: Bytes::new(),
        };
        let verdict = tokio::task::spawn_blocking(move || self.believe(&inserter, &mut ear));
        Hearing { say, verdict }
    }

    /// The newest snapshot that lists this very package with a signature that is here.
    fn signed_in(
        &self,
        store: &Store,
        signature: &RepoPath,
    ) -> Result<Option<(Arc<Snapshot>, Entry)>, Problem> {
        for info in store.snapshots()?.iter().rev() {
            // Given up, or damaged, since it was listed: another may do.
            let Ok(snapshot) = store.snapshot(&info.id) else {
                continue;
            };
            let is_it = snapshot
                .get(self.path.as_str())
                .is_some_and(|entry| entry.digest == self.digest);
            let found = snapshot.get(signature.as_str());
            let here = found.filter(|entry| is_it && entry.state == EntryState::Present);
            if let Some(entry) = here {
                return Ok(Some((snapshot, entry)));
            }
        }
        Ok(None)
    }
}

/// A package that is judged while it comes.
#[derive(Debug)]
pub struct Hearing {
    say: mpsc::Sender<Bytes>,
    verdict: JoinHandle<Result<(), Problem>>,
}

impl Hearing {
    pub async fn say(&self, bytes: Bytes) {
        // Who has judged already needs no more.
        let _ = self.say.send(bytes).await;
    }

    /// The verdict, once all was said.
    pub async fn end(self) -> Result<(), Problem> {
        drop(self.say);
        let stopped = |error: tokio::task::JoinError| {
            Err(Problem::new(Reason::StorageFailed, error.to_string()))
        };
        self.verdict.await.unwrap_or_else(stopped)
    }
}

/// What is said, to be read.
struct Ear {
    heard: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Ear {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.heard.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let count = self.piece.len().min(into.len());
        let (piece, into) = (self.piece.split_to(count), into.get_mut(..count));
        into.unwrap_or_default().copy_from_slice(piece.chunk());
        Ok(count)
    }
}

fn missing(path: &RepoPath) -> Problem {
    let text = format!("{path} is missing from the store; the next sync fetches it again");
    Problem::new(Reason::StoreCorrupt, text)
}

/// Seconds since 1970-01-01T00:00:00Z.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
