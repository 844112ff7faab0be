//! Content that a snapshot lists and that is here once somebody has asked for it.

use bytes::Bytes;
use fleet_origin::Obtained;
use fleet_store::{Entry, EntryState, SnapshotId};
use fleet_telemetry::OnDemand;
use fleet_types::Reason;
use http::{Method, StatusCode};

use crate::answer::{Answer, Content};
use crate::asked::{Later, NotNow};
use crate::conditional::{Validators, decide};
use crate::content_type::content_type;
use crate::lookup::Lookup;

impl Lookup<'_> {
    /// Content that is here once somebody has asked for it. What needs none of its bytes does not make anybody fetch it.
    pub(super) fn on_demand(&self, entry: Entry, of: Option<SnapshotId>) -> Result<Answer, NotNow> {
        let came = self.asked.came.filter(|came| came.digest == entry.digest);
        let obtained = came.map(|came| &came.obtained);
        let is_sure = matches!(obtained, Some(Obtained::Blob(digest)) if *digest == entry.digest);
        let (blobs, path) = (&self.mirror.blobs, &self.rest.path);
        let source = came.map_or(OnDemand::Stored, |_| OnDemand::Fetched);
        if let Some(blob) = blobs.open_fetched(path, &entry, of, is_sure) {
            self.count(&entry, source);
            return Ok(self.found(entry, blob));
        }
        let sent = |content| self.sent(&entry, content);
        let nothing = sent(Content::Bytes(Bytes::new()));
        let is_without_bytes = self.asked.method == Method::HEAD || !nothing.status.is_success();
        match obtained {
            _ if is_without_bytes => {}
            None | Some(Obtained::Blob(_)) => {}
            Some(Obtained::Bytes(_) | Obtained::Growing(_)) => self.count(&entry, source),
            Some(_) => self.count(&entry, OnDemand::Nowhere),
        }
        Ok(match obtained {
            _ if is_without_bytes => nothing.with_length(entry.size),
            None | Some(Obtained::Blob(_)) => match self.mirror.fetch(path, &entry) {
                Some(coming) => {
                    let digest = entry.digest;
                    return Err(NotNow::Later(Later { digest, coming }));
                }
                None => Answer::not_to_be_had(
                    Reason::UpstreamUnreachable,
                    "this file is fetched when it is asked for, and nothing here fetches at the moment",
                ),
            },
            Some(Obtained::Bytes(bytes)) => sent(Content::Bytes(bytes.clone())),
            Some(Obtained::Growing(growing)) => sent(Content::Growing {
                growing: growing.clone(),
                range: 0..entry.size,
            }),
            Some(Obtained::Absent) => Answer::text(
                StatusCode::NOT_FOUND,
                "the upstream lists this file and does not have it",
            ),
            Some(Obtained::Refused(reason, why)) => Answer::not_to_be_had(*reason, why),
            Some(Obtained::Busy(wait)) => Answer::busy(*wait),
        })
    }

    pub(super) fn count(&self, entry: &Entry, source: OnDemand) {
        if entry.state == EntryState::NotYetFetched {
            self.mirror.traffic.on_demand(source);
        }
    }

    /// Content of an entry that is no open file, as the request asks for it.
    fn sent(&self, entry: &Entry, content: Content) -> Answer {
        let modified = self.mirror.modified(entry);
        let validators = Validators::of_content(&entry.digest, entry.size, modified);
        let decision = decide(self.asked.method, self.asked.headers, &validators);
        let path = &self.rest.path;
        let caching = self.caching(entry);
        Answer::file(
            content,
            &validators,
            || content_type(path),
            caching,
            decision,
        )
    }
}
