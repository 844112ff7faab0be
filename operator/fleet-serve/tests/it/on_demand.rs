//! What a snapshot lists and is not here: it is asked for, and sent as it comes.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_origin::{Grower, Growing, Missing, Obtained, Origin, Wanted};
use fleet_types::documents::{NotKept, ServedStatus, UnixSeconds};
use fleet_types::{Reason, Sha256};
use futures::FutureExt;
use futures::future::BoxFuture;
use tempfile::TempDir;

use crate::common::{
    Connection, Store, certificate, digest, fixed, on_demand, start, start_filled,
};

const DEB: &str = "/debian/pool/a.deb";

/// Does what a test says with each question.
struct Told {
    answer: Box<dyn Fn(Sha256) -> Obtained + Send + Sync>,
    asked: AtomicUsize,
    used: Mutex<Vec<Sha256>>,
}

impl Told {
    fn new(answer: impl Fn(Sha256) -> Obtained + Send + Sync + 'static) -> Arc<Told> {
        Arc::new(Told {
            answer: Box::new(answer),
            asked: AtomicUsize::new(0),
            used: Mutex::default(),
        })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Origin for Told {
    fn obtain(&self, missing: Missing<'_>) -> BoxFuture<'static, Obtained> {
        assert_eq!(missing.mirror, "debian");
        let Wanted::Content { path, digest, .. } = missing.wanted;
        assert_eq!(path, "pool/a.deb");
        self.asked.fetch_add(1, Ordering::Relaxed);
        std::future::ready((self.answer)(digest)).boxed()
    }

    fn used(&self, mirror: &str, digests: Vec<Sha256>) {
        assert_eq!(mirror, "debian");
        self.used.lock().unwrap().extend(digests);
    }

    fn not_kept(&self) -> BTreeMap<String, NotKept> {
        let full = NotKept::full(UnixSeconds(7));
        BTreeMap::from([("debian".to_owned(), full)])
    }
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

fn listed(data: &TempDir, content: &[u8]) -> (Store, PathBuf) {
    let store = Store::new(data.path(), "debian");
    let names = [
        on_demand("pool/a.deb", content),
        fixed("pool/b.deb", "here"),
    ];
    store.publish(1000, &names);
    let blob = store.blob("pool/a.deb");
    (store, blob)
}

/// As who fills the store does.
fn put(blob: &PathBuf, content: &[u8]) {
    fs::create_dir_all(blob.parent().unwrap()).unwrap();
    fs::write(blob, content).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_asked_for_once_and_what_needs_no_bytes_asks_for_nothing() {
    let data = TempDir::new().unwrap();
    let (_store, blob) = listed(&data, b"0123456789");
    let origin = Told::new(move |digest| {
        put(&blob, b"0123456789");
        Obtained::Blob(digest)
    });
    let server = start_filled(data.path(), None, origin.clone()).await;
    let head = server.ask("HEAD", DEB, &[]).await;
    let length = head.header("content-length").map(str::to_owned);
    assert_eq!((head.status, length.as_deref()), (200, Some("10")));
    let tag = head.header("etag").unwrap();
    assert_eq!(tag, format!("\"{}\"", digest(b"0123456789")));
    let same = server.ask("GET", DEB, &[("If-None-Match", tag)]).await;
    assert_eq!(same.status, 304);
    let beyond = server.ask("GET", DEB, &[("Range", "bytes=10-")]).await;
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (416, Some("bytes */10"))
    );
    let page = server.get("/debian/pool/").await.text();
    assert!(page.contains("a.deb") && page.contains("b.deb"), "{page}");
    assert_eq!(origin.asked(), 0);
    let part = server.ask("GET", DEB, &[("Range", "bytes=2-4")]).await;
    assert_eq!((part.status, part.text().as_str()), (206, "234"));
    let whole = server.get(DEB).await;
    assert_eq!((whole.status, whole.text().as_str()), (200, "0123456789"));
    assert_eq!(whole.header("etag"), head.header("etag"));
    assert_eq!(origin.asked(), 1);
    let used = || origin.used.lock().unwrap().contains(&digest(b"0123456789"));
    while !used() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn that_nothing_can_be_kept_is_told_to_operators_in_words_and_to_clients_in_none() {
    let data = TempDir::new().unwrap();
    let _store = listed(&data, b"0123456789");
    let server = start_filled(data.path(), None, Told::new(Obtained::Blob)).await;
    let path = "/.mirrorfleet/status/debian";
    let told = server.get_metrics(path).await.body;
    let told: ServedStatus = serde_json::from_slice(&told).unwrap();
    assert_eq!(told.not_kept, Some(NotKept::full(UnixSeconds(7))));
    let public = server.get(path).await.text();
    assert!(public.contains(r#""hasProblem":true"#), "{public}");
    assert!(!public.contains("full"), "{public}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_is_told_in_words_and_by_its_status() {
    let data = TempDir::new().unwrap();
    let _store = listed(&data, b"0123456789");
    let away = || Obtained::Refused(Reason::UpstreamUnreachable, "nobody answers".to_owned());
    let wrong = || Obtained::Refused(Reason::DigestMismatch, "other content".to_owned());
    let full = || Obtained::Refused(Reason::StorageFull, "no room".to_owned());
    let busy = || Obtained::Busy(Duration::from_secs(7));
    type Case = (fn() -> Obtained, u16, &'static str);
    let cases: [Case; 5] = [
        (away, 504, "UpstreamUnreachable: nobody answers"),
        (wrong, 502, "DigestMismatch: other content"),
        (full, 503, "StorageFull: no room"),
        (busy, 503, "too much"),
        (|| Obtained::Absent, 404, "does not have it"),
    ];
    for (answer, status, words) in cases {
        let server = start_filled(data.path(), None, Told::new(move |_| answer())).await;
        let mut connection = Connection::open(server.http).await;
        connection.send("GET", DEB, &[]).await;
        let reply = connection.receive("GET").await;
        assert_eq!(reply.status, status, "{reply:?}");
        assert!(reply.text().contains(words), "{reply:?}");
        if words == "too much" {
            assert_eq!(reply.header("retry-after"), Some("7"));
        }
        // The connection goes on.
        connection.send("GET", "/debian/pool/b.deb", &[]).await;
        assert_eq!(connection.receive("GET").await.text(), "here");
        server.stop().await;
    }
    let server = start(data.path()).await;
    let reply = server.get(DEB).await;
    assert_eq!(reply.status, 504, "{reply:?}");
    assert!(reply.text().contains("nothing here fetches"), "{reply:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_that_it_is_here_and_is_wrong_is_asked_no_more_than_a_few_times() {
    let data = TempDir::new().unwrap();
    let _store = listed(&data, b"0123456789");
    let origin = Told::new(Obtained::Blob);
    let server = start_filled(data.path(), None, origin.clone()).await;
    assert_eq!(server.get(DEB).await.status, 503);
    assert!((1..=4).contains(&origin.asked()), "{}", origin.asked());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_what_its_name_says_is_never_sent() {
    let data = TempDir::new().unwrap();
    let (_store, blob) = listed(&data, b"0123456789");
    put(&blob, b"0123456780");
    let mend = blob.clone();
    let origin = Told::new(move |digest| {
        fs::remove_file(&mend).unwrap();
        put(&mend, b"0123456789");
        Obtained::Blob(digest)
    });
    let server = start_filled(data.path(), None, origin.clone()).await;
    assert_eq!(server.get(DEB).await.text(), "0123456789");
    assert_eq!(origin.asked(), 1);
    let mode = fs::Permissions::from_mode(0o444);
    fs::set_permissions(&blob, mode).unwrap();
    assert_eq!(server.get(DEB).await.text(), "0123456789");
    server.stop().await;
}

/// Something large that comes, and who lets it come.
fn large() -> (Vec<u8>, Arc<Mutex<Option<Grower>>>, Growing, fs::File) {
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let file = tempfile::tempfile().unwrap();
    let (grower, growing) = Growing::new(Arc::new(file.try_clone().unwrap()), content.len() as u64);
    (content, Arc::new(Mutex::new(Some(grower))), growing, file)
}

/// What curl makes of it.
async fn curl(arguments: Vec<String>) -> Output {
    let run = move || {
        Command::new("curl")
            .args(["-sS", "--max-time", "60"])
            .args(arguments)
            .output()
    };
    tokio::task::spawn_blocking(run)
        .await
        .unwrap()
        .expect("curl is needed")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_is_sent_as_it_comes_whole_or_in_part_over_every_protocol() {
    let data = TempDir::new().unwrap();
    let tls = certificate(data.path(), "localhost").await;
    for (protocol, secure) in [("--http1.1", false), ("--http1.1", true), ("--http2", true)] {
        let (content, grower, growing, mut file) = large();
        let folder = TempDir::new().unwrap();
        let _store = listed(&folder, &content);
        let origin = Told::new(move |_| Obtained::Growing(growing.clone()));
        let files = secure.then(|| tls.clone());
        let server = start_filled(folder.path(), files, origin).await;
        let scheme = if secure { "https" } else { "http" };
        let url = format!("{scheme}://localhost:{}{DEB}", server.http.port());
        let ask = |more: &[&str]| {
            let ours = [
                "--resolve",
                &format!("localhost:{}:127.0.0.1", server.http.port()),
                "-k",
                protocol,
                &url,
            ]
            .map(str::to_owned);
            tokio::spawn(curl(
                ours.into_iter()
                    .chain(more.iter().map(|part| (*part).to_owned()))
                    .collect(),
            ))
        };
        let (whole, part) = (ask(&[]), ask(&["-r", "1999990-2000009"]));
        for piece in content.chunks(500_000) {
            file.write_all(piece).unwrap();
            let until = file.metadata().unwrap().len();
            grower.lock().unwrap().as_ref().unwrap().release(until);
            tokio::task::yield_now().await;
        }
        let (whole, part) = (whole.await.unwrap(), part.await.unwrap());
        assert!(
            whole.status.success() && part.status.success(),
            "{protocol}: {whole:?}"
        );
        assert!(whole.stdout == content, "{protocol}");
        assert!(part.stdout == content[1_999_990..2_000_010], "{protocol}");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_turns_out_to_be_wrong_is_cut_short_over_every_protocol() {
    let data = TempDir::new().unwrap();
    let tls = certificate(data.path(), "localhost").await;
    for (protocol, secure) in [("--http1.1", false), ("--http1.1", true), ("--http2", true)] {
        let (content, grower, growing, mut file) = large();
        let folder = TempDir::new().unwrap();
        let _store = listed(&folder, &content);
        let origin = Told::new(move |_| Obtained::Growing(growing.clone()));
        let files = secure.then(|| tls.clone());
        let server = start_filled(folder.path(), files, origin.clone()).await;
        let scheme = if secure { "https" } else { "http" };
        let url = format!("{scheme}://localhost:{}{DEB}", server.http.port());
        let resolve = format!("localhost:{}:127.0.0.1", server.http.port());
        let arguments = ["--resolve", &resolve, "-k", protocol, &url].map(str::to_owned);
        let asking = tokio::spawn(curl(arguments.to_vec()));
        file.write_all(&content[..2_900_000]).unwrap();
        grower.lock().unwrap().as_ref().unwrap().release(2_900_000);
        while origin.asked() == 0 {
            tokio::task::yield_now().await;
        }
        grower
            .lock()
            .unwrap()
            .take()
            .unwrap()
            .fail("wrong".to_owned());
        let cut = asking.await.unwrap();
        assert!(!cut.status.success(), "{protocol}: curl takes it for whole");
        assert!(cut.stdout.len() <= 2_900_000, "{protocol}");
        // Others are served.
        let beside = format!(
            "{scheme}://localhost:{}/debian/pool/b.deb",
            server.http.port()
        );
        let other = ["--resolve", &resolve, "-k", protocol, &beside].map(str::to_owned);
        assert_eq!(curl(other.to_vec()).await.stdout, b"here");
        server.stop().await;
    }
}
