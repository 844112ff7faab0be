//! What is counted of the finished runs of a region.

use std::collections::BTreeMap;

use fleet_types::Reason;
use fleet_types::documents::RunResult;

use crate::samples::histogram;

const BUCKETS: &[f64] = &[
    1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 21600.0, 86400.0,
];

pub(super) struct RegionRuns {
    /// By result and reason; 0 for those that there may be.
    pub finished: BTreeMap<(RunResult, Reason), u64>,
    pub duration: prometheus::Histogram,
    pub bytes: u64,
    pub files: u64,
}

impl RegionRuns {
    pub fn new(prepares: bool) -> Self {
        let countable = Reason::ALL.iter().flat_map(|reason| {
            let results = RunResult::of(*reason, prepares).iter();
            results.map(|result| ((*result, *reason), 0))
        });
        RegionRuns {
            finished: countable.collect(),
            duration: histogram(BUCKETS),
            bytes: 0,
            files: 0,
        }
    }
}
