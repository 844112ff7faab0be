//! An HTTP/1.1 server that sends exactly the bytes that a test wants, and sees what stands in a connection's pipe.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Below the repository.
    pub path: String,
    pub head: String,
    pub connection: usize,
    /// How many requests stood in the pipe when this one was answered, itself included.
    pub waiting: usize,
    /// How often this path was asked for before.
    pub before: usize,
}

/// What is sent.
pub enum Reply {
    Bytes(Vec<u8>),
    /// The connection ends afterwards.
    Last(Vec<u8>),
    /// A byte at a time for ever.
    Trickle(Vec<u8>),
    Silence,
}

type Script = dyn Fn(&Asked, &[u8]) -> Option<Reply> + Send + Sync;

#[derive(Default)]
struct Log {
    asked: Vec<Asked>,
    connections: usize,
}

/// How many connections are open, at one server or several.
#[derive(Default)]
struct Gauge {
    open: usize,
    peak: usize,
}

#[derive(Clone)]
pub struct RawServer {
    pub url: Url,
    log: Arc<Mutex<Log>>,
    gauge: Arc<Mutex<Gauge>>,
    _alive: Arc<tokio_util::sync::DropGuard>,
}

/// The answer of a server in order.
pub fn plain(content: &[u8]) -> Vec<u8> {
    answer(&format!("Content-Length: {}\r\n", content.len()), content)
}

pub fn answer(fields: &str, content: &[u8]) -> Vec<u8> {
    [
        format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes(),
        content,
    ]
    .concat()
}

pub fn status(line: &str, fields: &str) -> Vec<u8> {
    format!("HTTP/1.1 {line}\r\nContent-Length: 2\r\n{fields}\r\nno").into_bytes()
}

impl RawServer {
    /// `script` is asked with each request and the file's content; none means the plain answer.
    pub async fn start(
        root: PathBuf,
        script: impl Fn(&Asked, &[u8]) -> Option<Reply> + Send + Sync + 'static,
    ) -> RawServer {
        RawServer::counted(root, Arc::default(), script).await
    }

    /// Another one, whose connections count together with those of this one.
    pub async fn beside(
        &self,
        root: PathBuf,
        script: impl Fn(&Asked, &[u8]) -> Option<Reply> + Send + Sync + 'static,
    ) -> RawServer {
        RawServer::counted(root, self.gauge.clone(), script).await
    }

    async fn counted(
        root: PathBuf,
        gauge: Arc<Mutex<Gauge>>,
        script: impl Fn(&Asked, &[u8]) -> Option<Reply> + Send + Sync + 'static,
    ) -> RawServer {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Mutex::new(Log::default()));
        let end = tokio_util::sync::CancellationToken::new();
        let server = RawServer {
            url: Url::parse(&format!("http://{address}/debian/")).unwrap(),
            log: log.clone(),
            gauge: gauge.clone(),
            _alive: Arc::new(end.clone().drop_guard()),
        };
        let script: Arc<Script> = Arc::new(script);
        tokio::spawn(async move {
            loop {
                let (stream, _) = tokio::select! {
                    () = end.cancelled() => return,
                    accepted = listener.accept() => accepted.unwrap(),
                };
                let (log, script, root, end) =
                    (log.clone(), script.clone(), root.clone(), end.clone());
                let gauge = gauge.clone();
                tokio::spawn(async move {
                    let number = opened(&log, &gauge).await;
                    tokio::select! {
                        () = end.cancelled() => {}
                        _ = serve(stream, number, &root, &log, script.as_ref()) => {}
                    }
                    gauge.lock().unwrap().open -= 1;
                });
            }
        });
        server
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.log.lock().unwrap().asked.clone()
    }

    pub fn asked_for(&self, path: &str) -> Vec<Asked> {
        let asked = self.asked();
        asked
            .into_iter()
            .filter(|asked| asked.path == path)
            .collect()
    }

    /// Requests for packages.
    pub fn payload(&self) -> Vec<Asked> {
        let asked = self.asked();
        asked
            .into_iter()
            .filter(|asked| asked.path.starts_with("pool"))
            .collect()
    }

    /// Most requests that stood in one pipe.
    pub fn deepest(&self) -> usize {
        let asked = self.asked();
        asked.iter().map(|asked| asked.waiting).max().unwrap_or(0)
    }

    pub fn connections(&self) -> usize {
        self.log.lock().unwrap().connections
    }

    /// Most connections that were open at once.
    pub fn peak(&self) -> usize {
        self.gauge.lock().unwrap().peak
    }

    pub fn open(&self) -> usize {
        self.gauge.lock().unwrap().open
    }
}

/// A connection counts a little after it came, so that those that were closed for it are seen to be.
async fn opened(log: &Mutex<Log>, gauge: &Mutex<Gauge>) -> usize {
    tokio::time::sleep(Duration::from_millis(100)).await;
    {
        let mut gauge = gauge.lock().unwrap();
        gauge.open += 1;
        gauge.peak = gauge.peak.max(gauge.open);
    }
    let mut log = log.lock().unwrap();
    log.connections += 1;
    log.connections
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    root: &std::path::Path,
    log: &Mutex<Log>,
    script: &Script,
) -> std::io::Result<()> {
    let mut pipe = Vec::new();
    loop {
        // Time for what is on its way to arrive.
        tokio::time::sleep(Duration::from_millis(10)).await;
        pipe.reserve(64 << 10);
        if stream.read_buf(&mut pipe).await? == 0 {
            return Ok(());
        }
        while let Some(end) = find(&pipe, b"\r\n\r\n") {
            let waiting = count(&pipe, b"\r\n\r\n");
            let head = String::from_utf8_lossy(&pipe[..end + 4]).into_owned();
            pipe.drain(..end + 4);
            let path = head.split(' ').nth(1).unwrap_or_default();
            let path = path.trim_start_matches("/debian/").replace("%2B", "+");
            let asked = {
                let mut log = log.lock().unwrap();
                let before = log.asked.iter().filter(|asked| asked.path == path).count();
                let asked = Asked {
                    path,
                    head,
                    connection,
                    waiting,
                    before,
                };
                log.asked.push(asked.clone());
                asked
            };
            let content = std::fs::read(root.join(&asked.path)).ok();
            let usual = || match &content {
                Some(content) => Reply::Bytes(plain(content)),
                None => Reply::Bytes(status("404 Not Found", "")),
            };
            let reply = script(&asked, content.as_deref().unwrap_or_default());
            match reply.unwrap_or_else(usual) {
                Reply::Bytes(bytes) => stream.write_all(&bytes).await?,
                Reply::Last(bytes) => {
                    stream.write_all(&bytes).await?;
                    return stream.shutdown().await;
                }
                Reply::Trickle(bytes) => {
                    for byte in bytes.iter().cycle() {
                        stream.write_all(&[*byte]).await?;
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
                Reply::Silence => std::future::pending().await,
            }
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|part| part == what)
}

fn count(bytes: &[u8], what: &[u8]) -> usize {
    bytes
        .windows(what.len())
        .filter(|part| *part == what)
        .count()
}
