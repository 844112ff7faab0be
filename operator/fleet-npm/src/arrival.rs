//! How a tarball comes: from the disk, or from the upstream by one request for all who want it. Small ones are whole and right
//! before anybody gets a byte; of larger ones the end waits for that. What the volume has no room for is given out all the
//! same, and not kept.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use fleet_fetch::{FailureKind, FetchError, Told};
use fleet_formats::npm::{Hasher, HeldBy, Integrity};
use fleet_origin::{
    ABANDONED_AFTER, FoundBody, Grower, Growing, Landing, Passage, ServedFile, WHOLE_FIRST,
    is_worth_finishing,
};
use fleet_telemetry::QuestionResult;
use fleet_types::counted;
use http::StatusCode;
use http::header::CONTENT_LENGTH;

use crate::disk::Shelf;
use crate::draft::{Draft, is_full};
use crate::early::{AskedEarly, of_any_kind};
use crate::inner::Inner;
use crate::promised::{fits, hashers, is_whole};
use crate::refusal::Refusal;
use crate::tarball::WantedTarball;

/// The largest packages have some hundred MB.
const MAX_TARBALL_BYTES: u64 = 4 << 30;

/// What came of it.
#[derive(Debug, Clone)]
pub struct Arrived {
    pub body: FoundBody,
    pub was_fetched: bool,
    /// When it may no longer be given out, in Unix seconds.
    pub until: Option<i64>,
}

/// Why it did not.
#[derive(Debug, Clone)]
pub enum Missed {
    /// The volume has no room for one so large: each who asks has it pass.
    NoRoom(Arc<WantedTarball>),
    /// Nobody waited for it any more.
    GivenUp,
    Refused(Refusal),
}

pub type Arrival = Result<Arrived, Missed>;

impl From<Refusal> for Missed {
    fn from(refusal: Refusal) -> Missed {
        Missed::Refused(refusal)
    }
}

impl Inner {
    /// From the disk, or from the upstream, which may have been asked `early`.
    pub async fn bring(
        self: &Arc<Self>,
        wanted: &Arc<WantedTarball>,
        early: Option<AskedEarly>,
        landing: &Landing<Arrival>,
    ) -> Arrival {
        if let Some(file) = self.kept_tarball(wanted).await? {
            return Ok(wanted.arrived(FoundBody::File(file), false));
        }
        let (mut told, length) = self.ask_for_tarball(wanted, early).await?;
        let has_room = self.make_room(length.unwrap_or_default()).await;
        if !has_room && length.is_some_and(|length| length > WHOLE_FIRST) {
            self.note_kept(false);
            return Err(Missed::NoRoom(wanted.clone()));
        }
        self.receive_tarball(wanted, &mut told, length, landing)
            .await
    }

    /// What is on the disk, compared with its promise: a disk may rot, and a machine may have lost power.
    async fn kept_tarball(
        self: &Arc<Self>,
        wanted: &Arc<WantedTarball>,
    ) -> Result<Option<ServedFile>, Refusal> {
        let (this, wanted) = (self.clone(), wanted.clone());
        self.blocking(move || {
            let own = |error: io::Error| Refusal::own("a kept tarball cannot be read", &error);
            let key = &wanted.key;
            let Some(mut file) = this.disk.open_file(Shelf::Tarballs, key).map_err(own)? else {
                return Ok(None);
            };
            if !is_whole(&mut file, &wanted.promises).map_err(own)? {
                tracing::error!(path = %this.disk.path(Shelf::Tarballs, key).display(), "a kept tarball is damaged; it is fetched again");
                this.disk.remove(Shelf::Tarballs, key).map_err(own)?;
                return Ok(None);
            }
            this.disk.use_now(Shelf::Tarballs, key);
            ServedFile::new(key, file).map(Some).map_err(own)
        })
        .await
    }

