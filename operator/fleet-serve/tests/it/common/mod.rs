//! A world for the tests: real stores in a directory, a real listener, and a client that sees every byte.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use fleet_origin::Origin;
use fleet_serve::{Listening, ServeError, ServeOptions, TlsFiles, serve};
use fleet_store::{
    Clients, Entry, EntryState, Identity, Retention, SnapshotId, SnapshotMeta, Writer,
};
use fleet_telemetry::{BuildInfo, Registry, ServerPlace};
use fleet_types::documents::ListForm;
use fleet_types::{RepoPath, Sha256, UnitRevision};
use sha2::Digest as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// 1994-11-06T08:49:37Z
pub const MTIME: i64 = 784_111_777;
pub const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
/// More than any step takes, even on a busy machine; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Store {
    pub writer: Writer,
}

pub struct Name {
    path: String,
    content: Vec<u8>,
    mutable: bool,
    state: EntryState,
}

/// A name that gets new content with each revision.
pub fn mutable(path: &str, content: impl Into<Vec<u8>>) -> Name {
    Name {
        path: path.into(),
        content: content.into(),
        mutable: true,
        state: EntryState::Present,
    }
}

/// A name whose content never changes.
pub fn fixed(path: &str, content: impl Into<Vec<u8>>) -> Name {
    Name {
        path: path.into(),
        content: content.into(),
        mutable: false,
        state: EntryState::Present,
    }
}

/// The same, listed and not there.
pub fn on_demand(path: &str, content: impl Into<Vec<u8>>) -> Name {
    Name {
        state: EntryState::NotYetFetched,
        ..fixed(path, content)
    }
}

pub fn digest(content: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(content).into())
}

pub fn identity(mirror: &str, serving_path: &str) -> Identity {
    Identity {
        format_version: Identity::FORMAT_VERSION,
        upstream_type: "Debian".into(),
        authority: "https://upstream.example.org/debian/".into(),
        mirror: mirror.into(),
        serving_path: serving_path.into(),
        directory_listing: true,
        retention: Retention {
            keep: 3,
            min_age: Duration::from_secs(3600),
        },
        clients: Clients {
            lists: [(String::new(), ListForm::Apt)].into(),
            ..Clients::default()
        },
    }
}

impl Store {
    pub fn new(data: &Path, mirror: &str) -> Store {
        Store::with(data, mirror, &identity(mirror, mirror))
    }

    pub fn with(data: &Path, directory: &str, identity: &Identity) -> Store {
        let dir = data.join(directory);
        Store {
            writer: Writer::open(&dir, identity).unwrap(),
        }
    }

    /// A snapshot on the volume that is not served. `date` makes it differ from others with the same content.
    pub fn prepare(&self, date: i64, names: &[Name]) -> SnapshotId {
        self.prepare_linked(date, names, &[])
    }

    /// The same with links, each a name and what it stands for.
    pub fn prepare_linked(&self, date: i64, names: &[Name], links: &[(&str, &str)]) -> SnapshotId {
        let mut index = self.writer.index_builder(None);
        let mut batch = Vec::new();
        for name in names {
            let entry = Entry {
                state: name.state,
                digest: digest(&name.content),
                size: name.content.len() as u64,
                mtime: MTIME,
                mutable: name.mutable,
                guarded: false,
                sha512: None,
            };
            index
                .push(&RepoPath::new(&name.path).unwrap(), &entry)
                .unwrap();
            if name.state == EntryState::Present {
                batch.push(self.writer.staging().put_bytes(&name.content).unwrap());
            }
        }
        self.writer.staging().commit_batch(batch).unwrap();
        let revision = vec![UnitRevision {
            unit: "trixie".into(),
            digest: Sha256([1; 32]),
            date,
            valid_until: None,
        }];
        let meta = SnapshotMeta {
            upstream_type: "Debian".into(),
            inputs: Sha256([0; 32]),
            content: serde_json::Value::Null,
            revision,
            created: date,
            parent: None,
            links: links
                .iter()
                .map(|(link, target)| ((*link).to_owned(), (*target).to_owned()))
                .collect(),
            openings: Default::default(),
            clocks: Default::default(),
            changes: None,
            entries: 0,
            bytes: 0,
        };
        index.finish(meta).unwrap().id
    }

    pub fn publish(&self, date: i64, names: &[Name]) -> SnapshotId {
        let id = self.prepare(date, names);
        self.writer.publish(&id, date).unwrap();
        id
    }

    /// The file that holds the content of a name.
    pub fn blob(&self, path: &str) -> PathBuf {
        let snapshot = self.writer.current_snapshot().unwrap().unwrap();
        self.writer.blob_path(&snapshot.get(path).unwrap().digest)
    }
}

pub struct Running {
    pub http: SocketAddr,
    pub metrics: SocketAddr,
    pub follow: SocketAddr,
    pub shutdown: CancellationToken,
    pub task: JoinHandle<Result<(), ServeError>>,
}

pub async fn start(data: &Path) -> Running {
    start_with(data, None).await
}

pub async fn start_with(data: &Path, tls: Option<TlsFiles>) -> Running {
    start_ordered(data, None, tls).await
}

