//! Debian archives: suites below `dists/`, and flat repositories.
//! <https://wiki.debian.org/DebianRepository/Format>
//!
//! [`slice`] is what a Mirror declares, [`release`] the signed file, [`verify`] the obligations before it is believed,
//! [`layout`] which of its files belong to the slice and [`roles`] as what, [`indices`] what those list and
//! [`packages`] which of it is copied.

mod date;
mod indices;
mod layout;
mod packages;
mod release;
mod roles;
mod slice;
mod suite;
mod verify;

use std::io::Read;

pub use packages::{PackageRule, PackageRules};
pub use slice::{DebianSlice, Include};

use self::packages::PackageFilter;
use self::slice::Suite;
use crate::seam::{
    Format, IndexGroup, Payload, Rejected, RootContent, RootFile, RootPlan, UnitIndex, Verified,
    VerifyContext,
};

/// The largest `InRelease` and `Release` read; Debian's largest are below 1 MiB.
const MAX_RELEASE_BYTES: u64 = 16 << 20;
const MAX_SIGNATURE_BYTES: u64 = 1 << 20;

/// The Debian format with a declared slice.
#[derive(Debug, Clone)]
pub struct Debian {
    slice: DebianSlice,
    packages: PackageFilter,
}

impl Debian {
    /// Errors: `InvalidSpec` where the slice names nothing, the same twice, or something that cannot be a path.
    pub fn new(slice: DebianSlice) -> Result<Debian, Rejected> {
        slice.check()?;
        let packages = PackageFilter::new(&slice.packages)?;
        Ok(Debian { slice, packages })
    }
}

impl Format for Debian {
    fn units(&self) -> Vec<String> {
        self.slice.suites.clone()
    }

    fn roots(&self, unit: &str) -> Result<RootPlan, Rejected> {
        let suite = Suite::new(unit)?;
        let root = |name: &str, max_bytes| {
            Ok::<_, Rejected>(RootFile {
                path: suite.path(name)?,
                max_bytes,
            })
        };
        let release = root(verify::RELEASE, MAX_RELEASE_BYTES)?;
        Ok(RootPlan {
            probes: vec![
                root(verify::IN_RELEASE, MAX_RELEASE_BYTES)?,
                release.clone(),
            ],
            companions: vec![release, root(verify::RELEASE_GPG, MAX_SIGNATURE_BYTES)?],
        })
    }

    fn verify(
        &self,
        unit: &str,
        roots: &[RootContent],
        context: &VerifyContext<'_>,
    ) -> Result<Verified<UnitIndex>, Rejected> {
        let suite = Suite::new(unit)?;
        verify::unit(&self.slice, &suite, roots, context).map(Verified::new)
    }

    fn read_index(
        &self,
        group: &IndexGroup,
        content: &mut dyn Read,
        found: &mut dyn FnMut(Payload) -> Result<(), Rejected>,
    ) -> Result<(), Rejected> {
        indices::read(group, &self.packages, content, found)
    }
}
