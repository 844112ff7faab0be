//! Answers of a registry that can be given again at once: one look, and the file is on its way. They are given while the process
//! that fetches is away, too.
//!
//! Each keeps a file open. One that nobody asks for is closed after [`OPEN_FOR`]: an open file keeps bytes on the disk that
//! were given up.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use fleet_origin::Lasts;
use fleet_types::{Sha256, lock};
use http::header::{ACCEPT, ACCEPT_ENCODING};
use http::{HeaderMap, HeaderValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Answerable;

const OPEN_FOR: Duration = Duration::from_secs(60);
/// Requests of different cores seldom wait for one another.
const SHARDS: usize = 16;
/// Answers to one path: by what clients accept, and by which address they ask.
const VARIANTS: usize = 16;

/// In which way a path is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manner<'a> {
    below: Cow<'a, str>,
    /// As of [`fleet_origin::Question::site`].
    site: Cow<'a, str>,
    accept: Option<Cow<'a, HeaderValue>>,
    encoding: Option<Cow<'a, HeaderValue>>,
}

impl<'a> Manner<'a> {
    pub fn of(below: &'a str, site: Option<&'a str>, headers: &'a HeaderMap) -> Manner<'a> {
        Manner {
            below: Cow::Borrowed(below),
            site: Cow::Borrowed(site.unwrap_or_default()),
            accept: headers.get(ACCEPT).map(Cow::Borrowed),
            encoding: headers.get(ACCEPT_ENCODING).map(Cow::Borrowed),
        }
    }

    pub fn into_owned(self) -> Manner<'static> {
        let owned = |value: Cow<'_, HeaderValue>| Cow::Owned(value.into_owned());
        Manner {
            below: Cow::Owned(self.below.into_owned()),
            site: Cow::Owned(self.site.into_owned()),
            accept: self.accept.map(owned),
            encoding: self.encoding.map(owned),
        }
    }
}

struct Variant {
    /// None where it is the same however it is asked for.
    manner: Option<Manner<'static>>,
    /// None where it stays as it is.
    until: Option<Instant>,
    asked: Instant,
    /// Whether it was given since it was last told.
    was_given: bool,
    tag: Sha256,
    answer: Answerable,
    _place: OwnedSemaphorePermit,
}

impl Variant {
    fn is(&self, manner: &Manner<'_>) -> bool {
        self.manner.as_ref().is_none_or(|own| own == manner)
    }

