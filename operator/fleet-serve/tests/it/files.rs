//! What a client gets for a path: whole files, parts, nothing new, pages, refusals.

use crate::common::{Connection, DATE, Store, fixed, identity, mutable, run, start};
use tempfile::TempDir;

const DEB: &str = "/debian/pool/main/a/a_1.0_amd64.deb";

fn debian(data: &TempDir) -> Store {
    let store = Store::new(data.path(), "debian");
    store.publish(
        1000,
        &[
            mutable("dists/trixie/InRelease", "release"),
            mutable(
                "dists/trixie/main/binary-amd64/Packages.gz",
                "not really gzip",
            ),
            fixed("pool/main/a/a_1.0_amd64.deb", "0123456789"),
            fixed("pool/main/b/b_1%3a2+b1_all.deb", "literal"),
            fixed("pool/main/c/<c>&d.txt", "odd"),
        ],
    );
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_comes_with_all_that_identifies_it() {
    let data = TempDir::new().unwrap();
    let _store = debian(&data);
    let server = start(data.path()).await;
    let whole = server.get(DEB).await;
    assert_eq!(
        (whole.status, whole.body.as_slice()),
        (200, b"0123456789".as_slice())
    );
    assert_eq!(
        whole.header("etag"),
        Some("\"84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882\"")
    );
    assert_eq!(whole.header("last-modified"), Some(DATE));
    assert_eq!(
        whole.header("content-type"),
        Some("application/vnd.debian.binary-package")
    );
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    assert_eq!(
        whole.header("cache-control"),
        Some("public, max-age=31536000, immutable")
    );
    let index = server
        .get("/debian/dists/trixie/main/binary-amd64/Packages.gz")
        .await;
    assert_eq!(index.header("content-type"), Some("application/gzip"));
    assert_eq!(index.header("content-encoding"), None);
    assert_eq!(index.header("cache-control"), Some("no-cache"));
    let head = server.ask("HEAD", DEB, &[("Range", "bytes=0-1")]).await;
    assert_eq!(
        (head.status, head.header("content-length"), head.body.len()),
        (200, Some("10"), 0)
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_and_conditions() {
    let data = TempDir::new().unwrap();
    let _store = debian(&data);
    let server = start(data.path()).await;
    let part = server.ask("GET", DEB, &[("Range", "bytes=2-4")]).await;
    assert_eq!(
        (
            part.status,
            part.header("content-range"),
            part.text().as_str()
        ),
        (206, Some("bytes 2-4/10"), "234")
    );
    let tail = server
        .ask("GET", DEB, &[("Range", "bytes=-3"), ("If-Range", DATE)])
        .await;
    assert_eq!((tail.status, tail.text().as_str()), (206, "789"));
    let other = server
        .ask(
            "GET",
            DEB,
            &[("Range", "bytes=-3"), ("If-Range", "\"other\"")],
        )
        .await;
    assert_eq!((other.status, other.text().as_str()), (200, "0123456789"));
    let beyond = server.ask("GET", DEB, &[("Range", "bytes=10-")]).await;
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (416, Some("bytes */10"))
    );
    let several = server.ask("GET", DEB, &[("Range", "bytes=0-0,5-6")]).await;
    assert_eq!((several.status, several.body.len()), (200, 10));
    let same = server.ask("GET", DEB, &[("If-Modified-Since", DATE)]).await;
    assert_eq!(
        (same.status, same.header("last-modified")),
        (304, Some(DATE))
    );
    let newer = server
        .ask(
            "GET",
            DEB,
            &[("If-Modified-Since", "Sun, 06 Nov 1994 08:49:38 GMT")],
        )
        .await;
    assert_eq!(newer.status, 200, "dates compare exactly");
    let tag = same.header("etag").unwrap();
    assert_eq!(
        server
            .ask("HEAD", DEB, &[("If-None-Match", tag)])
            .await
            .status,
        304
    );
    assert_eq!(
        server
            .ask("GET", DEB, &[("If-Match", "\"other\"")])
            .await
            .status,
        412
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_resumes_and_asks_for_news() {
    let data = TempDir::new().unwrap();
    let store = Store::new(data.path(), "debian");
    let content: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    store.publish(1000, &[fixed("big.iso", content.clone())]);
    let server = start(data.path()).await;
    let url = format!("http://{}/debian/big.iso", server.http);
    let file = data.path().join("big.iso");
    std::fs::write(&file, &content[..1_234_567]).unwrap();
    let arguments = |more: &str| {
        format!("-fsS -R {more} -o {} {url}", file.display())
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    run("curl", arguments("-C -")).await;
    assert_eq!(std::fs::read(&file).unwrap(), content);
    let status = run(
        "curl",
        arguments(&format!("-w %{{http_code}} -z {}", file.display())),
    )
    .await;
    assert_eq!(status, b"304");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_requests_in_one_packet_are_answered_in_order() {
    let data = TempDir::new().unwrap();
    let store = Store::new(data.path(), "debian");
    let big = vec![7; 600_000];
    store.publish(
        1000,
        &[
            fixed("big", big.clone()),
            fixed("small", "s"),
            mutable("InRelease", "r"),
        ],
    );
    let server = start(data.path()).await;
    let mut connection = Connection::open(server.http).await;
    let paths = [
        "big",
        "small",
        "nothing",
        "InRelease",
        "big",
        "big",
        "small",
        "%2e%2e",
        "InRelease",
        "small",
    ];
    for path in paths {
        connection
            .send("GET", &format!("/debian/{path}"), &[])
            .await;
    }
    for path in paths {
        let reply = connection.receive("GET").await;
        let expected = match path {
            "big" => (200, big.len()),
            "nothing" => (404, reply.body.len()),
            "%2e%2e" => (400, reply.body.len()),
            _ => (200, 1),
        };
        assert_eq!((reply.status, reply.body.len()), expected, "{path}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_found_however_clients_write_them() {
    let data = TempDir::new().unwrap();
    let _store = debian(&data);
    let server = start(data.path()).await;
    for path in [
        "/debian/pool/main/b/b_1%3a2+b1_all.deb",
        "/debian/pool/main/b/b_1%253a2%2bb1_all.deb",
    ] {
        assert_eq!(server.get(path).await.text(), "literal", "{path}");
    }
    for path in [
        "//debian//dists/./trixie/InRelease",
        "/debian/dists%2Ftrixie/InRelease?x=1",
        "/%64ebian/dists/trixie/InRelease",
    ] {
        assert_eq!(server.get(path).await.text(), "release", "{path}");
    }
    for path in [
        "/debian/../debian/dists/trixie/InRelease",
        "/%2e%2e/etc/passwd",
        "/debian/..%2f..%2fstore.json",
    ] {
        assert_eq!(server.get(path).await.status, 400, "{path}");
    }
    for path in [
        "/debian/store.json",
        "/debian/dists/trixie/InRelease/",
        "/other/",
        "/.mirrorfleet/",
        "/debian/a%00b",
        "/debian/%ff",
    ] {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_are_pages_behind_a_slash() {
    let data = TempDir::new().unwrap();
    let _store = debian(&data);
    let quiet = Store::with(data.path(), "quiet", &{
        let mut identity = identity("quiet", "quiet");
        identity.directory_listing = false;
        identity
    });
    quiet.publish(1, &[fixed("a", "a")]);
    let server = start(data.path()).await;
    for (path, location) in [
        ("/debian", "/debian/"),
        ("//debian/pool", "/debian/pool/"),
        ("/debian/pool/main/./c", "/debian/pool/main/c/"),
    ] {
        let reply = server.get(path).await;
        assert_eq!(
            (reply.status, reply.header("location")),
            (301, Some(location)),
            "{path}"
        );
    }
    // Nobody writes a page to say how long it would be.
    let head = server.ask("HEAD", "/debian/pool/main/c/", &[]).await;
    assert_eq!((head.status, head.header("content-length")), (200, None));
    assert_eq!(
        head.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let page = server.get("/debian/pool/main/c/").await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    assert!(
        page.text()
            .contains("href=\"%3Cc%3E%26d.txt\">&lt;c&gt;&amp;d.txt</a>"),
        "{}",
        page.text()
    );
    let top = server.get("/debian/").await.text();
    assert!(
        top.contains("<a href=\"dists/\">dists/</a>")
            && top.contains("<a href=\"pool/\">pool/</a>"),
        "{top}"
    );
    let front = server.get("/").await.text();
    assert!(
        front.contains("<a href=\"debian/\">debian</a>") && front.contains("<a href=\"quiet/\">"),
        "{front}"
    );
    assert_eq!(server.get("/quiet/").await.status, 403);
    assert_eq!(server.get("/quiet/a").await.text(), "a");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_and_broken_requests_are_refused() {
    let data = TempDir::new().unwrap();
    let _store = debian(&data);
    let server = start(data.path()).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let reply = server.ask(method, DEB, &[("Content-Length", "0")]).await;
        assert_eq!(
            (reply.status, reply.header("allow")),
            (405, Some("GET, HEAD")),
            "{method}"
        );
    }
    let many = vec![("X-Many", "x"); 101];
    assert_eq!(server.ask("GET", DEB, &many).await.status, 431);
    for broken in [
        "GARBAGE\r\n\r\n",
        "GET  HTTP/1.1\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    ] {
        let mut connection = Connection::open(server.http).await;
        tokio::io::AsyncWriteExt::write_all(&mut connection.stream, broken.as_bytes())
            .await
            .unwrap();
        let mut answer = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut connection.stream, &mut answer).await;
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
            "{broken:?}: {}",
            String::from_utf8_lossy(&answer)
        );
    }
    assert_eq!(server.get(DEB).await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_blob_is_a_503_and_never_a_short_body() {
    let data = TempDir::new().unwrap();
    let store = debian(&data);
    let server = start(data.path()).await;
    let blob = store.blob("pool/main/a/a_1.0_amd64.deb");
    std::fs::remove_file(&blob).unwrap();
    let missing = server.get(DEB).await;
    assert_eq!(
        (missing.status, missing.header("retry-after")),
        (503, Some("30"))
    );
    std::fs::write(&blob, "0123").unwrap();
    assert_eq!(server.get(DEB).await.status, 503);
    assert_eq!(server.ask("HEAD", DEB, &[]).await.status, 503);
    std::fs::write(&blob, "0123456789").unwrap();
    assert_eq!(server.get(DEB).await.status, 200);
    server.stop().await;
}

#[test]
fn hostile_paths_never_break_the_server() {
    use proptest::prelude::*;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let data = TempDir::new().unwrap();
    let _store = debian(&data);
    let server = runtime.block_on(start(data.path()));
    let path = "/(debian|\\.mirrorfleet/(s|status))?(/|%[0-9a-fA-F]{0,2}|\\.{1,2}|[!-~]){0,60}";
    proptest!(ProptestConfig::with_cases(300), |(path in path, range in "[ -~]{0,30}")| {
        let reply = runtime.block_on(async {
            let mut connection = Connection::open(server.http).await;
            connection.send("GET", &path, &[("Range", &range), ("If-None-Match", &range)]).await;
            connection.receive("GET").await
        });
        prop_assert!(matches!(reply.status, 200 | 206 | 301 | 304 | 400 | 404 | 412 | 416), "{} {}", reply.status, path);
    });
    runtime.block_on(server.stop());
}
