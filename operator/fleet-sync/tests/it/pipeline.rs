//! Small files over pipelined connections: what shares a round trip, and that nothing odd on the way counts against a file.

use std::sync::atomic::Ordering;
use std::time::Duration;

use fleet_store::Store;
use fleet_sync::{Access, Credentials, Destination, Report, RunResult, SyncOptions, Unwatched};
use fleet_types::Reason;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::archive::{Package, Release, now};
use crate::support::nginx;
use crate::support::raw::{Asked, RawServer, Reply, answer, plain, status};
use crate::support::relay::Relay;
use crate::support::{Archive, cancellable, options, sync, told, writer};

pub const PUBLISHED: (RunResult, Reason) = (RunResult::Published, Reason::Published);
/// In the middle of the others by its digest or not: the order on a connection is not the name's.
const ODD: &str = "pool/main/p/p000050_1_amd64.deb";

pub struct Pipe {
    pub archive: Archive,
    pub packages: Vec<Package>,
    pub server: RawServer,
    pub store: TempDir,
}

impl Pipe {
    pub async fn new(
        count: usize,
        script: impl Fn(&Asked, &[u8]) -> Option<Reply> + Send + Sync + 'static,
    ) -> Pipe {
        Pipe::with(count, &[], script).await
    }

    /// With packages of these sizes besides the small ones.
    pub async fn with(
        count: usize,
        large: &[usize],
        script: impl Fn(&Asked, &[u8]) -> Option<Reply> + Send + Sync + 'static,
    ) -> Pipe {
        let archive = Archive::new();
        let mut packages = archive.many_packages(count);
        for (number, size) in large.iter().enumerate() {
            packages.push(archive.package(&format!("large{number}"), &vec![number as u8; *size]));
        }
        archive.publish("stable", &packages, &Release::of(now() - 3600));
        Pipe {
            server: RawServer::start(archive.root(), script).await,
            archive,
            packages,
            store: TempDir::new().unwrap(),
        }
    }

    pub fn options(&self) -> SyncOptions {
        let store = self.store.path().join("test");
        options(
            self.archive.keyring(),
            &self.server.url,
            &store,
            &["stable"],
        )
    }

    /// A run that comes to its end, and whose result is right in every byte.
    pub async fn publishes(&self) -> Report {
        let report = sync(&self.options()).await;
        assert_eq!(told(&report), PUBLISHED, "{report:?}");
        let store = Store::open(&self.store.path().join("test")).unwrap();
        let snapshot = store.current_snapshot().unwrap().unwrap();
        for package in &self.packages {
            let entry = snapshot.get(&package.path).unwrap();
            let content = std::fs::read(store.blob_path(&entry.digest)).unwrap();
            assert_eq!(
                content,
                self.archive.read(&package.path),
                "{}",
                package.path
            );
        }
        report
    }
}

pub fn usual(_: &Asked, _: &[u8]) -> Option<Reply> {
    None
}

/// The first answer for the odd file is this, all others are in order.
fn once(
    reply: impl Fn(&[u8]) -> Reply + Send + Sync + 'static,
) -> impl Fn(&Asked, &[u8]) -> Option<Reply> + Send + Sync + 'static {
    move |asked, content| (asked.path == ODD && asked.before == 0).then(|| reply(content))
}

