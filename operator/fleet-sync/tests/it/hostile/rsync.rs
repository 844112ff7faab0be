//! Lies of an rsync daemon: a real one whose module is not what the index says, one with somebody on the way to it, and
//! something that is none.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fleet_sync::{Report, RunResult};
use fleet_types::Reason;
use url::Url;

use crate::support::archive::stanza;
use crate::support::forge::Say;
use crate::support::rsyncd::Daemon;
use crate::support::tamper::{Carry, Impostor};
use crate::support::trial::{PUBLISHED, Trial};
use crate::support::watcher::Watcher;
use crate::support::{World, endpoint, sync, told};

const DELTA: &str = "pool/main/d/delta_1_amd64.deb";
const EPSILON: &str = "pool/main/e/epsilon_1_amd64.deb";
const SIZE: u64 = 200_000;
/// What may be on the disk at most while so much is fetched: each file in rsync's folder and in staging, and what is
/// only a little too large is told by its name.
const MOST_ON_DISK: u64 = 2 * (2 * SIZE + (1 << 20)) + (1 << 20);

/// How the file comes that is lied about.
#[derive(Debug, Clone, Copy)]
enum Way {
    Alone,
    /// With one that is good.
    InABatch,
}

const WAYS: [Way; 2] = [Way::Alone, Way::InABatch];

/// An upstream with something new that only `url` has.
async fn with_news(way: Way) -> (Trial, Daemon) {
    let mut trial = Trial::new().await;
    let archive = &trial.world.archive;
    let mut news = stanza(&archive.package("delta", &[9; SIZE as usize]), false);
    if let Way::InABatch = way {
        news += &stanza(&archive.package("epsilon", &[8; SIZE as usize]), false);
    }
    trial.publish_beside(news.as_bytes());
    trial.options.timeouts.retry_backoff = Duration::from_millis(1);
    let daemon = Daemon::start(&trial.world.archive.root());
    fetch_from(&mut trial, &daemon.url);
    (trial, daemon)
}

fn fetch_from(trial: &mut Trial, url: &Url) {
    trial.options.endpoints = vec![endpoint("daemon", url, 0)];
}

/// A run that is refused; while it lasts the volume is looked at.
async fn is_refused(trial: &Trial, case: &str, reason: Reason, words: &[&str]) -> Report {
    let watcher = Watcher::start(trial.world.store.path().join("test/staging"));
    let report = trial.is_refused(case, reason, words).await;
    let peak = watcher.peak();
    assert!(
        peak <= MOST_ON_DISK,
        "{case}: {peak} bytes were on the disk"
    );
    let left = names_below(&trial.world.store.path().join("test/staging"));
    assert!(
        !left.iter().any(|name| name.contains("rsync-")),
        "{case}: {left:?}"
    );
    report
}

/// As it was before the lie: nothing but the upstream has to change.
async fn is_good_again(trial: &mut Trial, daemon: &Daemon, case: &str) {
    for (path, byte) in [(DELTA, 9), (EPSILON, 8)] {
        trial.world.archive.write(path, &vec![byte; SIZE as usize]);
    }
    fetch_from(trial, &daemon.url);
    let report = sync(&trial.options).await;
    assert_eq!(told(&report), PUBLISHED, "{case}: {report:?}");
    assert_eq!(trial.world.served(DELTA), vec![9; SIZE as usize], "{case}");
}

