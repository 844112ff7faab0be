//! Memory that the connections of one thread use in turn: nearly every request is answered before the next connection's is
//! read, so an idle connection needs none of its own.

use std::cell::RefCell;
use std::thread::LocalKey;

/// Kept for each thread, at most.
const COUNT: usize = 8;

/// Buffers without bytes.
pub struct Spare {
    buffers: RefCell<Vec<Vec<u8>>>,
    /// What is longer, in bytes, is not kept.
    longest: usize,
}

impl Spare {
    pub const fn new(longest: usize) -> Spare {
        Spare {
            buffers: RefCell::new(Vec::new()),
            longest,
        }
    }
}

/// An empty buffer, with the memory of a former one where there is one.
pub fn take(from: &'static LocalKey<Spare>) -> Vec<u8> {
    from.with(|spare| spare.buffers.borrow_mut().pop())
        .unwrap_or_default()
}

/// Leaves the memory of `buffer` to others, and `buffer` empty.
pub fn give_back(to: &'static LocalKey<Spare>, buffer: &mut Vec<u8>) {
    let mut memory = std::mem::take(buffer);
    memory.clear();
    to.with(|spare| {
        let mut buffers = spare.buffers.borrow_mut();
        if buffers.len() < COUNT && (1..=spare.longest).contains(&memory.capacity()) {
            buffers.push(memory);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_and_does_not_pile_up() {
        thread_local! {
            static SPARE: Spare = const { Spare::new(1000) };
        }
        let mut buffer = Vec::with_capacity(1000);
        buffer.push(1);
        give_back(&SPARE, &mut buffer);
        assert_eq!(buffer.capacity(), 0);
        let again = take(&SPARE);
        assert!(again.is_empty() && again.capacity() >= 1000);
        for _ in 0..2 * COUNT {
            give_back(&SPARE, &mut Vec::with_capacity(10));
        }
        take(&SPARE);
        give_back(&SPARE, &mut Vec::with_capacity(1001));
        SPARE.with(|spare| assert_eq!(spare.buffers.borrow().len(), COUNT - 1));
    }
}
