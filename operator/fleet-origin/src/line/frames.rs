//! Lines of JSON over a Unix socket, and files beside them.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;

/// A longer line is none of ours. A Mirror's uses of a second are the longest.
const MAX_LINE_BYTES: usize = 8 << 20;
const BLOCK: usize = 64 << 10;

/// One connection.
pub struct Frames {
    stream: UnixStream,
    input: Vec<u8>,
    files: Vec<File>,
}

impl Frames {
    pub fn new(stream: UnixStream) -> Frames {
        Frames {
            stream,
            input: Vec::new(),
            files: Vec::new(),
        }
    }

    pub async fn send<T: Serialize>(&mut self, what: &T) -> io::Result<()> {
        let line = line_of(what)?;
        self.stream.write_all(&line).await
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// A line, and a file with it.
    pub async fn send_file<T: Serialize>(&mut self, what: &T, file: &File) -> io::Result<()> {
        let line = line_of(what)?;
        let send = || {
            let files = [file.as_fd()];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut beside = SendAncillaryBuffer::new(&mut space);
            if !beside.push(SendAncillaryMessage::ScmRights(&files)) {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            let parts = [IoSlice::new(&line)];
            let sent = rustix::net::sendmsg(&self.stream, &parts, &mut beside, SendFlags::NOSIGNAL);
            Ok(sent?)
        };
        let sent = self.stream.async_io(Interest::WRITABLE, send).await?;
        self.stream
            .write_all(line.get(sent..).unwrap_or_default())
            .await
    }

    /// The next line. An error where the other side ends before.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        loop {
            if let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                return serde_json::from_slice(&line).map_err(io::Error::from);
            }
            if self.input.len() > MAX_LINE_BYTES {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.more().await?;
        }
    }

    pub async fn receive_bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.input.len() < count {
            self.more().await?;
        }
        Ok(self.input.drain(..count).collect())
    }

    /// The file that came with a line.
    pub fn take_file(&mut self) -> Option<File> {
        self.files.pop()
    }

    async fn more(&mut self) -> io::Result<()> {
        let mut block = vec![0; BLOCK];
        let mut came = Vec::new();
        let stream = &self.stream;
        let receive = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut beside = RecvAncillaryBuffer::new(&mut space);
            let mut parts = [IoSliceMut::new(&mut block)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            let received = rustix::net::recvmsg(stream, &mut parts, &mut beside, flags)?;
            for message in beside.drain() {
                if let RecvAncillaryMessage::ScmRights(files) = message {
                    came.extend(files.map(File::from));
                }
            }
            Ok(received.bytes)
        };
        let count = self.stream.async_io(Interest::READABLE, receive).await?;
        self.files.append(&mut came);
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.input
            .extend_from_slice(block.get(..count).unwrap_or_default());
        Ok(())
    }
}

fn line_of<T: Serialize>(what: &T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    Ok(line)
}
