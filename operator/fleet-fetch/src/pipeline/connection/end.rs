//! Why a connection is left, and what becomes of the requests on it.

use super::{Connection, End};

impl Connection<'_> {
    /// What was not answered is asked for again: on another connection where this one only came to its end, else alone.
    pub(super) fn leave(&mut self, end: End) {
        let between = self.is_between();
        // It came to its end while nobody used it.
        let was_stale = self.wire.was_kept && self.answered() == 0 && between;
        let pipelining = &self.endpoint.pipelining;
        let again = match end {
            End::Done => true,
            End::Closed => {
                pipelining.ended_after(self.wire.answered);
                true
            }
            End::Broken if self.sent.is_empty() || was_stale => true,
            End::Broken => {
                pipelining.ended_after(self.wire.answered);
                between && self.wire.answered > 0
            }
            End::Large => {
                if let Some(request) = self.sent.pop_front() {
                    self.desk.send_back(request);
                }
                true
            }
            End::Odd(why) => {
                pipelining.stop(why);
                false
            }
        };
        let again = again && self.endpoint.pipelines();
        // From behind, since each is put in front.
        while let Some(mut request) = self.sent.pop_back() {
            request.sink.forget();
            if again {
                self.desk.again(request);
            } else {
                self.desk.send_back(request);
            }
        }
    }
}
