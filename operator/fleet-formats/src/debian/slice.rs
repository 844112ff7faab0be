//! What a Mirror declares of a Debian archive.

use std::collections::BTreeSet;
use std::ops::Deref;

use fleet_api::mirror::{DebianAlias, DebianContent, DebianReleaseName};
use fleet_types::{Reason, RepoPath};

use crate::seam::Rejected;

/// What archives and other tools name beside the architectures: source packages.
const SOURCE: &str = "source";

/// What a Mirror declares of an archive, as far as it can be meant; `source` stands among what is included.
#[derive(Debug, Clone)]
pub(super) struct Slice(DebianContent);

impl Deref for Slice {
    type Target = DebianContent;
    fn deref(&self) -> &DebianContent {
        &self.0
    }
}

impl Slice {
    /// Errors: `InvalidSpec`.
    pub fn new(content: DebianContent) -> Result<Slice, Rejected> {
        let mut slice = Slice(content);
        slice.check()?;
        let content = &mut slice.0;
        let before = content.architectures.len();
        content.architectures.retain(|name| name != SOURCE);
        content.include.sources |= content.architectures.len() < before;
        Ok(slice)
    }

    fn check(&self) -> Result<(), Rejected> {
        not_empty("suites", &self.suites)?;
        let suites = self
            .suites
            .iter()
            .map(|name| Suite::new(name))
            .collect::<Result<Vec<_>, _>>()?;
        if suites.iter().any(|suite| !suite.is_flat()) {
            not_empty("components", &self.components)?;
            if !self.include.sources {
                not_empty("architectures", &self.architectures)?;
            }
        }
        unique("suites", &self.suites)?;
        unique("components", &self.components)?;
        unique("architectures", &self.architectures)?;
        self.aliases
            .iter()
            .try_for_each(|alias| self.check_alias(alias))?;
        self.release_names
            .iter()
            .try_for_each(|expected| self.check_release_name(expected))?;
        for component in &self.components {
            RepoPath::new(component).map_err(|error| invalid("components", &error.to_string()))?;
        }
        self.architectures
            .iter()
            .try_for_each(|architecture| check_architecture(architecture))
    }

    /// A name that is its own, for a suite that has a directory of its own below `dists/`.
    fn check_alias(&self, alias: &DebianAlias) -> Result<(), Rejected> {
        let name = &alias.name;
        if Suite::new(name)?.is_flat() || alias.suite.ends_with('/') {
            return Err(invalid(
                "aliases",
                &format!("{name:?}: flat repositories have no aliases"),
            ));
        }
        if !self.suites.contains(&alias.suite) {
            let message = format!(
                "{name:?} stands for {:?}, which is not among the suites; declare it",
                alias.suite
            );
            return Err(invalid("aliases", &message));
        }
        let others = self.aliases.iter().filter(|other| *other != alias);
        let mut names = self.suites.iter().chain(others.map(|other| &other.name));
        let twice = self.aliases.iter().filter(|other| *other == alias).count() > 1;
        match names.find(|other| is_within(other, name) || is_within(name, other)) {
            Some(other) => Err(invalid(
                "aliases",
                &format!(
                    "{name:?} and {other:?} cannot both be there: one is, or lies below, the other"
                ),
            )),
            None if twice => Err(invalid(
                "aliases",
                &format!("{name:?} stands twice; name it once"),
            )),
            None => Ok(()),
        }
    }

    /// Of a declared suite, and once.
    fn check_release_name(&self, expected: &DebianReleaseName) -> Result<(), Rejected> {
        let suite = &expected.suite;
        if !self.suites.contains(suite) {
            let message = format!("{suite:?} is not among the suites; declare it");
            return Err(invalid("releaseNames", &message));
        }
        let same = |other: &&DebianReleaseName| other.suite == *suite;
        match self.release_names.iter().filter(same).count() {
            1 => Ok(()),
            _ => Err(invalid(
                "releaseNames",
                &format!("{suite:?} stands twice; name it once"),
            )),
        }
    }

    /// What the Release of a suite is expected to call itself, where the manifest says so.
    pub(super) fn release_name_of(&self, suite: &str) -> Option<&str> {
        let mut expected = self.release_names.iter();
        let of_suite = expected.find(|expected| expected.suite == suite)?;
        Some(&of_suite.name)
    }

    pub(super) fn aliases_of(&self, suite: &str) -> impl Iterator<Item = &str> {
        self.aliases
            .iter()
            .filter(move |alias| alias.suite == suite)
            .map(|alias| alias.name.as_str())
    }
}

fn is_within(inner: &str, outer: &str) -> bool {
    inner
        .strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// It becomes a part of paths.
fn check_architecture(architecture: &str) -> Result<(), Rejected> {
    let path = RepoPath::new(architecture);
    if path.is_ok_and(|path| path.parent().is_none() && path.as_str() == architecture) {
        return Ok(());
    }
    let message = format!(
        "{architecture:?} is no architecture; `dpkg --print-architecture` names this machine's"
    );
    Err(invalid("architectures", &message))
}

fn not_empty(field: &str, list: &[String]) -> Result<(), Rejected> {
    if list.is_empty() {
        Err(invalid(field, "name at least one"))
    } else {
        Ok(())
    }
}

fn unique(field: &str, list: &[String]) -> Result<(), Rejected> {
    let mut seen = BTreeSet::new();
    match list.iter().find(|name| !seen.insert(name.as_str())) {
        Some(twice) => Err(invalid(
            field,
            &format!("{twice:?} stands twice; name it once"),
        )),
        None => Ok(()),
    }
}

fn invalid(field: &str, message: &str) -> Rejected {
    Rejected::new(Reason::InvalidSpec, format!("debian.{field}: {message}"))
}

/// One declared suite: where its files are, and by which name it must introduce itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Suite<'a> {
    /// As declared.
    pub name: &'a str,
    /// The directory of its `Release`; empty at the top of the repository.
    pub directory: String,
}

impl<'a> Suite<'a> {
    pub fn new(name: &'a str) -> Result<Suite<'a>, Rejected> {
        let bad = |error: &dyn std::fmt::Display| invalid("suites", &error.to_string());
        let directory = match name.strip_suffix('/') {
            Some("" | ".") => String::new(),
            Some(directory) => RepoPath::new(directory)
                .map_err(|error| bad(&error))?
                .as_str()
                .to_owned(),
            None => RepoPath::new(&format!("dists/{name}"))
                .map_err(|error| bad(&error))?
                .as_str()
                .to_owned(),
        };
        Ok(Suite { name, directory })
    }

    /// Flat repositories have no components and no `dists/`.
    pub fn is_flat(&self) -> bool {
        self.name.ends_with('/')
    }

    /// The directory of its `Release`.
    pub fn root(&self) -> Result<RepoPath, Rejected> {
        RepoPath::new(&self.directory).map_err(|error| invalid("suites", &error.to_string()))
    }

    /// The path of a file that the suite's `Release` names relative to itself.
    pub fn path(&self, relative: &str) -> Result<RepoPath, Rejected> {
        let path = if self.directory.is_empty() {
            RepoPath::new(relative)
        } else {
            RepoPath::new(&format!("{}/{relative}", self.directory))
        };
        path.map_err(|error| {
            Rejected::new(Reason::UnsafePath, format!("suite {}: {error}", self.name))
        })
    }
}
