//! What clients see of a Mirror besides its suites: aliases, the trace file, and updates that stay within one snapshot;
//! with real apt.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::support::World;
use crate::support::apt::{Apt, said};
use crate::support::serving::Serving;

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Changes the Mirror's manifest.
fn amend(world: &World, changes: &[(&str, &str)]) {
    let mut text = fs::read_to_string(world.manifests()).unwrap();
    for (before, after) in changes {
        assert!(text.contains(before), "{before}");
        text = text.replace(before, after);
    }
    fs::write(world.manifests(), text).unwrap();
}

const STABLE: [&str; 2] = ["Suite=stable", "Codename=trixie"];
const ALIAS: (&str, &str) = (
    "architectures: [amd64]",
    "architectures: [amd64], aliases: [{name: stable, suite: trixie}]",
);

#[test]
fn apt_is_content_with_an_alias_and_it_ends_when_the_name_moves_on() {
    let world = World::new();
    world.publish_as(&STABLE);
    amend(&world, &[ALIAS]);
    world.once().expect(0);
    let serving = Serving::of(&world.data());
    let apt = Apt::new(
        &world,
        &format!("http://localhost:{}/debian", serving.port()),
        "stable",
    );
    apt.updates_quietly();
    let (fine, text) = apt.run(&["download", "hello"]);
    assert!(fine, "{text}");
    assert!(serving.text("/debian/dists/").contains("href=\"stable/\""));
    assert!(
        serving
            .text("/debian/dists/stable/main/")
            .contains("binary-amd64/")
    );
    let kept = world.once().expect(0).json()["snapshot"]
        .as_str()
        .unwrap()
        .to_owned();
    let below = format!("/.mirrorfleet/s/debian/{kept}/dists/stable/Release");
    assert_eq!(
        serving.text(&below),
        serving.text("/debian/dists/trixie/Release")
    );

    let tree = world.path("tree");
    let export = || {
        world
            .call(&["export", "debian", tree.to_str().unwrap()])
            .expect(0)
    };
    export();
    assert_eq!(
        fs::read_link(tree.join("dists/stable")).unwrap(),
        std::path::Path::new("trixie")
    );
    assert!(tree.join("dists/stable/InRelease").is_file());
    assert!(tree.join("project/trace/debian").is_file());
    world.call(&["verify"]).expect(0);

    // The next stable is another suite.
    world.publish_as(&["Suite=oldstable", "Codename=trixie"]);
    let report = world.once().expect(0).json();
    let message = report["suites"][0]["message"].as_str().unwrap();
    assert!(message.contains("alias stable"), "{report}");
    let gone = || serving.ask("GET", "/debian/dists/stable/InRelease", &[]).0;
    until(|| gone().starts_with("HTTP/1.1 404"));
    export();
    assert!(fs::symlink_metadata(tree.join("dists/stable")).is_err());
}

#[test]
fn apt_follows_by_differences_where_there_are_any_and_without_them_otherwise() {
    for declared in [true, false] {
        let world = World::new();
        let include = format!("architectures: [amd64], include: {{pdiffs: {declared}}}");
        amend(&world, &[("architectures: [amd64]", &include)]);
        world.once().expect(0);
        let serving = Serving::of(&world.data());
        let site = format!("http://localhost:{}/debian", serving.port());
        let apt = Apt::new(&world, &site, "trixie");
        apt.updates_quietly();
        for name in ["second", "third", "fourth"] {
            world.add_package(name, "1.0");
            world.publish();
        }
        let before = serving.text("/debian/dists/trixie/Release");
        world.once().expect(0);
        until(|| serving.text("/debian/dists/trixie/Release") != before);
        let index = "/debian/dists/trixie/main/binary-amd64/Packages.diff/Index";
        let (head, _) = serving.ask("GET", index, &[]);
        assert_eq!(head.starts_with("HTTP/1.1 200"), declared, "{head}");
        let text = apt.updates_quietly();
        let patches = text.lines().filter(|line| line.contains("T-2025"));
        // apt names the last one twice.
        let patches: std::collections::BTreeSet<_> = patches.collect();
        assert_eq!(patches.len(), if declared { 3 } else { 0 }, "{text}");
        for name in ["hello", "fourth"] {
            let (fine, text) = apt.run(&["download", name]);
            assert!(fine, "{text}");
        }
    }
}

