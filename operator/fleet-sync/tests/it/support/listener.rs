//! A port on loopback where a test decides what each connection meets.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Hands each connection to `serve`, until the guard is dropped. A client that has heard enough is no failure of a test.
pub async fn listen<F: Future<Output = std::io::Result<()>> + Send>(
    serve: impl Fn(TcpStream) -> F + Clone + Send + Sync + 'static,
) -> (SocketAddr, DropGuard) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let end = CancellationToken::new();
    let guard = end.clone().drop_guard();
    tokio::spawn(async move {
        loop {
            let (stream, _) = tokio::select! {
                () = end.cancelled() => return,
                accepted = listener.accept() => accepted.unwrap(),
            };
            let (serve, end) = (serve.clone(), end.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = end.cancelled() => {}
                    _ = serve(stream) => {}
                }
            });
        }
    });
    (address, guard)
}
