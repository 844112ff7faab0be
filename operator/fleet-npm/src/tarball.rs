//! Which tarball is asked for, what was promised for it, and whether it may be given out.

use std::sync::Arc;

use fleet_formats::npm::{Form, Integrity, PackageName, Place, Verdict};
use fleet_types::Sha256;

use crate::arrival::Arrived;
use crate::disk::key;
use crate::document::Package;
use crate::inner::Inner;
use crate::pins::{Pin, Pins};
use crate::refusal::Refusal;

/// A tarball that may be given out.
#[derive(Debug)]
pub struct WantedTarball {
    pub key: Sha256,
    pub name: PackageName,
    pub version: String,
    /// Where the upstream has it.
    pub source: String,
    pub promises: Vec<Integrity>,
}

/// A tarball and how it came.
pub struct Tarball {
    pub arrived: Arrived,
    /// When it may no longer be given out, in Unix seconds.
    pub until: Option<i64>,
}

impl Inner {
    /// The tarball of this name. Held back ones are told why and until when.
    pub async fn tarball(
        self: &Arc<Self>,
        package: &Arc<Package>,
        file: &str,
    ) -> Result<Tarball, Refusal> {
        let (version, pin) = self.pinned(package, file).await?;
        let now = crate::now();
        let verdict = self
            .guard
            .version(&package.name, &version, &pin.facts(), now);
        self.trail
            .tell(&package.name, Some(&version), &verdict, &self.traffic);
        if let Some(at) = verdict.changes() {
            self.traffic.opens_at(at, now);
        }
        if let Some(held) = verdict.held() {
            return Err(held.into());
        }
        let until = match verdict {
            Verdict::Waived { until, .. } => Some(until),
            _ => None,
        };
        let wanted = WantedTarball {
            key: key_of(&package.name, file, &pin),
            name: package.name.clone(),
            version,
            source: pin.source,
            promises: pin.promises,
        };
        let arrived = self.get_tarball(Arc::new(wanted)).await?;
        Ok(Tarball { arrived, until })
    }

    /// What was promised for the tarball of this name: from the disk, or else from the package's document as it is now.
    async fn pinned(
        self: &Arc<Self>,
        package: &Arc<Package>,
        file: &str,
    ) -> Result<(String, Pin), Refusal> {
        let (found, is_torn) = self.pin(&package.name, file).await?;
        if let Some(found) = found {
            return Ok(found);
        }
        let form = match self.guard.needs_dates() {
            true => Form::Full,
            false => Form::Abbreviated,
        };
        let mut state = package.state.lock().await;
        let current = self.current(package, &mut state, form).await?;
        if is_torn && !current.was_asked {
            // What is lost of the promises stands in the document that is here.
            self.relearn(&package.name, &current).await?;
        }
        drop(state);
        let (found, _) = self.pin(&package.name, file).await?;
        found.ok_or_else(|| {
            Refusal::not_found(format!(
                "no version of {} has a tarball {file}",
                package.name
            ))
        })
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
