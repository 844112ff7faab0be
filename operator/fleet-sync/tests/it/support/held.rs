//! A server that answers when it is told: what it is asked for at the same time is one flight, and round trips are counted.
//!
//! A round trip is what a run waits for before it can ask for more. It is counted, and never timed: a flight is answered
//! once all that belongs to it has been asked for, whenever that is.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot};
use url::Url;

/// More than any step takes, even on a busy machine; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct State {
    holds: bool,
    /// Since it holds.
    flights: usize,
    connections: usize,
    trips: usize,
    waiting: Vec<Waiting>,
}

struct Waiting {
    path: String,
    /// How many flights had been answered when its connection came.
    connected_after: usize,
    go: oneshot::Sender<()>,
}

struct Question {
    head: String,
    path: String,
    go: oneshot::Receiver<()>,
}

pub struct Held {
    pub url: Url,
    shared: Arc<Shared>,
    _alive: tokio_util::sync::DropGuard,
}

struct Shared {
    root: PathBuf,
    state: Mutex<State>,
    changed: Notify,
}

impl Held {
    /// Answers at once, until it holds.
    pub async fn start(root: PathBuf) -> Held {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let end = tokio_util::sync::CancellationToken::new();
        let shared = Arc::new(Shared {
            root,
            state: Mutex::default(),
            changed: Notify::new(),
        });
        let held = Held {
            url: Url::parse(&format!("http://{address}/debian/")).unwrap(),
            shared: shared.clone(),
            _alive: end.clone().drop_guard(),
        };
        tokio::spawn(async move {
            loop {
                let (stream, _) = tokio::select! {
                    () = end.cancelled() => return,
                    accepted = listener.accept() => accepted.unwrap(),
                };
                shared.clone().serve(stream);
            }
        });
        held
    }

    /// From now on answers wait for their flight.
    pub fn hold(&self) {
        *self.shared.state.lock().unwrap() = State {
            holds: true,
            ..State::default()
        };
    }

    /// Waits until exactly these are asked for, so many with each of these words in their paths, and so many connections
    /// were made since it holds; then answers them. An error says what came instead.
    pub async fn flight(&self, asked: &[(&str, usize)], connections: usize) -> Result<(), String> {
        let is_complete = |state: &State| {
            let count = |word: &str| {
                let waiting = state.waiting.iter();
                waiting.filter(|it| it.path.contains(word)).count()
            };
            asked.iter().all(|(word, many)| count(word) == *many)
                && state.waiting.len() == asked.iter().map(|(_, many)| many).sum::<usize>()
                && state.connections == connections
        };
        let complete = async {
            loop {
                let mut changed = std::pin::pin!(self.shared.changed.notified());
                changed.as_mut().enable();
                if is_complete(&self.shared.state.lock().unwrap()) {
                    return;
                }
                changed.await;
            }
        };
        let came = tokio::time::timeout(PATIENCE, complete).await;
        let mut state = self.shared.state.lock().unwrap();
        if came.is_err() {
            let waiting: Vec<_> = state.waiting.iter().map(|it| it.path.as_str()).collect();
            return Err(format!(
                "{asked:?} and {connections} connections do not come together; flight {} has {waiting:?} and {}",
                state.flights + 1,
                state.connections
            ));
        }
        let flights = state.flights;
        let waiting = std::mem::take(&mut state.waiting);
        // A connection that came with this flight is a round trip of its own before it.
        let connects = waiting.iter().any(|it| it.connected_after == flights);
        state.trips += 1 + usize::from(connects);
        state.flights += 1;
        for waiting in waiting {
            // Who has gone needs no answer.
            let _ = waiting.go.send(());
        }
        Ok(())
    }

    /// Answers at once again; what had been waiting.
    pub fn let_go(&self) -> Vec<String> {
        let mut state = self.shared.state.lock().unwrap();
        state.holds = false;
        let waiting = std::mem::take(&mut state.waiting).into_iter();
        let path = |waiting: Waiting| {
            let _ = waiting.go.send(());
            waiting.path
        };
        waiting.map(path).collect()
    }

    /// Round trips that followed one another since it holds.
    pub fn trips(&self) -> usize {
        self.shared.state.lock().unwrap().trips
    }
}

impl Shared {
    fn serve(self: Arc<Self>, stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let connected_after = {
            let mut state = self.state.lock().unwrap();
            state.connections += 1;
            state.flights
        };
        self.changed.notify_waiters();
        let (read, write) = stream.into_split();
        let (questions, asked) = mpsc::unbounded_channel();
        tokio::spawn(answer(write, asked, self.root.clone()));
        tokio::spawn(self.listen(read, questions, connected_after));
    }

    async fn listen(
        self: Arc<Self>,
        mut read: OwnedReadHalf,
        questions: mpsc::UnboundedSender<Question>,
        connected_after: usize,
    ) {
        let mut pipe = Vec::new();
        while matches!(read.read_buf(&mut pipe).await, Ok(1..)) {
            while let Some(end) = pipe.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&pipe[..end + 4]).into_owned();
                pipe.drain(..end + 4);
                let path = head.split(' ').nth(1).unwrap_or_default();
                let path = path.trim_start_matches("/debian/").replace("%2B", "+");
                let (go, gone) = oneshot::channel();
                let question = Question {
                    head,
                    path: path.clone(),
                    go: gone,
                };
                if questions.send(question).is_err() {
                    return;
                }
                let mut state = self.state.lock().unwrap();
                match state.holds {
                    true => state.waiting.push(Waiting {
                        path,
                        connected_after,
                        go,
                    }),
                    false => drop(go.send(())),
                }
                drop(state);
                self.changed.notify_waiters();
            }
        }
    }
}

/// In the order in which they were asked.
async fn answer(
    mut write: OwnedWriteHalf,
    mut asked: mpsc::UnboundedReceiver<Question>,
    root: PathBuf,
) {
    while let Some(Question { head, path, go }) = asked.recv().await {
        if go.await.is_err() || write.write_all(&of(&head, &path, &root)).await.is_err() {
            return;
        }
    }
}

fn of(head: &str, path: &str, root: &std::path::Path) -> Vec<u8> {
    let file = root.join(path);
    let Ok(content) = std::fs::read(&file) else {
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec();
    };
    let date = std::fs::metadata(&file).unwrap().modified().unwrap();
    let date = httpdate::fmt_http_date(date);
    let condition = format!("if-modified-since: {date}\r\n").to_lowercase();
    if head.to_lowercase().contains(&condition) {
        return b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec();
    }
    let length = content.len();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nLast-Modified: {date}\r\n\r\n");
    [head.as_bytes(), &content].concat()
}
