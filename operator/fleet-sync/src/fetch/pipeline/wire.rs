//! A connection and what it has carried. Between the stages of a run it is kept, so that the next one need not wait until
//! another is made.

use std::sync::Arc;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::io::AsyncReadExt;

use super::super::budget::Place;
use super::super::http::Endpoint;
use super::dial::Stream;

pub(in crate::fetch) struct Wire {
    pub(super) stream: Box<dyn Stream>,
    /// Requests, and answers, since it was made.
    pub(super) asked: usize,
    pub(super) answered: usize,
    /// Nobody used it for a while.
    pub(super) was_kept: bool,
    pub origin: Arc<str>,
    pub place: Place,
}

impl Wire {
    /// None where the endpoint cannot be reached.
    pub(super) async fn dial(endpoint: &Endpoint, place: Place) -> Option<Wire> {
        let dialer = endpoint.dialer.as_ref()?;
        Some(Wire {
            stream: dialer.dial(endpoint.line.stall).await?,
            asked: 0,
            answered: 0,
            was_kept: false,
            origin: endpoint.origin.clone(),
            place,
        })
    }

    /// One that was kept, or another in its place where the server has ended it meanwhile.
    pub(super) async fn renewed(mut self, endpoint: &Endpoint) -> Option<Wire> {
        let mut byte = [0];
        if self.stream.read(&mut byte).now_or_never().is_none() {
            self.was_kept = true;
            return Some(self);
        }
        let Wire { stream, place, .. } = self;
        // First, since a place is for one connection.
        drop(stream);
        Wire::dial(endpoint, place).await
    }
}

/// Opens connections for requests that will come, `most` in a run and as far as places are free.
pub(in crate::fetch) async fn open_ahead(endpoint: Arc<Endpoint>, most: usize) {
    let budget = &endpoint.line.budget;
    if !endpoint.pipelines() {
        return;
    }
    let count = endpoint.pipelining.opens_ahead(most);
    let places = (0..count).map_while(|_| budget.free_place());
    let dials = places.map(|place| Wire::dial(&endpoint, place));
    let mut dials: FuturesUnordered<_> = dials.collect();
    while let Some(dialed) = dials.next().await {
        // What keeps one from being made is told of when it is needed.
        if let Some(wire) = dialed {
            budget.keep(wire);
        }
    }
}
