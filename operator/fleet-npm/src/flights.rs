//! One at a time for each thing that is got: who comes meanwhile waits, and finds it there.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, Weak};

use fleet_types::lock;
use tokio::sync::OwnedMutexGuard;

/// Flights of which nobody has anything any more are looked for when there are so many.
const CROWD: usize = 1024;

/// Turns, by what is got in them.
#[derive(Default)]
pub struct Flights<K>(Mutex<HashMap<K, Weak<tokio::sync::Mutex<()>>>>);

impl<K: Eq + Hash> Flights<K> {
    pub fn new() -> Flights<K> {
        Flights(Mutex::new(HashMap::new()))
    }

    /// Waits for the turn of `key`.
    pub async fn turn(&self, key: K) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = lock(&self.0);
            if turns.len() >= CROWD {
                turns.retain(|_, turn| turn.strong_count() > 0);
            }
            match turns.get(&key).and_then(Weak::upgrade) {
                Some(turn) => turn,
                None => {
                    let turn = Arc::new(tokio::sync::Mutex::new(()));
                    turns.insert(key, Arc::downgrade(&turn));
                    turn
                }
            }
        };
        turn.lock_owned().await
    }
}
