//! Reading on a thread of its own, a little ahead of who uses what is read: decompression takes as long as what is made of
//! it.

use std::io::{self, ErrorKind, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

const BLOCK_BYTES: usize = 64 << 10;
/// Blocks that wait to be used.
const BLOCKS: usize = 4;

/// Does `work` with what `content` gives. Errors: where no thread can be had.
pub(super) fn read_ahead<T>(
    content: impl Read + Send,
    work: impl FnOnce(&mut dyn Read) -> T,
) -> io::Result<T> {
    let (sender, blocks) = sync_channel(BLOCKS);
    thread::scope(|scope| {
        let reading = thread::Builder::new().name("reader".to_owned());
        reading.spawn_scoped(scope, move || read(content, &sender))?;
        let mut ahead = Ahead {
            blocks,
            block: Vec::new(),
            used: 0,
        };
        Ok(work(&mut ahead))
    })
}

/// Until the end, an error, or until nobody wants more.
fn read(mut content: impl Read, sender: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut block = vec![0; BLOCK_BYTES];
        let read = match content.read(&mut block) {
            Ok(0) => return,
            Ok(count) => {
                block.truncate(count);
                Ok(block)
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => Err(e),
        };
        let is_last = read.is_err();
        if sender.send(read).is_err() || is_last {
            return;
        }
    }
}

struct Ahead {
    blocks: Receiver<io::Result<Vec<u8>>>,
    block: Vec<u8>,
    used: usize,
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.block.len() {
            // An error of the channel is the end.
            let Ok(block) = self.blocks.recv() else {
                return Ok(0);
            };
            (self.block, self.used) = (block?, 0);
        }
        let count = self
            .block
            .get(self.used..)
            .unwrap_or_default()
            .read(buffer)?;
        self.used += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives `left` bytes in pieces, then an error.
    struct Breaking(usize);

    impl Read for Breaking {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.min(buffer.len()).min(1_000);
            if count == 0 {
                return Err(io::Error::other("broken"));
            }
            buffer[..count].fill(7);
            self.0 -= count;
            Ok(count)
        }
    }

    #[test]
    fn what_is_read_ahead_is_what_is_there() {
        let content: Vec<u8> = (0..BLOCK_BYTES * (BLOCKS + 3) + 5)
            .map(|at| (at % 251) as u8)
            .collect();
        let mut found = Vec::new();
        let read = read_ahead(content.as_slice(), |ahead| ahead.read_to_end(&mut found));
        assert_eq!(read.unwrap().unwrap(), content.len());
        assert!(found == content);
    }

    #[test]
    fn an_error_comes_after_what_was_read_before_it() {
        let mut found = Vec::new();
        let read = read_ahead(Breaking(5_500), |ahead| ahead.read_to_end(&mut found));
        assert_eq!(read.unwrap().unwrap_err().to_string(), "broken");
        assert_eq!(found, [7; 5_500]);
    }

    #[test]
    fn who_has_enough_waits_for_no_end() {
        let mut first = [0; 3];
        let read = read_ahead(io::repeat(9), |ahead| ahead.read_exact(&mut first));
        read.unwrap().unwrap();
        assert_eq!(first, [9; 3]);
    }
}
