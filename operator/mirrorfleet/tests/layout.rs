//! What clients see of a Mirror besides its suites: aliases, the trace file, and updates that stay within one snapshot;
//! with real apt.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use support::{World, command};

/// A running `serve`.
struct Serving {
    child: Child,
    port: u16,
}

impl Serving {
    fn start(world: &World) -> Serving {
        let data = world.data().display().to_string();
        let mut child = command(&["serve", "--data", &data, "--listen", "127.0.0.1:0"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .find_map(|line| {
                line.unwrap()
                    .strip_prefix("listening on ")
                    .map(str::to_owned)
            })
            .expect("it says where it listens");
        std::thread::spawn(move || lines.for_each(drop));
        let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
        Serving { child, port }
    }

    /// Status line and head, and the body.
    fn ask(&self, method: &str, path: &str, headers: &[&str]) -> (String, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n",
            self.port
        );
        headers
            .iter()
            .for_each(|header| head.push_str(&format!("{header}\r\n")));
        write!(stream, "{head}\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head.to_owned(), body.to_owned())
    }

    fn get(&self, path: &str) -> String {
        let (head, body) = self.ask("GET", path, &[]);
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        body
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// apt in a root of its own.
struct Apt<'a> {
    world: &'a World,
    root: &'static str,
}

impl Apt<'_> {
    fn new<'a>(world: &'a World, site: &str, suite: &str) -> Apt<'a> {
        let root = "apt";
        for folder in ["lists/partial", "archives/partial", "download"] {
            fs::create_dir_all(world.path(root).join(folder)).unwrap();
        }
        let apt = Apt { world, root };
        fs::write(apt.path("status"), "").unwrap();
        apt.source(site, suite);
        apt
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.world.path(self.root).join(name)
    }

    fn source(&self, site: &str, suite: &str) {
        let keyring = self.world.path("keyring.asc");
        let line = format!(
            "deb [signed-by={}] {site} {suite} main\n",
            keyring.display()
        );
        fs::write(self.path("sources.list"), line).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("apt-get");
        for (name, value) in [
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::State::lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", ""),
        ] {
            command.arg(format!("-o{name}={}", self.path(value).display()));
        }
        command
            .args([
                "-oDir::Etc::sourceparts=-",
                "-oAPT::Architecture=amd64",
                "-oAPT::Sandbox::User=root",
                "-oAcquire::By-Hash=no",
                "-oAcquire::Languages=none",
                "-oAcquire::Retries=0",
                // Indices this small are cheaper as a whole.
                "-oAcquire::PDiffs::SizeLimit=0",
            ])
            .args(arguments)
            .current_dir(self.path("download"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        command
    }

    /// Whether it was satisfied, and all that it said.
    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.command(arguments).output().unwrap();
        (output.status.success(), said(&output))
    }

    #[track_caller]
    fn updates_quietly(&self) -> String {
        let (fine, text) = self.run(&["update", "--error-on=any"]);
        assert!(fine && !text.contains("W:"), "{text}");
        text
    }
}

fn said(output: &std::process::Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
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
    let serving = Serving::start(&world);
    let apt = Apt::new(
        &world,
        &format!("http://localhost:{}/debian", serving.port),
        "stable",
    );
    apt.updates_quietly();
    let (fine, text) = apt.run(&["download", "hello"]);
    assert!(fine, "{text}");
    assert!(serving.get("/debian/dists/").contains("href=\"stable/\""));
    assert!(
        serving
            .get("/debian/dists/stable/main/")
            .contains("binary-amd64/")
    );
    let kept = world.once().expect(0).json()["snapshot"]
        .as_str()
        .unwrap()
        .to_owned();
    let below = format!("/.mirrorfleet/s/{kept}/debian/dists/stable/Release");
    assert_eq!(
        serving.get(&below),
        serving.get("/debian/dists/trixie/Release")
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
        let serving = Serving::start(&world);
        let site = format!("http://localhost:{}/debian", serving.port);
        let apt = Apt::new(&world, &site, "trixie");
        apt.updates_quietly();
        for name in ["second", "third", "fourth"] {
            world.add_package(name, "1.0");
            world.publish();
        }
        let before = serving.get("/debian/dists/trixie/Release");
        world.once().expect(0);
        until(|| serving.get("/debian/dists/trixie/Release") != before);
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
    let serving = Serving::start(&world);
    let path = "/debian/project/trace/mirror.example.org";
    let trace = serving.get(path);
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
        serving.get("/debian/project/trace/_traces"),
        "mirror.example.org\n"
    );
    assert!(
        serving
            .get("/debian/project/trace/_hierarchy")
            .starts_with("mirror.example.org ")
    );
    assert!(serving.get("/debian/").contains("href=\"project/\""));
    assert!(serving.get("/debian/project/").contains("href=\"trace/\""));
    assert!(
        serving
            .get("/debian/project/trace/")
            .contains("mirror.example.org")
    );
    let (head, body) = serving.ask("HEAD", path, &[]);
    assert_eq!(
        (header(&head, "content-length").unwrap(), body.as_str()),
        (trace.len().to_string().as_str(), "")
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
    assert_eq!(body, trace[..3]);

    // A run that fails moves nothing; one that truly finds nothing new does.
    std::thread::sleep(Duration::from_millis(1100));
    let broken = world.archive().join("dists/trixie/InRelease");
    let good = fs::read(&broken).unwrap();
    fs::write(&broken, "no signature at all").unwrap();
    world.once().expect(3);
    assert_eq!(serving.get(path), trace);
    fs::write(&broken, good).unwrap();
    assert_eq!(world.once().expect(0).json()["reason"], "Unchanged");
    assert_ne!(serving.get(path).lines().next(), trace.lines().next());
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
    let serving = Serving::start(&world);
    let relay = Relay::before(serving.port);
    let site = format!("http://localhost:{}/debian", relay.port);
    let apt = Apt::new(&world, &site, "trixie");
    let mut update = apt.command(&["update", "--error-on=any"]);
    let update = update
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let go = relay.reached.recv().unwrap();
    let before = serving.get("/debian/dists/trixie/Release");
    world.add_package("second", "1.0");
    publish();
    world.once().expect(0);
    until(|| serving.get("/debian/dists/trixie/Release") != before);
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
    let serving = Serving::start(&world);
    let apt = "User-Agent: Debian APT-HTTP/1.3 (2.6.1)";
    let path = "/debian/dists/trixie/InRelease";
    let (head, _) = serving.ask("GET", path, &[apt]);
    assert!(head.starts_with("HTTP/1.1 302"), "{head}");
    assert_eq!(header(&head, "vary"), Some("user-agent"));
    let location = header(&head, "location").unwrap();
    let site = format!("http://Localhost:{}", serving.port);
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
    let address = format!("http://127.0.0.1:{}/debian", serving.port);
    let text = Apt::new(&world, &address, "trixie").updates_quietly();
    assert!(text.contains(&address) && !text.contains("/s/"), "{text}");
    let other = "/debian/dists/trixie/main/binary-amd64/Packages.gz";
    let (head, _) = serving.ask("HEAD", other, &[apt]);
    assert!(
        head.starts_with("HTTP/1.1 200") && header(&head, "vary").is_none(),
        "{head}"
    );
}
