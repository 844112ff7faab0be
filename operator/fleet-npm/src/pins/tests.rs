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
            .map(|version| again.facts(version, now).mutated.is_some())
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
fn what_a_person_approves_counts_instead_and_only_that() {
    let world = World::new();
    world.learn(&document(&[("1.0.0", &sha512(1))], ""), NOW);
    let changed = document(&[("1.0.0", &sha512(2))], "");
    let (mut pins, _) = world.learn(&changed, NOW);
    let packument = Packument::read(changed.as_bytes(), &world.name).unwrap();
    let version = &packument.versions()[0];
    let integrity =
        |byte: u8| Integrity::parse(&format!("sha512-{}", STANDARD.encode([byte; 64]))).unwrap();
    for (approved, is_mutated) in [(3, true), (2, false)] {
        pins.approve([("1.0.0", &integrity(approved))].into_iter());
        assert_eq!(pins.facts(version, NOW).mutated.is_some(), is_mutated);
        assert_eq!(pins.versions["1.0.0"].promises, [integrity(approved)]);
    }
    pins.approve([("9.0.0", &integrity(2))].into_iter());
    assert!(!pins.versions.contains_key("9.0.0"));
    let (again, differs) = world.learn(&changed, NOW);
    assert_eq!(again.versions["1.0.0"].promises, [integrity(1)]);
    assert_eq!(differs, [true], "nothing of it was written down");
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
