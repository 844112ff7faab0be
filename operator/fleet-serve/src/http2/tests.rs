//! Streams of clients that read, that do not, and that do nothing.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use fleet_telemetry::{BuildInfo, Registry, Seats, ServerMetrics, ServerPlace};
use fleet_types::Sha256;
use http::{Method, Request, StatusCode};
use tokio::io::{DuplexStream, ReadBuf};

use super::*;
use crate::answer::Counted;
use crate::headers::Headers;
use crate::room::SHARED_BYTES;

const SIZE: u64 = 8 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(60);

/// A file for every path.
#[derive(Clone)]
struct Files {
    blob: Arc<Blob>,
    size: u64,
    metrics: Arc<ServerMetrics>,
}

impl Answers for Files {
    async fn answer(&self, _head: Parts) -> (Answer, InFlight) {
        self.give(Content::File {
            blob: self.blob.clone(),
            range: 0..self.size,
        })
    }
}

impl Files {
    fn new(size: u64) -> Files {
        let file = tempfile::tempfile().unwrap();
        file.set_len(size).unwrap();
        let build = BuildInfo {
            version: "1".into(),
            revision: "test".into(),
            role: "serve".into(),
        };
        let registry = Registry::new(&build).unwrap();
        Files {
            size,
            blob: Arc::new(Blob::new(&Sha256([0; 32]), file).unwrap()),
            metrics: ServerMetrics::register(&registry, ServerPlace::default()).unwrap(),
        }
    }

    fn give(&self, content: Content) -> (Answer, InFlight) {
        let answer = Answer {
            status: StatusCode::OK,
            headers: Headers::default(),
            content,
        };
        let traffic = self.metrics.mirror("debian");
        InFlight::begin(&Method::GET, Counted { answer, traffic }, Instant::now())
    }
}

/// A connection to a server with these limits: the client's side.
async fn connect(limits: Limits) -> DuplexStream {
    let mut seats = Seats::new(1, CancellationToken::new());
    connect_to(&mut seats, limits).await
}

async fn connect_to(seats: &mut Seats, limits: Limits) -> DuplexStream {
    let seat = seats.take().await.unwrap();
    let (near, far) = tokio::io::duplex(1 << 20);
    let shutdown = CancellationToken::new();
    tokio::spawn(serve(near, Files::new(SIZE), limits, seat, shutdown));
    far
}

fn limits(idle: Duration, stall: Duration) -> Limits {
    Limits {
        idle,
        stall,
        bytes: Arc::new(Semaphore::new(SHARED_BYTES)),
        streams: Arc::new(Semaphore::new(1000)),
    }
}

fn request() -> Request<()> {
    Request::get("https://a/big").body(()).unwrap()
}

#[tokio::test]
async fn streams_without_a_window_hold_nothing_and_end() {
    let limits = limits(PATIENCE, Duration::from_millis(200));
    let shared = limits.bytes.clone();
    let (mut client, connection) = h2::client::Builder::new()
        .initial_window_size(1)
        .handshake::<_, Bytes>(connect(limits).await)
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut bodies = Vec::new();
    for _ in 0..MAX_STREAMS {
        poll_fn(|context| client.poll_ready(context)).await.unwrap();
        let (response, _) = client.send_request(request(), true).unwrap();
        bodies.push(response);
    }
    for response in bodies {
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap().len(), 1);
        let held = SHARED_BYTES - shared.available_permits();
        assert!(held <= MAX_STREAMS as usize, "{held} bytes are held");
        // It never gives another window.
        let ended = tokio::time::timeout(PATIENCE, body.data()).await.unwrap();
        let error = ended.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::CANCEL), "{error}");
    }
}

#[tokio::test]
async fn a_client_that_reads_gets_everything() {
    let far = connect(limits(PATIENCE, PATIENCE)).await;
    let (client, connection) = h2::client::handshake(far).await.unwrap();
    tokio::spawn(connection);
    let one = async |mut client: h2::client::SendRequest<Bytes>| {
        let (response, _) = client.send_request(request(), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        let mut received = 0;
        while let Some(data) = body.data().await {
            let length = data.unwrap().len();
            received += length as u64;
            body.flow_control().release_capacity(length).unwrap();
        }
        received
    };
    let client = client.ready().await.unwrap();
    let (a, b, c) = tokio::join!(
        one(client.clone()),
        one(client.clone()),
        one(client.clone())
    );
    assert_eq!([a, b, c], [SIZE; 3]);
}

/// Counts what is written into it.
struct Writes(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Writes {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Writes {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Answers for which nothing has to be read: where temporary files are in memory, reading one is for another thread.
#[derive(Clone)]
struct AtHand(Files);

impl AtHand {
    fn new(size: u64) -> AtHand {
        AtHand(Files::new(size))
    }
}

impl Answers for AtHand {
    async fn answer(&self, _head: Parts) -> (Answer, InFlight) {
        let length = usize::try_from(self.0.size).unwrap();
        self.0.give(Content::Bytes(vec![0; length].into()))
    }
}

#[tokio::test]
async fn answers_to_requests_that_come_together_leave_together() {
    const REQUESTS: usize = 8;
    let mut seats = Seats::new(1, CancellationToken::new());
    let seat = seats.take().await.unwrap();
    let (near, far) = tokio::io::duplex(1 << 20);
    let writes = Arc::new(AtomicUsize::new(0));
    let near = Writes(near, writes.clone());
    let (limits, shutdown) = (limits(PATIENCE, PATIENCE), CancellationToken::new());
    tokio::spawn(serve(near, AtHand::new(3000), limits, seat, shutdown));
    let (client, connection) = h2::client::handshake(far).await.unwrap();
    let client = client.ready().await.unwrap();
    // All are there before anything is sent.
    let ask = |_| client.clone().send_request(request(), true).unwrap().0;
    let responses: Vec<_> = (0..REQUESTS).map(ask).collect();
    tokio::spawn(connection);
    for response in responses {
        let mut body = response.await.unwrap().into_body();
        let mut received = 0;
        while let Some(data) = body.data().await {
            received += data.unwrap().len();
        }
        assert_eq!(received, 3000);
    }
    let count = writes.load(Ordering::Relaxed);
    assert!(count < REQUESTS, "{count} writes for {REQUESTS} requests");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let far = connect(limits(Duration::from_secs(1), PATIENCE)).await;
    let (_client, connection) = h2::client::handshake(far).await.unwrap();
    tokio::time::timeout(PATIENCE, connection)
        .await
        .expect("the connection stayed")
        .ok();
}

#[tokio::test]
async fn who_needs_the_place_of_an_idle_connection_gets_it() {
    let mut seats = Seats::new(1, CancellationToken::new());
    let far = connect_to(&mut seats, limits(PATIENCE, PATIENCE)).await;
    let (_client, connection) = h2::client::handshake(far).await.unwrap();
    tokio::spawn(connection);
    let next = tokio::time::timeout(PATIENCE, seats.take()).await;
    assert!(next.expect("no place became free").is_some());
}
