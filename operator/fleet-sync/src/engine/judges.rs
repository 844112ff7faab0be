//! Threads that judge signatures while other files are still being fetched.
//!
//! A signature and what it signs are judged once both came, durable or not: what was just written is read from the memory of
//! the kernel. Threads take one case after the other, so that no more is held than they read at once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use fleet_formats::seam::{Endorsement, SignaturePolicy};
use fleet_store::Sorted;
use fleet_types::{Sha256, lock};

use super::endorse::{Endorsed, endorsed};
use super::fetching::SignatureFetch;
use super::run::Ground;
use super::want::Signed;

/// More than these would only compete with what fetches and writes.
const MAX_THREADS: usize = 4;
/// How often is looked whether a run is to end.
const LOOK: Duration = Duration::from_millis(200);

pub(super) struct Judges {
    desk: Arc<Desk>,
    threads: Vec<thread::JoinHandle<()>>,
}

struct Desk {
    ground: Ground,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    cases: VecDeque<Case>,
    /// Those that a thread has, or will have.
    under_way: HashSet<Endorsement>,
    /// Signatures that came before what they are over, by that.
    waiting: HashMap<Sha256, Vec<Case>>,
    /// Contents that came before the signatures over them.
    here: HashSet<Sha256>,
    /// Nothing more comes.
    is_all_here: bool,
    is_over: bool,
    good: Endorsed,
}

struct Case {
    over: Signed,
    signature: Sha256,
}

impl Judges {
    /// For the signatures that are to be fetched. Where none is judged there are no threads.
    pub fn start(ground: &Ground, signatures: &Sorted<SignatureFetch>) -> Judges {
        let is_judged = ground.rules.options.trust.signatures != SignaturePolicy::None;
        let is_needed = is_judged && !signatures.is_empty();
        let desk = Arc::new(Desk {
            ground: ground.clone(),
            state: Mutex::default(),
            wake: Condvar::new(),
        });
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let count = match is_needed {
            true => cores.min(MAX_THREADS),
            false => 0,
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
        }
    }

    /// A signature came.
    pub fn signature_came(&self, over: &Signed, signature: Sha256) {
        if self.threads.is_empty() || self.desk.ground.rules.is_on_demand(&over.path) {
            return;
        }
        let case = Case {
            over: over.clone(),
            signature,
        };
        let mut state = lock(&self.desk.state);
        // A second signature over it finds it as a blob, or is judged at the end.
        match state.here.remove(&over.sha256) || self.desk.is_blob(&over.sha256) {
            true => state.add(case),
            false => state.waiting.entry(over.sha256).or_default().push(case),
        }
        self.desk.wake.notify_one();
    }

    /// Something else came.
    pub fn came(&self, digest: Sha256) {
        if self.threads.is_empty() {
            return;
        }
        let mut state = lock(&self.desk.state);
        match state.waiting.remove(&digest) {
            Some(cases) => cases.into_iter().for_each(|case| state.add(case)),
            None => drop(state.here.insert(digest)),
        }
        self.desk.wake.notify_all();
    }

    /// Those that were found to be good, when everything has come.
    pub fn finish(mut self) -> Endorsed {
        lock(&self.desk.state).is_all_here = true;
        self.join();
        std::mem::take(&mut lock(&self.desk.state).good)
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
    fn add(&mut self, case: Case) {
        // One content may have several names.
        let is_known = self.good.vouches_for(case.signature, &case.over);
        if !is_known && self.under_way.insert(case.claim()) {
            self.cases.push_back(case);
        }
    }
}

impl Case {
    fn claim(&self) -> Endorsement {
        Endorsement {
            signature: self.signature,
            signed: self.over.sha256,
        }
    }
}

impl Desk {
    fn work(&self) {
        while let Some(case) = self.next() {
            let verdict = endorsed(&self.ground, &case.over, case.signature);
            let mut state = lock(&self.state);
            state.under_way.remove(&case.claim());
            // One that does not count is judged once more when everything is there.
            if let Ok(endorsement) = verdict {
                state.good.add(endorsement);
            }
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
