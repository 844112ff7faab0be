//! What clients see while snapshots, stores, certificates and the process itself come and go.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::{
    Connection, PATIENCE, Store, certificate, fixed, identity, mutable, run, start, start_with,
};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_found_while_running_and_waits_for_its_first_snapshot() {
    let data = TempDir::new().unwrap();
    let server = start(data.path()).await;
    assert_eq!(server.get("/debian/").await.status, 404);
    let empty = server.get_metrics("/readyz").await;
    assert_eq!(empty.status, 503, "{}", empty.text());
    let store = Store::new(data.path(), "debian");
    let waiting = server.wait_for("/debian/dists/trixie/InRelease", 503).await;
    assert_eq!(waiting.header("retry-after"), Some("30"));
    let unready = server.get_metrics("/readyz").await;
    assert!(
        unready.status == 503 && unready.text().contains("debian: has no snapshot"),
        "{}",
        unready.text()
    );
    assert_eq!(server.get_metrics("/healthz").await.status, 200);
    store.publish(1000, &[mutable("dists/trixie/InRelease", "release")]);
    assert_eq!(
        server
            .wait_for("/debian/dists/trixie/InRelease", 200)
            .await
            .text(),
        "release"
    );
    let ready = server.get_metrics("/readyz").await;
    assert_eq!(ready.status, 200, "{}", ready.text());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_publish_old_immutable_names_stay_and_old_mutable_names_have_a_place_of_their_own()
{
    let data = TempDir::new().unwrap();
    let store = Store::new(data.path(), "debian");
    let old = store.publish(
        1000,
        &[
            mutable("InRelease", "one"),
            mutable("Gone", "x"),
            fixed("pool/1.deb", "first"),
        ],
    );
    let server = start(data.path()).await;
    assert_eq!(server.get("/debian/InRelease").await.text(), "one");
    // Somebody has just looked.
    assert_eq!(server.get("/debian/pool/2.deb").await.status, 404);
    let prepared = store.prepare(
        2000,
        &[mutable("InRelease", "two"), fixed("pool/2.deb", "second")],
    );
    assert_eq!(
        server.get("/debian/pool/2.deb").await.text(),
        "second",
        "a prepared snapshot counts, and at once"
    );
    assert_eq!(
        server.get("/debian/InRelease").await.text(),
        "one",
        "and is not served yet"
    );
    store.writer.publish(&prepared, 2000).unwrap();
    server.wait_for("/debian/Gone", 404).await;
    assert_eq!(server.get("/debian/InRelease").await.text(), "two");
    assert_eq!(server.get("/debian/pool/1.deb").await.text(), "first");
    let kept = server
        .get(&format!("/.mirrorfleet/s/debian/{old}/InRelease"))
        .await;
    assert_eq!(
        (kept.text().as_str(), kept.header("cache-control")),
        ("one", Some("public, max-age=31536000, immutable"))
    );
    let redirect = server
        .get(&format!("/.mirrorfleet/s/debian/{old}/pool"))
        .await;
    assert_eq!(
        redirect.header("location"),
        Some(format!("/.mirrorfleet/s/debian/{old}/pool/").as_str())
    );
    let unknown = "0".repeat(64);
    assert_eq!(
        server
            .get(&format!("/.mirrorfleet/s/debian/{unknown}/InRelease"))
            .await
            .status,
        404
    );
    server.stop().await;
}

/// What is guaranteed: each answer is of one snapshot, and whatever the index that a client got names by digest is
/// there for it, however often we publish in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_between_publishes_never_sees_a_mix() {
    const PUBLISHES: i64 = 60;
    let data = TempDir::new().unwrap();
    let store = Store::new(data.path(), "debian");
    let publish = move |store: &Store, n: i64| {
        let text = format!("{n}");
        store.publish(
            n,
            &[
                mutable("InRelease", text.clone()),
                fixed(&format!("by-hash/{n}"), text.repeat(1000)),
            ],
        );
    };
    publish(&store, 1);
    let server = start(data.path()).await;
    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (address, done) = (server.http, done.clone());
            tokio::spawn(async move {
                let (mut last, mut changes) = (0, 0);
                let mut connection = Connection::open(address).await;
                while !done.load(Ordering::Relaxed) || last < PUBLISHES {
                    connection.send("GET", "/debian/InRelease", &[]).await;
                    let index = connection.receive("GET").await.text();
                    let n: i64 = index.parse().unwrap();
                    assert!(n >= last, "went back from {last} to {n}");
                    changes += i64::from(n != last);
                    last = n;
                    connection
                        .send("GET", &format!("/debian/by-hash/{n}"), &[])
                        .await;
                    let named = connection.receive("GET").await;
                    assert_eq!((named.status, named.text()), (200, index.repeat(1000)));
                }
                changes
            })
        })
        .collect();
    tokio::task::spawn_blocking(move || {
        for n in 2..=PUBLISHES {
            publish(&store, n);
            std::thread::sleep(Duration::from_millis(30));
        }
        store
    })
    .await
    .unwrap();
    done.store(true, Ordering::Relaxed);
    for client in clients {
        let changes = tokio::time::timeout(PATIENCE, client)
            .await
            .unwrap()
            .unwrap();
        assert!(changes > 2, "the client saw only {changes} snapshots");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_finishes_what_is_being_sent_and_takes_nothing_new() {
    let data = TempDir::new().unwrap();
    let store = Store::new(data.path(), "debian");
    // More than socket buffers hold, so the answer is still being sent when the server is told to stop.
    let size = 64 << 20;
    store.publish(1000, &[fixed("big", vec![9; size])]);
    let server = start(data.path()).await;
    let idle = Connection::open(server.http).await;
    let mut connection = Connection::open(server.http).await;
    connection.send("GET", "/debian/big", &[]).await;
    let mut first = vec![0; 1000];
    connection.stream.read_exact(&mut first).await.unwrap();
    server.shutdown.cancel();
    let refused = async {
        while tokio::net::TcpStream::connect(server.http).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused)
        .await
        .expect("new connections are still accepted");
    assert!(!server.task.is_finished());
    let mut rest = Vec::new();
    connection.stream.read_to_end(&mut rest).await.unwrap();
    let head = first
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .unwrap()
        + 4;
    assert_eq!(first.len() - head + rest.len(), size);
    tokio::time::timeout(PATIENCE, server.task)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    drop(idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_clients_get_h2_and_a_replaced_certificate_is_taken_up() {
    let data = TempDir::new().unwrap();
    let store = Store::new(data.path(), "debian");
    let content = vec![5; 700_000];
    store.publish(1000, &[fixed("big", content.clone())]);
    let first = certificate(data.path(), "first").await;
    let server = start_with(data.path(), Some(first.clone())).await;
    let port = server.http.port();
    let curl = |options: &str| -> Vec<String> {
        format!("-sS --resolve localhost:{port}:127.0.0.1 --cacert {} {options} https://localhost:{port}/debian/big", first.cert.display())
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    let file = data.path().join("out");
    let out = format!("-o {} -w %{{http_version}}/%{{http_code}}", file.display());
    assert_eq!(run("curl", curl(&format!("--http2 {out}"))).await, b"2/200");
    assert_eq!(std::fs::read(&file).unwrap(), content);
    assert_eq!(
        run("curl", curl(&format!("--http1.1 {out}"))).await,
        b"1.1/200"
    );
    assert_eq!(
        run("curl", curl(&format!("--http2 -r 5-9 {out}"))).await,
        b"2/206"
    );
    assert_eq!(
        run(
            "curl",
            curl("--http2 -I -o /dev/null -w %header{content-length}")
        )
        .await,
        b"700000"
    );

    let second = certificate(data.path(), "second").await;
    std::fs::write(&first.cert, "not a certificate").unwrap();
    std::fs::copy(&second.key, &first.key).unwrap();
    std::fs::copy(&second.cert, &first.cert).unwrap();
    let taken_up = async {
        loop {
            let probe = tokio::process::Command::new("curl")
                .args(curl("-f -o /dev/null"))
                .output()
                .await
                .unwrap();
            if probe.status.success() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken_up)
        .await
        .expect("the new certificate is never used");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_of_two_stores_with_one_path_answers_and_the_other_is_named() {
    let data = TempDir::new().unwrap();
    let first = Store::with(data.path(), "a", &identity("alpha", "debian"));
    let second = Store::with(data.path(), "b", &identity("beta", "debian"));
    first.publish(1000, &[fixed("who", "alpha")]);
    second.publish(1000, &[fixed("who", "beta")]);
    let server = start(data.path()).await;
    assert_eq!(server.get("/debian/who").await.text(), "alpha");
    let ready = server.get_metrics("/readyz").await;
    assert!(
        ready.status == 200 && ready.text().contains("beta is not served: alpha"),
        "{}",
        ready.text()
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_documents_tell_the_controller_what_is_served() {
    let data = TempDir::new().unwrap();
    let store = Store::new(data.path(), "debian");
    let id = store.publish(1000, &[fixed("a", "a")]);
    let report = serde_json::json!({
        "result": "Failed",
        "reason": "UpstreamUnreachable",
        "message": "upstream.example.org redirects to /?password=hunter2",
        "finishedAt": 1234,
    });
    store.writer.state_write("report", &report).unwrap();
    store
        .writer
        .state_write("success", &serde_json::json!({"at": 1000}))
        .unwrap();
    let mark = serde_json::json!({"unit": "trixie", "digest": "ab".repeat(32), "date": 900});
    let endpoints = serde_json::json!({"https://secret.example.org/": {"path": "InRelease", "digest": "ab".repeat(32)}});
    let units =
        serde_json::json!({"units": {"trixie": {"highWater": mark, "endpoints": endpoints}}});
    store.writer.state_write("units", &units).unwrap();
    let own = serde_json::json!({"modified": 1100, "heartbeat": 1050, "files": []});
    store.writer.state_write("own-files", &own).unwrap();
    let server = start(data.path()).await;
    let plain = server.get("/.mirrorfleet/status/debian").await;
    assert_eq!(plain.header("content-type"), Some("application/json"));
    let full = server.get_metrics("/.mirrorfleet/status/debian").await;
    for reply in [&plain, &full] {
        let status: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(status["mirror"], "debian");
        assert_eq!(status["snapshot"], id.to_string());
        assert_eq!(status["publishedAt"], 1000);
        assert_eq!(status["lastSync"], 1050);
        assert_eq!(status["confirmedAt"], 1100);
        assert_eq!(status["revision"][0]["unit"], "trixie");
        assert!(
            !reply.text().contains("secret"),
            "what endpoints there are is nobody's business"
        );
    }
    let full: serde_json::Value = serde_json::from_slice(&full.body).unwrap();
    assert_eq!(full["lastReport"], report);
    assert_eq!(full["lastSuccess"]["at"], 1000);
    assert_eq!(full["highWater"], serde_json::json!([mark]));
    assert!(
        full["storage"]["capacity"].as_u64().unwrap() >= full["storage"]["used"].as_u64().unwrap()
    );
    // Clients learn nothing that an upstream wrote, and nothing of the volume.
    let public: serde_json::Value = serde_json::from_slice(&plain.body).unwrap();
    assert_eq!(
        public["lastRun"],
        serde_json::json!({"reason": "UpstreamUnreachable", "finishedAt": 1234})
    );
    assert_eq!(public["lastSuccessAt"], 1000);
    for word in [
        "message",
        "password",
        "storage",
        "capacity",
        "upstream.example.org",
    ] {
        assert!(!plain.text().contains(word), "{word}: {}", plain.text());
    }
    let all: serde_json::Value =
        serde_json::from_slice(&server.get("/.mirrorfleet/status").await.body).unwrap();
    assert_eq!(all[0]["mirror"], "debian");
    assert_eq!(server.get("/.mirrorfleet/status/other").await.status, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_is_counted_and_promtool_likes_the_output() {
    let data = TempDir::new().unwrap();
    let store = Store::new(data.path(), "debian");
    let id = store.publish(1000, &[fixed("a", vec![1; 1000])]);
    let server = start(data.path()).await;
    server.get("/debian/a").await;
    server
        .ask("GET", "/debian/a", &[("Range", "bytes=0-99")])
        .await;
    server.get("/debian/nothing").await;
    let labels = "mirror=\"debian\",namespace=\"mirrors\",region=\"eu-1\"";
    let expected = [
        format!("mirrorfleet_http_requests_total{{code=\"2xx\",{labels}}} 2"),
        format!("mirrorfleet_http_requests_total{{code=\"4xx\",{labels}}} 1"),
        format!("mirrorfleet_http_requests_in_flight{{{labels}}} 0"),
        format!("mirrorfleet_served_snapshot_info{{{labels},snapshot=\"{id}\"}} 1"),
        format!("mirrorfleet_served_snapshot_published_timestamp_seconds{{{labels}}} 1000"),
    ];
    // A request is counted when its connection is done with it, which may be after the client has read it.
    let text = tokio::time::timeout(PATIENCE, async {
        loop {
            let text = server.get_metrics("/metrics").await.text();
            if expected.iter().all(|line| text.contains(line)) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the metrics never became what they should be");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is needed (Debian package prometheus)");
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    server.stop().await;
}
