//! An HTTP server whose every answer a test decides, and which counts what it was asked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use url::Url;

/// What a path is answered with.
#[derive(Clone)]
pub enum Reply {
    Body(Vec<u8>),
    /// So many bytes, and the rest once the gate is opened.
    Held(Vec<u8>, usize, Arc<Semaphore>),
    /// Once so many bytes of it, and the connection is closed; all of it from then on.
    Cut(Vec<u8>, usize),
    Status(u16, &'static str),
}

#[derive(Default)]
struct State {
    replies: HashMap<String, Reply>,
    asked: Vec<String>,
}

pub struct Upstream {
    pub url: Url,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl Upstream {
    pub async fn start() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Upstream::on(listener).await
    }

    async fn on(listener: TcpListener) -> Upstream {
        let address: SocketAddr = listener.local_addr().unwrap();
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = state.clone();
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(serve(stream, shared.clone()));
            }
        });
        Upstream {
            url: format!("http://{address}/").parse().unwrap(),
            state,
            task,
        }
    }

    pub fn set(&self, path: &str, reply: Reply) {
        let mut state = self.state.lock().unwrap();
        state.replies.insert(format!("/{path}"), reply);
    }

    /// How often a path was asked for.
    pub fn asked(&self, path: &str) -> usize {
        let state = self.state.lock().unwrap();
        state
            .asked
            .iter()
            .filter(|asked| **asked == format!("/{path}"))
            .count()
    }

    /// Nobody listens there any more, and what is under way breaks off.
    pub async fn go_away(&self) {
        self.task.abort();
        while !self.task.is_finished() {
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut input = Vec::new();
    loop {
        let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else {
            let mut block = [0; 4096];
            match stream.read(&mut block).await {
                Ok(count) if count > 0 => input.extend_from_slice(&block[..count]),
                _ => return,
            }
            continue;
        };
        let head = String::from_utf8(input.drain(..end + 4).collect()).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let reply = {
            let mut state = state.lock().unwrap();
            state.asked.push(path.clone());
            let reply = state.replies.get(&path).cloned();
            // Not by the test that sees it asked for: who asks again may be quicker.
            if let Some(Reply::Cut(body, _)) = &reply {
                let whole = Reply::Body(body.clone());
                state.replies.insert(path.clone(), whole);
            }
            reply
        };
        let range = head.lines().find_map(|line| {
            let value = line.to_ascii_lowercase();
            let from = value
                .strip_prefix("range: bytes=")?
                .strip_suffix('-')?
                .parse::<usize>();
            from.ok()
        });
        if answer(&mut stream, reply, range.unwrap_or(0))
            .await
            .is_none()
        {
            return;
        }
    }
}

async fn answer(stream: &mut TcpStream, reply: Option<Reply>, from: usize) -> Option<()> {
    let (body, until, gate) = match reply {
        Some(Reply::Body(body)) => (body.clone(), body.len(), None),
        Some(Reply::Held(body, until, gate)) => (body, until, Some(gate)),
        Some(Reply::Cut(body, until)) => (body, until, None),
        other => {
            let (status, more) = match other {
                Some(Reply::Status(status, more)) => (status, more),
                _ => (404, ""),
            };
            let head = format!("HTTP/1.1 {status} Status\r\n{more}Content-Length: 0\r\n\r\n");
            return stream.write_all(head.as_bytes()).await.ok();
        }
    };
    let head = match from {
        0 => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()),
        from => format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{}/{}\r\nContent-Length: {}\r\n\r\n",
            body.len() - 1,
            body.len(),
            body.len() - from
        ),
    };
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(&body[from.min(until)..until]).await.ok()?;
    match gate {
        Some(gate) => {
            drop(gate.acquire().await);
            stream.write_all(&body[until.max(from)..]).await.ok()
        }
        None => (until == body.len()).then_some(()),
    }
}