#[tokio::test(flavor = "multi_thread")]
async fn several_requests_share_a_round_trip_and_none_is_sent_twice() {
    let pipe = Pipe::new(400, usual).await;
    let report = pipe.publishes().await;
    assert_eq!(report.requests as usize, pipe.server.asked().len());
    assert_eq!(pipe.server.payload().len(), 400);
    assert!(
        (4..=64).contains(&pipe.server.deepest()),
        "{}",
        pipe.server.deepest()
    );
    assert!(pipe.server.peak() <= 8, "{}", pipe.server.peak());
    let root = pipe.server.asked_for("dists/stable/InRelease");
    assert_eq!((root.len(), root[0].waiting), (1, 1));
    // The roots have shown that connections are kept.
    let asked = pipe.server.asked();
    let mut indices = asked.iter().filter(|asked| asked.path.contains("/main/"));
    assert!(
        indices.any(|asked| asked.path.starts_with("dists") && asked.waiting > 1),
        "{asked:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_says_who_asks_and_where() {
    let pipe = Pipe::new(40, usual).await;
    let mut options = pipe.options();
    options.access = Access {
        credentials: Some(Credentials::Basic {
            username: "user".to_owned(),
            password: "password".to_owned(),
        }),
        released_to: Destination::read_all("http://127.0.0.1").unwrap(),
        ..Access::default()
    };
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    let host = format!("host: 127.0.0.1:{}\r\n", pipe.server.url.port().unwrap());
    for asked in pipe.server.asked() {
        let head = asked.head.to_ascii_lowercase();
        assert!(head.contains(&host), "{head}");
        // "user:password"
        assert!(asked.head.contains("Basic dXNlcjpwYXNzd29yZA=="), "{head}");
        assert!(
            head.contains("user-agent: mirrorfleet/test (+mirrors@example.org)\r\n"),
            "{head}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_doubtful_framing_is_asked_for_again_alone() {
    let length = |content: &[u8]| format!("Content-Length: {}\r\n", content.len());
    type Broken = fn(&[u8], String) -> Vec<u8>;
    let ways: [(&str, Broken); 10] = [
        ("two lengths", |c, l| answer(&format!("{l}{l}"), c)),
        ("chunked", |_, _| {
            answer("Transfer-Encoding: chunked\r\n", b"1\r\nx\r\n0\r\n\r\n")
        }),
        ("chunked with a length", |c, l| {
            answer(&format!("{l}Transfer-Encoding: chunked\r\n"), c)
        }),
        ("no length", |c, _| answer("", c)),
        ("an interim answer", |c, _| {
            [b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), plain(c)].concat()
        }),
        ("more than it says", |c, l| {
            [answer(&l, c), b"more".to_vec()].concat()
        }),
        ("longer than promised", |c, _| plain(&[c, b"more"].concat())),
        ("shorter than promised", |c, _| plain(&c[1..])),
        ("a head without end", |c, l| {
            answer(&format!("X: {}\r\n{l}", "x".repeat(17 << 10)), c)
        }),
        ("no head at all", |_, _| b"<html>\r\n\r\n".to_vec()),
    ];
    for (name, broken) in ways {
        let pipe = Pipe::new(
            100,
            once(move |content| Reply::Bytes(broken(content, length(content)))),
        )
        .await;
        pipe.publishes().await;
        let asked = pipe.server.asked_for(ODD);
        // What comes after its own body speaks against the connection, not against the file.
        if name != "more than it says" {
            assert_eq!((asked.len(), asked[1].waiting), (2, 1), "{name}: {asked:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_no_connection_is_asked_one_request_at_a_time() {
    for (head, fields) in [("HTTP/1.1", "Connection: close\r\n"), ("HTTP/1.0", "")] {
        let pipe = Pipe::new(60, move |_, content| {
            let length = content.len();
            if length == 0 {
                let missing = status("404 Not Found", "Connection: close\r\n");
                return Some(Reply::Last(missing));
            }
            let head = format!("{head} 200 OK\r\nContent-Length: {length}\r\n{fields}\r\n");
            Some(Reply::Last([head.as_bytes(), content].concat()))
        })
        .await;
        let report = pipe.publishes().await;
        assert_eq!(pipe.server.deepest(), 1, "{head}");
        assert_eq!(pipe.server.payload().len(), 60, "{head}: {report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_in_the_middle_costs_no_file_a_try() {
    for announced in [false, true] {
        let pipe = Pipe::new(300, move |asked, content| {
            let many = asked.path.starts_with("pool") && asked.before == 0;
            let fields = if announced {
                "Connection: close\r\n"
            } else {
                ""
            };
            let fields = format!("Content-Length: {}\r\n{fields}", content.len());
            // In the middle of a pipe.
            (many && asked.waiting == 7).then(|| Reply::Last(answer(&fields, content)))
        })
        .await;
        let mut options = pipe.options();
        options.timeouts.retry_limit = 0;
        let report = sync(&options).await;
        assert_eq!(told(&report), PUBLISHED, "{announced}: {report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_after_many_answers_is_followed_by_another() {
    let pipe = Pipe::new(700, {
        let answers = std::sync::Mutex::new(std::collections::HashMap::<usize, usize>::new());
        move |asked, content| {
            let mut answers = answers.lock().unwrap();
            let count = answers.entry(asked.connection).or_default();
            *count += 1;
            let fields = format!("Content-Length: {}\r\nConnection: close\r\n", content.len());
            (*count == 100).then(|| Reply::Last(answer(&fields, content)))
        }
    })
    .await;
    let mut options = pipe.options();
    options.politeness.max_connections = 1;
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    assert!(
        pipe.server.connections() >= 7,
        "{}",
        pipe.server.connections()
    );
    let later = pipe.server.asked().into_iter().skip(600);
    assert!(
        later.map(|asked| asked.waiting).max() > Some(4),
        "still pipelined"
    );
    // Once the number is known no request is sent in vain.
    let sent = pipe.server.payload().len();
    assert!((700..700 + 2 * 64).contains(&sent), "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_counts_when_it_was_asked_for_alone() {
    let missing = |_: &[u8]| Reply::Bytes(status("404 Not Found", ""));
    let pipe = Pipe::new(100, once(missing)).await;
    pipe.publishes().await;
    let asked = pipe.server.asked_for(ODD);
    assert_eq!((asked.len(), asked[1].waiting), (2, 1), "{asked:?}");

    let pipe = Pipe::new(100, move |asked, c| (asked.path == ODD).then(|| missing(c))).await;
    let report = sync(&pipe.options()).await;
    assert_eq!(told(&report).1, Reason::UpstreamIncomplete, "{report:?}");
    assert_eq!(pipe.server.asked_for(ODD).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_followed_the_ordinary_way() {
    let pipe = Pipe::new(100, |asked, _| {
        let location = format!("Location: /debian/moved/{}\r\n", asked.path);
        asked
            .path
            .starts_with("pool")
            .then(|| Reply::Bytes(status("302 Found", &location)))
    })
    .await;
    std::os::unix::fs::symlink(".", pipe.archive.root().join("moved")).unwrap();
    let mut options = pipe.options();
    options.timeouts.retry_limit = 0;
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_wrong_body_does_not_spoil_the_others() {
    let wrong = |content: &[u8]| Reply::Bytes(plain(&vec![b'x'; content.len()]));
    let pipe = Pipe::new(300, once(wrong)).await;
    let report = pipe.publishes().await;
    assert_eq!(
        pipe.server.payload().len(),
        301,
        "only that one again: {report:?}"
    );
    assert_eq!(pipe.server.asked_for(ODD)[1].waiting, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_patience_is_given_it() {
    for line in ["503 Service Unavailable", "429 Too Many Requests"] {
        let busy = move |_: &[u8]| Reply::Bytes(status(line, "Retry-After: 1\r\n"));
        let pipe = Pipe::new(100, once(busy)).await;
        let mut options = pipe.options();
        options.timeouts.retry_backoff = Duration::from_secs(60);
        let report = sync(&options).await;
        assert_eq!(told(&report), PUBLISHED, "{report:?}");
        assert!(report.seconds >= 1.0, "{report:?}");
        let asked = pipe.server.asked();
        let at = asked.iter().position(|asked| asked.path == ODD).unwrap();
        let connection = asked[at].connection;
        let after = asked[at + 1..]
            .iter()
            .filter(|asked| asked.connection != connection);
        let fresh: Vec<_> = after.filter(|asked| asked.before > 0).collect();
        assert!(fresh.iter().all(|asked| asked.waiting == 1), "{fresh:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_never_ends_and_a_silent_server_are_found_out() {
    for silent in [false, true] {
        let slow = move |_: &[u8]| match silent {
            true => Reply::Silence,
            false => Reply::Trickle(b"x".to_vec()),
        };
        let slow_head = move |content: &[u8]| match slow(content) {
            Reply::Trickle(_) => Reply::Trickle(b"HTTP/1.1 200 OK\r\nX: y\r\nZ: ".to_vec()),
            other => other,
        };
        let pipe = Pipe::new(100, once(slow_head)).await;
        let mut options = pipe.options();
        options.timeouts.stall = Duration::from_secs(3);
        let report = sync(&options).await;
        assert_eq!(told(&report), PUBLISHED, "{report:?}");
        assert_eq!(pipe.server.asked_for(ODD).len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_bytes_come_no_faster_than_the_budget_allows() {
    let pipe = Pipe::new(1000, usual).await;
    let mut options = pipe.options();
    let rate = 200_000;
    options.politeness.bandwidth = Some(rate);
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    // A quarter of a second's worth may come at once.
    let shortest = (report.bytes_fetched - rate / 4) as f64 / rate as f64;
    assert!(
        shortest > 1.0 && report.seconds >= shortest,
        "{shortest} {report:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_ended_leaves_nothing_behind_but_its_blobs() {
    let cancel = CancellationToken::new();
    let end = cancel.clone();
    let pipe = Pipe::new(300, move |asked, _| {
        let many = asked.path.starts_with("pool");
        if many && asked.path.contains("99") {
            end.cancel();
            return Some(Reply::Silence);
        }
        None
    })
    .await;
    let options = pipe.options();
    let report = cancellable(&options, std::sync::Arc::new(Unwatched), cancel).await;
    assert_eq!(told(&report).1, Reason::SyncInterrupted, "{report:?}");
    drop(writer(&options));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_way_is_gone_by_many_requests_at_once() {
    const PACKAGES: usize = 2000;
    let archive = Archive::new();
    let packages = archive.many_packages(PACKAGES);
    archive.publish("stable", &packages, &Release::of(now() - 3600));
    let dir = TempDir::new().unwrap();
    let (_nginx, mut url) = nginx::serve(&archive.root(), dir.path());
    let to = url.socket_addrs(|| None).unwrap()[0];
    let relay = Relay::start(to, Duration::from_millis(10)).await;
    url.set_port(Some(relay.address.port())).unwrap();
    let options = options(
        archive.keyring(),
        &url,
        &dir.path().join("store"),
        &["stable"],
    );
    let report = sync(&options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    let deepest = relay.deepest.load(Ordering::Relaxed);
    assert!((8..=128).contains(&deepest), "{deepest} under way");
    let connections = relay.connections.load(Ordering::Relaxed);
    assert!(connections <= 16, "{connections} connections");
}
