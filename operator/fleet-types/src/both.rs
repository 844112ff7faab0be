//! Two things at once, on two processors.

use std::panic::resume_unwind;
use std::thread;

/// Does both at once, `beside` in a thread of this name, or one after the other where no thread can be had.
pub fn both<A: Send, B>(
    name: &str,
    beside: impl Fn() -> A + Sync,
    here: impl FnOnce() -> B,
) -> (A, B) {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn_scoped(scope, &beside);
        let made = here();
        let done = match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => beside(),
        };
        (done, made)
    })
}
