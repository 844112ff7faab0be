//! Words and instants of documents, as planning needs them.

use fleet_types::Reason;
use fleet_types::documents::UnixSeconds;
use jiff::Timestamp;

/// The reason that a word of a status stands for.
pub fn reason_of(word: &str) -> Reason {
    Reason::of(word)
}

/// An instant of a document; the end of time where it is beyond it.
pub fn instant(at: UnixSeconds) -> Timestamp {
    Timestamp::from_second(at.0).unwrap_or(Timestamp::MAX)
}
