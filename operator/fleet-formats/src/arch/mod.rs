//! Repositories of pacman: Arch Linux, and whoever else publishes for it.
//! <https://alpm.archlinux.page/specifications/alpm-repo.7.html>
//!
//! A unit is one database, `core/x86_64`: root and index at once. [`slice`] is what a Mirror declares and where it lies,
//! [`tar`], [`description`] and [`database`] read a database, [`packages`] is what it lists, [`roots`] what is listed of it and of what comes with it, [`change`] whether one state
//! can follow another, [`listing`] what it lists for who looks for names, [`keys`] what a package of keys holds, [`clock`] what an upstream says of itself as a whole. One unit more are the installation images ([`images`]).

mod change;
mod clock;
mod database;
mod description;
mod images;
mod keys;
mod listing;
mod packages;
mod roots;
mod signatures;
mod slice;
mod tar;
mod versions;

pub use self::listing::{ListedPackage, listed_packages};

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::ControlFlow;

use fleet_api::mirror::{ArchClock, ArchContent, ArchDowngrades, ArchInclude, ArchPackages};
use fleet_types::{Reason, RepoPath, UnitRevision};

use self::packages::{MAX_SIGNATURE_BYTES, PackageFilter, Shelf};
use self::roots::{disagreement, group, signature_group, signature_of};
use self::slice::{Database, Slice};
use crate::seam::{
    Change, Format, IndexGroup, Item, Rejected, RootContent, RootFile, RootPlan, StateFiles, Trust,
    UnitIndex, VerifyContext,
};

/// Compressed; the largest real ones have 10 and 60 MB.
const MAX_DATABASE_BYTES: u64 = 256 << 20;
const MAX_FILES_BYTES: u64 = 1 << 30;

/// The format of pacman's repositories with a declared slice.
#[derive(Debug, Clone)]
pub struct Arch {
    slice: Slice,
    include: ArchInclude,
    packages: PackageFilter,
    clock: ArchClock,
    downgrades: ArchDowngrades,
}

/// What [`IndexGroup::kind`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `core.db`
    Packages,
    /// `core.files`, which lists nothing to copy.
    Files,
    /// Over one of the two.
    Signature,
    /// `iso/latest/sha256sums.txt`
    Images,
    /// Of the same files, by another hash.
    Checksums,
}

impl Arch {
    /// Errors: `InvalidSpec` where the slice names nothing, the same twice, or something that cannot be a path.
    pub fn new(content: &ArchContent) -> Result<Arch, Rejected> {
        Ok(Arch {
            slice: Slice::new(content)?,
            include: content.include,
            packages: PackageFilter::new(&content.packages)?,
            clock: content.layout.clock,
            downgrades: content.downgrades,
        })
    }

    /// As far as a database is only looked at: rules over packages are no matter. Errors as above.
    pub(crate) fn of_unit(content: &ArchContent) -> Result<Arch, Rejected> {
        Arch::new(&ArchContent {
            packages: ArchPackages::default(),
            ..content.clone()
        })
    }

    /// Whether what is to be judged is copied at all.
    fn can_judge(&self, trust: &Trust) -> Result<(), Rejected> {
        if signatures::judge_of(trust)?.is_some() && !self.include.signatures {
            let message = "arch.include.signatures: false leaves out what the Upstream's trust.signatures asks for; leave one of them out";
            return Err(Rejected::new(Reason::InvalidSpec, message));
        }
        Ok(())
    }

    fn is_of_images(&self, unit: &str) -> bool {
        self.include.iso && unit == ArchContent::IMAGES
    }
}

impl Format for Arch {
    fn units(&self) -> Vec<String> {
        self.slice.units.clone()
    }

    fn roots(&self, unit: &str) -> Result<RootPlan, Rejected> {
        if self.is_of_images(unit) {
            return images::roots();
        }
        let database = self.slice.database(unit)?;
        let root = |path: &RepoPath, max_bytes| RootFile {
            path: path.clone(),
            max_bytes,
        };
        let files = root(&database.files, MAX_FILES_BYTES);
        let files = self.include.files.then_some(files);
        let signed = std::iter::once(&database.path).chain(files.iter().map(|file| &file.path));
        let signatures = signed.map(|path| {
            let path = signature_of(path)?;
            Ok(root(&path, MAX_SIGNATURE_BYTES))
        });
        Ok(RootPlan {
            probes: vec![root(&database.path, MAX_DATABASE_BYTES)],
            signatures: signatures.collect::<Result<_, Rejected>>()?,
            companions: files.into_iter().collect(),
        })
    }

    fn state_files(&self) -> &dyn StateFiles {
        self
    }

    fn twin_folders(&self, revision: &[UnitRevision]) -> Vec<(String, String)> {
        let pools = self.slice.folders_with_pool();
        let pools = pools.map(|(folder, pool)| (folder.to_owned(), pool.to_owned()));
        let mut images = revision
            .iter()
            .filter(|state| self.is_of_images(&state.unit));
        let latest = images.find_map(|state| images::latest_and_folder(state.date));
        pools.chain(latest).collect()
    }

