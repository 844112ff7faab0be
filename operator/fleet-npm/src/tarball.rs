//! Tarballs: by what was promised for them, from the disk or from the upstream's own host, whole and compared before anybody
//! gets a byte.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use fleet_fetch::{FailureKind, FetchError, Told};
use fleet_formats::npm::{Form, Hasher, HeldBy, Integrity, PackageName, Place, Verdict};
use fleet_origin::ServedFile;
use fleet_telemetry::QuestionResult;
use fleet_types::{Sha256, counted};
use http::StatusCode;
use http::header::ACCEPT;
use tempfile::NamedTempFile;

use crate::disk::{Shelf, key};
use crate::document::Package;
use crate::inner::Inner;
use crate::pins::{Pin, Pins};
use crate::refusal::Refusal;

/// The largest packages have some hundred MB.
const MAX_TARBALL_BYTES: u64 = 4 << 30;

/// A tarball and how it came.
pub struct Tarball {
    pub file: ServedFile,
    pub was_fetched: bool,
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
        let key = key_of(&package.name, file, &pin);
        let _turn = self.tarballs.turn(key).await;
        if let Some(file) = self.kept_tarball(key, &pin).await? {
            return Ok(Tarball {
                file,
                was_fetched: false,
                until,
            });
        }
        let file = self
            .fetch_tarball(&package.name, &version, key, &pin)
            .await?;
        Ok(Tarball {
            file,
            was_fetched: true,
            until,
        })
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
            let pins = Pins::read(&this.disk, place)
                .map_err(|error| Refusal::own("what was promised cannot be read", &error))?;
            let found = pins.by_file(&file);
            let found = found.map(|(version, pin)| (version.to_owned(), pin.clone()));
            Ok((found, pins.is_torn))
        })
        .await
    }

    /// What is on the disk, compared with its promise: a disk may rot, and a machine may have lost power.
    async fn kept_tarball(
        self: &Arc<Self>,
        key: Sha256,
        pin: &Pin,
    ) -> Result<Option<ServedFile>, Refusal> {
        let (this, promises) = (self.clone(), pin.promises.clone());
        self.blocking(move || {
            let own = |error: io::Error| Refusal::own("a kept tarball cannot be read", &error);
            let Some(mut file) = this.disk.open_file(Shelf::Tarballs, &key).map_err(own)? else {
                return Ok(None);
            };
            if !is_whole(&mut file, &promises).map_err(own)? {
                tracing::error!(path = %this.disk.path(Shelf::Tarballs, &key).display(), "a kept tarball is damaged; it is fetched again");
                this.disk.remove(Shelf::Tarballs, &key).map_err(own)?;
                return Ok(None);
            }
            ServedFile::new(&key, file).map(Some).map_err(own)
        })
        .await
    }

    async fn fetch_tarball(
        self: &Arc<Self>,
        name: &PackageName,
        version: &str,
        key: Sha256,
        pin: &Pin,
    ) -> Result<ServedFile, Refusal> {
        if pin.promises.is_empty() {
            let text = format!(
                "the upstream promises nothing for {name}@{version} that its tarball could be compared with; it is not given out"
            );
            return Err(Refusal::new(StatusCode::BAD_GATEWAY, text));
        }
        let any = [(ACCEPT, http::HeaderValue::from_static("*/*"))];
        let mut told = self.upstream.ask_at(&pin.source, &any, None).await?;
        if told.status() != StatusCode::OK {
            self.traffic.asked(QuestionResult::Absent);
            return Err(Refusal::of_upstream(&told.refusal()));
        }
        let (file, hashers) = self.receive_tarball(&mut told, &pin.promises).await?;
        self.traffic.asked(QuestionResult::Changed);
        let fits = pin
            .promises
            .iter()
            .zip(hashers)
            .all(|(promise, hasher)| promise.fits(hasher));
        if !fits {
            let text = format!(
                "what the upstream sends for {name}@{version} is not what was promised for it when it was first seen ({}); it is not given out",
                pin.promises
                    .iter()
                    .map(Integrity::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            );
            tracing::error!(package = name.as_str(), version, "{text}");
            self.traffic.decided("held", HeldBy::Mutation.as_str());
            return Err(Refusal::new(StatusCode::BAD_GATEWAY, text));
        }
        let this = self.clone();
        self.blocking(move || {
            let kept = this.disk.put(Shelf::Tarballs, &key, file);
            let opened = kept.and_then(|_| File::open(this.disk.path(Shelf::Tarballs, &key)));
            opened
                .and_then(|file| ServedFile::new(&key, file))
                .map_err(|error| Refusal::own("a tarball cannot be kept", &error))
        })
        .await
    }

    async fn receive_tarball(
        &self,
        told: &mut Told,
        promises: &[Integrity],
    ) -> Result<(NamedTempFile, Vec<Hasher>), Refusal> {
        let no_room = |error: io::Error| Refusal::own("there is no room for a tarball", &error);
        let mut file = self.disk.staged().map_err(no_room)?;
        let mut hashers: Vec<Hasher> = promises.iter().map(Integrity::hasher).collect();
        let mut size = 0;
        loop {
            let chunk = match told.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok((file, hashers)),
                Err(error) => return Err(self.upstream.failed(&error)),
            };
            size += chunk.len() as u64;
            if size > MAX_TARBALL_BYTES {
                return Err(Refusal::of_upstream(&FetchError {
                    kind: FailureKind::TooLarge,
                    message: format!(
                        "the tarball has more than {}",
                        counted(MAX_TARBALL_BYTES, "byte")
                    ),
                    missing: false,
                }));
            }
            hashers.iter_mut().for_each(|hasher| hasher.update(&chunk));
            file.write_all(&chunk).map_err(no_room)?;
        }
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

fn is_whole(file: &mut File, promises: &[Integrity]) -> io::Result<bool> {
    let mut hashers: Vec<Hasher> = promises.iter().map(Integrity::hasher).collect();
    let mut piece = vec![0; 256 * 1024];
    loop {
        let count = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let read = piece.get(..count).unwrap_or_default();
        hashers.iter_mut().for_each(|hasher| hasher.update(read));
    }
    Ok(!promises.is_empty()
        && promises
            .iter()
            .zip(hashers)
            .all(|(promise, hasher)| promise.fits(hasher)))
}