/// Waits until something is so.
fn until(holds: impl Fn() -> bool) {
    while !holds() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// As the checker of Debian's mirror team reads it: the date of the first line, and then nothing but fields.
fn checked(trace: &str) -> Vec<(String, String)> {
    let mut lines = trace.lines();
    let date = lines.next().unwrap();
    let words: Vec<&str> = date.split_whitespace().collect();
    assert!(
        words.len() == 6 && words[4] == "UTC" && date.is_ascii(),
        "{date}"
    );
    let read = Command::new("date")
        .args(["-u", "+%s", "-d", date])
        .output()
        .unwrap();
    assert!(read.status.success(), "{date}");
    let fields = lines.map(|line| {
        let (field, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line}"));
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '_');
        assert!(field.chars().all(fits), "{line}");
        (field.to_owned(), value.to_owned())
    });
    let fields: Vec<_> = fields.collect();
    let said = &fields.iter().find(|(field, _)| field == "Date").unwrap().1;
    let again = Command::new("date")
        .args(["-u", "+%s", "-d", said])
        .output()
        .unwrap();
    assert_eq!(read.stdout, again.stdout, "{said}");
    fields
}

#[test]
fn the_trace_file_tells_of_the_last_good_run_only() {
    let world = World::new();
    amend(
        &world,
        &[(
            "regions: [{name: main}]",
            "serving: {traceName: mirror.example.org}\n  regions: [{name: main}]",
        )],
    );
    world.once().expect(0);
    let serving = Serving::of(&world.data());
    let path = "/debian/project/trace/mirror.example.org";
    let trace = serving.text(path);
    let fields = checked(&trace);
    let field = |name: &str| {
        let found = fields.iter().find(|(field, _)| field == name);
        found.unwrap_or_else(|| panic!("{name}: {trace}")).1.clone()
    };
    assert!(field("Creator").starts_with("mirrorfleet "));
    assert_eq!(field("Architectures"), "all amd64");
    assert_eq!(field("Upstream-mirror"), "localhost");
    assert_eq!(field("Transport"), "file");
    field("Date-Started");
    field("Running on host");
    assert_eq!(
        serving.text("/debian/project/trace/_traces"),
        "mirror.example.org\n"
    );
    assert!(
        serving
            .text("/debian/project/trace/_hierarchy")
            .starts_with("mirror.example.org ")
    );
    assert!(serving.text("/debian/").contains("href=\"project/\""));
    assert!(serving.text("/debian/project/").contains("href=\"trace/\""));
    assert!(
        serving
            .text("/debian/project/trace/")
            .contains("mirror.example.org")
    );
    let (head, body) = serving.ask("HEAD", path, &[]);
    assert_eq!(
        (header(&head, "content-length").unwrap(), body.as_slice()),
        (trace.len().to_string().as_str(), b"".as_slice())
    );
    let modified = header(&head, "last-modified").unwrap().to_owned();
    let since = format!("If-Modified-Since: {modified}");
    assert!(
        serving
            .ask("GET", path, &[&since])
            .0
            .starts_with("HTTP/1.1 304")
    );
    let (head, body) = serving.ask("GET", path, &["Range: bytes=0-2"]);
    assert!(head.starts_with("HTTP/1.1 206"), "{head}");
    assert_eq!(body, trace.as_bytes()[..3]);

    // A run that fails moves nothing; one that truly finds nothing new does.
    std::thread::sleep(Duration::from_millis(1100));
    let broken = world.archive().join("dists/trixie/InRelease");
    let good = fs::read(&broken).unwrap();
    fs::write(&broken, "no signature at all").unwrap();
    world.once().expect(3);
    assert_eq!(serving.text(path), trace);
    fs::write(&broken, good).unwrap();
    assert_eq!(world.once().expect(0).json()["reason"], "Unchanged");
    assert_ne!(serving.text(path).lines().next(), trace.lines().next());
}

/// A relay that stops before the first request for an index of packages, says so, and waits.
struct Relay {
    port: u16,
    reached: Receiver<Sender<()>>,
}

impl Relay {
    fn before(server: u16) -> Relay {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, reached) = channel();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let sender = sender.clone();
                std::thread::spawn(move || relay(client, server, &sender));
            }
        });
        Relay { port, reached }
    }
}

fn relay(client: TcpStream, server: u16, reached: &Sender<Sender<()>>) -> Option<()> {
    let mut onward = TcpStream::connect(("127.0.0.1", server)).ok()?;
    let (mut back, mut from) = (client.try_clone().ok()?, onward.try_clone().ok()?);
    std::thread::spawn(move || std::io::copy(&mut from, &mut back));
    let mut lines = BufReader::new(client);
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line).ok()? == 0 {
            return onward.shutdown(std::net::Shutdown::Write).ok();
        }
        if line.starts_with("GET ") && line.contains("/Packages") {
            let (go, gone) = channel();
            // Once nobody listens any more, everything passes.
            if reached.send(go).is_ok() {
                let _ = gone.recv();
            }
        }
        onward.write_all(line.as_bytes()).ok()?;
    }
}

