//! A TCP relay that holds everything back for a while, as a long way does, and counts how many requests are on it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

pub struct Relay {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    /// Most requests that were under way on one connection.
    pub deepest: Arc<AtomicUsize>,
    _alive: tokio_util::sync::DropGuard,
}

impl Relay {
    /// `delay` counts for each direction.
    pub async fn start(to: SocketAddr, delay: Duration) -> Relay {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let end = tokio_util::sync::CancellationToken::new();
        let relay = Relay {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            deepest: Arc::default(),
            _alive: end.clone().drop_guard(),
        };
        let (connections, deepest) = (relay.connections.clone(), relay.deepest.clone());
        tokio::spawn(async move {
            loop {
                let (client, _) = tokio::select! {
                    () = end.cancelled() => return,
                    accepted = listener.accept() => accepted.unwrap(),
                };
                connections.fetch_add(1, Ordering::Relaxed);
                let server = TcpStream::connect(to).await.unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let (asked, deepest) = (Arc::new(AtomicUsize::new(0)), deepest.clone());
                let answered = asked.clone();
                let ask = move |piece: &[u8]| {
                    let more = count(piece, b"GET /");
                    let under_way = asked.fetch_add(more, Ordering::Relaxed) + more;
                    deepest.fetch_max(under_way, Ordering::Relaxed);
                };
                let answer = move |piece: &[u8]| {
                    let less = count(piece, b"HTTP/1.1 ");
                    let left = |n: usize| Some(n.saturating_sub(less));
                    let _ = answered.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
                };
                tokio::spawn(carry(from_client, to_server, delay, ask));
                tokio::spawn(carry(from_server, to_client, delay, answer));
            }
        });
        relay
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin + Send + 'static,
    mut to: impl AsyncWrite + Unpin + Send + 'static,
    delay: Duration,
    seen: impl Fn(&[u8]) + Send + 'static,
) {
    let (sender, mut pieces) = mpsc::channel::<(Instant, BytesMut)>(1024);
    let reader = tokio::spawn(async move {
        loop {
            let mut piece = BytesMut::with_capacity(64 << 10);
            match from.read_buf(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {
                    seen(&piece);
                    if sender.send((Instant::now() + delay, piece)).await.is_err() {
                        return;
                    }
                }
            }
        }
    });
    while let Some((due, piece)) = pieces.recv().await {
        tokio::time::sleep_until(due).await;
        if to.write_all(&piece).await.is_err() {
            break;
        }
    }
    drop(to.shutdown().await);
    reader.abort();
}

fn count(bytes: &[u8], what: &[u8]) -> usize {
    bytes
        .windows(what.len())
        .filter(|part| *part == what)
        .count()
}
