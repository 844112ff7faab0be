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
            return Ok(self.found(entry, of, blob));
        }
        let nothing = self.sent(&entry, of, Content::Bytes(Bytes::new()));
        if self.asked.method == Method::HEAD || !nothing.status.is_success() {
            return Ok(nothing.with_length(entry.size));
        }
        match obtained {
            None | Some(Obtained::Blob(_)) => self.ask_for(&entry),
            Some(obtained) => Ok(self.as_it_came(&entry, of, obtained)),
        }
    }

    /// Asks for it, where somebody fetches.
    fn ask_for(&self, entry: &Entry) -> Result<Answer, NotNow> {
        let Some(coming) = self.mirror.fetch(&self.rest.path, entry) else {
            self.count(entry, OnDemand::Nowhere);
            return Ok(Answer::not_to_be_had(
                Reason::UpstreamUnreachable,
                "this file is fetched when it is asked for, and nothing here fetches at the moment",
            ));
        };
        let digest = entry.digest;
        Err(NotNow::Later(Later { digest, coming }))
    }

    /// What came, and is no blob.
    fn as_it_came(&self, entry: &Entry, of: Option<SnapshotId>, obtained: &Obtained) -> Answer {
        let content = match obtained {
            Obtained::Bytes(bytes) => Some(Content::Bytes(bytes.clone())),
            Obtained::Growing(growing) => Some(Content::Growing {
                growing: growing.clone(),
                range: 0..entry.size,
            }),
            _ => None,
        };
        if let Some(content) = content {
            self.count(entry, OnDemand::Fetched);
            return self.sent(entry, of, content);
        }
        self.count(entry, OnDemand::Nowhere);
        match obtained {
            Obtained::Absent => Answer::text(
                StatusCode::NOT_FOUND,
                "the upstream lists this file and does not have it",
            ),
            Obtained::Refused(reason, why) => Answer::not_to_be_had(*reason, why),
            Obtained::Busy(wait) => Answer::busy(*wait),
            Obtained::Blob(_) | Obtained::Bytes(_) | Obtained::Growing(_) => {
                Answer::unavailable("this file could not be had")
            }
        }
    }

    pub(super) fn count(&self, entry: &Entry, source: OnDemand) {
        if entry.state == EntryState::NotYetFetched {
            self.mirror.traffic.on_demand(source);
        }
    }

    /// Content of an entry that is no open file, as the request asks for it.
    fn sent(&self, entry: &Entry, of: Option<SnapshotId>, content: Content) -> Answer {
        let modified = self.mirror.modified(entry, of);
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
