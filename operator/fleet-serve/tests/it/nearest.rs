//! One file: where else it is, what it must be, and where the client is sent.

use std::path::Path;

use crate::common::{Reply, Running, Store, fixed, mutable, start, start_told};
use tempfile::TempDir;

const PACKAGE: &str = "/.mirrorfleet/nearest/debian/pool/a+b_1%3A2.deb";
const INDEX: &str = "/.mirrorfleet/nearest/debian/dists/trixie/InRelease";
/// SHA-256 of `package`, in the alphabet of base64.
const DIGEST: &str = "vEpxGAhw95RRVfuwL0sKLj+qKmLW0xtwOQEwVe0Zhpo=";

fn write(dir: &Path, text: &str) {
    std::fs::write(dir.join("new"), text).unwrap();
    std::fs::rename(dir.join("new"), dir.join("debian")).unwrap();
}

/// Regions of which this server is `eu-1`; clients of 198.51.100.0/24 are near to `us`.
fn regions(together: bool, us_is_doubtful: bool) -> String {
    format!(
        r#"{{"together": {together}, "trustedProxies": ["127.0.0.0/8"], "regions": [
            {{"name": "eu-1", "url": "https://eu.example.org/debian/"}},
            {{"name": "us", "url": "https://us.example.org/debian/", "clients": ["198.51.100.0/24"], "doubtful": {us_is_doubtful}}}
        ]}}"#
    )
}

async fn served(list: &str) -> (Running, TempDir, TempDir) {
    let (data, lists) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write(lists.path(), list);
    let store = Store::new(data.path(), "debian");
    let names = [
        fixed("pool/a+b_1:2.deb", "package"),
        mutable("dists/trixie/InRelease", "release"),
    ];
    store.publish(1, &names);
    let server = start_told(data.path(), (None, Some(lists.path())), None).await;
    (server, data, lists)
}

async fn from(server: &Running, client: &str, path: &str) -> Reply {
    server
        .ask("GET", path, &[("X-Forwarded-For", client)])
        .await
}

const EU: &str = "https://eu.example.org/debian/pool/a+b_1%3A2.deb";
const US: &str = "https://us.example.org/debian/pool/a+b_1%3A2.deb";

fn links(urls: &[&str]) -> Vec<String> {
    let ranked = (1..).zip(urls);
    ranked
        .map(|(rank, url)| format!("<{url}>; rel=duplicate; pri={rank}"))
        .collect()
}

fn is_described(reply: &Reply, urls: &[&str]) {
    assert_eq!(reply.headers("Link"), links(urls));
    let digest = format!("sha-256=:{DIGEST}:");
    assert_eq!(reply.header("Repr-Digest"), Some(digest.as_str()));
    let before = format!("SHA-256={DIGEST}");
    assert_eq!(reply.header("Digest"), Some(before.as_str()));
    assert_eq!(reply.header("Cache-Control"), Some("private, no-store"));
    assert_eq!(reply.header("Vary"), Some("x-forwarded-for"));
}

#[tokio::test]
async fn a_client_is_sent_to_the_nearest_place_and_told_of_the_others() {
    let (server, _data, _lists) = served(&regions(true, false)).await;
    let here = from(&server, "203.0.113.1", PACKAGE).await;
    assert_eq!((here.status, here.text().as_str()), (200, "package"));
    is_described(&here, &[EU, US]);
    let there = from(&server, "198.51.100.7", PACKAGE).await;
    assert_eq!((there.status, there.header("Location")), (302, Some(US)));
    is_described(&there, &[US, EU]);
    let part = [("X-Forwarded-For", "203.0.113.1"), ("Range", "bytes=3-")];
    let part = server.ask("GET", PACKAGE, &part).await;
    assert_eq!((part.status, part.text().as_str()), (206, "kage"));
    is_described(&part, &[EU, US]);
    let head = server.ask("HEAD", PACKAGE, &[]).await;
    assert_eq!(head.status, 200);
    is_described(&head, &[EU, US]);
    // Whoever connects is the proxy; what else is said is a client's own word.
    let forged = from(&server, "198.51.100.7, 203.0.113.1", PACKAGE).await;
    assert_eq!(forged.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn what_changes_and_what_others_may_lack_comes_from_here() {
    let (server, _data, lists) = served(&regions(true, false)).await;
    let index = from(&server, "198.51.100.7", INDEX).await;
    assert_eq!((index.status, index.text().as_str()), (200, "release"));
    assert_eq!(
        index.headers("Link"),
        ["<https://eu.example.org/debian/dists/trixie/InRelease>; rel=duplicate; pri=1"]
    );
    assert!(index.header("Repr-Digest").is_some());
    write(lists.path(), &regions(false, false));
    let alone = from(&server, "198.51.100.7", PACKAGE).await;
    assert_eq!(alone.status, 200);
    is_described(&alone, &[EU]);
    write(lists.path(), &regions(true, true));
    let doubted = from(&server, "198.51.100.7", PACKAGE).await;
    assert_eq!(doubted.status, 200);
    is_described(&doubted, &[EU, US]);
    server.stop().await;
}

#[tokio::test]
async fn it_is_never_empty_and_what_is_no_file_is_answered_as_ever() {
    let data = TempDir::new().unwrap();
    let store = Store::new(data.path(), "debian");
    store.publish(1, &[fixed("pool/a+b_1:2.deb", "package")]);
    let server = start(data.path()).await;
    let reply = server.get(PACKAGE).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.headers("Link"),
        links(&["http://mirror.example.org/debian/pool/a+b_1%3A2.deb"])
    );
    assert_eq!(reply.header("Vary"), None);
    let missing = server.get("/.mirrorfleet/nearest/debian/pool/none").await;
    assert_eq!((missing.status, missing.header("Link")), (404, None));
    let folder = server.get("/.mirrorfleet/nearest/debian/pool").await;
    assert_eq!(
        (folder.status, folder.header("Location")),
        (301, Some("/.mirrorfleet/nearest/debian/pool/"))
    );
    assert_eq!(
        server.get("/.mirrorfleet/nearest/other/x").await.status,
        404
    );
    server.stop().await;
}
