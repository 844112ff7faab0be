//! What of an index nothing can be copied by.

use serde::{Deserialize, Serialize};

use crate::{RepoPath, are, counted};

/// Entries of indices that cannot be used. The others of their suite are served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftOut {
    /// Once for each index that has one.
    pub entries: u64,
    /// The first few: the package and why.
    pub sample: Vec<String>,
}

impl LeftOut {
    const SAMPLE: usize = 5;
    /// More of one index, and more than a hundredth of it, is no index any more.
    const MAX_ENTRIES: u64 = 20;

    /// Adds one: which, and why.
    pub fn add(&mut self, name: &str, why: &str) {
        self.entries += 1;
        if self.sample.len() < Self::SAMPLE {
            self.sample.push(format!("{name} ({why})"));
        }
    }

    /// Of so many entries of one index.
    pub fn is_too_much(&self, of: u64) -> bool {
        self.entries > Self::MAX_ENTRIES && self.entries.saturating_mul(100) > of
    }

    /// That is: too much. `index` is where.
    pub fn refused(&self, index: &RepoPath, of: u64) -> String {
        format!(
            "{index}: {} of {} cannot be used, more than {} and a hundredth: {}; the upstream must publish its index anew, or packages.exclude or content.exclude leave them out",
            self.entries,
            counted(of, "entry"),
            Self::MAX_ENTRIES,
            self.sample()
        )
    }

    /// For people; none where nothing is left out.
    pub fn note(&self) -> Option<String> {
        let entries = counted(self.entries, "entry");
        (self.entries > 0).then(|| {
            format!(
                "{entries} of its indices {} left out, since nothing can be copied by them: {}",
                are(self.entries),
                self.sample()
            )
        })
    }

    fn sample(&self) -> String {
        let more = if self.entries > self.sample.len() as u64 {
            ", …"
        } else {
            ""
        };
        self.sample.join(", ") + more
    }
}

impl std::ops::AddAssign for LeftOut {
    fn add_assign(&mut self, other: LeftOut) {
        self.entries += other.entries;
        let room = Self::SAMPLE.saturating_sub(self.sample.len());
        self.sample.extend(other.sample.into_iter().take(room));
    }
}
