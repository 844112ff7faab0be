//! What the real rsync daemon would not say: a way to it that changes what it carries, and something in its place.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::DropGuard;
use url::Url;

use super::forge::Say;
use super::listener::listen;

/// Listens until it is dropped.
pub struct Impostor {
    /// Of a module.
    pub url: Url,
    _alive: DropGuard,
}

/// What happens to bytes of the daemon on their way.
pub enum Carry {
    On,
    /// One at a time from here on.
    Drip,
}

impl Impostor {
    /// Says the same to everybody.
    pub async fn says(say: Say) -> Impostor {
        Impostor::start(move |stream| {
            let say = say.clone();
            async move { say.to(stream).await }
        })
        .await
    }

    /// A way to the daemon at `url`; `change` sees each piece of what the daemon sends.
    pub async fn between(
        url: &Url,
        change: impl Fn(&mut Vec<u8>) -> Carry + Clone + Send + Sync + 'static,
    ) -> Impostor {
        let daemon = SocketAddr::from(([127, 0, 0, 1], url.port().unwrap()));
        Impostor::start(move |client| {
            let change = change.clone();
            async move {
                let server = TcpStream::connect(daemon).await?;
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let asked = async {
                    tokio::io::copy(&mut from_client, &mut to_server).await?;
                    to_server.shutdown().await
                };
                let answered = async {
                    let mut piece = Vec::with_capacity(64 << 10);
                    while from_server.read_buf(&mut piece).await? > 0 {
                        match change(&mut piece) {
                            Carry::On => to_client.write_all(&piece).await?,
                            Carry::Drip => {
                                for byte in &piece {
                                    to_client.write_all(&[*byte]).await?;
                                    tokio::time::sleep(Duration::from_millis(50)).await;
                                }
                            }
                        }
                        piece.clear();
                    }
                    to_client.shutdown().await
                };
                tokio::try_join!(asked, answered).map(drop)
            }
        })
        .await
    }

    async fn start<F: Future<Output = std::io::Result<()>> + Send>(
        serve: impl Fn(TcpStream) -> F + Clone + Send + Sync + 'static,
    ) -> Impostor {
        let (address, alive) = listen(serve).await;
        Impostor {
            url: Url::parse(&format!("rsync://{address}/debian/")).unwrap(),
            _alive: alive,
        }
    }
}
