//! One entry of apt's sources (sources.list(5)), in whichever of the two notations it is written.

use std::collections::BTreeMap;

use super::options::{self, Architectures, More};
use super::signed_by::SignedBy;

/// One entry that is switched on, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// `file:line`, for messages.
    pub place: String,
    pub uris: Vec<String>,
    pub suites: Vec<String>,
    pub components: Vec<String>,
    /// Whether packages (`deb`) and sources (`deb-src`) are asked for.
    pub packages: bool,
    pub sources: bool,
    pub architectures: Architectures,
    pub signed_by: SignedBy,
    /// `trusted=yes`: apt takes the archive whoever signed it.
    pub trusted: bool,
    /// `check-valid-until=no`: apt takes states whose time is over.
    pub expired: bool,
    pub more: More,
}

/// An entry before its options are understood.
#[derive(Debug, Default)]
pub struct Entry {
    pub place: String,
    pub packages: bool,
    pub sources: bool,
    pub uris: Vec<String>,
    pub suites: Vec<String>,
    pub components: Vec<String>,
    /// By the names of the one-line notation.
    pub options: BTreeMap<String, String>,
}

impl Entry {
    /// Errors say why apt takes no such entry. Options that no manifest can say become notes.
    pub fn understand(self, notes: &mut Vec<String>) -> Result<Source, String> {
        if self.uris.is_empty() {
            return Err("it has no URI".to_owned());
        }
        if self.suites.is_empty() {
            return Err("it has no suite".to_owned());
        }
        for suite in &self.suites {
            match (suite.ends_with('/'), self.components.is_empty()) {
                (true, false) => {
                    return Err(format!(
                        "suite {suite:?} ends in `/`, so it has no components; apt refuses it as well"
                    ));
                }
                (false, true) => {
                    return Err(format!(
                        "suite {suite:?} has no component; apt refuses it as well"
                    ));
                }
                _ => {}
            }
        }
        let understood = options::understand(&self.options)?;
        notes.extend(
            understood
                .left_out
                .iter()
                .map(|note| format!("{}: {note}", self.place)),
        );
        Ok(Source {
            place: self.place,
            uris: self.uris,
            suites: self.suites,
            components: self.components,
            packages: self.packages,
            sources: self.sources,
            architectures: understood.architectures,
            signed_by: understood.signed_by,
            trusted: understood.trusted,
            expired: understood.expired,
            more: understood.more,
        })
    }
}
