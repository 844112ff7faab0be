//! What could not be had lately: it is told to whoever asks for the same, so that an upstream is not asked again and again.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fleet_origin::Obtained;
use fleet_types::{Outcome, lock};

/// More are forgotten, the oldest first.
const MOST: usize = 4096;
/// What is no matter of one file (the upstream is away) is found out anew after so long.
const BRIEFLY: Duration = Duration::from_secs(5);

pub struct Refusals<K> {
    known: Mutex<HashMap<K, (Instant, Obtained)>>,
    age: Duration,
}

impl<K: Eq + Hash + Clone> Refusals<K> {
    /// `age`: how long it is told that there is no such file.
    pub fn new(age: Duration) -> Refusals<K> {
        Refusals {
            known: Mutex::default(),
            age,
        }
    }

    pub fn of(&self, key: &K, now: Instant) -> Option<Obtained> {
        let mut known = lock(&self.known);
        let (until, refusal) = known.get(key)?;
        if *until > now {
            return Some(refusal.clone());
        }
        known.remove(key);
        None
    }

    /// Remembers what is no content.
    pub fn note(&self, key: K, what: &Obtained, now: Instant) {
        let age = match what {
            Obtained::Blob(_) | Obtained::Bytes(_) | Obtained::Growing(_) => return,
            Obtained::Absent => self.age,
            Obtained::Busy(wait) => *wait,
            Obtained::Refused(reason, _) => match reason.outcome() {
                Outcome::Refused => self.age,
                _ => self.age.min(BRIEFLY),
            },
        };
        let mut known = lock(&self.known);
        if known.len() >= MOST {
            known.retain(|_, (until, _)| *until > now);
        }
        if known.len() >= MOST {
            let soonest = known.iter().min_by_key(|(_, (until, _))| *until);
            let soonest = soonest.map(|(key, _)| key.clone());
            soonest.map(|key| known.remove(&key));
        }
        known.insert(key, (now + age, what.clone()));
    }
}

#[cfg(test)]
mod tests {
    use fleet_types::{Reason, Sha256};

    use super::*;

    #[test]
    fn failures_are_told_for_their_time_and_content_is_none() {
        let refusals = Refusals::new(Duration::from_secs(60));
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        let away = Obtained::Refused(Reason::UpstreamUnreachable, "away".to_owned());
        refusals.note("gone", &Obtained::Absent, now);
        refusals.note("away", &away, now);
        refusals.note("here", &Obtained::Blob(Sha256([1; 32])), now);
        assert!(matches!(
            refusals.of(&"gone", later(59)),
            Some(Obtained::Absent)
        ));
        assert!(refusals.of(&"gone", later(60)).is_none());
        assert!(refusals.of(&"away", later(4)).is_some());
        assert!(refusals.of(&"away", later(5)).is_none());
        assert!(refusals.of(&"here", now).is_none());
    }

    #[test]
    fn no_more_than_the_limit_are_remembered() {
        let refusals = Refusals::new(Duration::from_secs(60));
        let now = Instant::now();
        for key in 0..MOST + 10 {
            refusals.note(
                key,
                &Obtained::Absent,
                now + Duration::from_millis(key as u64),
            );
        }
        assert_eq!(lock(&refusals.known).len(), MOST);
        assert!(refusals.of(&0, now).is_none() && refusals.of(&(MOST + 9), now).is_some());
    }
}
