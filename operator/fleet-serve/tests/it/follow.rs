//! What mirrors that follow this one get, at their own port.

use fleet_store::INDEX_VERSION;
use fleet_types::documents::{IndexPin, ServedStatus};
use tempfile::TempDir;

use crate::common::*;

const FOLLOW: &str = "/.mirrorfleet/follow/debian";

impl Running {
    async fn follower(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        let mut connection = Connection::open(self.follow).await;
        connection.send(method, path, headers).await;
        connection.receive(method).await
    }
}

fn names() -> [Name; 2] {
    [
        mutable("dists/trixie/InRelease", "release"),
        fixed("pool/a.deb", "0123456789"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_and_each_content_come_by_what_they_are() {
    let data = TempDir::new().unwrap();
    let store = Store::new(data.path(), "debian");
    let id = store.publish(1000, &names());
    // Not served, and listed: it can be copied.
    let prepared = store.prepare(2000, &[fixed("pool/b.deb", "b")]);
    let server = start(data.path()).await;
    for id in [id, prepared] {
        let pin = store.writer.index_pin(&id).unwrap();
        let path = format!("{FOLLOW}/snapshots/{id}");
        let whole = server.follower("GET", &path, &[]).await;
        assert_eq!((whole.status, whole.body.len() as u64), (200, pin.size));
        let file = data.path().join("debian/snapshots").join(id.to_string());
        assert_eq!(whole.body, std::fs::read(file).unwrap());
        let tag = format!("\"{}\"", pin.sha256);
        assert_eq!(whole.header("etag"), Some(tag.as_str()));
        assert_eq!(whole.header("last-modified"), None);
        let part = server
            .follower("GET", &path, &[("Range", "bytes=10-")])
            .await;
        assert_eq!((part.status, &part.body[..]), (206, &whole.body[10..]));
        let same = [("If-None-Match", tag.as_str())];
        assert_eq!(server.follower("GET", &path, &same).await.status, 304);
        let head = server.follower("HEAD", &path, &[]).await;
        assert_eq!((head.status, head.body.len()), (200, 0));
    }
    let digest = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882";
    let path = format!("{FOLLOW}/blobs/{digest}");
    let whole = server.follower("GET", &path, &[]).await;
    assert_eq!((whole.status, whole.text().as_str()), (200, "0123456789"));
    let forever = "public, max-age=31536000, immutable";
    assert_eq!(whole.header("cache-control"), Some(forever));
    let range = [("Range", "bytes=4-"), ("If-Range", "\"84d8\"")];
    assert_eq!(server.follower("GET", &path, &range).await.status, 200);
    let part = server.follower("GET", &path, &range[..1]).await;
    assert_eq!((part.status, part.text().as_str()), (206, "456789"));
    let beyond = [("Range", "bytes=10-")];
    assert_eq!(server.follower("GET", &path, &beyond).await.status, 416);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_and_what_is_no_name_is_said() {
    let data = TempDir::new().unwrap();
    let store = Store::new(data.path(), "debian");
    store.publish(1000, &names());
    let server = start(data.path()).await;
    let other = "ab".repeat(32);
    for (path, status, words) in [
        (format!("{FOLLOW}/snapshots/{other}"), 404, "not kept here"),
        (format!("{FOLLOW}/blobs/{other}"), 404, "no such content"),
        (
            format!("/.mirrorfleet/follow/other/blobs/{other}"),
            404,
            "no mirror of this name",
        ),
        (
            format!("{FOLLOW}/blobs/{}", &other[1..]),
            400,
            "64 hexadecimal digits",
        ),
        (
            format!("{FOLLOW}/blobs/{}", "zz".repeat(32)),
            400,
            "64 hexadecimal digits",
        ),
        (
            format!("{FOLLOW}/snapshots/current"),
            400,
            "64 hexadecimal digits",
        ),
        (
            format!("{FOLLOW}/blobs/ab/{}", &other[2..]),
            400,
            "64 hexadecimal digits",
        ),
        (format!("{FOLLOW}/blobs/../{other}"), 400, "upwards"),
        (format!("{FOLLOW}/staging/{other}"), 404, "here are"),
        (format!("{FOLLOW}/blobs/{other}/"), 404, "here are"),
        (format!("{FOLLOW}/"), 404, "here are"),
        (FOLLOW.to_owned(), 404, "here are"),
        // What clients and the controller ask for is elsewhere.
        ("/".to_owned(), 404, "here are"),
        ("/debian/pool/a.deb".to_owned(), 404, "here are"),
        ("/.mirrorfleet/status/debian".to_owned(), 404, "here are"),
        ("/metrics".to_owned(), 404, "here are"),
    ] {
        let reply = server.follower("GET", &path, &[]).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        assert!(reply.text().contains(words), "{path}: {}", reply.text());
    }
    let path = format!("{FOLLOW}/blobs/{other}");
    assert_eq!(server.follower("POST", &path, &[]).await.status, 405);
    // And the other way round.
    let digest = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882";
    let path = format!("{FOLLOW}/blobs/{digest}");
    assert_eq!(server.follower("GET", &path, &[]).await.status, 200);
    assert_eq!(server.get(&path).await.status, 404);
    assert_eq!(server.get_metrics(&path).await.status, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_tells_what_can_be_copied_and_what_this_program_reads() {
    let data = TempDir::new().unwrap();
    let store = Store::new(data.path(), "debian");
    let first = store.publish(1000, &names());
    let second = store.publish(2000, &[fixed("pool/b.deb", "b")]);
    let server = start(data.path()).await;
    let reply = server.get_metrics("/.mirrorfleet/status/debian").await;
    let status: ServedStatus = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(status.index_version, INDEX_VERSION);
    let told: Vec<_> = status.kept.iter().map(|kept| kept.index).collect();
    let pin = |id| store.writer.index_pin(id).ok();
    let pins: Vec<Option<IndexPin>> = vec![pin(&first), pin(&second)];
    assert_eq!(told, pins);
    // Clients are not told.
    let public = server.get("/.mirrorfleet/status/debian").await;
    assert!(!public.text().contains("index"), "{}", public.text());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_followers_come_clients_and_probes_are_answered() {
    let data = TempDir::new().unwrap();
    let store = Store::new(data.path(), "debian");
    let large = vec![7; 32 << 20];
    store.publish(
        1000,
        &[fixed("pool/large.deb", large), fixed("pool/a.deb", "a")],
    );
    let server = start(data.path()).await;
    let digest = store.writer.current_snapshot().unwrap().unwrap();
    let digest = digest.get("pool/large.deb").unwrap().digest;
    let path = format!("{FOLLOW}/blobs/{digest}");
    // They take nothing of what they asked for.
    let mut copies = Vec::new();
    for _ in 0..300 {
        let mut copy = Connection::open(server.follow).await;
        copy.send("GET", &path, &[]).await;
        copies.push(copy);
    }
    for _ in 0..20 {
        assert_eq!(server.get("/debian/pool/a.deb").await.status, 200);
        assert_eq!(server.get_metrics("/readyz").await.status, 200);
    }
    drop(copies);
    server.stop().await;
}
