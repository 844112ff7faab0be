//! An upstream that lies: a signed Release of any content, and a server that says any bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::DropGuard;
use url::Url;

use super::Archive;
use super::archive::{Release, Signed, release_text};
use super::listener::listen;
use super::process::spawn;
use super::server::percent_decode;

/// The files that a Release lists, by their names below its suite.
pub type Listed = BTreeMap<String, Vec<u8>>;

pub const INDEX: &str = "main/binary-amd64/Packages";

/// `content` as one of the index's forms, by the program of that name.
pub fn compressed(program: &str, suffix: &str, content: &[u8]) -> Listed {
    let mut command = Command::new(program);
    command
        .args(["-c", "-1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = spawn(&mut command);
    let mut input = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut input, content).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success());
    Listed::from([(format!("{INDEX}.{suffix}"), output.stdout)])
}

impl Archive {
    /// Publishes a suite with exactly these index files, all of them served, and a Release that `edit` may change before
    /// it is signed.
    pub fn forge(
        &self,
        suite: &str,
        listed: &Listed,
        release: &Release,
        edit: impl FnOnce(String) -> String,
    ) {
        for (name, content) in listed {
            self.write(&format!("dists/{suite}/{name}"), content);
        }
        let text = edit(release_text(suite, release, listed));
        self.sign(suite, &text, Signed::Inline);
        self.date_roots(suite, release.date);
    }
}

/// What is said instead of a file.
#[derive(Debug, Clone)]
pub enum Say {
    /// These bytes and nothing else.
    Bytes(Vec<u8>),
    /// A beginning, then this over and over, each after a pause.
    Forever {
        head: String,
        piece: Vec<u8>,
        pause: Duration,
    },
}

impl Say {
    pub fn text(text: &str) -> Say {
        Say::Bytes(text.as_bytes().to_vec())
    }

    /// Says it, and nothing more.
    pub async fn to(self, mut stream: TcpStream) -> std::io::Result<()> {
        match self {
            Say::Bytes(bytes) => stream.write_all(&bytes).await?,
            Say::Forever { head, piece, pause } => {
                stream.write_all(head.as_bytes()).await?;
                loop {
                    stream.write_all(&piece).await?;
                    tokio::time::sleep(pause).await;
                }
            }
        }
        stream.shutdown().await
    }

    /// A good answer with this body.
    pub fn body(body: &[u8]) -> Say {
        Say::Bytes(ok(body, ""))
    }
}

/// A good answer with more lines in its head, each ended by CR LF.
pub fn ok(body: &[u8], more: &str) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n{more}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[derive(Default)]
struct State {
    root: PathBuf,
    lies: Vec<(String, Say)>,
    heads: Vec<String>,
}

/// Serves an archive, one request a connection, and lies about single files. What it says is no library's idea of HTTP.
#[derive(Clone)]
pub struct Liar {
    pub url: Url,
    state: Arc<Mutex<State>>,
    _alive: Arc<DropGuard>,
}

impl Liar {
    pub async fn start(root: PathBuf) -> Liar {
        let state = Arc::new(Mutex::new(State {
            root,
            ..State::default()
        }));
        let known = state.clone();
        let (address, alive) = listen(move |stream| answer(stream, known.clone())).await;
        Liar {
            url: Url::parse(&format!("http://{address}/debian/")).unwrap(),
            state,
            _alive: Arc::new(alive),
        }
    }

    /// From now on, about this path below the repository.
    pub fn lie(&self, path: &str, say: Say) {
        let mut state = self.state.lock().unwrap();
        state.lies.retain(|(about, _)| about != path);
        state.lies.push((path.to_owned(), say));
    }

    pub fn heal(&self) {
        self.state.lock().unwrap().lies.clear();
    }

    /// The heads of all requests since the last time.
    pub fn take_heads(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().heads)
    }
}

async fn answer(mut stream: TcpStream, state: Arc<Mutex<State>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default();
    let path = percent_decode(target.strip_prefix("/debian/").unwrap_or(target));
    let say = {
        let mut state = state.lock().unwrap();
        state.heads.push(head);
        let lie = state.lies.iter().find(|(about, _)| *about == path);
        lie.map_or_else(|| honest(&state.root.join(&path)), |(_, say)| say.clone())
    };
    say.to(stream).await
}

fn honest(file: &std::path::Path) -> Say {
    match fs::read(file) {
        Ok(content) => Say::body(&content),
        Err(_) => {
            Say::text("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        }
    }
}
