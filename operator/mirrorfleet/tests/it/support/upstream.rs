//! A plain web server for an archive that counts how many requests it has in hand at once.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub struct CountingUpstream {
    pub url: String,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    now: AtomicUsize,
    most: AtomicUsize,
    all: AtomicUsize,
}

impl CountingUpstream {
    pub fn start(root: PathBuf) -> CountingUpstream {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let counts = Arc::new(Counts::default());
        let shared = counts.clone();
        // Both end with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (root, counts) = (root.clone(), shared.clone());
                std::thread::spawn(move || drop(answer(&stream, &root, &counts)));
            }
        });
        CountingUpstream { url, counts }
    }

    /// The most requests that were in hand at once, and all of them.
    pub fn counted(&self) -> (usize, usize) {
        let get = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        (get(&self.counts.most), get(&self.counts.all))
    }
}

fn answer(stream: &TcpStream, root: &Path, counts: &Counts) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next() {
        let line = line?;
        while lines
            .next()
            .transpose()?
            .is_some_and(|header| !header.is_empty())
        {}
        let now = counts.now.fetch_add(1, Ordering::SeqCst) + 1;
        counts.most.fetch_max(now, Ordering::SeqCst);
        counts.all.fetch_add(1, Ordering::SeqCst);
        let path = line.split(' ').nth(1).unwrap_or_default();
        // One that is too many has time to come; and until two have met, a package waits for another: on a busy machine
        // they would not meet by themselves.
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(20));
            if !path.ends_with(".deb") || counts.most.load(Ordering::SeqCst) > 1 {
                break;
            }
        }
        let path = path.replace("%2B", "+");
        let (status, body) = match std::fs::read(root.join(path.trim_start_matches('/'))) {
            Ok(body) => ("200 OK", body),
            Err(_) => ("404 Not Found", Vec::new()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        counts.now.fetch_sub(1, Ordering::SeqCst);
        (&mut &*stream).write_all(&[head.as_bytes(), &body].concat())?;
    }
    Ok(())
}
