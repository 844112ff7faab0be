//! Threads that judge signatures while other files are still being fetched.
//!
//! A signature and what it signs are judged once both came, durable or not: what was just written is read from the memory of
//! the kernel. Threads take one case after the other, so that no more is held than they read at once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use fleet_formats::seam::{Endorsement, SignaturePolicy, Verified};
use fleet_types::{RepoPath, Sha256, lock};

use super::endorse::endorsed;
use super::fetching::{Signature, Signatures};
use super::run::Ground;
use super::want::Signed;
use crate::Problem;

/// More than these would only compete with what fetches and writes.
const MAX_THREADS: usize = 4;
/// How often is looked whether a run is to end.
const LOOK: Duration = Duration::from_millis(200);

/// What was found out of a signature over a content.
pub(super) type Verdict = Result<Verified<Endorsement>, Problem>;

/// By what is signed, and by the signature.
pub(super) type Verdicts = HashMap<(Sha256, Sha256), Verdict>;

pub(super) struct Judges {
    desk: Arc<Desk>,
    threads: Vec<thread::JoinHandle<()>>,
    /// The signatures over a path.
    over: HashMap<RepoPath, Vec<RepoPath>>,
    signatures: Arc<Signatures>,
}

struct Desk {
    ground: Ground,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    cases: VecDeque<Case>,
    /// All that ever were cases.
    known: HashSet<(Sha256, Sha256)>,
    /// Signatures that came, and signed contents that did.
    came: HashMap<RepoPath, Sha256>,
    here: HashSet<Sha256>,
    /// Nothing more comes.
    is_all_here: bool,
    is_over: bool,
    verdicts: Verdicts,
}

struct Case {
    over: Signed,
    signature: Sha256,
}

impl Judges {
    /// For the signatures that are to be fetched. Where none is judged there are no threads.
    pub fn start(ground: &Ground, signatures: &Arc<Signatures>) -> Judges {
        let is_judged = ground.rules.options.trust.signatures != SignaturePolicy::None;
        let mut over: HashMap<RepoPath, Vec<RepoPath>> = HashMap::new();
        let is_judged_now =
            |signature: &&Signature| is_judged && !ground.rules.is_on_demand(&signature.over.path);
        let judged = signatures.iter();
        for (path, signature) in judged.filter(|(_, signature)| is_judged_now(signature)) {
            let signed = signature.over.path.clone();
            over.entry(signed).or_default().push(path.clone());
        }
        let desk = Arc::new(Desk {
            ground: ground.clone(),
            state: Mutex::default(),
            wake: Condvar::new(),
        });
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let count = match over.is_empty() {
            true => 0,
            false => cores.min(MAX_THREADS),
        };
        let start = |number| {
            let desk = desk.clone();
            let thread = thread::Builder::new().name(format!("judge-{number}"));
            // Without one, everything is judged at the end.
            thread.spawn(move || desk.work()).ok()
        };
        Judges {
            threads: (0..count).filter_map(start).collect(),
            desk,
            over,
            signatures: signatures.clone(),
        }
    }

    /// Something came, under each of these names.
    pub fn came(&self, paths: &[RepoPath], digest: Sha256) {
        if self.threads.is_empty() {
            return;
        }
        let mut state = lock(&self.desk.state);
        for path in paths {
            if let Some(signature) = self.signatures.get(path) {
                state.came.insert(path.clone(), digest);
                let signed = &signature.over.sha256;
                if state.here.contains(signed) || self.desk.is_blob(signed) {
                    state.add(&signature.over, digest);
                }
            } else if let Some(signatures) = self.over.get(path) {
                state.here.insert(digest);
                for (path, signature) in signatures
                    .iter()
                    .filter_map(|path| Some((path, self.signatures.get(path)?)))
                {
                    if let Some(came) = state.came.get(path).copied() {
                        state.add(&signature.over, came);
                    }
                }
            }
        }
        self.desk.wake.notify_all();
    }

    /// What was found out, when everything has come.
    pub fn finish(mut self) -> Verdicts {
        lock(&self.desk.state).is_all_here = true;
        self.join();
        std::mem::take(&mut lock(&self.desk.state).verdicts)
    }

    fn join(&mut self) {
        self.desk.wake.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already; what it had is judged at the end.
            let _ = thread.join();
        }
    }
}

impl Drop for Judges {
    fn drop(&mut self) {
        lock(&self.desk.state).is_over = true;
        self.join();
    }
}

impl State {
    fn add(&mut self, over: &Signed, signature: Sha256) {
        // One content may have several names.
        if self.known.insert((over.sha256, signature)) {
            let over = over.clone();
            self.cases.push_back(Case { over, signature });
        }
    }
}

impl Desk {
    fn work(&self) {
        while let Some(Case { over, signature }) = self.next() {
            let verdict = endorsed(&self.ground, &over, signature);
            let pair = (over.sha256, signature);
            lock(&self.state).verdicts.insert(pair, verdict);
        }
    }

    /// The next one; none at the end.
    fn next(&self) -> Option<Case> {
        let mut state = lock(&self.state);
        loop {
            if state.is_over || self.ground.watch.stop.check().is_err() {
                return None;
            }
            if let Some(case) = state.cases.pop_front() {
                return Some(case);
            }
            if state.is_all_here {
                return None;
            }
            let waited = self.wake.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn is_blob(&self, digest: &Sha256) -> bool {
        let shelves = &self.ground.stock.shelves;
        !shelves.damage.contains(digest) && shelves.target().blob_path(digest).is_file()
    }
}
