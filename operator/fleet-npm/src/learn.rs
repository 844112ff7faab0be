//! What a document says is learnt before it counts: it is read, its promises are written down, and then it is kept.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use fleet_formats::npm::{PackageName, Packument, Place};
use http::StatusCode;

use crate::disk::Shelf;
use crate::document::Current;
use crate::inner::Inner;
use crate::pins::Pins;
use crate::receive::Received;
use crate::refusal::Refusal;

impl Inner {
    /// Reads the document, writes down what is new in it, and keeps it. The document where there is no room for it.
    pub async fn learn(
        self: &Arc<Self>,
        name: &PackageName,
        body: Received,
    ) -> Result<Option<Bytes>, Refusal> {
        let (this, name) = (self.clone(), name.clone());
        let room = self.room(body.size).await;
        self.blocking(move || {
            let _room = room;
            let bytes = body.draft.read();
            let bytes = bytes.map_err(|error| Refusal::own("a document cannot be read", &error))?;
            this.note(&bytes, &name)?;
            drop(bytes);
            let settled = body.draft.settle(&this.disk, Shelf::Bodies, &body.digest);
            let settled =
                settled.map_err(|error| Refusal::own("a document cannot be kept", &error))?;
            this.note_kept(settled.is_kept);
            if settled.is_kept {
                return Ok(None);
            }
            let bytes = settled.content.read();
            bytes
                .map(Some)
                .map_err(|error| Refusal::own("a document cannot be read", &error))
        })
        .await
    }

    /// Learns once more what the document says that is here.
    pub async fn relearn(
        self: &Arc<Self>,
        name: &PackageName,
        current: &Current,
    ) -> Result<(), Refusal> {
        let (this, name, current) = (self.clone(), name.clone(), current.clone());
        let room = self.room(current.kept.size).await;
        self.blocking(move || {
            let _room = room;
            match this.read_whole(&current)? {
                Some(bytes) => this.note(&bytes, &name),
                None => Ok(()),
            }
        })
        .await
    }

    /// Writes down what is new in a document.
    fn note(&self, bytes: &[u8], name: &PackageName) -> Result<(), Refusal> {
        let packument = Packument::read(bytes, name).map_err(|error| {
            let text = format!("what the upstream says of {name} is not a document of it: {error}");
            Refusal::new(StatusCode::BAD_GATEWAY, text)
        })?;
        let place = Place {
            package: name,
            upstream: self.upstream.address(),
            here: "",
        };
        let own = |error: io::Error| {
            Refusal::own(
                "what was promised for versions cannot be written down",
                &error,
            )
        };
        let mut pins = Pins::read(&self.disk, place).map_err(own)?;
        pins.learn(&self.disk, place, &packument, crate::now())
            .map_err(own)
    }
}
