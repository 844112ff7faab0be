//! What is served besides the paths of a snapshot: links, and our own trace files.

use crate::common::{DATE, MTIME, Store, fixed, identity, mutable, start};
use fleet_types::documents::{OwnFile, OwnFiles, UnixSeconds};
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn a_link_leads_to_what_it_stands_for_in_each_snapshot() {
    let data = TempDir::new().unwrap();
    let store = Store::new(data.path(), "debian");
    let old = [
        mutable("dists/bookworm/InRelease", "bookworm"),
        fixed("dists/bookworm/main/by-hash/SHA256/aa", "old index"),
    ];
    let first = store.prepare_linked(1, &old, &[("dists/stable", "dists/bookworm")]);
    store.writer.publish(&first, 1).unwrap();
    let server = start(data.path()).await;
    assert_eq!(
        server.get("/debian/dists/stable/InRelease").await.text(),
        "bookworm"
    );

    let new = [mutable("dists/trixie/InRelease", "trixie")];
    let links = [
        ("dists/stable", "dists/trixie"),
        ("dists/a/b", "dists/trixie"),
    ];
    let second = store.prepare_linked(2, &new, &links);
    store.writer.publish(&second, 2).unwrap();
    let before = format!("/.mirrorfleet/s/debian/{first}/dists/stable/InRelease");
    server.wait_for("/debian/dists/a/b/InRelease", 200).await;
    assert_eq!(
        server.get("/debian/dists/stable/InRelease").await.text(),
        "trixie"
    );
    assert_eq!(server.get(&before).await.text(), "bookworm");
    // A client that began with the older stable finds what that named.
    let index = server
        .get("/debian/dists/stable/main/by-hash/SHA256/aa")
        .await;
    assert_eq!((index.status, index.text().as_str()), (200, "old index"));
    assert_eq!(server.get("/debian/dists/stable/none").await.status, 404);
    assert_eq!(
        server.get("/debian/dists/stablex/InRelease").await.status,
        404
    );

    let page = server.get("/debian/dists/").await.text();
    for name in ["href=\"a/\"", "href=\"stable/\"", "href=\"trixie/\""] {
        assert_eq!(page.matches(name).count(), 1, "{name}: {page}");
    }
    let moved = server.get("/debian/dists/stable").await;
    assert_eq!(
        (moved.status, moved.header("location")),
        (301, Some("/debian/dists/stable/"))
    );
    assert!(
        server
            .get("/debian/dists/stable/")
            .await
            .text()
            .contains("InRelease")
    );
    assert!(
        server
            .get("/debian/dists/a/")
            .await
            .text()
            .contains("href=\"b/\"")
    );
    server.stop().await;
}

fn own_files(name: &str) -> OwnFiles {
    let file = |path: &str, content: &str| OwnFile {
        path: format!("project/trace/{path}"),
        content: content.into(),
    };
    OwnFiles {
        modified: UnixSeconds(MTIME),
        heartbeat: None,
        files: vec![file("_traces", &format!("{name}\n")), file(name, "ours\n")],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn own_files_are_what_the_state_says_and_content_wins_over_it() {
    let data = TempDir::new().unwrap();
    let plain = Store::new(data.path(), "plain");
    plain.publish(1, &[mutable("dists/x/InRelease", "x")]);
    let named = identity("named", "named");
    let named = Store::with(data.path(), "named", &named);
    named.publish(
        1,
        &[
            fixed("project/trace/us", "the archive's own"),
            fixed("project/a", "a"),
        ],
    );
    let server = start(data.path()).await;
    for path in [
        "/plain/project/trace/plain",
        "/plain/project/",
        "/plain/project/trace/",
    ] {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
    assert!(!server.get("/plain/").await.text().contains("project"));

    for (store, name) in [(&plain, "plain"), (&named, "us")] {
        let files = own_files(name);
        let written = store.writer.state_write(OwnFiles::DOCUMENT, &files);
        written.unwrap();
    }
    let reply = server.get("/plain/project/trace/plain").await;
    assert_eq!(
        (reply.status, reply.header("last-modified")),
        (200, Some(DATE))
    );
    assert_eq!(reply.text(), "ours\n");
    let since = [("If-Modified-Since", DATE)];
    assert_eq!(
        server
            .ask("GET", "/plain/project/trace/plain", &since)
            .await
            .status,
        304
    );
    assert_eq!(server.get("/plain/project/trace").await.status, 301);
    assert_eq!(server.get("/plain/project/trace/plain/").await.status, 404);
    assert_eq!(server.get("/plain/project/trace/other").await.status, 404);
    let snapshot = plain.writer.current().unwrap().unwrap();
    let kept = format!("/.mirrorfleet/s/plain/{snapshot}/project/trace/plain");
    assert_eq!(server.get(&kept).await.status, 404, "it is in no snapshot");

    assert_eq!(
        server.get("/named/project/trace/us").await.text(),
        "the archive's own"
    );
    assert_eq!(
        server.get("/named/project/trace/_traces").await.text(),
        "us\n"
    );
    let page = server.get("/named/project/trace/").await.text();
    assert_eq!(page.matches("href=\"us\"").count(), 1, "{page}");
    assert_eq!(
        server
            .get("/named/")
            .await
            .text()
            .matches("href=\"project/\"")
            .count(),
        1
    );
    server.stop().await;
}
