//! Two readings at once: a database is decompressed and read on one processor, and what it is compared with on another.

use std::panic::resume_unwind;
use std::thread;

/// Does both at once, or one after the other where no thread can be had.
pub(super) fn both<A: Send, B>(one: impl Fn() -> A + Sync, other: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let beside = thread::Builder::new().name("database".to_owned());
        let beside = beside.spawn_scoped(scope, &one);
        let made = other();
        let done = match beside {
            Ok(beside) => beside.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => one(),
        };
        (done, made)
    })
}
