//! The module of a format that is nothing like Debian's: its roots are its indices, its packages are signed one by one,
//! its indices hold small files themselves, they have a second name, and the upstream has two clocks.
//!
//! `core/core.db`: a line `updated <seconds>`, then a line for each package: name, SHA-256, size, and notes in one word.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;

use fleet_formats::openpgp::verify_detached;
use fleet_formats::seam::{
    Alias, Change, Clock, Compression, Format, IndexFile, IndexGroup, Item, Payload, Promise,
    Rejected, RootContent, RootFile, RootPlan, StateFiles, Told, Trust, UnitIndex, VerifyContext,
};
use fleet_types::documents::OwnFile;
use fleet_types::{Digest, Expected, HashAlgorithm, Hashes, Reason, RepoPath, UnitRevision};

pub const MAX_INDEX_BYTES: u64 = 4 << 20;

/// What a Mirror declares: the content block.
#[derive(serde::Deserialize)]
pub struct Toy {
    repositories: Vec<String>,
}

impl Format for Toy {
    fn units(&self) -> Vec<String> {
        self.repositories.clone()
    }

    fn roots(&self, unit: &str) -> Result<RootPlan, Rejected> {
        Ok(RootPlan {
            probes: vec![RootFile {
                path: index_of(unit)?,
                max_bytes: MAX_INDEX_BYTES,
            }],
            companions: Vec::new(),
            signatures: Vec::new(),
        })
    }

    fn state_files(&self) -> &dyn StateFiles {
        self
    }

    /// Nobody lets a package go that is not replaced by anything.
    fn judge_change(&self, unit: &str, change: &Change<'_>) -> Result<Vec<String>, Rejected> {
        let packages = |roots: &[RootContent]| match roots {
            [root] => Ok(lines(root)?.count().saturating_sub(1)),
            _ => Ok(0),
        };
        let (before, now) = (packages(&(change.old)()?)?, packages(change.new)?);
        match before.cmp(&now) {
            Ordering::Greater if now == 0 => {
                let message = format!("{unit}: all of its {before} packages are gone");
                Err(Rejected::new(Reason::ShrinkRefused, message))
            }
            Ordering::Greater => Ok(vec![format!("{} packages are gone", before - now)]),
            _ => Ok(Vec::new()),
        }
    }

    fn unit_index(
        &self,
        unit: &str,
        roots: &[RootContent],
        context: Option<&VerifyContext<'_>>,
    ) -> Result<UnitIndex, Rejected> {
        let [root] = roots else {
            return Err(malformed("there is no index"));
        };
        let digest = root.sha256;
        let mut lines = lines(root)?;
        let first = lines.next().and_then(Result::ok).unwrap_or_default();
        let date = first
            .strip_prefix("updated ")
            .and_then(|at| at.parse().ok());
        let revision = UnitRevision {
            unit: unit.to_owned(),
            digest,
            date: date
                .ok_or_else(|| malformed("the first line does not say when it was updated"))?,
            valid_until: None,
        };
        let accepted = context.and_then(|context| context.accepted);
        if accepted.is_some_and(|mark| mark.revision.date > revision.date) {
            let message = format!("{unit}: the index is older than one that was accepted");
            return Err(Rejected::new(Reason::RollbackDetected, message));
        }
        let file = IndexFile {
            path: root.path.clone(),
            expected: Expected {
                size: root.size,
                digest: Digest::Sha256(digest),
            },
            hashes: Hashes::default(),
            compression: Compression::None,
            sources: Vec::new(),
            aliases: vec![Alias {
                path: path(&format!("{unit}/{unit}.db.txt"))?,
                mutable: true,
            }],
            mutable: true,
        };
        Ok(UnitIndex {
            revision,
            identity: BTreeMap::new(),
            allowed: Vec::new(),
            roots: vec![(root.path.clone(), digest)],
            groups: vec![IndexGroup {
                stem: root.path.clone(),
                lists_payload: true,
                required: true,
                files: vec![file],
                uncompressed: None,
                kind: 0,
            }],
            links: Vec::new(),
            fixed_names: false,
            signed_by: Vec::new(),
            vouched_until: None,
            notes: Vec::new(),
            lacks: Vec::new(),
        })
    }

    fn check_signature(
        &self,
        content: &mut dyn Read,
        signature: &[u8],
        trust: &Trust,
        now: i64,
    ) -> Result<Vec<String>, Rejected> {
        let Some(keyring) = &trust.keyring else {
            return Err(Rejected::new(Reason::KeyUnknown, "no key is trusted"));
        };
        let mut signed = Vec::new();
        let read = content.read_to_end(&mut signed);
        read.map_err(|error| malformed(&error.to_string()))?;
        verify_detached(&signed, signature, keyring, now).map(|verified| verified.good)
    }

