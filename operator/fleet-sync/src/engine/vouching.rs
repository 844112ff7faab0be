//! Whose keys count in a run for payload that is signed file by file, and which signatures are known to fit.
//!
//! Keys can come with payload: then those of the newest snapshot count when a run begins, and those that it brings before
//! anything else of it is judged. That a signature fits its file is remembered with the keys that made it: when other keys
//! are trusted, signers are judged again, and no byte of a file is read.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::{Arc, Mutex};

use fleet_formats::seam::{SignaturePolicy, Trust};
use fleet_store::EntryState;
use fleet_types::{RepoPath, Sha256, lock};

use super::rules::Rules;
use super::run::Ground;
use super::shelves::Shelves;
use super::stock::Stock;
use super::vouched::{JudgedBy, Vouched};
use super::want::Signed;
use crate::Problem;

pub(super) struct Vouching {
    state: Mutex<State>,
}

struct State {
    trust: Arc<Trust>,
    /// The contents whose keys `trust` has.
    keys: BTreeSet<Sha256>,
    /// Once it was asked for.
    known: Option<Vouched>,
    has_news: bool,
}

/// Payload that holds keys, by its content: a unit that lists it, and its name.
pub(super) type KeyFiles = BTreeMap<Sha256, (u16, RepoPath)>;

impl Vouching {
    /// With the keys that the newest snapshot holds.
    pub fn new(rules: &Rules, stock: &Stock) -> Result<Vouching, Problem> {
        let trust = &rules.options.trust;
        let vouching = Vouching {
            state: Mutex::new(State {
                trust: Arc::new(trust.clone()),
                keys: BTreeSet::new(),
                known: None,
                has_news: false,
            }),
        };
        let base = stock
            .base
            .as_ref()
            .filter(|_| trust.keyring_package.is_some());
        let entries = base.into_iter().flat_map(|base| base.snapshot.iter());
        let mut files = KeyFiles::new();
        for (path, entry) in entries.filter(|(_, entry)| entry.state == EntryState::Present) {
            if rules.options.format.holds_keys(&path, trust) {
                files.insert(entry.digest, (0, path));
            }
        }
        // What the snapshot holds was accepted; that it can be read no more is found out where it is needed.
        let _ = vouching.learn(rules, &stock.shelves, &files);
        Ok(vouching)
    }

    pub fn trust(&self) -> Arc<Trust> {
        lock(&self.state).trust.clone()
    }

    /// Whether all that the newest snapshot holds was judged by what counts now.
    pub fn is_as_before(&self, ground: &Ground) -> Result<bool, Problem> {
        let rules = &ground.rules;
        if rules.options.trust.signatures == SignaturePolicy::None {
            return Ok(true);
        }
        let mut state = lock(&self.state);
        let now = state.judged_by(rules);
        Ok(state.known(&ground.stock.shelves)?.judged_by == Some(now))
    }

    /// Takes the keys of these files beside those that are pinned, and of no others; whether that are other ones than
    /// before. What cannot be read brings none, and the error is told.
    pub fn learn(
        &self,
        rules: &Rules,
        shelves: &Shelves,
        files: &KeyFiles,
    ) -> Result<bool, Problem> {
        let keys: BTreeSet<Sha256> = files.keys().copied().collect();
        if lock(&self.state).keys == keys {
            return Ok(false);
        }
        let options = &rules.options;
        let open = |digest: &Sha256| -> Result<Box<dyn Read + Send>, Problem> {
            Ok(Box::new(shelves.open_whole(digest)?))
        };
        let contents = keys.iter().map(open).collect::<Result<Vec<_>, _>>();
        let trust = contents.and_then(|mut contents| {
            let trust = options.format.with_keys(&mut contents, &options.trust);
            trust.map_err(Problem::from)
        });
        let mut state = lock(&self.state);
        state.keys = keys;
        state.trust = Arc::new(trust.as_ref().unwrap_or(&options.trust).clone());
        trust.map(|_| true)
    }

    /// As [`Vouching::learn`]. That keys cannot be read, or that there are none, is told with the unit that should have them.
    pub fn learn_of(&self, ground: &Ground, files: &KeyFiles) -> bool {
        let (rules, watch) = (&ground.rules, &ground.watch);
        let is_new = self.learn(rules, &ground.stock.shelves, files);
        let package = rules.options.trust.keyring_package.as_deref();
        match (files.values().next(), &is_new) {
            (Some((unit, path)), Err(problem)) => {
                let note = format!("{path}: its keys cannot be read: {}", problem.message);
                watch.note(rules.name(*unit), &note);
            }
            (None, _) => {
                let package = package.unwrap_or_default();
                let note = format!(
                    "no package {package} is copied, which trust.webOfTrust.keyringPackage names"
                );
                watch.note(rules.name(0), &note);
            }
            _ => {}
        }
        is_new.unwrap_or(true)
    }

    /// The keys that are known to have made a signature over a file.
    pub fn signers(
        &self,
        shelves: &Shelves,
        over: &Signed,
        signature: &Sha256,
    ) -> Result<Option<Vec<String>>, Problem> {
        let mut state = lock(&self.state);
        let known = state.known(shelves)?;
        let by = known.signatures.makers(signature, &over.sha256);
        Ok(by.map(<[String]>::to_vec))
    }

    /// That these keys made a signature over a file. What nobody is named for is not remembered.
    pub fn fits(&self, over: &Signed, signature: Sha256, by: Vec<String>) {
        let mut state = lock(&self.state);
        if let (Some(known), false) = (&mut state.known, by.is_empty()) {
            known.signatures.insert(signature, over.sha256, by);
            state.has_news = true;
        }
    }

    /// Keeps what was found out. `is_all` says that no unit of the newest snapshot is as
    /// it was before what counts now.
    pub fn keep(&self, ground: &Ground, is_all: bool) -> Result<(), Problem> {
        let (rules, shelves) = (&ground.rules, &ground.stock.shelves);
        if rules.options.trust.signatures == SignaturePolicy::None {
            return Ok(());
        }
        let mut state = lock(&self.state);
        let judged_by = Some(state.judged_by(rules)).filter(|_| is_all);
        let mut has_news = std::mem::take(&mut state.has_news);
        let known = state.known(shelves)?;
        has_news |= known.judged_by != judged_by;
        known.judged_by = judged_by;
        if !has_news {
            return Ok(());
        }
        known.tidy(|signature| shelves.target().blob_path(signature).is_file());
        Ok(shelves.writer.state_write(Vouched::DOCUMENT, known)?)
    }
}

impl State {
    fn judged_by(&self, rules: &Rules) -> JudgedBy {
        JudgedBy {
            inputs: rules.inputs,
            keys: self.keys.clone(),
        }
    }

    fn known(&mut self, shelves: &Shelves) -> Result<&mut Vouched, Problem> {
        let known = match self.known.take() {
            Some(known) => known,
            None => shelves.remembered(Vouched::DOCUMENT)?.unwrap_or_default(),
        };
        Ok(self.known.insert(known))
    }
}