    fn lasts(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// What can be given at once of one registry.
pub struct Ready {
    shards: [Mutex<HashMap<Box<str>, Vec<Variant>>>; SHARDS],
}

impl Default for Ready {
    fn default() -> Ready {
        Ready {
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl Ready {
    pub fn get(&self, path: &str, manner: &Manner<'_>, now: Instant) -> Option<Answerable> {
        let mut shard = self.shard(path);
        let mut variants = shard.get_mut(path)?.iter_mut();
        let variant = variants.find(|variant| variant.is(manner))?;
        if !variant.lasts(now) {
            return None;
        }
        (variant.asked, variant.was_given) = (now, true);
        Some(variant.answer.clone())
    }

    /// Keeps an answer that is a file with this tag for as long as it `lasts`, if there is room among those that are kept open.
    pub fn put(
        &self,
        (path, manner): (&str, Manner<'static>),
        (lasts, tag): (Lasts, Sha256),
        answer: &Answerable,
        free: &Arc<Semaphore>,
    ) {
        let now = Instant::now();
        let until = lasts.until.map(|at| now + seconds_until(at));
        let mut shard = self.shard(path);
        if let Some(variants) = shard.get_mut(path) {
            variants.retain(|variant| !variant.is(&manner));
            if variants.len() >= VARIANTS {
                variants.remove(0);
            }
        }
        let place = || free.clone().try_acquire_owned().ok();
        let place = place().or_else(|| {
            // Any will do: the ones that are asked for often come back at once.
            let arbitrary = shard.keys().next().cloned()?;
            shard.remove(&arbitrary);
            place()
        });
        let Some(_place) = place else { return };
        shard.entry(path.into()).or_default().push(Variant {
            manner: lasts.varies.then_some(manner),
            until,
            asked: now,
            was_given: false,
            tag,
            answer: answer.clone(),
            _place,
        });
    }

    /// Closes those that nobody asked for lately or that are none any more, and tells which were given since it was last
    /// told.
    pub fn tidy(&self, now: Instant) -> Vec<Sha256> {
        let mut given = Vec::new();
        for shard in &self.shards {
            lock(shard).retain(|_, variants| {
                variants.retain_mut(|variant| {
                    if std::mem::take(&mut variant.was_given) {
                        given.push(variant.tag);
                    }
                    let is_used = now.saturating_duration_since(variant.asked) < OPEN_FOR;
                    is_used && variant.lasts(now)
                });
                !variants.is_empty()
            });
        }
        given.sort_unstable();
        given.dedup();
        given
    }

    fn shard(&self, path: &str) -> MutexGuard<'_, HashMap<Box<str>, Vec<Variant>>> {
        let number = path.bytes().map(usize::from).sum::<usize>() % SHARDS;
        lock(self.shards.get(number).unwrap_or(&self.shards[0]))
    }
}

/// From now until an instant in Unix seconds.
fn seconds_until(at: i64) -> Duration {
    let now = jiff::Timestamp::now().as_second();
    Duration::from_secs(at.saturating_sub(now).max(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::super::Body;
    use super::*;

    const TAG: Sha256 = Sha256([7; 32]);

    fn answer() -> Answerable {
        Answerable {
            status: StatusCode::OK,
            headers: Vec::new(),
            body: Body::Bytes(bytes::Bytes::new()),
        }
    }

    fn headers(accept: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        headers
    }

    fn manner(site: &str, headers: &HeaderMap) -> Manner<'static> {
        Manner::of("npm", Some(site), headers).into_owned()
    }

    #[test]
    fn an_answer_is_given_in_its_manner_until_its_time() {
        let (ready, free) = (Ready::default(), Arc::new(Semaphore::new(10)));
        let (full, brief) = (headers("application/json"), headers("application/x"));
        let until = jiff::Timestamp::now().as_second() + 100;
        let lasts = Lasts {
            until: Some(until),
            varies: true,
        };
        ready.put(("/a", manner("h", &full)), (lasts, TAG), &answer(), &free);
        let now = Instant::now();
        let get = |site: &str, headers: &HeaderMap, now: Instant| {
            ready.get("/a", &manner(site, headers), now).is_some()
        };
        assert!(get("h", &full, now));
        assert!(!get("h", &brief, now) && !get("other", &full, now));
        assert!(!get("h", &full, now + Duration::from_secs(101)));
        let all = || Lasts::always();
        ready.put(("/b", manner("h", &full)), (all(), TAG), &answer(), &free);
        assert!(ready.get("/b", &manner("other", &brief), now).is_some());
    }

    #[test]
    fn who_is_not_asked_for_is_closed_and_what_was_given_is_told_once() {
        let (ready, free) = (Ready::default(), Arc::new(Semaphore::new(10)));
        let (full, now) = (headers("application/json"), Instant::now());
        ready.put(
            ("/a", manner("h", &full)),
            (Lasts::always(), TAG),
            &answer(),
            &free,
        );
        assert_eq!(ready.tidy(now), [], "it was only put");
        assert!(ready.get("/a", &manner("h", &full), now).is_some());
        assert_eq!(ready.tidy(now), [TAG]);
        assert_eq!(ready.tidy(now), []);
        assert_eq!(free.available_permits(), 9);
        ready.tidy(now + OPEN_FOR);
        assert_eq!(free.available_permits(), 10);
    }

    #[test]
    fn no_more_than_the_limit_and_few_of_one_path_stay_open() {
        const LIMIT: usize = 2 * SHARDS;
        let (ready, free) = (Ready::default(), Arc::new(Semaphore::new(LIMIT)));
        let (full, now) = (headers("application/json"), Instant::now());
        let varies = Lasts {
            until: None,
            varies: true,
        };
        for number in 0..1000 {
            let site = format!("h{number}");
            ready.put(
                ("/a", manner(&site, &full)),
                (varies, TAG),
                &answer(),
                &free,
            );
        }
        assert_eq!(free.available_permits(), LIMIT - VARIANTS);
        for number in 0..1000 {
            let path = format!("/{number}");
            ready.put(
                (&path, manner("h", &full)),
                (Lasts::always(), TAG),
                &answer(),
                &free,
            );
        }
        assert_eq!(free.available_permits(), 0);
        assert!(ready.get("/a", &manner("h1", &full), now).is_none());
    }
}
