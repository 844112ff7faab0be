//! Debian archives: suites below `dists/`, and flat repositories.
//! <https://wiki.debian.org/DebianRepository/Format>
//!
//! [`slice`] is what a Mirror declares, [`release`] the signed file, [`verify`] the obligations before it is believed,
//! [`layout`] which of its files belong to the slice, [`roles`] as what and [`offer`] which of what is declared there is,
//! [`unlisted`] what is read where nobody signs and nothing is listed, [`indices`] what those list and
//! [`packages`] which of it is copied.

mod date;
mod indices;
mod layout;
mod offer;
mod packages;
mod release;
mod roles;
mod roots;
mod slice;
mod stray;
mod suite;
mod time;
mod trace;
mod unlisted;
mod verify;

use std::io::Read;
use std::ops::ControlFlow;

use fleet_api::mirror::{DebianContent, DebianInclude, DebianPackages};

use self::packages::PackageFilter;
use self::slice::{Slice, Suite};
use crate::seam::{
    Format, IndexGroup, Item, Rejected, RootContent, RootFile, RootPlan, StateFiles, UnitIndex,
    VerifyContext,
};

/// The largest `InRelease` and `Release` read; Debian's largest are below 1 MiB.
const MAX_RELEASE_BYTES: u64 = 16 << 20;
const MAX_SIGNATURE_BYTES: u64 = 1 << 20;

/// The Debian format with a declared slice.
#[derive(Debug, Clone)]
pub struct Debian {
    slice: Slice,
    packages: PackageFilter,
}

impl Debian {
    /// Errors: `InvalidSpec` where the slice names nothing, the same twice, or something that cannot be a path.
    pub fn new(content: DebianContent) -> Result<Debian, Rejected> {
        let slice = Slice::new(content)?;
        let packages = PackageFilter::new(&slice.packages)?;
        Ok(Debian { slice, packages })
    }

    /// One suite, as far as its Release is read. Errors as above.
    pub(crate) fn of_suite(content: &DebianContent, suite: &str) -> Result<Debian, Rejected> {
        let mut release_names = content.release_names.clone();
        release_names.retain(|expected| expected.suite == suite);
        Debian::new(DebianContent {
            suites: vec![suite.to_owned()],
            components: content.components.clone(),
            architectures: content.architectures.clone(),
            include: DebianInclude {
                sources: content.include.sources,
                ..DebianInclude::default()
            },
            aliases: Vec::new(),
            release_names,
            packages: DebianPackages::default(),
        })
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
        let release = root(roots::RELEASE, MAX_RELEASE_BYTES)?;
        Ok(RootPlan {
            probes: vec![root(roots::IN_RELEASE, MAX_RELEASE_BYTES)?, release.clone()],
            companions: vec![release, root(roots::RELEASE_GPG, MAX_SIGNATURE_BYTES)?],
            signatures: Vec::new(),
        })
    }

    fn unlisted(&self, unit: &str, roots: &[RootContent]) -> Result<Vec<Vec<RootFile>>, Rejected> {
        unlisted::wanted(&self.slice, &Suite::new(unit)?, roots)
    }

    fn state_files(&self) -> &dyn StateFiles {
        self
    }

    fn unit_index(
        &self,
        unit: &str,
        roots: &[RootContent],
        context: Option<&VerifyContext<'_>>,
    ) -> Result<UnitIndex, Rejected> {
        verify::unit(&self.slice, &Suite::new(unit)?, roots, context)
    }

    fn read_index(
        &self,
        group: &IndexGroup,
        content: &mut dyn Read,
        found: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<u64, Rejected> {
        indices::read(group, &self.packages, content, found)
    }
}
