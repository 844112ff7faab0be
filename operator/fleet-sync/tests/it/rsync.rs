//! `rsync://` endpoints: the real program against its own daemon.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_sync::{Credentials, RunResult, SyncOptions, Unwatched};
use fleet_types::Reason;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::support::archive::{Package, Release};
use crate::support::rsyncd::Daemon;
use crate::support::{World, cancellable, endpoint, sync, told, watched};

const BETA: &str = "pool/main/b/beta_1_amd64.deb";

/// All content comes from the daemon; the authority is asked for its roots only.
fn from_daemon(world: &World, url: &Url) -> SyncOptions {
    let mut options = world.options(&["stable"]);
    options.endpoints = vec![endpoint("daemon", url, 0)];
    options
}

fn publish(world: &World, packages: &[Package]) {
    let newer = Release::of(world.date + 10);
    world.archive.publish("stable", packages, &newer);
}

/// Nothing of a run stays where upstreams' names are allowed for a moment.
fn nothing_is_left(world: &World) {
    let staging = std::fs::read_dir(world.store.path().join("test/staging")).unwrap();
    let names: Vec<_> = staging.map(|file| file.unwrap().file_name()).collect();
    let left = |name: &&std::ffi::OsString| name.to_string_lossy().starts_with("rsync-");
    assert_eq!(names.iter().find(left), None, "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_comes_in_few_runs_and_an_unchanged_one_in_one() {
    let world = World::new(&[]).await;
    let packages = world.archive.many_packages(700);
    publish(&world, &packages);
    let daemon = Daemon::start(&world.archive.root());
    // The daemon is the authority too, so that its answer is what says that nothing is new.
    let mut options = world.options(&["stable"]);
    options.authority = daemon.url.clone();
    let first = sync(&options).await;
    let good = (RunResult::Published, Reason::Published);
    assert_eq!(told(&first), good, "{first:?}");
    assert!(first.requests <= 15, "{first:?}");
    for package in [&packages[0], &packages[699]] {
        assert_eq!(
            world.served(&package.path),
            world.archive.read(&package.path)
        );
    }
    nothing_is_left(&world);
    let sent = daemon.sent("InRelease");
    assert!(sent > 0);
    let second = sync(&options).await;
    assert_eq!(told(&second).1, Reason::Unchanged, "{second:?}");
    // InRelease, and whether there is a Release by now.
    assert_eq!((second.requests, second.bytes_fetched), (2, 0));
    assert_eq!(daemon.sent("InRelease"), sent, "it is looked at, not sent");
    let plan = fleet_sync::plan(options, Arc::new(Unwatched), CancellationToken::new()).await;
    assert_eq!(plan.result, RunResult::Unchanged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_a_module_is_as_good_as_its_top() {
    let world = World::new(&["stable"]).await;
    let large = world.archive.package("large", &[9; 5_000_000]);
    let packages = [&world.packages[..], std::slice::from_ref(&large)].concat();
    publish(&world, &packages);
    let module = TempDir::new().unwrap();
    let folder = module.path().join("some/folder");
    std::fs::create_dir_all(&folder).unwrap();
    for part in ["dists", "pool"] {
        let mut copy = std::process::Command::new("cp");
        crate::support::process::run(copy.arg("-a").arg(world.archive.path(part)).arg(&folder));
    }
    let daemon = Daemon::start(module.path());
    let url = daemon.url.join("some/folder/").unwrap();
    let options = from_daemon(&world, &url);
    let report = sync(&options).await;
    assert_eq!(told(&report).1, Reason::Published, "{report:?}");
    assert_eq!(world.served(&large.path), vec![9; 5_000_000]);
    assert_eq!(world.served(BETA), vec![7; 300_000]);
    nothing_is_left(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_or_wrong_is_told_and_the_next_run_heals() {
    // One of a batch, and one that comes alone.
    for path in [BETA, "pool/main/l/large_1_amd64.deb"] {
        let world = World::new(&["stable"]).await;
        let large = world.archive.package("large", &[9; 5_000_000]);
        let packages = [&world.packages[..], std::slice::from_ref(&large)].concat();
        publish(&world, &packages);
        let daemon = Daemon::start(&world.archive.root());
        let options = from_daemon(&world, &daemon.url);
        let good = world.archive.read(path);
        let file = world.archive.path(path);
        let size = good.len();
        let wrong: [(&dyn Fn(), Reason); 6] = [
            (
                &|| std::fs::remove_file(&file).unwrap(),
                Reason::UpstreamIncomplete,
            ),
            (
                &|| world.archive.write(path, &vec![8; size]),
                Reason::DigestMismatch,
            ),
            (
                &|| world.archive.write(path, &good[1..]),
                Reason::DigestMismatch,
            ),
            (
                &|| world.archive.write(path, &vec![7; size + 1]),
                Reason::DigestMismatch,
            ),
            (
                &|| {
                    rustix::fs::mkfifoat(rustix::fs::CWD, &file, 0o644.into()).unwrap();
                },
                Reason::UpstreamIncomplete,
            ),
            (
                &|| {
                    std::os::unix::fs::symlink("nowhere", &file).unwrap();
                },
                Reason::UpstreamIncomplete,
            ),
        ];
        for (number, (spoil, reason)) in wrong.into_iter().enumerate() {
            spoil();
            let report = sync(&options).await;
            let bad = (RunResult::Failed, reason);
            assert_eq!(told(&report), bad, "{path} {number}: {report:?}");
            assert!(report.message.contains(path), "{report:?}");
            nothing_is_left(&world);
            let _ = std::fs::remove_file(&file);
        }
        world.archive.write(path, &good);
        let report = sync(&options).await;
        assert_eq!(told(&report).1, Reason::Published, "{report:?}");
        assert_eq!(world.served(path), good);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_only_names() {
    let world = World::new(&[]).await;
    let paths = [
        "-rf",
        "~root/x",
        "#comment",
        ";comment",
        "pool/a b:c%2e%2e/d*[x]?{y}.deb",
        "pool/host::module/x",
        "pool/$(touch x)`y`",
        "pool/ü.deb",
        "pool/'quoted\".deb",
        "pool/--delete",
    ];
    let mut packages: Vec<Package> = paths
        .iter()
        .map(|path| world.archive.package_at(path, "name", path.as_bytes()))
        .collect();
    // Alone too.
    let large = world.archive.package_at("-large*", "name", &[1; 5_000_000]);
    packages.push(large.clone());
    // A link on the way, and one at its end: followed, as by a web server.
    std::os::unix::fs::symlink("main", world.archive.path("pool/link")).unwrap_or_default();
    let target = world.archive.package("alpha", b"alpha 1");
    let link = world.archive.path("pool/alias.deb");
    std::os::unix::fs::symlink(world.archive.path(&target.path), link).unwrap();
    for path in ["pool/alias.deb", "pool/link/a/alpha_1_amd64.deb"] {
        packages.push(Package {
            path: path.to_owned(),
            ..target.clone()
        });
    }
    publish(&world, &packages);
    let daemon = Daemon::start(&world.archive.root());
    let report = sync(&from_daemon(&world, &daemon.url)).await;
    assert_eq!(told(&report).1, Reason::Published, "{report:?}");
    for path in paths {
        assert_eq!(world.served(path), path.as_bytes(), "{path}");
    }
    assert_eq!(world.served(&large.path), vec![1; 5_000_000]);
    assert_eq!(world.served("pool/alias.deb"), b"alpha 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_asked_for_and_stays_out_of_messages() {
    let world = World::new(&["stable"]).await;
    let (_dir, secrets) = Daemon::secret("mirror:s3cr3t %40\n");
    let more = format!("auth users = mirror\nsecrets file = {}", secrets.display());
    let daemon = Daemon::with(&world.archive.root(), &more);
    let mut options = from_daemon(&world, &daemon.url);
    let login = |password: &str| {
        Some(Credentials::Basic {
            username: "mirror".to_owned(),
            password: password.to_owned(),
        })
    };
    options.access.released_to = fleet_sync::Destination::read_all("rsync://127.0.0.1").unwrap();
    for credentials in [None, login("wr0ng")] {
        options.access.credentials = credentials;
        let report = sync(&options).await;
        assert_eq!(told(&report).1, Reason::UpstreamForbidden, "{report:?}");
        assert!(!report.message.contains("wr0ng"), "{report:?}");
    }
    options.access.credentials = login("s3cr3t %40");
    let report = sync(&options).await;
    assert_eq!(told(&report).1, Reason::Published, "{report:?}");
    options.access.credentials = Some(Credentials::Bearer {
        token: "t".to_owned(),
    });
    let report = sync(&options).await;
    assert_eq!(told(&report).1, Reason::InvalidSpec, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_refuses_or_is_away_says_why() {
    let world = World::new(&["stable"]).await;
    let daemon = Daemon::with(&world.archive.root(), "hosts deny = *");
    let other = |path: &str| {
        let mut url = daemon.url.clone();
        url.set_path(path);
        url
    };
    let away = Url::parse("rsync://127.0.0.1:1/debian/").unwrap();
    for (url, reason, word) in [
        (&daemon.url, Reason::UpstreamForbidden, "access denied"),
        (
            &other("/other/"),
            Reason::UpstreamIncomplete,
            "Unknown module",
        ),
        (&other("/"), Reason::InvalidSpec, "module"),
        (&away, Reason::UpstreamUnreachable, "Connection refused"),
    ] {
        let report = sync(&from_daemon(&world, url)).await;
        assert_eq!(told(&report), (RunResult::Failed, reason), "{report:?}");
        assert!(report.message.contains(word), "{report:?}");
    }
    // Another endpoint helps out.
    let mut options = from_daemon(&world, &away);
    options
        .endpoints
        .push(endpoint("web", &world.server.url, 5));
    let report = sync(&options).await;
    assert_eq!(told(&report).1, Reason::Published, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_says_nothing_is_a_stall_and_another_endpoint_helps_out() {
    let world = World::new(&["stable"]).await;
    // Connections are made, and nobody takes them.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("rsync://{}/debian/", silent.local_addr().unwrap());
    let mut options = from_daemon(&world, &url.parse().unwrap());
    options.timeouts.stall = Duration::from_secs(3);
    options.timeouts.retry_limit = 0;
    let report = sync(&options).await;
    assert_eq!(told(&report).1, Reason::SyncStalled, "{report:?}");
    options
        .endpoints
        .push(endpoint("web", &world.server.url, 5));
    let report = sync(&options).await;
    assert_eq!(told(&report).1, Reason::Published, "{report:?}");
}

/// Whether a program with this in its arguments runs.
fn runs(argument: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut lines =
        processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.any(|line| String::from_utf8_lossy(&line).contains(argument))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_the_program_and_the_next_run_goes_on() {
    let world = World::new(&["stable"]).await;
    let large = world.archive.package("large", &[9; 8_000_000]);
    publish(&world, std::slice::from_ref(&large));
    let daemon = Daemon::start(&world.archive.root());
    let mut options = from_daemon(&world, &daemon.url);
    options.politeness.bandwidth = Some(1 << 20);
    let cancel = CancellationToken::new();
    let begun = Arc::new(StopAfter(cancel.clone(), 1_000_000, 0.into()));
    let report = cancellable(&options, begun, cancel).await;
    assert_eq!(told(&report).1, Reason::SyncInterrupted, "{report:?}");
    let source = daemon.url.as_str();
    let gone = Instant::now() + Duration::from_secs(60);
    while runs(source) {
        assert!(Instant::now() < gone, "rsync still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    options.politeness.bandwidth = None;
    let report = sync(&options).await;
    assert_eq!(told(&report).1, Reason::Published, "{report:?}");
    assert_eq!(world.served(&large.path), vec![9; 8_000_000]);
    let again = report.bytes_fetched;
    assert!(
        again < 7_500_000,
        "what had arrived is not fetched again: {report:?}"
    );
    nothing_is_left(&world);
}

/// Cancels once so many bytes have come.
struct StopAfter(CancellationToken, u64, std::sync::atomic::AtomicU64);

impl fleet_sync::Progress for StopAfter {
    fn phase(&self, _: fleet_sync::Phase) {}
    fn planned(&self, _: u64, _: u64) {}
    fn received(&self, bytes: u64) {
        let before = self.2.fetch_add(bytes, std::sync::atomic::Ordering::SeqCst);
        if before + bytes >= self.1 {
            self.0.cancel();
        }
    }
    fn file_done(&self) {}
    fn note(&self, _: &str) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_is_held_to_the_budget_and_leaves_no_one_elses_files() {
    let world = World::new(&["stable"]).await;
    let packages: Vec<Package> = (0..40)
        .map(|number| {
            let content = vec![number; 100_000];
            world.archive.package(&format!("q{number}"), &content)
        })
        .collect();
    publish(&world, &packages);
    let daemon = Daemon::start(&world.archive.root());
    let mut options = from_daemon(&world, &daemon.url);
    options.politeness.bandwidth = Some(2_000_000);
    let report = watched(&options, Arc::new(Unwatched)).await;
    assert_eq!(told(&report).1, Reason::Published, "{report:?}");
    // 4 MB at 2 MB a second, of which half a second's worth may come at once.
    assert!(report.seconds >= 1.4, "{report:?}");
    nothing_is_left(&world);
    // What a run that was killed has left goes with the next one.
    let left = world
        .store
        .path()
        .join("test/staging/rsync-killed/files/pool");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("name"), b"x").unwrap();
    sync(&options).await;
    nothing_is_left(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_the_daemon_may_not_read_are_forbidden() {
    if !rustix::process::geteuid().is_root() {
        // Only root can have the daemon read as somebody else.
        return;
    }
    let world = World::new(&["stable"]).await;
    let copy = TempDir::new().unwrap();
    std::fs::set_permissions(copy.path(), PermissionsExt::from_mode(0o755)).unwrap();
    crate::support::process::run(
        std::process::Command::new("cp")
            .arg("-a")
            .arg(world.archive.path("dists"))
            .arg(world.archive.path("pool"))
            .arg(copy.path()),
    );
    let closed = copy.path().join(BETA);
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o600)).unwrap();
    let daemon = Daemon::with(copy.path(), "uid = nobody\ngid = nogroup");
    let report = sync(&from_daemon(&world, &daemon.url)).await;
    assert_eq!(told(&report).1, Reason::UpstreamForbidden, "{report:?}");
    assert!(report.message.contains("Permission denied"), "{report:?}");
}
