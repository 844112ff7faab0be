//! The connection loop without TLS: what clients send in one piece or in many, halfway, wrongly, or not at all.

use std::collections::BTreeSet;
use std::process::Stdio;

use crate::common::{
    Connection, DATE, Name, PATIENCE, Running, Store, certificate, fixed, mutable, start,
    start_with,
};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// More than socket buffers hold.
const LARGE: usize = 64 << 20;

/// Long enough for `sendfile`, and no byte is like its neighbours.
fn middle() -> Vec<u8> {
    (0..10_000u32).flat_map(u32::to_le_bytes).collect()
}

fn store(data: &TempDir) -> Store {
    store_and(data, None)
}

/// Making it takes a second or two.
fn store_with_large(data: &TempDir) -> Store {
    let large = (0..LARGE as u32 / 4).flat_map(u32::to_le_bytes);
    store_and(data, Some(fixed("large", large.collect::<Vec<u8>>())))
}

fn store_and(data: &TempDir, more: Option<Name>) -> Store {
    let store = Store::new(data.path(), "debian");
    let mut names = vec![
        mutable("InRelease", "release"),
        fixed("empty", ""),
        fixed("small", "0123456789"),
        fixed("middle", middle()),
    ];
    names.extend(more);
    store.publish(1000, &names);
    store
}

/// Sends these bytes and returns everything that comes back until the server closes.
async fn exchange(server: &Running, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    read_to_end(&mut stream).await
}

async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("the connection was not closed")
        .unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status lines of several answers.
fn statuses(answers: &str) -> Vec<u16> {
    let heads = answers.split("HTTP/1.").skip(1);
    heads
        .map(|head| head.split(' ').nth(1).unwrap().parse().unwrap())
        .collect()
}

