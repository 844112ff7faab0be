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

    /// The version that has this tarball.
    pub fn by_file(&self, file: &str) -> Option<(&str, &Pin)> {
        let found = self.versions.iter().find(|(_, pin)| pin.file == file);
        found.map(|(version, pin)| (version.as_str(), pin))
    }

    /// What is known of a version, as a document has it now.
    pub fn facts(&self, version: &Version<'_>, now: i64) -> Facts {
        match self.versions.get(&*version.version) {
            Some(pin) => Facts {
                is_mutated: pin.differs(version.integrity.as_ref()),
                ..pin.facts()
            },
            None => Facts {
                published: None,
                seen: now,
                was_there: false,
                is_mutated: false,
            },
        }
    }
}

impl Pin {
    pub fn facts(&self) -> Facts {
        Facts {
            published: self.published,
            seen: self.seen,
            was_there: self.was_there,
            is_mutated: false,
        }
    }

    /// Whether another promise was made before.
    fn differs(&self, promise: Option<&Integrity>) -> bool {
        let differs = |now: &Integrity| {
            self.promises
                .iter()
                .any(|first| first.algorithm() == now.algorithm() && first != now)
        };
        promise.is_some_and(differs)
    }
}

fn usual(place: Place<'_>, version: &str, file: &str) -> (String, String) {
    let source = format!("{}/{}/-/{file}", place.upstream, place.package);
    (place.package.tarball(version), source)
}

fn of(name: &PackageName) -> Sha256 {
    key(&[name.as_str().as_bytes()])
}

#[cfg(test)]
mod tests {
    use std::fs;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn document(versions: &[(&str, &str)], time: &str) -> String {
        let versions: Vec<String> = versions
            .iter()
            .map(|(version, dist)| {
                format!(
                    "\"{version}\":{{\"name\":\"p\",\"version\":\"{version}\",\"dist\":{{{dist}}}}}"
                )
            })
            .collect();
        format!(
            "{{\"name\":\"p\",\"versions\":{{{}}},\"time\":{{{time}}}}}",
            versions.join(",")
        )
    }

    fn sha512(byte: u8) -> String {
        format!("\"integrity\":\"sha512-{}\"", STANDARD.encode([byte; 64]))
    }

    fn sha1(byte: u8) -> String {
        format!("\"shasum\":\"{}\"", format!("{byte:02x}").repeat(20))
    }

    struct World {
        dir: tempfile::TempDir,
        name: PackageName,
    }

    impl World {
        fn new() -> World {
            World {
                dir: tempfile::tempdir().unwrap(),
                name: PackageName::new("p").unwrap(),
            }
        }

        fn place(&self) -> Place<'_> {
            Place {
                package: &self.name,
                upstream: "http://up",
                here: "http://here/npm",
            }
        }

        /// What is known after this document, read back from the disk, and whether each version differs.
        fn learn(&self, document: &str, now: i64) -> (Pins, Vec<bool>) {
            let disk = Disk::open(self.dir.path(), "npm", "http://up").unwrap();
            let packument = Packument::read(document.as_bytes(), &self.name).unwrap();
            let mut pins = Pins::read(&disk, self.place()).unwrap();
            pins.learn(&disk, self.place(), &packument, now).unwrap();
            let again = Pins::read(&disk, self.place()).unwrap();
            assert_eq!(again.versions, pins.versions);
            let differs = packument
                .versions()
                .iter()
                .map(|version| again.facts(version, now).is_mutated)
                .collect();
            (again, differs)
        }
    }

    #[test]
    fn the_first_promise_stays() {
        let world = World::new();
        let (pins, differs) = world.learn(&document(&[("1.0.0", &sha512(1))], ""), NOW);
        assert_eq!(
            (
                pins.versions["1.0.0"].seen,
                pins.versions["1.0.0"].was_there,
                differs
            ),
            (NOW, true, vec![false])
        );
        let both = [("1.0.0", &*sha512(2)), ("1.1.0", &sha512(3))];
        let (pins, differs) = world.learn(&document(&both, ""), NOW + 5);
        assert_eq!(differs, [true, false]);
        assert_eq!(
            (
                pins.versions["1.1.0"].seen,
                pins.versions["1.1.0"].was_there
            ),
            (NOW + 5, false)
        );
        let (_, differs) = world.learn(&document(&[("1.0.0", &sha512(1))], ""), NOW + 9);
        assert_eq!(differs, [false], "it is the first one again");
    }

    #[test]
    fn a_stronger_promise_is_added_to_a_weak_one_and_takes_nothing_back() {
        let world = World::new();
        world.learn(&document(&[("1.0.0", &sha1(1))], ""), NOW);
        let (pins, differs) = world.learn(
            &document(&[("1.0.0", &format!("{},{}", sha512(1), sha1(1)))], ""),
            NOW,
        );
        assert_eq!(
            (pins.versions["1.0.0"].promises.len(), differs),
            (2, vec![false])
        );
        let (_, differs) = world.learn(&document(&[("1.0.0", &sha1(2))], ""), NOW);
        assert_eq!(differs, [true]);
    }

    #[test]
    fn dates_are_learnt_once_and_later_ones_change_nothing() {
        let world = World::new();
        world.learn(&document(&[("1.0.0", &sha512(1))], ""), NOW);
        let time = |year: u32| format!("\"1.0.0\":\"{year}-01-01T00:00:00.000Z\"");
        let (pins, _) = world.learn(&document(&[("1.0.0", &sha512(1))], &time(2020)), NOW);
        assert_eq!(pins.versions["1.0.0"].published, Some(1_577_836_800));
        let (pins, _) = world.learn(&document(&[("1.0.0", &sha512(1))], &time(2010)), NOW);
        assert_eq!(pins.versions["1.0.0"].published, Some(1_577_836_800));
    }

    #[test]
    fn a_cut_line_is_learnt_again_and_spoils_no_other() {
        let world = World::new();
        let two = document(&[("1.0.0", &sha512(1)), ("1.1.0", &sha512(2))], "");
        world.learn(&two, NOW);
        let disk = Disk::open(world.dir.path(), "npm", "http://up").unwrap();
        let path = disk.path(Shelf::Pins, &of(&world.name));
        drop(disk);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let (pins, differs) = world.learn(&two, NOW + 7);
            assert_eq!(
                (pins.versions.len(), differs),
                (2, vec![false, false]),
                "{length}"
            );
        }
    }

    #[test]
    fn tarballs_that_lie_elsewhere_have_the_usual_name_here() {
        let world = World::new();
        let dist = format!(
            "{},\"tarball\":\"http://up/download/p/1.0.0/abc\"",
            sha512(1)
        );
        let foreign = format!(
            "{},\"tarball\":\"http://evil.example.org/p/-/p-2.0.0.tgz\"",
            sha512(1)
        );
        let (pins, _) = world.learn(&document(&[("1.0.0", &dist), ("2.0.0", &foreign)], ""), NOW);
        let (version, pin) = pins.by_file("p-1.0.0.tgz").unwrap();
        assert_eq!(
            (version, &*pin.source),
            ("1.0.0", "http://up/download/p/1.0.0/abc")
        );
        assert_eq!(
            pins.by_file("p-2.0.0.tgz").unwrap().1.source,
            "http://up/p/-/p-2.0.0.tgz"
        );
    }
}
