//! What could not be had lately: it is told to whoever asks for the same, so that an upstream is not asked again and again.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fleet_types::lock;

/// What is no matter of one file (the upstream is away) is found out anew after so long.
pub const BRIEFLY: Duration = Duration::from_secs(5);
/// More are forgotten, the oldest first.
const MOST: usize = 4096;

/// What was told, by key, and until when it is told again.
#[derive(Debug)]
pub struct Refusals<K, T>(Mutex<HashMap<K, (Instant, T)>>);

impl<K, T> Default for Refusals<K, T> {
    fn default() -> Refusals<K, T> {
        Refusals(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone, T: Clone> Refusals<K, T> {
    pub fn of(&self, key: &K, now: Instant) -> Option<T> {
        let mut known = lock(&self.0);
        let (until, refusal) = known.get(key)?;
        if *until > now {
            return Some(refusal.clone());
        }
        known.remove(key);
        None
    }

    /// Remembers it for so long.
    pub fn note(&self, key: K, refusal: T, age: Duration, now: Instant) {
        let mut known = lock(&self.0);
        if known.len() >= MOST {
            known.retain(|_, (until, _)| *until > now);
        }
        if known.len() >= MOST {
            let soonest = known.iter().min_by_key(|(_, (until, _))| *until);
            let soonest = soonest.map(|(key, _)| key.clone());
            soonest.map(|key| known.remove(&key));
        }
        known.insert(key, (now + age, refusal));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_for_its_time() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        refusals.note("gone", 404, Duration::from_secs(60), now);
        refusals.note("away", 504, BRIEFLY, now);
        let later = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(refusals.of(&"gone", later(59)), Some(404));
        assert_eq!(refusals.of(&"gone", later(60)), None);
        assert_eq!(refusals.of(&"away", later(4)), Some(504));
        assert_eq!(refusals.of(&"away", later(5)), None);
        assert_eq!(refusals.of(&"here", now), None);
    }

    #[test]
    fn no_more_than_the_limit_are_remembered() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        for key in 0..MOST + 10 {
            let told = now + Duration::from_millis(key as u64);
            refusals.note(key, (), Duration::from_secs(60), told);
        }
        assert_eq!(lock(&refusals.0).len(), MOST);
        assert!(refusals.of(&0, now).is_none() && refusals.of(&(MOST + 9), now).is_some());
    }
}
