//! Packuments as clients see them: written once for each form, address and encoding, and then sent as a file, until the upstream
//! has another document or the next version opens.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use fleet_formats::npm::{Form, PackageName, Packument, Place, Verdict, View};
use fleet_origin::{FoundBody, ServedFile};
use fleet_types::Sha256;
use sha2::Digest;

use crate::disk::{Shelf, key};
use crate::document::{Current, Package, State};
use crate::draft::{DOCUMENT_IN_MEMORY, Draft, Settled};
use crate::encoding::Encoding;
use crate::inner::Inner;
use crate::pins::Pins;
use crate::refusal::Refusal;
use crate::trail;

/// Ways in which one package is shown that are remembered: both forms at a handful of addresses.
const REMEMBERED: usize = 8;

/// What is to be shown of a document at one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    body: Sha256,
    here: String,
    /// Stands for the document, the address and what is held back.
    key: Sha256,
    /// When something else is to be shown (Unix seconds); none where that is not known.
    until: Option<i64>,
}

/// What is made of a document while it is in memory.
pub enum Part {
    /// The whole of it, in this encoding.
    Whole(Encoding),
    /// The document of one version, by its number or by a tag.
    Version(String),
    Tags,
}

/// What came of it.
pub enum Made {
    /// With when something else is to be shown, in Unix seconds.
    Whole(FoundBody, Option<i64>),
    Bytes(Vec<u8>),
}

/// The document on the disk is not what it was when it was kept, or was given up just now.
struct Damaged;

impl Inner {
    /// Shows what is current to who asks at `here`. The caller has the package's turn.
    pub async fn show(
        self: &Arc<Self>,
        package: &Package,
        state: &mut State,
        form: Form,
        here: &str,
        part: Part,
    ) -> Result<(Made, Current), Refusal> {
        // Where dates count, those of the full form do for both.
        if self.guard.needs_dates() && form == Form::Abbreviated {
            self.current(package, state, Form::Full).await?;
        }
        let mut current = self.current(package, state, form).await?;
        if let Part::Whole(encoding) = part
            && let Some(found) = self.shown_before(state, &current, here, encoding)
        {
            return Ok((found, current));
        }
        let part = Arc::new(part);
        let mut made = self.make(package, &current, here, part.clone()).await?;
        if made.is_err() {
            tracing::error!(
                package = package.name.as_str(),
                "a kept document is damaged or gone; it is fetched again"
            );
            state.forget(current.form);
            current = self.current(package, state, form).await?;
            made = self.make(package, &current, here, part).await?;
        }
        let Ok((made, shown)) = made else {
            return Err(Refusal::own(
                "a document is damaged as soon as it is kept",
                &"the disk gives other bytes than it was given",
            ));
        };
        state
            .shown
            .retain(|known| (&known.body, &known.here) != (&shown.body, &shown.here));
        if state.shown.len() >= REMEMBERED {
            state.shown.remove(0);
        }
        state.shown.push(shown);
        Ok((made, current))
    }

    fn shown_before(
        &self,
        state: &State,
        current: &Current,
        here: &str,
        encoding: Encoding,
    ) -> Option<Made> {
        let now = crate::now();
        let shown = state.shown.iter().find(|shown| {
            (shown.body, &*shown.here) == (current.kept.body, here)
                && shown.until.is_none_or(|until| now < until)
        })?;
        let key = encoded(&shown.key, encoding);
        let file = self.disk.open_file(Shelf::Shown, &key).ok()??;
        self.disk.use_now(Shelf::Shown, &key);
        self.disk.use_now(Shelf::Bodies, &shown.body);
        let file = ServedFile::new(&key, file).ok()?;
        Some(Made::Whole(FoundBody::File(file), shown.until))
    }

    async fn make(
        self: &Arc<Self>,
        package: &Package,
        current: &Current,
        here: &str,
        part: Arc<Part>,
    ) -> Result<Result<(Made, Shown), Damaged>, Refusal> {
        let (this, name, current, here) = (
            self.clone(),
            package.name.clone(),
            current.clone(),
            here.to_owned(),
        );
        self.make_room(current.kept.size).await;
        let room = self.room(current.kept.size).await;
        self.blocking(move || {
            let _room = room;
            match this.read_whole(&current)? {
                Some(bytes) => this.make_of(&bytes, &name, &current, here, &part).map(Ok),
                None => Ok(Err(Damaged)),
            }
        })
        .await
    }

