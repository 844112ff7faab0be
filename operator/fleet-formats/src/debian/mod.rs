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
use fleet_types::RepoPath;

use self::packages::PackageFilter;
use self::slice::{Slice, Suite};
use crate::seam::{
    Format, IndexGroup, Item, Rejected, RootContent, RootFile, RootPlan, UnitIndex, UpstreamTrace,
    Verified, VerifyContext,
};

/// The largest `InRelease` and `Release` read; Debian's largest are below 1 MiB.
const MAX_RELEASE_BYTES: u64 = 16 << 20;
const MAX_SIGNATURE_BYTES: u64 = 1 << 20;
/// `Archive-Update-in-Progress-<host>`: empty, or a few words.
const MAX_MARK_BYTES: u64 = 64 << 10;

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
        })
    }

    fn unlisted(&self, unit: &str, roots: &[RootContent]) -> Result<Vec<Vec<RootFile>>, Rejected> {
        unlisted::wanted(&self.slice, &Suite::new(unit)?, roots)
    }

    fn trace(&self) -> Option<Vec<(String, String)>> {
        let slice = &self.slice;
        let mut declared = slice.architectures.clone();
        declared.extend(slice.include.sources.then(|| "source".to_owned()));
        let mut held = declared.clone();
        held.extend((!slice.architectures.is_empty()).then(|| "all".to_owned()));
        held.sort();
        held.dedup();
        let mut fields = vec![("Suites", slice.suites.join(" "))];
        // Nothing is said of the architectures of a flat repository.
        if !declared.is_empty() {
            fields.push(("Architectures", held.join(" ")));
            let include = format!("INCLUDE {}", declared.join(" "));
            fields.push(("Architectures-Configuration", include));
        }
        let fields = fields.into_iter();
        Some(
            fields
                .map(|(field, value)| (field.to_owned(), value))
                .collect(),
        )
    }

    fn upstream_trace(&self) -> Option<UpstreamTrace> {
        Some(UpstreamTrace {
            file: RootFile {
                path: RepoPath::new(trace::MASTER).ok()?,
                max_bytes: trace::MAX_BYTES,
            },
            read: trace::archive_serial,
        })
    }

    fn update_mark(&self, host: &str) -> Option<RootFile> {
        let path = RepoPath::new(&format!("Archive-Update-in-Progress-{host}")).ok()?;
        path.parent().is_none().then_some(RootFile {
            path,
            max_bytes: MAX_MARK_BYTES,
        })
    }

    fn read(&self, unit: &str, roots: &[RootContent]) -> Result<UnitIndex, Rejected> {
        verify::unit(&self.slice, &Suite::new(unit)?, roots, None)
    }

    fn verify(
        &self,
        unit: &str,
        roots: &[RootContent],
        context: &VerifyContext<'_>,
    ) -> Result<Verified<UnitIndex>, Rejected> {
        let suite = Suite::new(unit)?;
        verify::unit(&self.slice, &suite, roots, Some(context)).map(Verified::new)
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
