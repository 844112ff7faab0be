//! `mirrorfleet init` over files as machines have them.

mod targets;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::upstream::CountingUpstream;
use crate::support::{World, command, files, mirrorfleet, tool};
use targets::machine;

/// A folder like /etc/apt with one source in each notation.
fn apt(world: &World) -> PathBuf {
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

/// From this text of sources to a sync: what was told, and the report's reason.
fn whole_way(world: &World, file: &str, text: &str) -> (String, String) {
    let sources = world.path(file);
    fs::write(&sources, text).unwrap();
    let _ = fs::remove_dir_all(world.data());
    let told = init(&sources, &["--out", world.manifests().to_str().unwrap()]).expect(0);
    let reason = world.once().json()["reason"].as_str().unwrap().to_owned();
    (told.stderr, reason)
}

fn uri(world: &World) -> String {
    format!("file:{}", world.archive().display())
}

fn fingerprint(world: &World) -> String {
    let listed = tool(
        std::process::Command::new("gpg")
            .args(["--with-colons", "--show-keys"])
            .arg(world.path("keyring.asc")),
    );
    let listed = String::from_utf8(listed).unwrap();
    let line = listed.lines().find(|line| line.starts_with("fpr:"));
    line.unwrap().split(':').nth(9).unwrap().to_owned()
}

#[test]
fn sources_become_manifests_that_the_other_roles_accept() {
    let world = World::new();
    let out = world.path("mirrors.yaml");
    fs::write(&out, "was here before\n").unwrap();
    fs::set_permissions(&out, fs::Permissions::from_mode(0o644)).unwrap();
    let run = init(&apt(&world), &["--out", out.to_str().unwrap()]).expect(0);
    assert!(run.stderr.contains("CD-ROM"), "{run}");
    let text = fs::read_to_string(&out).unwrap();
    for wanted in [
        "http://deb.example.org/debian/",
        "trixie-security",
        "sources: true",
        "name: deb-example-org\n",
        "name: deb-example-org-2\n",
        "credentialsRef",
        "hosts: http://private.example.org\n",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in\n{text}");
    }
    assert!(
        !text.contains("off.example.org") && !text.contains("me:secret@"),
        "{text}"
    );
    let mode = fs::metadata(&out).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(
        !run.stderr.contains("secret") && run.stdout.is_empty(),
        "{run}"
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
    let file = world.path("requirements.txt");
    fs::write(&file, "requests==2.32.0\n").unwrap();
    let said = init(&file, &[]).expect(1).stderr;
    let named = ["*.sources", "pacman.conf", ".npmrc"];
    assert!(named.iter().all(|name| said.contains(name)), "{said}");
}

#[test]
fn a_pacman_conf_without_servers_says_what_to_name() {
    let world = World::new();
    let file = world.path("pacman.conf");
    fs::write(&file, "[core]\n").unwrap();
    let said = init(&file, &[]).expect(1).stderr;
    assert!(
        said.contains("[core] is left out: it has no server"),
        "{said}"
    );
    assert!(
        said.contains("name a pacman.conf or a mirrorlist with --from"),
        "{said}"
    );
}

#[test]
fn keys_in_every_shape_that_apt_takes_lead_to_a_snapshot() {
    let world = World::new();
    let (uri, print) = (uri(&world), fingerprint(&world));
    let armoured = fs::read(world.path("keyring.asc")).unwrap();
    let text = String::from_utf8(armoured.clone()).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = world.path(name);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let latin = text.replacen("-----\n", "-----\nComment: J\u{1}rg\n", 1);
    let latin: Vec<u8> = latin
        .bytes()
        .map(|b| if b == 1 { 0xf6 } else { b })
        .collect();
    let cut = text.split("-----END").next().unwrap();
    let home = world.path("keybox");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    let keybox = home.join("vendor.kbx");
    tool(
        std::process::Command::new("gpg")
            .args(["--batch", "--quiet", "--no-autostart", "--homedir"])
            .arg(&home)
            .args(["--no-default-keyring", "--keyring"])
            .arg(&keybox)
            .arg("--import")
            .arg(world.path("keyring.asc")),
    );
    let plain = world.path("keyring.asc").display().to_string();
    for signed_by in [
        plain.clone(),
        format!("{plain},{print}"),
        format!("{plain},{}!", print.to_lowercase()),
        format!("\"{plain}\""),
        format!("{},{plain}", write("bad.gpg", b"<html>not found</html>")),
        write("latin.asc", &latin),
        write("cut.asc", cut.as_bytes()),
        write("crlf.asc", text.replace('\n', "\r\n").as_bytes()),
        keybox.display().to_string(),
    ] {
        let list = format!("deb [arch=\"amd64\" signed-by={signed_by}] \"{uri}\" trixie main\n");
        let (told, reason) = whole_way(&world, "x.list", &list);
        assert_eq!(reason, "Published", "{list}{told}");
        assert_eq!(told.is_empty(), !signed_by.contains("bad.gpg"), "{told}");
    }
    for (empty, between) in [(" .", ""), (" ", "\n#comment")] {
        let block = text.lines().map(|line| match line {
            "" => format!("{empty}\n"),
            line => format!(" {line}\n"),
        });
        let block: String = block.collect();
        let stanza = format!(
            "Types: deb\nURIs: {uri}{between}\nSuites: trixie\nComponents: main\nArchitectures: amd64\nSigned-By:\n{block}"
        );
        let (told, reason) = whole_way(&world, "x.sources", &stanza);
        assert_eq!(
            (reason.as_str(), told.as_str()),
            ("Published", ""),
            "{stanza}"
        );
    }
    let other = format!(
        "deb [signed-by={plain},{}] {uri} trixie main\n",
        "0".repeat(40)
    );
    fs::write(world.path("x.list"), other).unwrap();
    let told = init(&world.path("x.list"), &[]).expect(1).stderr;
    assert!(told.contains(&"0".repeat(40)), "{told}");
}

#[test]
fn one_bad_file_among_the_trusted_ones_is_named_and_the_others_are_used() {
    let world = World::new();
    let apt = apt(&world);
    fs::write(
        apt.join("trusted.gpg.d/bad.gpg"),
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n\xf6\xf6\n",
    )
    .unwrap();
    fs::remove_file(apt.join("sources.list.d/debian.sources")).unwrap();
    let list = format!(
        "deb [arch=amd64] {} trixie main\ndeb [arch=amd64] {} ./\n",
        uri(&world),
        uri(&world)
    );
    fs::write(apt.join("sources.list"), list).unwrap();
    let run = init(
        &apt,
        &[
            "--out",
            world.manifests().to_str().unwrap(),
            "--suite",
            "trixie",
        ],
    )
    .expect(0);
    assert_eq!(run.stderr.matches("bad.gpg").count(), 1, "{run}");
    assert!(run.stderr.lines().all(|line| line.len() < 300), "{run}");
    assert_eq!(world.once().json()["reason"], "Published");
}

#[test]
fn an_unsigned_archive_that_apt_trusts_is_mirrored_with_a_warning() {
    let world = World::new();
    for name in ["InRelease", "Release.gpg"] {
        fs::remove_file(world.archive().join("dists/trixie").join(name)).unwrap();
    }
    let list = format!("deb [trusted=yes arch=amd64] {} trixie main\n", uri(&world));
    let (told, reason) = whole_way(&world, "x.list", &list);
    assert_eq!(reason, "Published", "{told}");
    assert!(told.contains("WARNING"), "{told}");
    let manifests = fs::read_to_string(world.manifests()).unwrap();
    assert!(manifests.contains("signatures: None"), "{manifests}");
    // Nothing but that option does it.
    let list = list.replace(
        "trusted",
        "allow-insecure=yes allow-weak=yes allow-downgrade-to-insecure",
    );
    let list = list.replace(
        "[",
        &format!("[signed-by={} ", world.path("keyring.asc").display()),
    );
    let (told, reason) = whole_way(&world, "x.list", &list);
    assert_eq!(reason, "SignatureMissing", "{told}");
    assert_eq!(told.matches("is left out").count(), 3, "{told}");
}

#[test]
fn logins_of_apt_become_a_secret_that_is_never_printed() {
    let world = World::new();
    let lines = "deb https://private.example.org/debian trixie main\ndeb http://plain.example.org/debian trixie main\ndeb https://other.example.org/ trixie main\n";
    let root = machine(&world, "logins", &[("sources.list", lines)]);
    let apt = root.join("etc/apt");
    fs::create_dir(apt.join("auth.conf.d")).unwrap();
    let login = |name: &str| format!("machine {name}\nlogin me\npassword 5ecret\n");
    fs::write(apt.join("auth.conf"), login("plain.example.org")).unwrap();
    fs::write(
        apt.join("auth.conf.d/a.conf"),
        login("private.example.org/debian"),
    )
    .unwrap();
    fs::write(apt.join("auth.conf.d/x~.conf"), login("other.example.org")).unwrap();
    let printed = init(&apt, &[]).expect(0);
    assert!(!format!("{printed}").contains("5ecret"), "{printed}");
    assert!(printed.stderr.contains("--out"), "{printed}");
    assert!(printed.stderr.contains("not encrypted"), "{printed}");
    let out = world.path("logins.yaml");
    let written = init(&apt, &["--out", out.to_str().unwrap()]).expect(0);
    assert!(!format!("{written}").contains("5ecret"), "{written}");
    let text = fs::read_to_string(&out).unwrap();
    assert_eq!(text.matches("password: 5ecret").count(), 1, "{text}");
    assert!(text.contains("hosts: private.example.org"), "{text}");
    let mode = fs::metadata(&out).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_token_in_an_address_is_nowhere_but_in_the_address() {
    const TOKEN: &str = "0123456789abcdefABCD";
    let world = World::new();
    let tree = world.path("web");
    fs::create_dir(&tree).unwrap();
    std::os::unix::fs::symlink(world.archive(), tree.join(TOKEN)).unwrap();
    let upstream = CountingUpstream::start(tree);
    let list = format!(
        "deb [arch=amd64 signed-by={}] {}{TOKEN} trixie main\n",
        world.path("keyring.asc").display(),
        upstream.url
    );
    let (told, reason) = whole_way(&world, "x.list", &list);
    assert_eq!(reason, "Published", "{told}");
    assert!(!told.contains(TOKEN), "{told}");
    let manifests = fs::read_to_string(world.manifests()).unwrap();
    let with_token: Vec<_> = manifests
        .lines()
        .filter(|line| line.contains(TOKEN))
        .collect();
    assert_eq!(with_token.len(), 1, "{manifests}");
    assert!(
        with_token[0].trim_start().starts_with("url:"),
        "{manifests}"
    );
    for file in files(&world.data()) {
        assert!(!file.display().to_string().contains(TOKEN), "{file:?}");
    }
    // The archive is gone: what is told of it is where it was.
    fs::remove_file(world.path("web").join(TOKEN)).unwrap();
    for arguments in [
        &["local", "--once"][..],
        &["local", "--once", "-o", "json"],
        &["plan"],
    ] {
        let (manifests, data) = (world.manifests(), world.data());
        let mut all = arguments.to_vec();
        all.extend([
            "-f",
            manifests.to_str().unwrap(),
            "--data",
            data.to_str().unwrap(),
        ]);
        let run = mirrorfleet(&all);
        assert_ne!(run.code, 0, "{run}");
        let shown = format!("{run}");
        assert!(
            !shown.contains(TOKEN) && shown.contains("127.0.0.1"),
            "{run}"
        );
    }
}

#[test]
fn the_sources_of_this_machine_become_manifests_that_are_accepted() {
    let world = World::new();
    let out = world.path("own.yaml");
    let run = mirrorfleet(&["init", "--out", out.to_str().unwrap()]);
    if run.code == 1 && run.stderr.contains("apt reads no sources") {
        eprintln!("skipped: this machine has no apt sources");
        return;
    }
    run.expect(0);
    // With a proxy that nobody is: the manifests are read, nothing is fetched.
    let planned = command(&[
        "plan",
        "-f",
        out.to_str().unwrap(),
        "--data",
        world.path("own").to_str().unwrap(),
    ])
    .env("http_proxy", "http://127.0.0.1:9")
    .env("https_proxy", "http://127.0.0.1:9")
    .output()
    .unwrap();
    let told = String::from_utf8_lossy(&planned.stderr);
    assert_eq!(planned.status.code(), Some(2), "{told}");
}
