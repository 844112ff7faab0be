//! The one timer of a connection. Nearly every wait ends long before its deadline, so a deadline that moves on costs
//! nothing until the timer fires: only then is it set anew.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

pub struct Clock(Pin<Box<Sleep>>);

impl Clock {
    /// `first` is about the shortest wait that will be asked for.
    pub fn new(first: Duration) -> Clock {
        Clock(Box::pin(tokio::time::sleep(first)))
    }

    /// Ready once `deadline` has passed; wakes the task then.
    pub fn poll(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if self.0.deadline() > deadline {
            self.0.as_mut().reset(deadline);
        }
        while self.0.as_mut().poll(context).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_deadline_holds_whether_it_moves_on_or_back() {
        let mut clock = Clock::new(Duration::from_millis(1));
        for wait in [30, 10, 20] {
            let deadline = Instant::now() + Duration::from_millis(wait);
            poll_fn(|context| clock.poll(context, deadline)).await;
            assert!(Instant::now() >= deadline);
        }
        let mut clock = Clock::new(Duration::from_secs(3600));
        let deadline = Instant::now() + Duration::from_millis(10);
        poll_fn(|context| clock.poll(context, deadline)).await;
    }
}
