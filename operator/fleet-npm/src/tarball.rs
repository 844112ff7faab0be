//! Which tarball is asked for, what was promised for it, and whether it may be given out: by one task for all who want it.

use std::sync::Arc;
use std::time::Duration;

use fleet_formats::npm::{Form, Integrity, PackageName, Place, Verdict};
use fleet_origin::{FoundBody, Landing};
use fleet_types::Sha256;
use http::StatusCode;

use crate::arrival::{Arrival, Arrived, Missed};
use crate::disk::key;
use crate::document::Package;
use crate::early::AskedEarly;
use crate::inner::Inner;
use crate::pins::{Pin, Pins};
use crate::refusal::Refusal;

/// How often is joined or begun what ends at that moment because nobody wanted it.
const TRIES: usize = 3;
const MOMENT: Duration = Duration::from_millis(10);

/// A tarball that may be given out.
#[derive(Debug)]
pub struct WantedTarball {
    pub key: Sha256,
    pub name: PackageName,
    pub version: String,
    /// Where the upstream has it.
    pub source: String,
    pub promises: Vec<Integrity>,
    /// When it may no longer be given out, in Unix seconds.
    until: Option<i64>,
}

impl WantedTarball {
    pub fn arrived(&self, body: FoundBody, was_fetched: bool) -> Arrived {
        Arrived {
            body,
            was_fetched,
            until: self.until,
        }
    }
}

impl Inner {
    /// The tarball of this name. Held back ones are told why and until when.
    pub async fn tarball(
        self: &Arc<Self>,
        package: &Arc<Package>,
        file: &str,
    ) -> Result<Arrived, Refusal> {
        let asked = key(&[package.name.as_str().as_bytes(), file.as_bytes()]);
        for _ in 0..TRIES {
            let (this, package, file) = (self.clone(), package.clone(), file.to_owned());
            let (_, coming) = self.tarballs.join(asked, move |landing| async move {
                let arrival = this.obtain(&package, &file, &landing).await;
                landing.tell(arrival);
            });
            match coming.await {
                Some(Ok(arrived)) => return Ok(arrived),
                Some(Err(Missed::Refused(refusal))) => return Err(refusal),
                Some(Err(Missed::NoRoom(wanted))) => return self.pass_tarball(wanted).await,
                // Just as it was asked for again; it is out of the way in a moment.
                Some(Err(Missed::GivenUp)) | None => tokio::time::sleep(MOMENT).await,
            }
        }
        Err(Refusal {
            retry_after: Some(1),
            ..Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the fetch of this tarball has ended early; ask again",
            )
        })
    }

    /// For all who want it.
    async fn obtain(
        self: &Arc<Self>,
        package: &Package,
        file: &str,
        landing: &Landing<Arrival>,
    ) -> Arrival {
        let (found, early) = self.pinned(package, file).await?;
        let wanted = Arc::new(self.judged(&package.name, file, found)?);
        if let Some(refusal) = self.missed(&wanted.key) {
            return Err(refusal.into());
        }
        let arrival = self.bring(&wanted, early, landing).await;
        if let Err(Missed::Refused(refusal)) = &arrival {
            self.note_missed(&wanted.key, refusal);
        }
        arrival
    }

    /// Whether a version's tarball may be given out.
    fn judged(
        &self,
        name: &PackageName,
        file: &str,
        (version, pin): (String, Pin),
    ) -> Result<WantedTarball, Refusal> {
        let now = crate::now();
        let verdict = self.guard.version(name, &version, &pin.facts(), now);
        self.trail
            .tell(name, Some(&version), &verdict, &self.traffic);
        if let Some(at) = verdict.changes() {
            self.traffic.opens_at(at, now);
        }
        if let Some(held) = verdict.held() {
            return Err(held.into());
        }
        Ok(WantedTarball {
            key: key_of(name, file, &pin),
            name: name.clone(),
            version,
            source: pin.source,
            promises: pin.promises,
            until: match verdict {
                Verdict::Waived { until, .. } => Some(until),
                _ => None,
            },
        })
    }

    /// What was promised for the tarball of this name: from the disk, or else from the package's document as it is now. Where
    /// the upstream is asked for that, it is asked for the tarball at the same time.
    async fn pinned(
        self: &Arc<Self>,
        package: &Package,
        file: &str,
    ) -> Result<((String, Pin), Option<AskedEarly>), Refusal> {
        if let (Some(found), _) = self.pin(&package.name, file).await? {
            return Ok((found, None));
        }
        let form = match self.guard.needs_dates() {
            true => Form::Full,
            false => Form::Abbreviated,
        };
        let mut state = package.state.lock().await;
        let (current, early) = match self.young(package, &mut state, form)? {
            Some(current) => (current, None),
            None => {
                let early = self.ask_early(&package.name, file);
                (self.renewed(package, &mut state, form).await?, early)
            }
        };
        let (mut found, is_torn) = self.pin(&package.name, file).await?;
        if found.is_none() && is_torn {
            // What is lost of the promises stands in the document that is here.
            self.relearn(&package.name, &current).await?;
            (found, _) = self.pin(&package.name, file).await?;
        }
        drop(state);
        let found = found.ok_or_else(|| {
            Refusal::not_found(format!(
                "no version of {} has a tarball {file}",
                package.name
            ))
        })?;
        Ok((found, early))
    }

    /// The pin of this file, and whether pins of the package are lost.
    async fn pin(
        self: &Arc<Self>,
        name: &PackageName,
        file: &str,
    ) -> Result<(Option<(String, Pin)>, bool), Refusal> {
        let (this, name, file) = (self.clone(), name.clone(), file.to_owned());
        self.blocking(move || {
            let place = Place {
                package: &name,
                upstream: this.upstream.address(),
                here: "",
            };
            let mut pins = Pins::read(&this.disk, place)
                .map_err(|error| Refusal::own("what was promised cannot be read", &error))?;
            pins.approve(this.guard.approved(&name));
            let found = pins.by_file(&file);
            let found = found.map(|(version, pin)| (version.to_owned(), pin.clone()));
            Ok((found, pins.is_torn))
        })
        .await
    }
}

/// Other promises are for other bytes, which have another name.
fn key_of(name: &PackageName, file: &str, pin: &Pin) -> Sha256 {
    let promises: Vec<String> = pin.promises.iter().map(Integrity::to_string).collect();
    key(&[
        name.as_str().as_bytes(),
        file.as_bytes(),
        promises.join(" ").as_bytes(),
    ])
}
