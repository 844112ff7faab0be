//! A large body while it arrives, as a sink sees it.

use bytes::Bytes;
use fleet_fetch::{OpenBody, SinkError};
use fleet_types::Sha256;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::oneshot;

use super::{OpenFile, Order, gone, send};
use crate::Problem;

impl OpenBody for OpenFile {
    fn write(&self, bytes: Bytes) -> BoxFuture<'_, Result<(), Problem>> {
        let order = Order::Chunk { id: self.id, bytes };
        send(&self.queue, order, &self.failure).boxed()
    }

    fn restart(&self) -> BoxFuture<'_, Result<(), Problem>> {
        send(&self.queue, Order::Restart { id: self.id }, &self.failure).boxed()
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Sha256, SinkError>> {
        async move {
            let (reply, answer) = oneshot::channel();
            send(
                &self.queue,
                Order::Finish { id: self.id, reply },
                &self.failure,
            )
            .await
            .map_err(SinkError::Store)?;
            answer
                .await
                .map_err(|_| SinkError::Store(gone(&self.failure)))?
        }
        .boxed()
    }
}