    /// The document, if it is there as it was kept.
    pub fn read_whole<'c>(&self, current: &'c Current) -> Result<Option<Cow<'c, [u8]>>, Refusal> {
        if let Some(bytes) = &current.beside {
            return Ok(Some(Cow::Borrowed(bytes)));
        }
        self.disk.use_now(Shelf::Bodies, &current.kept.body);
        let read = self.disk.read(Shelf::Bodies, &current.kept.body);
        let bytes = read.map_err(|error| Refusal::own("a document cannot be read", &error))?;
        let is_right =
            |bytes: &Vec<u8>| Sha256(sha2::Sha256::digest(bytes).into()) == current.kept.body;
        Ok(bytes.filter(is_right).map(Cow::Owned))
    }

    fn make_of(
        &self,
        bytes: &[u8],
        name: &PackageName,
        current: &Current,
        here: String,
        part: &Part,
    ) -> Result<(Made, Shown), Refusal> {
        let place = Place {
            package: name,
            upstream: self.upstream.address(),
            here: &here,
        };
        let packument = Packument::read(bytes, name)
            .map_err(|error| Refusal::own("a kept document cannot be read", &error))?;
        let mut pins = Pins::read(&self.disk, place)
            .map_err(|error| Refusal::own("what was promised cannot be read", &error))?;
        pins.approve(self.guard.approved(name));
        let (hidden, until) = self.judge(&packument, &pins, name);
        let view = View {
            packument: &packument,
            place,
            hidden: &hidden,
        };
        let bits: Vec<u8> = hidden.iter().map(|hidden| u8::from(*hidden)).collect();
        let key = key(&[&current.kept.body.0, here.as_bytes(), &bits]);
        let made = match part {
            Part::Whole(encoding) => {
                let encoded = encoded(&key, *encoding);
                let written = self.write(&view, &encoded, *encoding);
                let body = written.and_then(|settled| {
                    self.note_kept(settled.is_kept);
                    settled.content.into_body(&encoded)
                });
                Made::Whole(
                    body.map_err(|error| Refusal::own("there is no room for a document", &error))?,
                    until,
                )
            }
            Part::Version(wanted) => Made::Bytes(view.version(wanted).ok_or_else(|| {
                let position = packument.position(wanted);
                let held = position.and_then(|number| {
                    self.verdict(&packument, number, &pins, name)
                        .held()
                        .map(Refusal::from)
                });
                held.unwrap_or_else(|| Refusal::not_found(format!("version not found: {wanted}")))
            })?),
            Part::Tags => Made::Bytes(view.tags_document().into_bytes()),
        };
        Ok((
            made,
            Shown {
                body: current.kept.body,
                here,
                key,
                until,
            },
        ))
    }

    /// Which versions are held back, and when that changes.
    fn judge(
        &self,
        packument: &Packument<'_>,
        pins: &Pins,
        name: &PackageName,
    ) -> (Vec<bool>, Option<i64>) {
        let now = crate::now();
        let mut until: Option<i64> = None;
        let hidden = (0..packument.versions().len()).map(|number| {
            let verdict = self.verdict(packument, number, pins, name);
            let version = packument
                .versions()
                .get(number)
                .map(|version| &*version.version);
            self.trail.tell(name, version, &verdict, &self.traffic);
            if let Some(at) = verdict.changes() {
                until = Some(until.map_or(at, |until| until.min(at)));
                self.traffic.opens_at(at, now);
            }
            verdict.held().is_some()
        });
        let hidden = hidden.collect();
        (hidden, until)
    }

    fn verdict(
        &self,
        packument: &Packument<'_>,
        number: usize,
        pins: &Pins,
        name: &PackageName,
    ) -> Verdict {
        let Some(version) = packument.versions().get(number) else {
            return Verdict::Open;
        };
        if !version.fits {
            return Verdict::Held(trail::unfit(name, &version.version));
        }
        let now = crate::now();
        self.guard
            .version(name, &version.version, &pins.facts(version, now), now)
    }

    fn write(&self, view: &View<'_, '_>, key: &Sha256, encoding: Encoding) -> io::Result<Settled> {
        let draft = Draft::new(&self.disk, DOCUMENT_IN_MEMORY)?;
        let out = io::BufWriter::with_capacity(256 * 1024, draft);
        let out = encoding.write(out, |out| view.write(out))?;
        let draft = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        draft.settle(&self.disk, Shelf::Shown, key)
    }
}

fn encoded(shown: &Sha256, encoding: Encoding) -> Sha256 {
    key(&[&shown.0, encoding.token().unwrap_or_default().as_bytes()])
}