/// An update of apt during which the archive publishes and we follow, before apt asks for the packages.
fn update_across_a_publication(
    transactions: &str,
    fields: &[&str],
    detached: bool,
) -> (bool, String) {
    let world = World::new();
    let publish = || {
        world.publish_as(fields);
        if detached {
            fs::remove_file(world.archive().join("dists/trixie/InRelease")).unwrap();
        }
    };
    publish();
    amend(
        &world,
        &[(
            "regions: [{name: main}]",
            &format!("serving: {{transactions: {transactions}}}\n  regions: [{{name: main}}]"),
        )],
    );
    world.once().expect(0);
    let serving = Serving::of(&world.data());
    let relay = Relay::before(serving.port());
    let site = format!("http://localhost:{}/debian", relay.port);
    let apt = Apt::new(&world, &site, "trixie");
    let mut update = apt.command(&["update", "--error-on=any"]);
    let update = update
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let go = relay.reached.recv().unwrap();
    let before = serving.text("/debian/dists/trixie/Release");
    world.add_package("second", "1.0");
    publish();
    world.once().expect(0);
    until(|| serving.text("/debian/dists/trixie/Release") != before);
    drop(relay.reached);
    drop(go);
    let output = update.wait_with_output().unwrap();
    if output.status.success() {
        // Again: what is new comes now. And again: nothing is new.
        apt.updates_quietly();
        assert!(apt.run(&["download", "second"]).0);
        let idle = apt.updates_quietly();
        assert!(idle.contains("Hit:") && !idle.contains("Get:"), "{idle}");
    }
    (output.status.success(), said(&output))
}

#[test]
fn an_update_that_a_publication_meets_fails_without_transactions_and_succeeds_with_them() {
    let plain = ["Suite=trixie", "Codename=trixie"];
    for detached in [false, true] {
        let (fine, text) = update_across_a_publication("Never", &plain, detached);
        let met = text.contains("Hash Sum mismatch") || text.contains("unexpected size");
        assert!(!fine && met, "{text}");
        let (fine, text) = update_across_a_publication("WithoutByHash", &plain, detached);
        assert!(fine, "{text}");
    }
    // The client does without by-hash although the suite has it.
    let by_hash = ["Suite=trixie", "Codename=trixie", "Acquire-By-Hash=yes"];
    let (fine, _) = update_across_a_publication("WithoutByHash", &by_hash, false);
    assert!(!fine, "such a suite needs no redirect by default");
    let (fine, text) = update_across_a_publication("Always", &by_hash, false);
    assert!(fine, "{text}");
}

#[test]
fn only_apt_is_redirected_and_only_for_what_is_new() {
    let world = World::new();
    world.once().expect(0);
    let serving = Serving::of(&world.data());
    let apt = "User-Agent: Debian APT-HTTP/1.3 (2.6.1)";
    let path = "/debian/dists/trixie/InRelease";
    let (head, _) = serving.ask("GET", path, &[apt]);
    assert!(head.starts_with("HTTP/1.1 302"), "{head}");
    assert_eq!(header(&head, "vary"), Some("user-agent"));
    let location = header(&head, "location").unwrap();
    let site = format!("http://Localhost:{}", serving.port());
    let kept = location
        .strip_prefix(&site)
        .unwrap_or_else(|| panic!("{location}"));
    let (head, signed) = serving.ask("GET", kept, &[apt]);
    assert!(
        head.starts_with("HTTP/1.1 200") && header(&head, "vary").is_none(),
        "{head}"
    );
    let pool = kept.replace(
        "dists/trixie/InRelease",
        "pool/main/h/hello/hello_1.0_amd64.deb",
    );
    let (head, _) = serving.ask("HEAD", &pool, &[]);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");

    let (head, body) = serving.ask("GET", path, &["User-Agent: curl/8"]);
    assert!(head.starts_with("HTTP/1.1 200") && body == signed, "{head}");
    assert_eq!(header(&head, "vary"), Some("user-agent"));
    let since = format!(
        "If-Modified-Since: {}",
        header(&head, "last-modified").unwrap()
    );
    let (head, _) = serving.ask("GET", path, &[apt, &since]);
    assert!(head.starts_with("HTTP/1.1 304"), "{head}");
    assert_eq!(header(&head, "vary"), Some("user-agent"));
    // An address with a port that must be said has no other spelling.
    let address = format!("http://127.0.0.1:{}/debian", serving.port());
    let text = Apt::new(&world, &address, "trixie").updates_quietly();
    assert!(text.contains(&address) && !text.contains("/s/"), "{text}");
    let other = "/debian/dists/trixie/main/binary-amd64/Packages.gz";
    let (head, _) = serving.ask("HEAD", other, &[apt]);
    assert!(
        head.starts_with("HTTP/1.1 200") && header(&head, "vary").is_none(),
        "{head}"
    );
}
