//! What an upstream lists and does not have, or not with these bytes: it holds its unit, and a rule lets the rest through.

use fleet_fetch::FailureKind;
use fleet_types::{RepoPath, counted};

use super::inputs::exclude_rule;
use crate::Problem;

/// With more than these the upstream is incomplete as a whole, and nothing more is asked for.
const MAX_FILES: usize = 20;
/// Of a rule that is still read and pasted.
const MAX_RULE_BYTES: usize = 1200;

/// Listed files of one unit that cannot be had.
pub(super) struct Lacking {
    first: Problem,
    paths: Vec<RepoPath>,
    files: usize,
}

/// Whether another file may still be had from where this one could not.
pub(super) fn concerns_the_file(kind: &FailureKind) -> bool {
    use FailureKind::*;
    matches!(
        kind,
        NotFound | Forbidden | Mismatch | MixedMismatch | TooLarge
    )
}

impl Lacking {
    pub fn new(first: Problem) -> Lacking {
        Lacking {
            first,
            paths: Vec::new(),
            files: 0,
        }
    }

    /// One content, by all its names.
    pub fn add(&mut self, names: &[RepoPath]) {
        self.files += 1;
        if !self.is_much() {
            self.paths.extend_from_slice(names);
        }
    }

    pub fn is_much(&self) -> bool {
        self.files > MAX_FILES
    }

    /// Says the rule that lets the rest through, where it is one that people would paste.
    pub fn problem(self) -> Problem {
        let others = match self.files {
            0 | 1 => String::new(),
            _ if self.is_much() => {
                format!("; more than {MAX_FILES} listed files cannot be had")
            }
            files => format!("; {} cannot be had", counted(files - 1, "more listed file")),
        };
        let paths: Vec<&str> = self.paths.iter().map(RepoPath::as_str).collect();
        let rule = exclude_rule(&paths);
        let advice = if self.is_much() || rule.len() > MAX_RULE_BYTES {
            "until the upstream mends that, content.exclude or packages.exclude can leave them out"
                .to_owned()
        } else {
            format!("until the upstream mends that, {rule} lets the rest through")
        };
        Problem {
            message: format!("{}{others}; {advice}", self.first.message),
            ..self.first
        }
    }
}