/// `orders` is the directory with a file for each mirror.
pub async fn start_ordered(data: &Path, orders: Option<&Path>, tls: Option<TlsFiles>) -> Running {
    start_as(data, (orders, None), tls, None).await
}

/// `told` are the directories with orders and with lists.
pub async fn start_told(
    data: &Path,
    told: (Option<&Path>, Option<&Path>),
    tls: Option<TlsFiles>,
) -> Running {
    start_as(data, told, tls, None).await
}

/// `origin` fetches what is not there.
pub async fn start_filled(data: &Path, tls: Option<TlsFiles>, origin: Arc<dyn Origin>) -> Running {
    start_as(data, (None, None), tls, Some(origin)).await
}

async fn start_as(
    data: &Path,
    (orders, lists): (Option<&Path>, Option<&Path>),
    tls: Option<TlsFiles>,
    origin: Option<Arc<dyn Origin>>,
) -> Running {
    let build = BuildInfo {
        version: "0.1.0".into(),
        revision: "test".into(),
        role: "serve".into(),
    };
    let registry = Registry::new(&build).unwrap();
    let shutdown = CancellationToken::new();
    let options = ServeOptions {
        data: data.to_owned(),
        orders: orders.map(Path::to_owned),
        registries: Default::default(),
        lists: lists.map(Path::to_owned),
        listen: "127.0.0.1:0".parse().unwrap(),
        metrics_listen: Some("127.0.0.1:0".parse().unwrap()),
        follow_listen: Some("127.0.0.1:0".parse().unwrap()),
        tls,
        drain: PATIENCE,
        place: ServerPlace {
            namespace: "mirrors".into(),
            region: "eu-1".into(),
        },
        origin,
    };
    let (send, receive) = tokio::sync::oneshot::channel::<Listening>();
    let token = shutdown.clone();
    let task = tokio::spawn(async move {
        serve(options, &registry, token, |bound| send.send(bound).unwrap()).await
    });
    let bound = match receive.await {
        Ok(bound) => bound,
        Err(_) => panic!("the server did not start: {:?}", task.await),
    };
    Running {
        http: bound.http,
        metrics: bound.metrics.unwrap(),
        follow: bound.follow.unwrap(),
        shutdown,
        task,
    }
}

impl Running {
    pub async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[]).await
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        let mut connection = Connection::open(self.http).await;
        connection.send(method, path, headers).await;
        connection.receive(method).await
    }

    pub async fn get_metrics(&self, path: &str) -> Reply {
        let mut connection = Connection::open(self.metrics).await;
        connection.send("GET", path, &[]).await;
        connection.receive("GET").await
    }

    /// Asks until the answer has this status: for what the server notices in its own time.
    pub async fn wait_for(&self, path: &str, status: u16) -> Reply {
        let waiting = async {
            loop {
                let reply = self.get(path).await;
                if reply.status == status {
                    return reply;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("the answer never came")
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}

/// One HTTP/1.1 answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// All values of a header, in their order.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1);
        let pairs = lines.filter_map(|line| line.split_once(':'));
        let found = pairs.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim()).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection that sends exactly what it is told.
pub struct Connection {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Connection {
        Connection {
            stream: TcpStream::connect(address).await.unwrap(),
            buffer: Vec::new(),
        }
    }

    pub async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: mirror.example.org\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += "\r\n";
        self.stream.write_all(request.as_bytes()).await.unwrap();
    }

    pub async fn receive(&mut self, method: &str) -> Reply {
        tokio::time::timeout(PATIENCE, self.read_reply(method))
            .await
            .expect("no answer came")
    }

    async fn read_reply(&mut self, method: &str) -> Reply {
        let end = loop {
            if let Some(end) = self
                .buffer
                .windows(4)
                .position(|bytes| bytes == b"\r\n\r\n")
            {
                break end;
            }
            assert!(
                self.more().await > 0,
                "the connection ended within a head: {:?}",
                self.buffer
            );
        };
        let head = String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut reply = Reply {
            status,
            head,
            body: Vec::new(),
        };
        if method != "HEAD" && status != 304 {
            let length: usize = reply.header("content-length").unwrap().parse().unwrap();
            while self.buffer.len() < length {
                assert!(self.more().await > 0, "the connection ended within a body");
            }
            reply.body = self.buffer.drain(..length).collect();
        }
        reply
    }

    async fn more(&mut self) -> usize {
        self.stream.read_buf(&mut self.buffer).await.unwrap()
    }
}

/// Runs a client of this machine; standard output as bytes.
pub async fn run(program: &str, arguments: Vec<String>) -> Vec<u8> {
    let program = program.to_owned();
    let output = tokio::task::spawn_blocking(move || {
        let output = Command::new(&program).args(&arguments).output();
        output.unwrap_or_else(|error| panic!("{program} is needed: {error}"))
    })
    .await
    .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// A certificate for localhost, made now, with its key.
pub async fn certificate(dir: &Path, name: &str) -> TlsFiles {
    let files = TlsFiles {
        cert: dir.join(format!("{name}.crt")),
        key: dir.join(format!("{name}.key")),
    };
    let arguments = format!(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN={name} -addext subjectAltName=DNS:localhost -keyout {} -out {}",
        files.key.display(),
        files.cert.display()
    );
    run("openssl", arguments.split(' ').map(str::to_owned).collect()).await;
    files
}