    fn check_signers(
        &self,
        _signature: &[u8],
        signers: &[String],
        trust: &Trust,
        now: i64,
    ) -> Result<(), Rejected> {
        let keys = trust.keyring.as_ref().map(|keyring| keyring.keys(now));
        let mut keys = keys.into_iter().flatten();
        match keys.any(|key| signers.contains(&key.fingerprint)) {
            true => Ok(()),
            false => Err(Rejected::new(Reason::KeyUnknown, "no such key is trusted")),
        }
    }

    fn read_index(
        &self,
        group: &IndexGroup,
        content: &mut dyn Read,
        found: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<u64, Rejected> {
        let unit = group.stem.parent().unwrap_or_default();
        let mut entries = 0;
        for line in BufReader::new(content).lines().skip(1) {
            let line = line.map_err(|error| malformed(&error.to_string()))?;
            entries += 1;
            for payload in package(unit, &line)? {
                if found(Item::File(payload)).is_break() {
                    return Ok(entries);
                }
            }
        }
        Ok(entries)
    }
}

/// `lastupdate` and `lastsync`, and the same of ours: as new as the oldest of what is served.
impl StateFiles for Toy {
    fn clock(&self) -> Option<Clock> {
        let file = |name| {
            Some(RootFile {
                path: RepoPath::new(name).ok()?,
                max_bytes: 32,
            })
        };
        Some(Clock {
            state: file("lastupdate")?,
            beat: file("lastsync"),
            read: |text| text.parse().ok(),
        })
    }

    fn render(&self, told: &Told<'_>) -> Vec<OwnFile> {
        let state = told.clocks.iter().map(|clock| clock.state.clone());
        // None where one of them is not known, as with Arch Linux.
        let beats = told.clocks.iter().map(|clock| clock.beat.clone());
        let beats: Option<Vec<String>> = beats.collect();
        let file = |path: &str, content: Option<String>| {
            let path = path.to_owned();
            content.map(|content| OwnFile { path, content })
        };
        let files = [
            file("lastupdate", state.min()),
            file("lastsync", beats.and_then(|beats| beats.into_iter().min())),
        ];
        files.into_iter().flatten().collect()
    }
}

/// The package, its signature and its notes.
fn package(unit: &str, line: &str) -> Result<[Payload; 3], Rejected> {
    let fields: Vec<&str> = line.split(' ').collect();
    let [name, digest, size, notes] = fields[..] else {
        return Err(malformed(line));
    };
    let parsed = Digest::parse(HashAlgorithm::Sha256, digest);
    let (Ok(Digest::Sha256(sha256)), Ok(size)) = (parsed, size.parse()) else {
        return Err(malformed(line));
    };
    let place = path(&format!("{unit}/{name}.pkg"))?;
    let pool = Alias {
        path: path(&format!("pool/{digest}.pkg"))?,
        mutable: false,
    };
    let digest = Digest::Sha256(sha256);
    let over = Promise::SignatureOver {
        path: place.clone(),
        signed: sha256,
        max_bytes: 16 << 10,
    };
    let payload = |path, promise, aliases| Payload {
        path,
        promise,
        aliases,
        guarded: true,
        wanted: true,
    };
    Ok([
        payload(
            place,
            Promise::exactly(Expected { size, digest }),
            vec![pool],
        ),
        payload(path(&format!("{unit}/{name}.pkg.sig"))?, over, Vec::new()),
        Payload {
            guarded: false,
            ..payload(
                path(&format!("{unit}/{name}.notes"))?,
                Promise::Given {
                    content: notes.as_bytes().to_vec(),
                    over: None,
                },
                Vec::new(),
            )
        },
    ])
}

/// Of a root, without having it in memory.
fn lines(root: &RootContent) -> Result<impl Iterator<Item = io::Result<String>> + '_, Rejected> {
    let content = root.open().map_err(|error| malformed(&error.to_string()))?;
    Ok(BufReader::new(content).lines())
}

fn index_of(unit: &str) -> Result<RepoPath, Rejected> {
    path(&format!("{unit}/{unit}.db"))
}

fn path(text: &str) -> Result<RepoPath, Rejected> {
    RepoPath::new(text).map_err(|error| Rejected::new(Reason::UnsafePath, error.to_string()))
}

fn malformed(what: &str) -> Rejected {
    Rejected::new(
        Reason::IndexMalformed,
        format!("a toy index cannot be read: {what}"),
    )
}