    /// With the length that the upstream tells.
    async fn ask_for_tarball(
        &self,
        wanted: &WantedTarball,
        early: Option<AskedEarly>,
    ) -> Result<(Told, Option<u64>), Refusal> {
        let WantedTarball { name, version, .. } = wanted;
        if wanted.promises.is_empty() {
            let text = format!(
                "the upstream promises nothing for {name}@{version} that its tarball could be compared with; it is not given out"
            );
            return Err(Refusal::new(StatusCode::BAD_GATEWAY, text));
        }
        let answered = match early.filter(|early| early.source == wanted.source) {
            Some(early) => early.answer().await,
            None => None,
        };
        let told = match answered {
            Some(early) => early?.told,
            None => {
                let asked = of_any_kind();
                self.upstream.ask_at(&wanted.source, &asked, None).await?
            }
        };
        if told.status() != StatusCode::OK {
            self.traffic.asked(QuestionResult::Absent);
            return Err(Refusal::of_upstream(&told.refusal()));
        }
        let length = told.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        match length.filter(|length| *length > MAX_TARBALL_BYTES) {
            Some(_) => Err(too_large()),
            None => Ok((told, length)),
        }
    }

    async fn receive_tarball(
        self: &Arc<Self>,
        wanted: &Arc<WantedTarball>,
        told: &mut Told,
        length: Option<u64>,
        landing: &Landing<Arrival>,
    ) -> Arrival {
        let is_large = length.is_some_and(|length| length > WHOLE_FIRST);
        // What others read already cannot go on in memory.
        let memory = if is_large { 0 } else { WHOLE_FIRST };
        let mut writing = Writing {
            draft: Draft::new(&self.disk, memory).map_err(|error| no_room(&error, wanted))?,
            hashers: hashers(&wanted.promises),
            large: length.filter(|_| is_large),
            grower: None,
            written: Arc::default(),
        };
        let written = writing.written.clone();
        let abandoned = async {
            landing.abandoned(ABANDONED_AFTER).await;
            if is_worth_finishing(written.load(Ordering::Relaxed), length) {
                std::future::pending::<()>().await;
            }
        };
        let came = tokio::select! {
            came = self.take_all(wanted, told, &mut writing, landing) => came,
            () = abandoned => Err(Missed::GivenUp),
        };
        let settled = match came {
            Ok(()) => self.settle(wanted, writing.draft, writing.hashers).await,
            Err(missed) => Err(missed),
        };
        match (settled, writing.grower) {
            (Ok(arrived), grower) => {
                if let Some(grower) = grower {
                    grower.whole();
                }
                Ok(arrived)
            }
            (Err(missed), grower) => {
                if let Some(grower) = grower {
                    grower.fail(match &missed {
                        Missed::NoRoom(_) => "the volume is full".to_owned(),
                        Missed::GivenUp => "nobody waited for it".to_owned(),
                        Missed::Refused(refusal) => refusal.text.clone(),
                    });
                }
                Err(missed)
            }
        }
    }

    async fn take_all(
        &self,
        wanted: &Arc<WantedTarball>,
        told: &mut Told,
        writing: &mut Writing,
        landing: &Landing<Arrival>,
    ) -> Result<(), Missed> {
        while let Some(chunk) = self.next_chunk(told, writing.draft.written()).await? {
            writing.take(&chunk, wanted, landing).map_err(|error| {
                if is_full(&error) {
                    self.note_kept(false);
                }
                no_room(&error, wanted)
            })?;
        }
        Ok(())
    }

    async fn next_chunk(&self, told: &mut Told, before: u64) -> Result<Option<Bytes>, Refusal> {
        let chunk = told.chunk().await;
        let chunk = chunk.map_err(|error| self.upstream.failed(&error))?;
        match &chunk {
            None => {
                self.upstream.answered();
                Ok(None)
            }
            Some(bytes) if before + bytes.len() as u64 > MAX_TARBALL_BYTES => Err(too_large()),
            _ => Ok(chunk),
        }
    }

    /// Compares what came, and keeps it if there is room.
    async fn settle(
        self: &Arc<Self>,
        wanted: &Arc<WantedTarball>,
        draft: Draft,
        hashers: Vec<Hasher>,
    ) -> Arrival {
        self.traffic.asked(QuestionResult::Changed);
        self.compare(wanted, hashers)?;
        let (this, key) = (self.clone(), wanted.key);
        let settled = self.blocking(move || {
            let settled = draft.settle(&this.disk, Shelf::Tarballs, &key);
            let settled =
                settled.map_err(|error| Refusal::own("a tarball cannot be kept", &error))?;
            this.note_kept(settled.is_kept);
            let body = settled.content.into_body(&key);
            body.map_err(|error| Refusal::own("a tarball cannot be read", &error))
        });
        Ok(wanted.arrived(settled.await?, true))
    }

