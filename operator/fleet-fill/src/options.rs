//! What a filler is asked to do: plain values that the caller took from manifests.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fleet_fetch::{EndpointSet, FetchOptions, Meter};
use fleet_formats::seam::{Format, Trust};
use fleet_types::Problem;

/// One Mirror whose payload is fetched on demand.
#[derive(Clone)]
pub struct FillOptions {
    /// The Mirror's name.
    pub mirror: String,
    /// The store of this Mirror alone; a sync makes it.
    pub store_dir: PathBuf,
    /// The upstream, shared by all Mirrors of it.
    pub lines: Arc<Lines>,
    /// Who judges signatures over payload.
    pub vouching: Vouching,
    pub keep: Keep,
    /// Nothing is asked of the upstream.
    pub is_offline: bool,
    /// How long a failure is told to whoever asks for the same.
    pub negative_age: Duration,
    /// How long nobody must have waited for a fetch that is far from its end before it is given up.
    pub abandoned_after: Duration,
}

/// What is kept of what was fetched on demand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keep {
    /// No more than this. None: all but a tenth of what is not others' of the volume.
    pub cache_bytes: Option<u64>,
    /// The id, or the beginning of one, of a snapshot of which all that is here stays.
    pub pinned: Option<String>,
}

/// By what a package is believed that another file signs.
#[derive(Clone)]
pub struct Vouching {
    pub format: Arc<dyn Format>,
    pub trust: Trust,
}

/// The connections to one upstream, and what they may cost it.
pub struct Lines {
    pub(crate) endpoints: Arc<EndpointSet>,
    pub(crate) meter: Arc<Meter>,
}

impl Lines {
    /// `bandwidth` in bytes a second. Errors are about credentials, certificates and URLs.
    pub fn new(options: &FetchOptions, bandwidth: Option<u64>) -> Result<Lines, Problem> {
        let meter = Arc::new(Meter::new(bandwidth, Arc::new(|_| {})));
        Ok(Lines {
            endpoints: Arc::new(EndpointSet::new(options, &meter)?),
            meter,
        })
    }

    /// Requests that the upstream got.
    pub fn requests(&self) -> u64 {
        self.meter.requests()
    }

    /// Bytes of bodies that came from it.
    pub fn received_bytes(&self) -> u64 {
        self.meter.bytes()
    }
}
