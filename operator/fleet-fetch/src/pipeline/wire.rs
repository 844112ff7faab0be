//! A connection and what it has carried. Between the stages of a run it is kept, so that the next one need not wait until
//! another is made.

use futures::FutureExt;
use tokio::io::AsyncReadExt;

use super::dial::{Dialer, Stream};

pub(crate) struct Wire {
    pub(super) stream: Box<dyn Stream>,
    /// Requests, and answers, since it was made.
    pub(super) asked: usize,
    pub(super) answered: usize,
    /// Nobody used it for a while.
    pub(super) was_kept: bool,
}

impl Wire {
    /// None where the endpoint cannot be reached.
    pub(super) async fn dial(dialer: &Dialer) -> Option<Wire> {
        Some(Wire {
            stream: dialer.dial().await?,
            asked: 0,
            answered: 0,
            was_kept: false,
        })
    }

    /// One that was kept, unless the server has ended it meanwhile.
    pub(super) fn still_there(mut self) -> Option<Wire> {
        let mut byte = [0];
        // Nothing may have come: neither the end nor what nobody asked for.
        let quiet = self.stream.read(&mut byte).now_or_never().is_none();
        self.was_kept = true;
        quiet.then_some(self)
    }
}
