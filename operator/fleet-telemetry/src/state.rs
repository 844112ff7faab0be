//! Of what the series tell.

use fleet_types::Reason;
use fleet_types::documents::RunResult;

/// Namespace and name of an object. `mirrorfleet local` leaves the namespace empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectKey {
    pub namespace: String,
    pub name: String,
}

impl ObjectKey {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> ObjectKey {
        ObjectKey {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// One finished sync run.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub result: RunResult,
    pub reason: Reason,
    pub seconds: f64,
    pub bytes: u64,
    pub files: u64,
}
