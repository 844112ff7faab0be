//! What was first promised for each version of a package. A line for each thing that is learnt; nothing is ever taken back, so
//! that an upstream which changes its mind about old bytes is found out.

use std::collections::HashMap;
use std::io;

use fleet_formats::npm::{Facts, Integrity, PackageName, Packument, Place, Version};
use fleet_types::Sha256;
use serde::{Deserialize, Serialize};

use crate::disk::{Disk, Shelf, key};

/// What is known of a package's versions.
#[derive(Debug, Default)]
pub struct Pins {
    versions: HashMap<String, Pin>,
    /// Whether lines of the file are lost.
    pub is_torn: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// What the tarball must be: by each algorithm that was ever told, the first promise.
    pub promises: Vec<Integrity>,
    /// The tarball's name here.
    pub file: String,
    /// Where the upstream had it when it was first seen.
    pub source: String,
    pub published: Option<i64>,
    pub seen: i64,
    pub was_there: bool,
}

/// A line of the file, in as few words as will do: large packages have thousands.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    /// The version.
    v: String,
    /// What its tarball must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    i: Option<String>,
    /// Its name, where that is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    f: Option<String>,
    /// Where it is, where that is not the usual place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    u: Option<String>,
    /// When it was published, by the upstream's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p: Option<i64>,
    /// When it was first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    s: Option<i64>,
    /// Whether that was the first document of the package.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    a: bool,
}

impl Pins {
    pub fn read(disk: &Disk, place: Place<'_>) -> io::Result<Pins> {
        let mut pins = Pins::default();
        let bytes = disk.lines(Shelf::Pins, &of(place.package))?;
        for line in bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            match serde_json::from_slice(line) {
                Ok(line) => pins.take(place, line),
                Err(_) => pins.is_torn = true,
            }
        }
        pins.is_torn |= pins.versions.is_empty();
        Ok(pins)
    }

    /// Learns what a document says that is new, and writes it down before anything is given out by it.
    pub fn learn(
        &mut self,
        disk: &Disk,
        place: Place<'_>,
        packument: &Packument<'_>,
        now: i64,
    ) -> io::Result<()> {
        let is_first = self.versions.is_empty();
        let mut lines = Vec::new();
        for version in packument.versions().iter().filter(|version| version.fits) {
            let Some(line) = self.news(place, version, now, is_first) else {
                continue;
            };
            serde_json::to_writer(&mut lines, &line)?;
            lines.push(b'\n');
            self.take(place, line);
        }
        match lines.is_empty() {
            true => Ok(()),
            false => disk.append(Shelf::Pins, &of(place.package), &lines),
        }
    }

    /// None where the document says nothing new.
    fn news(
        &self,
        place: Place<'_>,
        version: &Version<'_>,
        now: i64,
        is_first: bool,
    ) -> Option<Line> {
        let known = self.versions.get(&*version.version);
        let is_known = |integrity: &&Integrity| {
            known.is_some_and(|pin| {
                pin.promises
                    .iter()
                    .any(|promise| promise.algorithm() == integrity.algorithm())
            })
        };
        let integrity = version
            .integrity
            .as_ref()
            .filter(|integrity| !is_known(integrity));
        let published = version
            .published
            .filter(|_| known.is_none_or(|pin| pin.published.is_none()));
        if known.is_some() && integrity.is_none() && published.is_none() {
            return None;
        }
        let (file, source) = (place.file(version), place.source(version));
        let (usual_file, usual_source) = usual(place, &version.version, &file);
        let is_new = known.is_none();
        Some(Line {
            v: version.version.to_string(),
            i: integrity.map(Integrity::to_string),
            u: (is_new && source != usual_source).then_some(source),
            f: (is_new && file != usual_file).then_some(file),
            p: published,
            s: is_new.then_some(now),
            a: is_new && is_first,
        })
    }

    fn take(&mut self, place: Place<'_>, line: Line) {
        let pin = self.versions.entry(line.v).or_insert_with_key(|version| {
            let file = line.f.unwrap_or_else(|| place.package.tarball(version));
            Pin {
                promises: Vec::new(),
                source: line.u.unwrap_or_else(|| usual(place, version, &file).1),
                file,
                published: None,
                seen: line.s.unwrap_or_default(),
                was_there: line.a,
            }
        });
        pin.published = pin.published.or(line.p);
        let promise = line.i.as_deref().and_then(Integrity::parse);
        pin.promises.extend(promise.filter(|new| {
            pin.promises
                .iter()
                .all(|old| old.algorithm() != new.algorithm())
        }));
    }

    /// What a person has approved counts instead of what was first promised.
    pub fn approve<'i>(&mut self, approved: impl Iterator<Item = (&'i str, &'i Integrity)>) {
        for (version, integrity) in approved {
            if let Some(pin) = self.versions.get_mut(version) {
                pin.promises = vec![integrity.clone()];
            }
        }
    }

    /// The version that has this tarball.
    pub fn by_file(&self, file: &str) -> Option<(&str, &Pin)> {
        let found = self.versions.iter().find(|(_, pin)| pin.file == file);
        found.map(|(version, pin)| (version.as_str(), pin))
    }

    /// What is known of a version, as a document has it now.
    pub fn facts<'v>(&self, version: &'v Version<'_>, now: i64) -> Facts<'v> {
        match self.versions.get(&*version.version) {
            Some(pin) => Facts {
                mutated: pin.differing(version.integrity.as_ref()),
                ..pin.facts()
            },
            None => Facts {
                published: None,
                seen: now,
                was_there: false,
                mutated: None,
            },
        }
    }
}

impl Pin {
    pub fn facts(&self) -> Facts<'static> {
        Facts {
            published: self.published,
            seen: self.seen,
            was_there: self.was_there,
            mutated: None,
        }
    }

    /// The promise, where another one was made before.
    fn differing<'p>(&self, promise: Option<&'p Integrity>) -> Option<&'p Integrity> {
        let differs = |now: &Integrity| {
            self.promises
                .iter()
                .any(|first| first.algorithm() == now.algorithm() && first != now)
        };
        promise.filter(|promise| differs(promise))
    }
}

fn usual(place: Place<'_>, version: &str, file: &str) -> (String, String) {
    let source = usual_source(place.upstream, place.package, file);
    (place.package.tarball(version), source)
}

/// Where an upstream has a tarball, unless it says otherwise.
pub fn usual_source(upstream: &str, package: &PackageName, file: &str) -> String {
    format!("{upstream}/{package}/-/{file}")
}

fn of(name: &PackageName) -> Sha256 {
    key(&[name.as_str().as_bytes()])
}

#[cfg(test)]
mod tests;
