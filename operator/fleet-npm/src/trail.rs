//! What was held back, and what was let in by a person: a line of JSON for each decision, when it is new.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Mutex;

use fleet_formats::npm::{Held, HeldBy, PackageName, Verdict};
use fleet_telemetry::RegistryTraffic;
use fleet_types::documents::UnixSeconds;
use fleet_types::lock;
use serde::Serialize;

/// A file of this many bytes becomes `trail.1.jsonl`, in place of the one before.
const LONGEST: u64 = 16 << 20;
/// Decisions that are remembered, so that each is told once; then all may be told again.
const REMEMBERED: usize = 100_000;

pub struct Trail {
    path: PathBuf,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    decisions: HashSet<(String, String, &'static str, HeldBy)>,
    has_failed: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    at: String,
    package: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    decision: &'static str,
    rule: &'static str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    opens: Option<String>,
}

impl Trail {
    pub fn new(path: PathBuf) -> Trail {
        Trail {
            path,
            told: Mutex::default(),
        }
    }

    /// Writes a decision down, if it is one and is new. Blocks on the disk.
    pub fn tell(
        &self,
        name: &PackageName,
        version: Option<&str>,
        verdict: &Verdict,
        traffic: &RegistryTraffic,
    ) {
        let (decision, held, until) = match verdict {
            Verdict::Open => return,
            Verdict::Held(held) => ("held", held, held.opens),
            Verdict::WouldBeHeld(held) => ("would-be-held", held, held.opens),
            Verdict::Waived { until, otherwise } => ("waived", otherwise, Some(*until)),
        };
        let mut told = lock(&self.told);
        if told.decisions.len() >= REMEMBERED {
            told.decisions.clear();
        }
        let which = (
            name.to_string(),
            version.unwrap_or_default().to_owned(),
            decision,
            held.by,
        );
        if !told.decisions.insert(which) {
            return;
        }
        traffic.decided(decision, held.by.as_str());
        let line = Line {
            at: UnixSeconds(crate::now()).to_string(),
            package: name.as_str(),
            version,
            decision,
            rule: held.by.as_str(),
            reason: &held.reason,
            opens: until.map(|at| UnixSeconds(at).to_string()),
        };
        match self.append(&line) {
            Ok(()) => told.has_failed = false,
            Err(error) if !told.has_failed => {
                told.has_failed = true;
                tracing::error!(%error, path = %self.path.display(), "what is held back cannot be written down; it is held back all the same");
            }
            Err(_) => {}
        }
    }

    fn append(&self, line: &Line<'_>) -> io::Result<()> {
        if fs::metadata(&self.path).is_ok_and(|about| about.len() >= LONGEST) {
            fs::rename(&self.path, self.path.with_file_name("trail.1.jsonl"))?;
        }
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        File::options()
            .create(true)
            .append(true)
            .open(&self.path)?
            .write_all(&text)
    }
}

/// What is said of a version whose document is not the one of its name.
pub fn unfit(name: &PackageName, version: &str) -> Held {
    Held {
        by: HeldBy::Mutation,
        reason: format!(
            "what the upstream says of {name}@{version} is the document of another package or version"
        ),
        opens: None,
    }
}