fn get(path: &str) -> String {
    format!("GET /debian/{path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

const LAST: &str = "GET /debian/InRelease HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_requests_in_one_segment_are_answered_in_order() {
    let data = TempDir::new().unwrap();
    let _store = store_with_large(&data);
    let server = start(data.path()).await;
    let paths = [
        "small",
        "middle",
        "empty",
        "nothing",
        "large",
        "InRelease",
        "small",
        "%2e%2e",
    ];
    let paths: Vec<&str> = paths.iter().cycle().take(16).copied().collect();
    let mut connection = Connection::open(server.http).await;
    let all: String = paths.iter().map(|path| get(path)).collect();
    connection.stream.write_all(all.as_bytes()).await.unwrap();
    for path in paths {
        let reply = connection.receive("GET").await;
        let expected = match path {
            "small" => (200, 10),
            "middle" => (200, 40_000),
            "large" => (200, LARGE),
            "empty" => (200, 0),
            "InRelease" => (200, 7),
            "nothing" => (404, reply.body.len()),
            _ => (400, reply.body.len()),
        };
        assert_eq!((reply.status, reply.body.len()), expected, "{path}");
        if matches!(path, "middle" | "large") {
            let mut numbers = reply.body.chunks_exact(4).zip(0u32..);
            assert!(numbers.all(|(bytes, n)| bytes == n.to_le_bytes()), "{path}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_may_be_cut_at_every_byte() {
    let data = TempDir::new().unwrap();
    let _store = store(&data);
    let server = start(data.path()).await;
    let head = "HEAD /debian/middle HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = "POST /debian/small HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /";
    let text = [&get("small"), head, post, &get("nothing"), LAST].concat();
    let dateless = |answer: String| -> String {
        answer
            .lines()
            .filter(|line| !line.starts_with("date:"))
            .collect()
    };
    let whole = dateless(exchange(&server, text.as_bytes()).await);
    assert_eq!(statuses(&whole), [200, 200, 405, 404, 200]);
    for cut in 1..text.len() {
        let mut stream = TcpStream::connect(server.http).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (first, second) = text.as_bytes().split_at(cut);
        stream.write_all(first).await.unwrap();
        tokio::task::yield_now().await;
        stream.write_all(second).await.unwrap();
        assert_eq!(dateless(read_to_end(&mut stream).await), whole, "{cut}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_may_trickle_in_while_others_are_served() {
    let data = TempDir::new().unwrap();
    let _store = store(&data);
    let server = start(data.path()).await;
    let mut slow = Connection::open(server.http).await;
    slow.stream.set_nodelay(true).unwrap();
    for byte in get("small").as_bytes().chunks(1) {
        slow.stream.write_all(byte).await.unwrap();
        assert_eq!(server.get("/debian/InRelease").await.status, 200);
    }
    assert_eq!(slow.receive("GET").await.text(), "0123456789");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused_and_the_connection_closed() {
    let data = TempDir::new().unwrap();
    let _store = store(&data);
    let server = start(data.path()).await;
    let giant = format!("GET / HTTP/1.1\r\nX-Giant: {}\r\n\r\n", "x".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(101));
    for (bytes, status) in [
        (giant.as_str(), 431),
        (many.as_str(), 431),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ] {
        let start: String = bytes.chars().take(40).collect();
        let answer = exchange(&server, bytes.as_bytes()).await;
        assert_eq!(statuses(&answer), [status], "{start:?}");
        assert!(answer.contains("connection: close\r\n"), "{start:?}");
    }
    assert_eq!(server.get("/debian/small").await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_never_become_requests() {
    let data = TempDir::new().unwrap();
    let _store = store(&data);
    let server = start(data.path()).await;
    let smuggled = get("small");
    for (lines, expected) in [
        (
            format!("Content-Length: {}\r\n", smuggled.len()),
            vec![405, 200],
        ),
        (format!("Content-Length: {}\r\n", 1u64 << 40), vec![405]),
        (
            format!(
                "Content-Length: {}\r\nExpect: 100-continue\r\n",
                smuggled.len()
            ),
            vec![405],
        ),
        ("Transfer-Encoding: chunked\r\n".into(), vec![405]),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n".into(),
            vec![405],
        ),
    ] {
        let text = format!("POST /debian/small HTTP/1.1\r\nHost: a\r\n{lines}\r\n{smuggled}{LAST}");
        let answer = exchange(&server, text.as_bytes()).await;
        assert_eq!(statuses(&answer), expected, "{lines:?}: {answer}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_costs_nothing() {
    let data = TempDir::new().unwrap();
    let _store = store_with_large(&data);
    let server = start(data.path()).await;
    for _ in 0..20 {
        let mut connection = Connection::open(server.http).await;
        connection.send("GET", "/debian/large", &[]).await;
        connection.stream.read_exact(&mut [0; 1000]).await.unwrap();
    }
    let over = "mirrorfleet_http_requests_in_flight{mirror=\"debian\",namespace=\"mirrors\",region=\"eu-1\"} 0";
    let counted = "mirrorfleet_http_requests_total{code=\"2xx\",mirror=\"debian\",namespace=\"mirrors\",region=\"eu-1\"} 20";
    let waiting = async {
        loop {
            let text = server.get_metrics("/metrics").await.text();
            if text.contains(over) && text.contains(counted) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("a request is in flight for ever");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_connections_leave_room_and_end_with_the_server() {
    let data = TempDir::new().unwrap();
    let _store = store(&data);
    let server = start(data.path()).await;
    let mut idle = Vec::new();
    for _ in 0..1000 {
        idle.push(Connection::open(server.http).await);
    }
    assert_eq!(server.get("/debian/small").await.status, 200);
    for connection in idle.iter_mut().step_by(100) {
        connection.send("GET", "/debian/small", &[]).await;
        assert_eq!(connection.receive("GET").await.status, 200);
    }
    server.stop().await;
    for mut connection in idle {
        assert_eq!(connection.stream.read(&mut [0; 1]).await.unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_large_file_is_being_sent_for_ends_before_the_server_does() {
    let data = TempDir::new().unwrap();
    let _store = store_with_large(&data);
    let server = start(data.path()).await;
    let mut connection = Connection::open(server.http).await;
    let text = [get("large"), get("small")].concat();
    connection.stream.write_all(text.as_bytes()).await.unwrap();
    let mut first = vec![0; 1000];
    connection.stream.read_exact(&mut first).await.unwrap();
    server.shutdown.cancel();
    let rest = read_to_end(&mut connection.stream);
    let mut all = String::from_utf8_lossy(&first).into_owned().len();
    all += rest.await.len();
    assert!(all >= LARGE, "{all} bytes");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_blob_that_is_open_is_noticed_before_a_byte_is_sent() {
    let data = TempDir::new().unwrap();
    let store = store(&data);
    let server = start(data.path()).await;
    assert_eq!(server.get("/debian/small").await.status, 200);
    let blob = store.blob("small");
    let file = std::fs::OpenOptions::new().write(true).open(&blob);
    file.unwrap().set_len(4).unwrap();
    let damaged = server.get("/debian/small").await;
    assert_eq!(
        (damaged.status, damaged.header("retry-after")),
        (503, Some("30"))
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_turns_out_to_be_cut_is_refused_the_next_time() {
    let data = TempDir::new().unwrap();
    let store = store_with_large(&data);
    let server = start(data.path()).await;
    let range = [("Range", "bytes=0-99999")];
    let opened = server.ask("GET", "/debian/large", &range).await;
    assert_eq!(opened.status, 206);
    let blob = store.blob("large");
    let file = std::fs::OpenOptions::new().write(true).open(&blob);
    file.unwrap().set_len(1000).unwrap();
    // Its head was sent before that was known.
    let cut = exchange(&server, get("large").as_bytes()).await;
    assert_eq!(statuses(&cut), [200]);
    assert!(cut.len() < LARGE);
    let refused = server.get("/debian/large").await;
    assert_eq!(refused.status, 503);
    assert_eq!(store.writer.suspects().unwrap().len(), 1);
    server.stop().await;
}

/// Both loops answer alike: hyper's, which clients with TLS meet, and ours.
#[tokio::test(flavor = "multi_thread")]
async fn answers_are_the_same_with_and_without_tls() {
    let data = TempDir::new().unwrap();
    let _store = store_with_large(&data);
    let plain = start(data.path()).await;
    let certificate = certificate(data.path(), "localhost").await;
    let encrypted = start_with(data.path(), Some(certificate)).await;
    let tag = plain.get("/debian/small").await;
    let tag = format!("If-None-Match: {}\r\n", tag.header("etag").unwrap());
    let since = format!("If-Modified-Since: {DATE}\r\n");
    for (line, headers) in [
        ("GET /debian/small HTTP/1.1", ""),
        ("GET /debian/empty HTTP/1.1", ""),
        ("GET /debian/middle HTTP/1.1", ""),
        ("GET /debian/InRelease HTTP/1.1", ""),
        ("GET /debian/small?query#x HTTP/1.1", ""),
        ("GET http://a.example.org/debian/small HTTP/1.1", ""),
        ("HEAD /debian/large HTTP/1.1", ""),
        ("HEAD /debian/nothing HTTP/1.1", ""),
        ("GET /debian/small HTTP/1.0", ""),
        ("GET /debian/small HTTP/1.0", "Connection: close\r\n"),
        ("GET /debian/small HTTP/1.1", &tag),
        ("HEAD /debian/small HTTP/1.1", &tag),
        ("GET /debian/small HTTP/1.0", &tag),
        ("GET /debian/small HTTP/1.1", &since),
        ("GET /debian/middle HTTP/1.1", "Range: bytes=1-39998\r\n"),
        ("GET /debian/middle HTTP/1.1", "Range: bytes=-5\r\n"),
        ("GET /debian/middle HTTP/1.1", "Range: bytes=40000-\r\n"),
        ("GET /debian/small HTTP/1.1", "Range: bytes=0-0,2-2\r\n"),
        ("GET /debian/small HTTP/1.1", "If-Match: \"x\"\r\n"),
        ("GET /debian HTTP/1.1", ""),
        ("GET /debian/ HTTP/1.1", ""),
        ("GET /debian/nothing HTTP/1.1", ""),
        ("GET /debian/../x HTTP/1.1", ""),
        ("GET * HTTP/1.1", ""),
        ("OPTIONS * HTTP/1.1", ""),
        ("DELETE /debian/small HTTP/1.1", ""),
        ("POST /debian/small HTTP/1.1", "Content-Length: 0\r\n"),
    ] {
        // An HTTP/1.0 client says nothing and is not kept.
        let close = match line.ends_with("1.1") {
            true => "Host: a\r\nConnection: close\r\n",
            false => "",
        };
        for end in ["\r\n", "\n"] {
            let request = format!("{line}\r\n{headers}{close}\r\n").replace("\r\n", end);
            let ours = Parts::of(&exchange(&plain, request.as_bytes()).await);
            let hypers = Parts::of(&over_tls(&encrypted, &request).await);
            assert_eq!(ours, hypers, "{request:?}");
        }
    }
    for server in [plain, encrypted] {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_1_0_client_is_kept_if_it_asks_for_it() {
    let data = TempDir::new().unwrap();
    let _store = store(&data);
    let server = start(data.path()).await;
    let kept = "GET /debian/small HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let last = "GET /debian/InRelease HTTP/1.0\r\n\r\n";
    let answers = exchange(&server, [kept, last].concat().as_bytes()).await;
    assert_eq!(statuses(&answers), [200, 200]);
    assert!(answers.starts_with("HTTP/1.0 200 OK\r\n"), "{answers}");
    assert_eq!(answers.matches("connection: keep-alive\r\n").count(), 1);
    server.stop().await;
}

/// An answer without what differs between two moments.
#[derive(Debug, PartialEq)]
struct Parts {
    status: String,
    headers: BTreeSet<String>,
    body: String,
}

impl Parts {
    fn of(text: &str) -> Parts {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.split("\r\n").map(str::to_owned);
        let status = lines.next().unwrap_or_default();
        let (dates, headers): (Vec<_>, BTreeSet<_>) = {
            let (dates, others): (Vec<_>, Vec<_>) =
                lines.partition(|line| line.starts_with("date: "));
            (dates, others.into_iter().collect())
        };
        assert_eq!(dates.len(), 1, "{text}");
        Parts {
            status,
            headers,
            body: body.to_owned(),
        }
    }
}

/// Sends these bytes and returns everything that comes back until the server closes.
async fn over_tls(server: &Running, request: &str) -> String {
    let mut client = tokio::process::Command::new("openssl")
        .args(["s_client", "-quiet", "-alpn", "http/1.1", "-connect"])
        .arg(server.http.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is needed");
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(request.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut client.stdout.take().unwrap()).await;
    client.wait().await.unwrap();
    answer
}
