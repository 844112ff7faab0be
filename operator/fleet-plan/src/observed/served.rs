//! What a serving pod says about itself.

use fleet_types::documents::ServedStatus;

/// What came of asking a serving pod.
#[derive(Debug, Clone)]
pub enum Answer {
    /// It answered.
    Serves(Box<ServedStatus>),
    /// It runs but has no store yet (404 or 503): nothing was ever synced to its volume.
    Nothing,
    /// Nobody has asked it yet, or not often enough to tell: what was said of it before stands.
    NotAsked,
    /// It could not be asked, several times in a row; why, for people.
    Unreachable(String),
}

impl Answer {
    /// All words for what came of a question.
    pub const WORDS: &[&str] = &["serves", "nothing", "unreachable"];

    /// One fixed word, for metrics.
    pub const fn word(&self) -> &'static str {
        match self {
            Answer::Serves(_) => "serves",
            Answer::Nothing => "nothing",
            Answer::NotAsked => "not-asked",
            Answer::Unreachable(_) => "unreachable",
        }
    }
}
