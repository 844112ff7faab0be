//! What a database lists: packages, and a signature beside each.

use std::ops::ControlFlow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fleet_api::mirror::{ArchPackageRule, ArchPackages};
use fleet_types::{Digest, Expected, HashAlgorithm, Reason, RepoPath, Sha256};

use super::database::Package;
use super::description::Description;
use super::tar::number;
use crate::filter::RuleSet;
use crate::seam::{Alias, Item, Payload, Promise, Rejected, Unusable};

/// The largest signature that repo-add takes.
pub(super) const MAX_SIGNATURE_BYTES: u64 = 16_384;
/// Larger files do not exist in any repository: 64 GiB.
const MAX_PACKAGE_BYTES: u64 = 64 << 30;

/// Which packages of the slice are copied.
#[derive(Debug, Clone, Default)]
pub(super) struct PackageFilter {
    include: Option<RuleSet<3>>,
    exclude: Option<RuleSet<3>>,
}

impl PackageFilter {
    /// Errors: `InvalidSpec` for what is no glob, a rule without a field, and too many rules.
    pub fn new(rules: &ArchPackages) -> Result<PackageFilter, Rejected> {
        let set = |list: &str, rules: &[ArchPackageRule]| {
            let patterns = rules.iter().map(|rule| {
                [&rule.name, &rule.base, &rule.group].map(|pattern| pattern.as_deref())
            });
            let place = format!("arch.packages.{list}");
            RuleSet::new(&place, ["name", "base", "group"], patterns.collect())
        };
        Ok(PackageFilter {
            include: set("include", &rules.include)?,
            exclude: set("exclude", &rules.exclude)?,
        })
    }

    /// What a rule leaves out is not judged, so where the entry is not clear it is wanted.
    fn wants(&self, package: &Description) -> bool {
        if self.include.is_none() && self.exclude.is_none() || package.fault.is_some() {
            return true;
        }
        let name = package.name.as_deref().map(str::as_bytes);
        // A package that is not one of several parts has no other base than itself.
        let base = package.base.as_deref().map(str::as_bytes).or(name);
        let groups: Vec<&[u8]> = package.groups.iter().map(String::as_bytes).collect();
        let facts = [name.as_slice(), base.as_slice(), groups.as_slice()];
        let matches = |set: &RuleSet<3>| set.matches(facts);
        self.include.as_ref().is_none_or(matches) && !self.exclude.as_ref().is_some_and(matches)
    }
}

/// What of the packages of one database is copied, and to where.
pub(super) struct Shelf<'a> {
    pub filter: &'a PackageFilter,
    /// The directory of the database; empty at the top.
    pub directory: &'a str,
    /// Where the same files are as well, if anywhere.
    pub pool: Option<&'a str>,
    pub signatures: bool,
}

impl Shelf<'_> {
    /// Reports what an entry comes to. Errors: `UnsafePath` where pacman refuses the whole database for it.
    pub fn items(
        &self,
        package: &Package,
        found: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Rejected> {
        let description = &package.description;
        let file_name = description.file_name.as_deref();
        if let Some(name) = file_name.filter(|name| name.starts_with('.') || name.contains('/')) {
            let message = format!(
                "{}: the file name {name:.200?} is illegal, for which pacman refuses the database",
                package.directory
            );
            return Err(Rejected::new(Reason::UnsafePath, message));
        }
        let wanted = self.filter.wants(description);
        let items = match self.payload(package, wanted) {
            Ok(payload) => payload.into_iter().map(Item::File).collect(),
            Err(why) if wanted => {
                let paths = file_name.and_then(|name| self.path(name).ok());
                let paths = paths.into_iter().collect();
                vec![Item::Unusable(Unusable::new(
                    &package.directory,
                    &why,
                    paths,
                ))]
            }
            Err(_) => Vec::new(),
        };
        Ok(items.into_iter().try_for_each(found))
    }

    /// The package, and its signature where there is one. Errors are a few words.
    fn payload(&self, package: &Package, wanted: bool) -> Result<Vec<Payload>, String> {
        let said = &package.description;
        if let Some(fault) = &said.fault {
            return Err(fault.clone());
        }
        let (name, version) = (
            required("NAME", &said.name)?,
            required("VERSION", &said.version)?,
        );
        let rest = package.directory.strip_prefix(name);
        if rest.and_then(|rest| rest.strip_prefix('-')) != Some(version) {
            return Err(format!("its desc is that of {name} {version}"));
        }
        let file_name = required("FILENAME", &said.file_name)?;
        let size = required("CSIZE", &said.compressed_size)?;
        let size = number(size.as_bytes()).filter(|size| *size <= MAX_PACKAGE_BYTES);
        let size = size.ok_or_else(|| format!("its CSIZE is {:.40?}", said.compressed_size))?;
        let digest = required("SHA256SUM", &said.sha256)
            .map_err(|why| format!("{}: {why}", Reason::WeakHash))?;
        let digest =
            Digest::parse(HashAlgorithm::Sha256, digest).map_err(|error| error.to_string())?;
        let Digest::Sha256(sha256) = digest else {
            return Err(Reason::WeakHash.to_string());
        };
        let promise = Promise::exactly(Expected { size, digest });
        let mut payload = vec![self.file(file_name, promise, wanted)?];
        if let Some(promise) = self.signature(said, file_name, sha256)? {
            payload.push(self.file(&format!("{file_name}.sig"), promise, wanted)?);
        }
        Ok(payload)
    }

    /// The very file where the database holds it; otherwise nobody promises more of it than that it fits its package.
    fn signature(
        &self,
        said: &Description,
        file_name: &str,
        signed: Sha256,
    ) -> Result<Option<Promise>, String> {
        if let Some(text) = &said.signature {
            let bytes = BASE64_STANDARD.decode(text).ok();
            let bytes = bytes.filter(|bytes| bytes.len() as u64 <= MAX_SIGNATURE_BYTES);
            let bytes = bytes.ok_or("its PGPSIG is no signature in base64")?;
            return Ok(Some(Promise::Given {
                content: bytes,
                over: Some((self.path(file_name)?, signed)),
            }));
        }
        if !self.signatures {
            return Ok(None);
        }
        Ok(Some(Promise::SignatureOver {
            path: self.path(file_name)?,
            signed,
            max_bytes: MAX_SIGNATURE_BYTES,
        }))
    }

    fn file(&self, name: &str, promise: Promise, wanted: bool) -> Result<Payload, String> {
        let in_pool = |pool| {
            Ok::<_, String>(Alias {
                path: path(pool, name)?,
                mutable: false,
            })
        };
        let aliases = self.pool.map(in_pool).transpose()?;
        Ok(Payload {
            path: self.path(name)?,
            // A package may be signed anew.
            guarded: matches!(promise, Promise::Digest { .. }),
            promise,
            aliases: aliases.into_iter().collect(),
            wanted,
        })
    }

    fn path(&self, name: &str) -> Result<RepoPath, String> {
        path(self.directory, name)
    }
}

fn path(directory: &str, name: &str) -> Result<RepoPath, String> {
    let path = match directory {
        "" => RepoPath::new(name),
        directory => RepoPath::new(&format!("{directory}/{name}")),
    };
    path.map_err(|error| format!("{}: {error}", Reason::UnsafePath))
}

fn required<'a>(section: &str, value: &'a Option<String>) -> Result<&'a str, String> {
    let value = value.as_deref().filter(|value| !value.is_empty());
    value.ok_or_else(|| format!("no {section}"))
}
