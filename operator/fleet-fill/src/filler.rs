//! All Mirrors whose payload is fetched on demand, behind one seam.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, RwLock};

use fleet_origin::{Missing, Obtained, Origin, Wanted};
use fleet_telemetry::FillMetrics;
use fleet_types::documents::NotKept;
use fleet_types::{Reason, RepoPath, Sha256, lock_read, lock_write};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::content::{self, Contents};
use crate::options::FillOptions;
use crate::shelf::Shelf;

/// Fetches what servers ask for.
pub struct Filler {
    runtime: Handle,
    stop: CancellationToken,
    metrics: Arc<FillMetrics>,
    mirrors: RwLock<BTreeMap<String, Arc<Contents>>>,
}

impl Filler {
    /// Fetches run on `runtime`, and end with `stop`; what is staged stays.
    pub fn new(runtime: Handle, stop: CancellationToken, metrics: Arc<FillMetrics>) -> Filler {
        Filler {
            runtime,
            stop,
            metrics,
            mirrors: RwLock::default(),
        }
    }

    /// Fills these from now on, and no others. What is under way comes to its end.
    pub fn declare(&self, mirrors: &[FillOptions]) {
        let mut known = lock_write(&self.mirrors);
        let declared = mirrors.iter().map(|options| {
            let before = known.get(&options.mirror).map(|before| before.shelf());
            let is_same = |shelf: &&Arc<Shelf>| shelf.dir() == options.store_dir;
            let shelf = before.filter(is_same).cloned();
            let shelf = shelf.unwrap_or_else(|| Arc::new(Shelf::new(options.store_dir.clone())));
            let (runtime, stop) = (self.runtime.clone(), self.stop.clone());
            let counts = self.metrics.mirror(&options.mirror);
            let contents = Contents::new(options, shelf, counts, runtime, stop);
            (options.mirror.clone(), Arc::new(contents))
        });
        let declared: BTreeMap<_, _> = declared.collect();
        let names: Vec<&str> = declared.keys().map(String::as_str).collect();
        self.metrics.keep_only(&names);
        *known = declared;
    }

    fn mirror(&self, name: &str) -> Option<Arc<Contents>> {
        lock_read(&self.mirrors).get(name).cloned()
    }
}

impl Origin for Filler {
    fn obtain(&self, missing: Missing<'_>) -> BoxFuture<'static, Obtained> {
        let Wanted::Content { path, digest, size } = missing.wanted;
        let (Some(mirror), Ok(path)) = (self.mirror(missing.mirror), RepoPath::new(path)) else {
            let text = format!(
                "nothing is fetched on demand for {}: its manifest has no `mode: PullThrough` any more, or cannot be carried out",
                missing.mirror
            );
            let refused = Obtained::Refused(Reason::UpstreamUnreachable, text);
            return std::future::ready(refused).boxed();
        };
        let wanted = content::Wanted { path, digest, size };
        mirror.obtain(wanted).boxed()
    }

    fn used(&self, mirror: &str, digests: Vec<Sha256>) {
        let open = self
            .mirror(mirror)
            .and_then(|mirror| mirror.shelf().at_hand());
        if let Some(open) = open {
            self.runtime
                .spawn_blocking(move || open.inserter.used(&digests));
        }
    }

    fn not_kept(&self) -> BTreeMap<String, NotKept> {
        let mirrors = lock_read(&self.mirrors);
        let told = mirrors.iter();
        told.filter_map(|(name, mirror)| Some((name.clone(), mirror.not_kept()?)))
            .collect()
    }
}

impl fmt::Debug for Filler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = lock_read(&self.mirrors).keys().cloned().collect();
        f.debug_tuple("Filler").field(&names).finish()
    }
}
