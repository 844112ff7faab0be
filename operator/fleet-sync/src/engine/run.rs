//! What a run consists of. A stage is given what it needs and no more: without [`Upstream`] it cannot reach the network.

use std::sync::{Arc, OnceLock};

use fleet_fetch::{Meter, Stop};
use fleet_store::SnapshotId;
use fleet_types::both;

use super::list::Lister;
use super::rules::Rules;
use super::shelves::Shelves;
use super::stock::Stock;
use super::upstream::Upstream;
use super::vouching::Vouching;
use super::watch::Watch;
use crate::{Problem, Progress, SyncOptions};

pub(super) struct Run {
    pub ground: Ground,
    pub upstream: Upstream,
    /// What may be collected after it; nothing after a run that failed, whose blobs the next one finds.
    pub ending: OnceLock<Ending>,
}

/// How a run ended, where all it has is in a snapshot.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    Made(SnapshotId),
    NothingNew,
}

/// Enough to plan, to check and to publish.
#[derive(Clone)]
pub(super) struct Ground {
    pub rules: Arc<Rules>,
    pub stock: Arc<Stock>,
    pub watch: Arc<Watch>,
    pub vouching: Arc<Vouching>,
}

impl Run {
    pub fn new(
        options: SyncOptions,
        shelves: Arc<Shelves>,
        meter: &Arc<Meter>,
        stop: Stop,
        progress: Arc<dyn Progress>,
    ) -> Result<Run, Problem> {
        // The one reads whom this machine trusts, the other the newest snapshot.
        let (stock, upstream) = both(
            "stock",
            || Stock::new(shelves.clone()),
            || Upstream::new(&options, &shelves, meter, &stop),
        );
        let (upstream, rules, stock) = (upstream?, Rules::new(options)?, stock?);
        Ok(Run {
            upstream,
            ground: Ground {
                vouching: Arc::new(Vouching::new(&rules, &stock)?),
                stock: Arc::new(stock),
                rules: Arc::new(rules),
                watch: Arc::new(Watch::new(stop, progress)),
            },
            ending: OnceLock::new(),
        })
    }

    pub fn lister(&self) -> Lister<'_> {
        let Ground {
            rules,
            stock,
            watch,
            ..
        } = &self.ground;
        Lister {
            rules,
            stock,
            watch,
            upstream: &self.upstream,
        }
    }
}
