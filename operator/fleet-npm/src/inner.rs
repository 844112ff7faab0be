//! What the parts of a registry share: its folder, its upstream, its rules, and what is in memory.

use std::collections::HashMap;
use std::panic;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fleet_formats::npm::{Guard, PackageName};
use fleet_origin::{Flights, Found, Refusals};
use fleet_telemetry::{AnswerSource, RegistryTraffic};
use fleet_types::documents::{NotKept, UnixSeconds};
use fleet_types::{Sha256, lock};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use crate::arrival::Arrival;
use crate::disk::Disk;
use crate::document::Package;
use crate::refusal::Refusal;
use crate::registry::Here;
use crate::room::Room;
use crate::sites::Sites;
use crate::trail::Trail;
use crate::upstream::Upstream;

/// Documents that are in memory at once, in MiB: the largest possible one and its spans, or many small ones.
const ROOM: u32 = 192;
/// Packages of which something is in memory. Those that nobody asks for are forgotten when there are so many.
const PACKAGES: usize = 20_000;

pub struct Inner {
    pub disk: Arc<Disk>,
    pub upstream: Upstream,
    pub guard: Guard,
    /// How long a package is taken for absent or refused.
    pub negative_age: Duration,
    pub trail: Trail,
    pub traffic: Arc<RegistryTraffic>,
    /// One fetch for each tarball and passed document.
    pub tarballs: Flights<Sha256, Arrival>,
    /// Tarballs that could not be had lately.
    missed: Refusals<Sha256, Refusal>,
    pub passed: Flights<Sha256, Result<(Found, AnswerSource), Refusal>>,
    volume: Arc<Room>,
    packages: Mutex<HashMap<PackageName, Arc<Package>>>,
    room: Arc<Semaphore>,
    sites: Sites,
}

impl Inner {
    pub fn new(
        (disk, volume): (Arc<Disk>, Arc<Room>),
        runtime: &Handle,
        upstream: Upstream,
        (guard, negative_age): (Guard, Duration),
        public: Vec<Url>,
        traffic: Arc<RegistryTraffic>,
    ) -> Inner {
        Inner {
            trail: Trail::new(disk.trail()),
            disk,
            upstream,
            guard,
            negative_age,
            traffic,
            tarballs: Flights::new(runtime.clone()),
            missed: Refusals::default(),
            passed: Flights::new(runtime.clone()),
            volume,
            packages: Mutex::default(),
            room: Arc::new(Semaphore::new(ROOM as usize)),
            sites: Sites::new(public),
        }
    }

    /// The registry's address as this client knows it, without a slash at its end.
    pub fn address(&self, here: Here<'_>) -> Result<String, Refusal> {
        let site = self.sites.of(here.site, Instant::now())?;
        Ok(format!("{site}/{}", here.below))
    }

    pub fn package(&self, name: PackageName) -> Arc<Package> {
        let mut packages = lock(&self.packages);
        if packages.len() >= PACKAGES {
            packages.retain(|_, package| Arc::strong_count(package) > 1);
        }
        packages
            .entry(name.clone())
            .or_insert_with(|| Package::new(name))
            .clone()
    }

    /// Makes room on the volume for so many bytes; whether there is any then.
    pub async fn make_room(self: &Arc<Self>, bytes: u64) -> bool {
        let this = self.clone();
        let made = tokio::task::spawn_blocking(move || this.volume.make(bytes)).await;
        match made.map_err(std::io::Error::other) {
            Ok(Ok(has_room)) => has_room,
            // Writing will tell.
            Ok(Err(error)) | Err(error) => {
                tracing::error!(%error, "no room can be made");
                true
            }
        }
    }

    /// Whether something that was fetched has been kept.
    pub fn note_kept(&self, is_kept: bool) {
        match is_kept {
            true => self.traffic.keeping().kept(crate::now()),
            false => self.traffic.keeping().not_kept(crate::now()),
        }
    }

    /// Why what is fetched cannot be kept, if it cannot.
    pub fn not_kept(&self) -> Option<NotKept> {
        let since = self.traffic.keeping().full_since()?;
        // Where there is room again, nobody has asked since.
        (!self.volume.may_have_room()).then(|| NotKept::full(UnixSeconds(since)))
    }

    /// Why a tarball could not be had lately, if it could not.
    pub fn missed(&self, key: &Sha256) -> Option<Refusal> {
        self.missed.of(key, Instant::now())
    }

    /// A tarball cannot be had: whoever asks in the next while is told the same.
    pub fn note_missed(&self, key: &Sha256, refusal: &Refusal) {
        let age = refusal.told_again_for(self.negative_age);
        self.missed.note(*key, refusal.clone(), age, Instant::now());
    }

    /// These were given out lately.
    pub fn used(&self, tags: &[Sha256]) {
        self.disk.gave(tags);
    }

    /// Waits for room for a document of so many bytes in memory.
    pub async fn room(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let mebibytes = u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(ROOM);
        let room = self
            .room
            .clone()
            .acquire_many_owned(mebibytes.clamp(1, ROOM))
            .await;
        // It is closed never.
        room.ok()
    }

    /// Does what may wait for the disk or takes long to compute.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(cause) => panic::resume_unwind(cause),
            Err(error) => Err(Refusal::own("this could not be done", &error)),
        })
    }
}
