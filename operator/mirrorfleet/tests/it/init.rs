//! `mirrorfleet init` over files as machines have them.

use std::fs;
use std::path::Path;

use crate::support::{World, mirrorfleet};

/// A folder like /etc/apt with one source in each notation.
fn apt(world: &World) -> std::path::PathBuf {
    let apt = world.path("apt");
    fs::create_dir_all(apt.join("sources.list.d")).unwrap();
    fs::create_dir_all(apt.join("trusted.gpg.d")).unwrap();
    let keyring = world.path("keyring.asc");
    fs::copy(&keyring, apt.join("trusted.gpg.d/archive.asc")).unwrap();
    fs::write(
        apt.join("sources.list"),
        format!(
            "deb [arch=amd64 signed-by={}] http://deb.example.org/debian trixie main contrib\ndeb http://me:secret@private.example.org/apt/ trixie main\ndeb cdrom:[Debian]/ trixie main\n",
            keyring.display()
        ),
    )
    .unwrap();
    let block: String = fs::read_to_string(keyring)
        .unwrap()
        .lines()
        .map(|line| format!(" {}\n", if line.is_empty() { "." } else { line }))
        .collect();
    fs::write(
        apt.join("sources.list.d/debian.sources"),
        format!("Types: deb deb-src\nURIs: http://deb.example.org/debian-security\nSuites: trixie-security\nComponents: main\nSigned-By:\n{block}\nTypes: deb\nEnabled: no\nURIs: http://off.example.org/\nSuites: ./\n"),
    )
    .unwrap();
    apt
}

fn init(from: &Path, more: &[&str]) -> crate::support::Run {
    let mut arguments = vec!["init", "--from", from.to_str().unwrap()];
    arguments.extend(more);
    mirrorfleet(&arguments)
}

#[test]
fn sources_become_manifests_that_the_other_roles_accept() {
    let world = World::new();
    let out = world.path("mirrors.yaml");
    let run = init(&apt(&world), &["--out", out.to_str().unwrap()]).expect(0);
    assert!(run.stderr.contains("CD-ROM"), "{run}");
    let text = fs::read_to_string(&out).unwrap();
    for wanted in [
        "http://deb.example.org/debian/",
        "trixie-security",
        "sources: true",
        "name: debian-security",
        "credentialsRef",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in\n{text}");
    }
    assert!(
        !text.contains("off.example.org") && !text.contains("me:secret@"),
        "{text}"
    );

    // Nobody answers under these names; what matters is that every reference resolves.
    let data = world.path("data2");
    let planned = mirrorfleet(&[
        "local",
        "--once",
        "-o",
        "json",
        "-f",
        out.to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
    ])
    .expect(2);
    assert_eq!(planned.stdout.lines().count(), 3, "{planned}");
}

#[test]
fn only_the_chosen_suite_is_written() {
    let world = World::new();
    let apt = apt(&world);
    let run = init(&apt, &["--suite", "trixie-security"]).expect(0);
    assert_eq!(run.stdout.matches("kind: Mirror").count(), 1);
    let missing = init(&apt, &["--suite", "sid"]).expect(1);
    assert!(missing.stderr.contains("trixie-security"), "{missing}");
}

#[test]
fn a_file_of_another_package_manager_is_refused_with_a_reason() {
    let world = World::new();
    let file = world.path("pacman.conf");
    fs::write(&file, "[core]\n").unwrap();
    assert!(init(&file, &[]).expect(1).stderr.contains("*.sources"));
}

#[test]
fn the_whole_way_from_a_sources_list_to_a_snapshot() {
    let world = World::new();
    let list = world.path("local.list");
    let line = format!(
        "deb [arch=amd64 signed-by={}] file:{} trixie main\n",
        world.path("keyring.asc").display(),
        world.archive().display()
    );
    fs::write(&list, line).unwrap();
    init(&list, &["--out", world.manifests().to_str().unwrap()]).expect(0);
    assert_eq!(world.once().expect(0).json()["reason"], "Published");
}
