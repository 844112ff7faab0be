//! A packument as it is shown here: its own bytes, with addresses that lead here, without what is held back.

use std::borrow::Cow;
use std::io::{self, Write};

use super::edits::{Edits, quoted};
use super::name::{PackageName, is_part};
use super::packument::{Packument, Tag, Version};

/// Where a package is fetched from and where it is shown: addresses of registries, without a slash at their ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    pub package: &'a PackageName,
    pub upstream: &'a str,
    pub here: &'a str,
}

/// What is shown of a packument.
#[derive(Debug, Clone, Copy)]
pub struct View<'p, 'a> {
    pub packument: &'p Packument<'a>,
    pub place: Place<'p>,
    /// For each version whether it is held back.
    pub hidden: &'p [bool],
}

impl Place<'_> {
    /// The name of a version's tarball here: the upstream's own where its address is a registry's usual one. Else the usual
    /// one, such as for tarballs that lie at another host.
    pub fn file(&self, version: &Version<'_>) -> String {
        let told = version
            .tarball
            .as_ref()
            .and_then(|tarball| self.usual(&tarball.text));
        told.map_or_else(|| self.package.tarball(&version.version), str::to_owned)
    }

    /// Where the upstream has a version's tarball: never at another host than its own, whatever the document says.
    pub fn source(&self, version: &Version<'_>) -> String {
        let told = version.tarball.as_ref().map(|tarball| &*tarball.text);
        match told.filter(|told| self.below_upstream(told).is_some()) {
            Some(told) => told.to_owned(),
            None => format!(
                "{}/{}/-/{}",
                self.upstream,
                self.package,
                self.file(version)
            ),
        }
    }

    fn below_upstream<'t>(&self, url: &'t str) -> Option<&'t str> {
        url.strip_prefix(self.upstream)?.strip_prefix('/')
    }

    /// The file's name, where an address is the usual one of this package at the upstream.
    fn usual<'t>(&self, url: &'t str) -> Option<&'t str> {
        let file = self
            .below_upstream(url)?
            .strip_prefix(self.package.as_str())?
            .strip_prefix("/-/")?;
        is_part(&file.replace('+', "-")).then_some(file)
    }

    fn tarball(&self, version: &Version<'_>) -> String {
        format!("{}/{}/-/{}", self.here, self.package, self.file(version))
    }

    /// Clients look for the path of this address at the root of the registry's host.
    fn attestations(&self, version: &Version<'_>, told: &str) -> String {
        match self.below_upstream(told) {
            Some(path) => format!("{}/{path}", self.here),
            None => format!(
                "{}/-/npm/v1/attestations/{}@{}",
                self.here, self.package, version.version
            ),
        }
    }
}

impl View<'_, '_> {
    /// Writes the whole document.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut edits = Edits::default();
        let versions = || self.packument.versions.iter().enumerate();
        for (number, version) in versions() {
            if !self.is_hidden(number) {
                self.lead_here(version, &mut edits);
            }
        }
        edits
            .leave_out(versions().map(|(number, version)| (&version.span, self.is_hidden(number))));
        let is_hidden_version = |version: &str| {
            self.packument
                .position(version)
                .is_some_and(|number| self.is_hidden(number))
        };
        let time = self.packument.time.iter();
        edits.leave_out(time.map(|member| (&member.span, is_hidden_version(&member.key))));
        let tags: Vec<_> = self
            .packument
            .tags
            .iter()
            .map(|tag| (tag, self.shown(tag)))
            .collect();
        for (tag, shown) in &tags {
            if let Some(version) = shown.as_ref().filter(|version| **version != tag.version) {
                edits.replace(&tag.value, quoted(version));
            }
        }
        edits.leave_out(tags.iter().map(|(tag, shown)| (&tag.span, shown.is_none())));
        edits.write(self.packument.text, &(0..self.packument.text.len()), out)
    }

    /// The document of one version, by its number or by a tag; none where there is no such, or it is held back.
    pub fn version(&self, wanted: &str) -> Option<Vec<u8>> {
        let tags = self.tags();
        let tagged = tags
            .iter()
            .find(|(tag, _)| *tag == wanted)
            .map(|(_, version)| &**version);
        let number = self
            .packument
            .position(tagged.unwrap_or(wanted))
            .filter(|number| !self.is_hidden(*number))?;
        let version = self.packument.versions.get(number)?;
        let (mut edits, mut out) = (Edits::default(), Vec::new());
        self.lead_here(version, &mut edits);
        // Memory takes everything.
        edits
            .write(self.packument.text, &version.value, &mut out)
            .ok()?;
        Some(out)
    }

    /// The tags that are shown, with their versions.
    pub fn tags(&self) -> Vec<(&str, Cow<'_, str>)> {
        let tags = self.packument.tags.iter();
        tags.filter_map(|tag| Some((&*tag.name, self.shown(tag)?)))
            .collect()
    }

    /// The same as a document.
    pub fn tags_document(&self) -> String {
        let lines: Vec<String> = (self.tags().iter())
            .map(|(tag, version)| format!("{}:{}", quoted(tag), quoted(version)))
            .collect();
        format!("{{{}}}", lines.join(","))
    }

    fn is_hidden(&self, number: usize) -> bool {
        self.hidden.get(number).copied().unwrap_or(false)
    }

    fn lead_here(&self, version: &Version<'_>, edits: &mut Edits) {
        if let Some(told) = &version.tarball {
            let here = self.place.tarball(version);
            if here != told.text {
                edits.replace(&told.span, quoted(&here));
            }
        }
        if let Some(told) = &version.attestations {
            let here = self.place.attestations(version, &told.text);
            if here != told.text {
                edits.replace(&told.span, quoted(&here));
            }
        }
    }

    /// The version that a tag stands for here. `latest` of a version that is held back is the highest one that people may
    /// have instead; other tags of such versions are left out.
    fn shown<'t>(&'t self, tag: &'t Tag<'_>) -> Option<Cow<'t, str>> {
        let is_hidden = self
            .packument
            .position(&tag.version)
            .is_some_and(|number| self.is_hidden(number));
        match is_hidden {
            false => Some(Cow::Borrowed(&*tag.version)),
            true if tag.name == "latest" => self.instead_of(&tag.version),
            true => None,
        }
    }

    /// The highest version below that is stable, not deprecated and not held back.
    fn instead_of(&self, latest: &str) -> Option<Cow<'_, str>> {
        let limit = semver::Version::parse(latest).ok();
        let candidates =
            self.packument
                .versions
                .iter()
                .enumerate()
                .filter_map(|(number, version)| {
                    let read = semver::Version::parse(&version.version).ok()?;
                    let may_be =
                        !self.is_hidden(number) && !version.deprecated && read.pre.is_empty();
                    let is_below = limit.as_ref().is_none_or(|limit| read <= *limit);
                    (may_be && is_below).then_some((read, version))
                });
        let highest = candidates.max_by(|(a, _), (b, _)| a.cmp(b));
        highest.map(|(_, version)| Cow::Borrowed(&*version.version))
    }
}