    fn compare(&self, wanted: &WantedTarball, hashers: Vec<Hasher>) -> Result<(), Refusal> {
        if fits(&wanted.promises, hashers) {
            return Ok(());
        }
        let WantedTarball { name, version, .. } = wanted;
        let promised: Vec<String> = wanted.promises.iter().map(Integrity::to_string).collect();
        let text = format!(
            "what the upstream sends for {name}@{version} is not what was promised for it when it was first seen ({}); it is not given out",
            promised.join(", ")
        );
        tracing::error!(package = name.as_str(), version, "{text}");
        self.traffic.decided("held", HeldBy::Mutation.as_str());
        Err(Refusal::new(StatusCode::BAD_GATEWAY, text))
    }

    /// Has a large tarball pass to the one who asked for it.
    pub async fn pass_tarball(
        self: &Arc<Self>,
        wanted: Arc<WantedTarball>,
    ) -> Result<Arrived, Refusal> {
        let told = self.ask_for_tarball(&wanted, None).await;
        let (mut told, length) =
            told.inspect_err(|refusal| self.note_missed(&wanted.key, refusal))?;
        let Some(length) = length else {
            let text = "there is no room for this tarball, and the upstream does not tell its length, so that it cannot be passed on either";
            return Err(Refusal::own(text, &"the volume is full"));
        };
        let passage = Passage::new(length);
        let (mut passage, growing) =
            passage.map_err(|error| Refusal::own("too much passes already", &error))?;
        let arrived = wanted.arrived(FoundBody::Growing(growing, wanted.key), true);
        let this = self.clone();
        tokio::spawn(async move {
            match this.let_pass(&wanted, &mut told, &mut passage).await {
                Ok(()) => passage.whole(),
                Err(refusal) => {
                    this.note_missed(&wanted.key, &refusal);
                    passage.fail(refusal.text);
                }
            }
        });
        Ok(arrived)
    }

    async fn let_pass(
        &self,
        wanted: &WantedTarball,
        told: &mut Told,
        passage: &mut Passage,
    ) -> Result<(), Refusal> {
        let mut hashers = hashers(&wanted.promises);
        while let Some(chunk) = self.next_chunk(told, passage.written()).await? {
            hashers.iter_mut().for_each(|hasher| hasher.update(&chunk));
            let passed = passage.write(&chunk).await;
            passed.map_err(|ended| {
                Refusal::new(
                    StatusCode::BAD_GATEWAY,
                    format!("it ended early: {ended:?}"),
                )
            })?;
        }
        self.traffic.asked(QuestionResult::Changed);
        self.compare(wanted, hashers)
    }
}

/// A tarball on its way to the disk.
struct Writing {
    draft: Draft,
    hashers: Vec<Hasher>,
    /// Its length, where it is read while it comes.
    large: Option<u64>,
    grower: Option<Grower>,
    /// Bytes, for who looks on.
    written: Arc<AtomicU64>,
}

impl Writing {
    fn take(
        &mut self,
        chunk: &[u8],
        wanted: &WantedTarball,
        landing: &Landing<Arrival>,
    ) -> io::Result<()> {
        self.hashers
            .iter_mut()
            .for_each(|hasher| hasher.update(chunk));
        self.draft.write_all(chunk)?;
        self.written.store(self.draft.written(), Ordering::Relaxed);
        if let (Some(length), None) = (self.large, &self.grower)
            && let Some(file) = self.draft.reader()?
        {
            let (grower, growing) = Growing::new(Arc::new(file), length);
            landing.is_read_by(grower.readers());
            landing.tell(Ok(
                wanted.arrived(FoundBody::Growing(growing, wanted.key), true)
            ));
            self.grower = Some(grower);
        }
        if let Some(grower) = &self.grower {
            grower.wrote(self.draft.written());
        }
        Ok(())
    }
}

fn no_room(error: &io::Error, wanted: &Arc<WantedTarball>) -> Missed {
    match is_full(error) {
        true => Missed::NoRoom(wanted.clone()),
        false => Missed::Refused(Refusal::own("a tarball cannot be written", error)),
    }
}

fn too_large() -> Refusal {
    let most = counted(MAX_TARBALL_BYTES, "byte");
    Refusal::of_upstream(&FetchError::new(
        FailureKind::TooLarge,
        format!("the tarball has more than {most}"),
    ))
}
