//! The program while it serves.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command};

use super::command;

/// A running `serve` or `local`, ended with SIGTERM.
pub struct Serving {
    child: Child,
    pub address: String,
}

impl Serving {
    /// `serve` over this data.
    pub fn of(data: &Path) -> Serving {
        let data = data.to_str().unwrap();
        Serving::start(&["serve", "--data", data, "--listen", "127.0.0.1:0"])
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn start(arguments: &[&str]) -> Serving {
        let mut child = command(arguments)
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .find_map(|line| {
                line.unwrap()
                    .strip_prefix("listening on ")
                    .map(str::to_owned)
            })
            .expect("it says where it listens");
        // What it prints later must not block it.
        std::thread::spawn(move || lines.for_each(drop));
        Serving { child, address }
    }

    pub fn port(&self) -> u16 {
        self.address.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// What it answers as `localhost`: status line and headers, and the body.
    pub fn ask(&self, method: &str, path: &str, headers: &[&str]) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let port = self.port();
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n");
        headers
            .iter()
            .for_each(|header| head.push_str(&format!("{header}\r\n")));
        write!(stream, "{head}\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .expect("a head");
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        (head, answer[end + 4..].to_vec())
    }

    pub fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let (head, body) = self.ask("GET", path, &[]);
        (head[9..12].parse().unwrap(), body)
    }

    /// What must be there, and be text.
    #[track_caller]
    pub fn text(&self, path: &str) -> String {
        let (code, body) = self.get(path);
        assert_eq!(code, 200, "{path}");
        String::from_utf8(body).unwrap()
    }

    pub fn terminate(mut self) -> i32 {
        assert!(
            Command::new("kill")
                .arg("-TERM")
                .arg(self.child.id().to_string())
                .status()
                .unwrap()
                .success()
        );
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
