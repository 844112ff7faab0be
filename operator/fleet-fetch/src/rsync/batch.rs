//! Which files are fetched in one run of the program: what is queued now.

use std::collections::VecDeque;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;

use crate::Request;

pub(super) const MOST_FILES: usize = 256;
const MOST_BYTES: u64 = 16 << 20;
/// Larger files, and those whose size nobody promises, come alone: they can be continued, and bounded exactly.
const ALONE_BYTES: u64 = 4 << 20;
/// So long a batch waits for the next request of those that are being made at this moment.
const LINGER: Duration = Duration::from_millis(5);

struct Queue {
    requests: BoxStream<'static, Request>,
    /// Passed over while a batch was gathered.
    alone: VecDeque<Request>,
}

pub(super) fn batches(requests: BoxStream<'static, Request>) -> BoxStream<'static, Vec<Request>> {
    let queue = Queue {
        requests,
        alone: VecDeque::new(),
    };
    let next = |mut queue: Queue| async move { queue.next().await.map(|batch| (batch, queue)) };
    futures::stream::unfold(queue, next).boxed()
}

impl Queue {
    async fn next(&mut self) -> Option<Vec<Request>> {
        if let Some(request) = self.alone.pop_front() {
            return Some(vec![request]);
        }
        let first = self.requests.next().await?;
        let Some(mut bytes) = small(&first) else {
            return Some(vec![first]);
        };
        let mut batch = vec![first];
        while batch.len() < MOST_FILES && self.alone.len() < MOST_FILES && bytes < MOST_BYTES {
            let Ok(Some(request)) = tokio::time::timeout(LINGER, self.requests.next()).await else {
                break;
            };
            match small(&request) {
                Some(size) => {
                    bytes += size;
                    batch.push(request);
                }
                None => self.alone.push_back(request),
            }
        }
        Some(batch)
    }
}

/// The size of a file that may share a run.
fn small(request: &Request) -> Option<u64> {
    let size = request.sink.promised().filter(|size| *size <= ALONE_BYTES);
    size.filter(|_| request.validators.is_none())
}