fn names_below(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap().path());
    let below = |path: PathBuf| match path.is_dir() {
        true => names_below(&path),
        false => vec![path.to_string_lossy().into_owned()],
    };
    files.flat_map(below).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_that_are_not_what_the_index_says() {
    for way in WAYS {
        let (mut trial, daemon) = with_news(way).await;
        let file = trial.world.archive.path(DELTA);
        let sparse = |size: u64| std::fs::File::create(&file).unwrap().set_len(size).unwrap();
        let link = |target: &str| symlink(target, &file).unwrap();
        let wrong: [(&str, &dyn Fn(), Reason); 10] = [
            (
                "other content",
                &|| std::fs::write(&file, vec![7; SIZE as usize]).unwrap(),
                Reason::DigestMismatch,
            ),
            ("a terabyte", &|| sparse(1 << 40), Reason::DigestMismatch),
            ("a byte more", &|| sparse(SIZE + 1), Reason::DigestMismatch),
            ("nothing", &|| sparse(0), Reason::DigestMismatch),
            (
                "a directory",
                &|| std::fs::create_dir(&file).unwrap(),
                Reason::UpstreamIncomplete,
            ),
            (
                "a pipe",
                &|| {
                    rustix::fs::mkfifoat(rustix::fs::CWD, &file, 0o644.into()).unwrap();
                },
                Reason::UpstreamIncomplete,
            ),
            (
                "a link out of the module",
                &|| link("/etc/hostname"),
                Reason::UpstreamIncomplete,
            ),
            (
                "a link to a device",
                &|| link("/dev/zero"),
                Reason::UpstreamIncomplete,
            ),
            (
                "a link to itself",
                &|| link("delta_1_amd64.deb"),
                Reason::UpstreamIncomplete,
            ),
            (
                "a link up",
                &|| link("../../../.."),
                Reason::UpstreamIncomplete,
            ),
        ];
        for (case, spoil, reason) in wrong {
            std::fs::remove_file(&file)
                .or_else(|_| std::fs::remove_dir(&file))
                .unwrap();
            spoil();
            let case = format!("{case}, {way:?}");
            is_refused(&trial, &case, reason, &[DELTA]).await;
        }
        std::fs::remove_file(&file).unwrap();
        is_good_again(&mut trial, &daemon, "all of them").await;
        trial.heals("all of them").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_grow_while_they_are_sent_are_read_up_to_their_bound() {
    for way in WAYS {
        let (mut trial, daemon) = with_news(way).await;
        let file = trial.world.archive.path(DELTA);
        // The daemon has told its size by now, and opens it when it is asked for it.
        let grow = move |piece: &mut Vec<u8>| {
            if holds(piece, b"delta_1_amd64.deb") {
                let open = std::fs::File::options().write(true).open(&file);
                open.and_then(|file| file.set_len(1 << 30)).unwrap();
            }
            Carry::On
        };
        let between = Impostor::between(&daemon.url, grow).await;
        fetch_from(&mut trial, &between.url);
        let case = format!("{way:?}");
        is_refused(&trial, &case, Reason::DigestMismatch, &[DELTA]).await;
        is_good_again(&mut trial, &daemon, &case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_nobody_asked_for_are_never_written() {
    for way in WAYS {
        let (mut trial, daemon) = with_news(way).await;
        for name in [
            b"../../../../x.deb",
            b"..............deb",
            b"/tmp/unasked.debs",
        ] {
            let rename = move |piece: &mut Vec<u8>| {
                replace(piece, b"delta_1_amd64.deb", name);
                Carry::On
            };
            let between = Impostor::between(&daemon.url, rename).await;
            fetch_from(&mut trial, &between.url);
            let case = format!("{}, {way:?}", String::from_utf8_lossy(name));
            // Of a batch any file can be the one that is told of.
            let words = ["pool/main/", "rsync ended with exit code"];
            is_refused(&trial, &case, Reason::UpstreamUnreachable, &words).await;
            let everything = names_below(trial.world.store.path());
            let stray = |path: &String| path.ends_with(".deb") || path.ends_with(".debs");
            assert!(!everything.iter().any(stray), "{case}: {everything:?}");
            assert!(!Path::new("/tmp/unasked.debs").exists());
        }
        is_good_again(&mut trial, &daemon, "all of them").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_drips_ends_after_the_stall_timeout() {
    for way in WAYS {
        let (mut trial, daemon) = with_news(way).await;
        let patient = trial.options.timeouts.stall;
        trial.options.timeouts.stall = Duration::from_secs(2);
        trial.options.timeouts.retry_limit = 0;
        let begun = Arc::new(AtomicBool::new(false));
        let drip = move |piece: &mut Vec<u8>| {
            if begun.load(Ordering::Relaxed) || holds(piece, &[9; 4096]) {
                begun.store(true, Ordering::Relaxed);
                return Carry::Drip;
            }
            Carry::On
        };
        let between = Impostor::between(&daemon.url, drip).await;
        fetch_from(&mut trial, &between.url);
        let case = format!("{way:?}");
        let words = [DELTA, "within 2 s"];
        is_refused(&trial, &case, Reason::SyncStalled, &words).await;
        trial.options.timeouts.stall = patient;
        is_good_again(&mut trial, &daemon, &case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_daemon_is_refused() {
    let (mut trial, daemon) = with_news(Way::InABatch).await;
    trial.options.timeouts.retry_limit = 0;
    let patient = trial.options.timeouts.stall;
    let hello = "@RSYNCD: 31.0 sha256 md5\n";
    let forever = |head: &str, piece: &[u8], milliseconds: u64| Say::Forever {
        head: head.to_owned(),
        piece: piece.to_vec(),
        pause: Duration::from_millis(milliseconds),
    };
    let accepted = format!("{hello}@RSYNCD: OK\n");
    let cases = [
        ("nothing", Say::text(""), Reason::UpstreamUnreachable),
        (
            "a web server",
            Say::text("HTTP/1.1 400 Bad Request\r\n\r\n"),
            Reason::UpstreamUnreachable,
        ),
        (
            "a line without end",
            forever("", &[b'x'; 4096], 0),
            Reason::UpstreamUnreachable,
        ),
        (
            "an error of control characters",
            Say::text(&format!("{hello}@ERROR: \u{1b}[31m\u{7}\r no\n")),
            Reason::UpstreamUnreachable,
        ),
        (
            "garbage after the greeting",
            forever(&accepted, &[b'x'; 4096], 0),
            Reason::UpstreamUnreachable,
        ),
        (
            "a greeting without end",
            forever(hello, b"Welcome!\n", 1),
            Reason::SyncStalled,
        ),
        ("silence", forever("", b"", 1000), Reason::SyncStalled),
        (
            "silence after the greeting",
            forever(&accepted, b"", 1000),
            Reason::SyncStalled,
        ),
        (
            "no more than signs of life",
            forever(&format!("{accepted}\0\0\0\0\0"), &[0, 0, 0, 7], 50),
            Reason::SyncStalled,
        ),
    ];
    for (case, say, reason) in cases {
        let impostor = Impostor::says(say).await;
        fetch_from(&mut trial, &impostor.url);
        trial.options.timeouts.stall = Duration::from_secs(2);
        is_refused(&trial, case, reason, &[impostor.url.as_str()]).await;
    }
    trial.options.timeouts.stall = patient;
    is_good_again(&mut trial, &daemon, "all of them").await;
}

/// The daemon is the authority too.
#[tokio::test(flavor = "multi_thread")]
async fn roots_that_are_none_are_refused() {
    let world = World::new(&["stable"]).await;
    let daemon = Daemon::start(&world.archive.root());
    let mut options = world.options(&["stable"]);
    options.authority = daemon.url.clone();
    let first = sync(&options).await;
    assert_eq!(told(&first), PUBLISHED, "{first:?}");
    let in_release = "dists/stable/InRelease";
    let good = world.archive.read(in_release);
    let file = world.archive.path(in_release);
    let sparse = |size: u64| std::fs::File::create(&file).unwrap().set_len(size).unwrap();
    let wrong: [(&str, &dyn Fn(), Reason); 4] = [
        ("17 MiB", &|| sparse(17 << 20), Reason::TooLarge),
        ("a terabyte", &|| sparse(1 << 40), Reason::TooLarge),
        (
            "a directory",
            &|| std::fs::create_dir(&file).unwrap(),
            Reason::UpstreamIncomplete,
        ),
        (
            "a device",
            &|| symlink("/dev/zero", &file).unwrap(),
            Reason::UpstreamIncomplete,
        ),
    ];
    for (case, spoil, reason) in wrong {
        std::fs::remove_file(&file)
            .or_else(|_| std::fs::remove_dir(&file))
            .unwrap();
        spoil();
        let watcher = Watcher::start(world.store.path().join("test/staging"));
        let report = sync(&options).await;
        let peak = watcher.peak();
        assert_eq!(
            told(&report),
            (RunResult::Failed, reason),
            "{case}: {report:?}"
        );
        assert!(
            report.message.contains("dists/stable"),
            "{case}: {report:?}"
        );
        assert_eq!(report.snapshot, first.snapshot, "{case}");
        assert!(
            peak <= MOST_ON_DISK,
            "{case}: {peak} bytes were on the disk"
        );
    }
    std::fs::remove_file(&file).unwrap();
    world.archive.write(in_release, &good);
    let report = sync(&options).await;
    assert_eq!(told(&report).1, Reason::Unchanged, "{report:?}");
}

fn holds(piece: &[u8], what: &[u8]) -> bool {
    piece.windows(what.len()).any(|part| part == what)
}

fn replace(piece: &mut [u8], what: &[u8], by: &[u8]) {
    assert_eq!(what.len(), by.len());
    if let Some(at) = piece.windows(what.len()).position(|part| part == what) {
        piece[at..at + by.len()].copy_from_slice(by);
    }
}
