//! Where content goes for which the volume has no room: it is small, so that it can be whole and right before it is sent.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fleet_fetch::{BodyStore, OpenBody, SinkError};
use fleet_types::{Digest, Expected, Problem, Sha256, lock};
use futures::FutureExt;
use futures::future::BoxFuture;
use sha2::Digest as _;

/// Keeps one body in memory.
#[derive(Debug, Clone, Default)]
pub struct InMemory(Arc<Mutex<Vec<u8>>>);

#[derive(Debug)]
struct Open {
    body: Arc<Mutex<Vec<u8>>>,
    expected: Expected,
}

impl InMemory {
    /// The body, once it was found right.
    pub fn take(&self) -> Bytes {
        std::mem::take(&mut *lock(&self.0)).into()
    }
}

impl BodyStore for InMemory {
    fn store(&self, expected: Expected, body: Bytes) -> BoxFuture<'_, Result<Sha256, SinkError>> {
        let judged = judge(&expected, &body);
        if judged.is_ok() {
            *lock(&self.0) = body.into();
        }
        std::future::ready(judged).boxed()
    }

    fn begin(
        &self,
        expected: Expected,
    ) -> BoxFuture<'_, Result<(Box<dyn OpenBody>, u64), Problem>> {
        lock(&self.0).clear();
        let body = self.0.clone();
        let open: Box<dyn OpenBody> = Box::new(Open { body, expected });
        std::future::ready(Ok((open, 0))).boxed()
    }
}

impl OpenBody for Open {
    /// A sink never writes more than is expected.
    fn write(&self, bytes: Bytes) -> BoxFuture<'_, Result<(), Problem>> {
        lock(&self.body).extend_from_slice(&bytes);
        std::future::ready(Ok(())).boxed()
    }

    fn restart(&self) -> BoxFuture<'_, Result<(), Problem>> {
        lock(&self.body).clear();
        std::future::ready(Ok(())).boxed()
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Sha256, SinkError>> {
        let judged = judge(&self.expected, &lock(&self.body));
        std::future::ready(judged).boxed()
    }
}

fn judge(expected: &Expected, body: &[u8]) -> Result<Sha256, SinkError> {
    compare(expected, Sha256(sha2::Sha256::digest(body).into()))
}

/// Whether that is what was promised.
pub fn compare(expected: &Expected, found: Sha256) -> Result<Sha256, SinkError> {
    match Digest::Sha256(found) == expected.digest {
        true => Ok(found),
        false => Err(SinkError::WrongDigest {
            expected: Box::new(expected.digest),
            found: Box::new(Digest::Sha256(found)),
        }),
    }
}
