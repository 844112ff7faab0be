//! Answers that can be given at once, by what was asked: one look, and the file is on its way.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use fleet_formats::npm::Form;
use fleet_serve::Found;
use fleet_types::lock;

use crate::encoding::Encoding;

/// Requests of different cores seldom wait for one another.
const SHARDS: usize = 16;
/// Answers to one path: forms, encodings, and addresses by which clients ask.
const VARIANTS: usize = 16;

/// In which way a path was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner<'a> {
    /// The address of the registry as this client knows it; empty where the answer does not depend on it.
    pub here: Here<'a>,
    pub form: Form,
    pub encoding: Encoding,
}

/// By which path and host the client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Here<'a> {
    pub below: &'a str,
    pub host: &'a str,
}

impl Manner<'_> {
    /// A tarball is the same however it is asked for.
    pub const OF_TARBALLS: Manner<'static> = Manner {
        here: Here {
            below: "",
            host: "",
        },
        form: Form::Full,
        encoding: Encoding::Identity,
    };
}

struct Variant {
    below: Box<str>,
    host: Box<str>,
    form: Form,
    encoding: Encoding,
    /// None where it stays as it is.
    until: Option<Instant>,
    found: Found,
}

/// What can be given at once. Each answer keeps a file open.
pub struct Ready {
    shards: [Mutex<HashMap<Box<str>, Vec<Variant>>>; SHARDS],
    /// Paths of one shard.
    most: usize,
}

impl Ready {
    /// At most about so many answers are kept.
    pub fn new(most: usize) -> Ready {
        Ready {
            shards: std::array::from_fn(|_| Mutex::default()),
            most: (most / SHARDS).max(1),
        }
    }

    pub fn get(&self, path: &str, manner: Manner<'_>, now: Instant) -> Option<Found> {
        let shard = self.shard(path);
        let variant = shard.get(path)?.iter().find(|variant| variant.is(manner))?;
        variant
            .until
            .is_none_or(|until| now < until)
            .then(|| variant.found.clone())
    }

    pub fn put(&self, path: &str, manner: Manner<'_>, until: Option<Instant>, found: Found) {
        let mut shard = self.shard(path);
        let kept: usize = shard.values().map(Vec::len).sum();
        if kept >= self.most {
            // Any will do: the ones that are asked for often come back at once.
            let arbitrary = shard.keys().find(|key| &***key != path).cloned();
            arbitrary.map(|key| shard.remove(&key));
        }
        let variants = shard.entry(path.into()).or_default();
        variants.retain(|variant| !variant.is(manner));
        if variants.len() >= VARIANTS {
            variants.remove(0);
        }
        variants.push(Variant {
            below: manner.here.below.into(),
            host: manner.here.host.into(),
            form: manner.form,
            encoding: manner.encoding,
            until,
            found,
        });
    }

    fn shard(&self, path: &str) -> MutexGuard<'_, HashMap<Box<str>, Vec<Variant>>> {
        let number = path.bytes().map(usize::from).sum::<usize>() % SHARDS;
        lock(self.shards.get(number).unwrap_or(&self.shards[0]))
    }
}

impl Variant {
    fn is(&self, manner: Manner<'_>) -> bool {
        self.form == manner.form
            && self.encoding == manner.encoding
            && *self.host == *manner.here.host
            && *self.below == *manner.here.below
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;

    use super::*;
    use crate::refusal::json;

    fn manner(host: &str) -> Manner<'_> {
        Manner {
            here: Here { below: "npm", host },
            form: Form::Full,
            encoding: Encoding::Gzip,
        }
    }

    #[test]
    fn an_answer_is_given_in_its_manner_until_its_time_and_not_for_ever() {
        let (ready, now) = (Ready::new(SHARDS), Instant::now());
        ready.put(
            "/a",
            manner("h"),
            Some(now + Duration::from_secs(1)),
            json(StatusCode::OK, "{}"),
        );
        assert!(ready.get("/a", manner("h"), now).is_some());
        assert!(
            ready
                .get("/a", manner("h"), now + Duration::from_secs(1))
                .is_none()
        );
        assert!(ready.get("/a", manner("other"), now).is_none());
        assert!(
            ready
                .get(
                    "/a",
                    Manner {
                        encoding: Encoding::Zstd,
                        ..manner("h")
                    },
                    now
                )
                .is_none()
        );
        for number in 0..1000 {
            ready.put(
                &format!("/{number}"),
                manner("h"),
                None,
                json(StatusCode::OK, "{}"),
            );
        }
        let kept: usize = ready.shards.iter().map(|shard| lock(shard).len()).sum();
        assert!(kept <= 2 * SHARDS, "{kept}");
    }
}
