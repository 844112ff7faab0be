//! Reconciling: observe, plan, write in the plan's order, report. No decision is taken here.

mod carry;
mod mirror;
mod pod;
mod prober;
mod report;
mod unreadable;
mod upstream;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_plan::PlannedEvent;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType};

use crate::context::Context;
use crate::error::WriteError;
use crate::world::ObjectName;

pub use mirror::reconcile as mirror;
pub use pod::ask as pod;
pub use upstream::reconcile as upstream;

/// An Event's note may have 1 KiB.
const MAX_NOTE: usize = 1000;

/// What is to happen next with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Something was written: look whether more is to do.
    Again,
    /// Nothing to do until then, unless something changes.
    At(Option<Timestamp>),
    /// It is gone.
    Gone,
}

/// Runs one reconciliation, counts it, and says when to come back.
async fn counted(
    context: &Arc<Context>,
    kind: &'static str,
    name: &ObjectName,
    work: impl Future<Output = Result<Next, WriteError>>,
) -> Option<Duration> {
    let started = Instant::now();
    let result = work.await;
    let reason = result.as_ref().err().map(WriteError::reason);
    context
        .metrics
        .record_reconcile(kind, started.elapsed().as_secs_f64(), reason);
    match result {
        Ok(next) => {
            context.failures.succeeded(kind, name);
            delay(next, context.intervals.resync)
        }
        Err(error) => {
            let delay = context.failures.failed(kind, name);
            tracing::warn!(kind, %name, %error, retry_ms = delay.as_millis() as u64, "not all could be written");
            Some(delay)
        }
    }
}

fn delay(next: Next, resync: Duration) -> Option<Duration> {
    match next {
        Next::Again => Some(Duration::ZERO),
        Next::At(None) => Some(resync),
        Next::At(Some(at)) => {
            let until = Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default();
            Some(until.min(resync))
        }
        Next::Gone => None,
    }
}

/// Tells people. That an Event cannot be written changes nothing else.
async fn publish(context: &Context, about: &ObjectReference, events: &[PlannedEvent]) {
    for event in events {
        let event = Event {
            type_: if event.warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: event.reason.as_str().to_owned(),
            note: Some(event.message.chars().take(MAX_NOTE).collect()),
            action: event.action.to_owned(),
            secondary: None,
        };
        if let Err(error) = context.recorder.publish(&event, about).await {
            tracing::warn!(%error, reason = event.reason, "an Event could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_look_is_at_the_planned_time_but_never_later_than_the_resync() {
        let resync = Duration::from_secs(600);
        assert_eq!(delay(Next::Again, resync), Some(Duration::ZERO));
        assert_eq!(delay(Next::At(None), resync), Some(resync));
        assert_eq!(
            delay(Next::At(Some(Timestamp::MIN)), resync),
            Some(Duration::ZERO)
        );
        assert_eq!(delay(Next::At(Some(Timestamp::MAX)), resync), Some(resync));
        assert_eq!(delay(Next::Gone, resync), None);
    }
}