    fn unit_index(
        &self,
        unit: &str,
        roots: &[RootContent],
        context: Option<&VerifyContext<'_>>,
    ) -> Result<UnitIndex, Rejected> {
        if let Some(context) = context {
            self.can_judge(context.trust)?;
        }
        if self.is_of_images(unit) {
            return images::index(unit, roots, context);
        }
        let declared = self.slice.database(unit)?;
        let of = |path: &RepoPath| roots.iter().find(|root| root.path == *path);
        let database = of(&declared.path).ok_or_else(|| {
            let message = format!(
                "the upstream has no {}; check the URL, the names and the layout",
                declared.path
            );
            Rejected::new(Reason::UpstreamIncomplete, message)
        })?;
        let files = of(&declared.files);
        let mut groups = vec![group(Kind::Packages, database)?];
        let mut notes = Vec::new();
        if let Some(files) = files {
            groups.push(group(Kind::Files, files)?);
            notes.extend(disagreement(database, files, context)?);
        }
        let mut listed: Vec<&RootContent> = std::iter::once(database).chain(files).collect();
        let mut signed_by = Vec::new();
        for signed in listed.clone() {
            let signature = of(&signature_of(&signed.path)?);
            if let Some(context) = context {
                let is_required = signed.path == declared.path;
                let by = signatures::judge(signed, signature, is_required, context)?;
                signed_by.extend(by);
            }
            if let Some(signature) = signature {
                groups.push(signature_group(signed, signature)?);
                listed.push(signature);
            }
        }
        signed_by.sort();
        signed_by.dedup();
        Ok(UnitIndex {
            revision: UnitRevision {
                unit: unit.to_owned(),
                digest: database.sha256,
                date: UnitRevision::NO_DATE,
                valid_until: None,
            },
            identity: BTreeMap::new(),
            allowed: Vec::new(),
            roots: listed
                .into_iter()
                .map(|root| (root.path.clone(), root.sha256))
                .collect(),
            groups,
            links: Vec::new(),
            fixed_names: false,
            signed_by,
            vouched_until: None,
            notes,
            lacks: Vec::new(),
        })
    }

    fn signature_of(&self, payload: &RepoPath) -> Option<RepoPath> {
        let is_signature = payload.file_name().ends_with(".sig");
        let is_signed = self.include.signatures && !is_signature;
        signature_of(payload).ok().filter(|_| is_signed)
    }

    /// Of images, their date says it all.
    fn judge_change(&self, unit: &str, change: &Change<'_>) -> Result<Vec<String>, Rejected> {
        if self.is_of_images(unit) {
            return Ok(Vec::new());
        }
        let declared = self.slice.database(unit)?;
        let of = |roots: &[RootContent]| {
            let mut roots = roots.iter();
            roots.find(|root| root.path == declared.path).cloned()
        };
        let (Some(old), Some(new)) = (of(&(change.old)()?), of(change.new)) else {
            return Ok(Vec::new());
        };
        change::judge(unit, &old, &new, change.is_clocked, self.downgrades)
    }

    /// Without a judge they are copied for clients, who judge them.
    fn check_signature(
        &self,
        content: &mut dyn Read,
        signature: &[u8],
        trust: &Trust,
        now: i64,
    ) -> Result<Vec<String>, Rejected> {
        match signatures::judge_of(trust)? {
            Some(web) => web.judge(content, signature, now),
            None => Ok(Vec::new()),
        }
    }

    fn check_signers(
        &self,
        signature: &[u8],
        signers: &[String],
        trust: &Trust,
        now: i64,
    ) -> Result<(), Rejected> {
        match signatures::judge_of(trust)? {
            Some(web) => web.judge_signers(signature, signers, now),
            None => Ok(()),
        }
    }

    fn holds_keys(&self, payload: &RepoPath, trust: &Trust) -> bool {
        let package = trust.keyring_package.as_deref();
        package.is_some_and(|package| keys::is_version_of(package, payload.file_name()))
    }

    fn with_keys(
        &self,
        payloads: &mut [Box<dyn Read + Send>],
        trust: &Trust,
    ) -> Result<Trust, Rejected> {
        let Some(web) = signatures::judge_of(trust)? else {
            return Ok(trust.clone());
        };
        let mut found = keys::Keys::default();
        for payload in payloads {
            found.read(payload)?;
        }
        let web = web.with_candidates(&found.keyrings, found.disabled);
        Ok(Trust {
            web: Some(web),
            ..trust.clone()
        })
    }

    fn read_index(
        &self,
        group: &IndexGroup,
        content: &mut dyn Read,
        found: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<u64, Rejected> {
        if group.kind == Kind::Images as u16 {
            let read = images::read(content, self.include.signatures, found);
            return read.map_err(|rejected| rejected.at(&group.stem));
        }
        let pool = self
            .slice
            .at(&group.stem)
            .and_then(|Database { pool, .. }| pool.as_ref());
        let shelf = Shelf {
            filter: &self.packages,
            directory: group.stem.parent().unwrap_or_default(),
            pool: pool.map(RepoPath::as_str),
            signatures: self.include.signatures,
        };
        database::read(content, &mut |package| shelf.items(package, found))
    }
}
