//! Where the regions are: a list for each client, from a file that is replaced while the server runs.

use std::path::Path;

use crate::common::{Reply, Running, Store, mutable, start, start_told};
use tempfile::TempDir;

const LIST: &str = "/.mirrorfleet/mirrorlist/debian";
const URLS: [&str; 3] = [
    "https://eu.example.org/debian/",
    "https://us.example.org/debian/",
    "http://asia.example.org/x/debian/",
];

/// As the kubelet does: never half of it.
fn write(dir: &Path, text: &str) {
    std::fs::write(dir.join("new"), text).unwrap();
    std::fs::rename(dir.join("new"), dir.join("debian")).unwrap();
}

/// The three regions, of which the second has clients of its own, behind proxies.
fn three() -> String {
    let [eu, us, asia] = URLS;
    format!(
        r#"{{"regions": [
            {{"name": "eu", "url": "{eu}"}},
            {{"name": "us", "url": "{us}", "clients": ["198.51.100.0/24", "127.0.0.2/32"]}},
            {{"name": "asia", "url": "{asia}", "clients": ["198.51.100.128/25"], "doubtful": false}}
        ], "trustedProxies": ["127.0.0.0/8"]}}"#
    )
}

fn lines(order: [usize; 3]) -> String {
    let ranked = (1..).zip(order);
    ranked
        .map(|(rank, at)| format!("{}\tpriority:{rank}\n", URLS[at]))
        .collect()
}

/// What apt must see: all of it, and nothing by which it could ask for a part the next time.
fn is_whole(reply: &Reply) {
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("Cache-Control"), Some("private, no-store"));
    assert_eq!(
        reply.header("Content-Type"),
        Some("text/plain; charset=utf-8")
    );
    for name in ["ETag", "Last-Modified", "Accept-Ranges", "Content-Range"] {
        assert_eq!(reply.header(name), None, "{name}");
    }
}

async fn from(server: &Running, forwarded: &str) -> Reply {
    server
        .ask("GET", LIST, &[("X-Forwarded-For", forwarded)])
        .await
}

#[tokio::test]
async fn a_list_is_whole_whatever_is_asked_and_for_one_client() {
    let (data, lists) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = Store::new(data.path(), "debian");
    // Where there is nothing to serve yet, others may have something.
    write(lists.path(), &three());
    let server = start_told(data.path(), (None, Some(lists.path())), None).await;
    let first = server.get(LIST).await;
    is_whole(&first);
    assert_eq!(first.text(), lines([0, 1, 2]));
    assert_eq!(first.header("Vary"), Some("x-forwarded-for"));
    store.publish(1, &[mutable("dists/trixie/InRelease", "release 1")]);
    for conditions in [
        &[("Range", "bytes=10-")][..],
        &[("Range", "bytes=5000-")],
        &[
            ("Range", "bytes=10-"),
            ("If-Range", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ],
        &[("If-Modified-Since", "Sun, 06 Nov 2094 08:49:37 GMT")],
        &[("If-None-Match", "*")],
    ] {
        let reply = server.ask("GET", LIST, conditions).await;
        is_whole(&reply);
        assert_eq!(reply.text(), lines([0, 1, 2]), "{conditions:?}");
    }
    assert_eq!(from(&server, "198.51.100.7").await.text(), lines([1, 0, 2]));
    assert_eq!(
        from(&server, "198.51.100.200").await.text(),
        lines([2, 1, 0])
    );
    // What stands left of a client's own address, it wrote itself.
    let forged = from(&server, "198.51.100.7, 203.0.113.1").await;
    assert_eq!(forged.text(), lines([0, 1, 2]));
    let slash = server.get(&format!("{LIST}/")).await;
    assert_eq!(slash.text(), lines([0, 1, 2]));
    let head = server.ask("HEAD", LIST, &[]).await;
    is_whole(&head);
    for missing in [
        "/.mirrorfleet/mirrorlist/other",
        "/.mirrorfleet/mirrorlist/debian/x",
        "/.mirrorfleet/mirrorlist",
    ] {
        assert_eq!(server.get(missing).await.status, 404, "{missing}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_list_that_is_replaced_counts_at_once_and_one_that_cannot_be_read_leaves_this_server() {
    let (data, lists) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    Store::new(data.path(), "debian");
    let server = start_told(data.path(), (None, Some(lists.path())), None).await;
    let alone = "http://mirror.example.org/debian/\tpriority:1\n";
    let asked = async || {
        let reply = server.get(LIST).await;
        is_whole(&reply);
        reply.text()
    };
    assert_eq!(asked().await, alone, "before anybody told it");
    write(lists.path(), &three());
    assert_eq!(asked().await, lines([0, 1, 2]));
    let [eu, ..] = URLS;
    write(
        lists.path(),
        &format!(r#"{{"regions": [{{"name": "eu", "url": "{eu}"}}]}}"#),
    );
    assert_eq!(asked().await, format!("{eu}\tpriority:1\n"));
    for text in [
        "",
        "{}",
        r#"{"regions": []}"#,
        "no list",
        "{\"regions\": 1}",
    ] {
        write(lists.path(), text);
        assert_eq!(asked().await, alone, "{text:?}");
    }
    server.stop().await;
    let by_itself = start(data.path()).await;
    let behind = [
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "a.example:8443"),
    ];
    let reply = by_itself.ask("GET", LIST, &behind).await;
    assert_eq!(reply.text(), alone, "anybody can say that");
    by_itself.stop().await;
    write(lists.path(), r#"{"trustedProxies": ["127.0.0.0/8"]}"#);
    let trusting = start_told(data.path(), (None, Some(lists.path())), None).await;
    let reply = trusting.ask("GET", LIST, &behind).await;
    assert_eq!(reply.text(), "https://a.example:8443/debian/\tpriority:1\n");
    trusting.stop().await;
}
