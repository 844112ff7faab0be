//! Instants of documents, as planning needs them.

use fleet_types::documents::UnixSeconds;
use jiff::Timestamp;

/// An instant of a document; the end of time where it is beyond it.
pub fn instant(at: UnixSeconds) -> Timestamp {
    Timestamp::from_second(at.0).unwrap_or(Timestamp::MAX)
}
