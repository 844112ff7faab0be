//! What was deleted.

use std::collections::{HashSet, VecDeque};

/// The newest deletions; older ones are history for every answer that is still under way.
#[derive(Default)]
pub struct Gone {
    uids: HashSet<String>,
    order: VecDeque<String>,
}

impl Gone {
    const REMEMBERED: usize = 4096;

    pub fn has(&self, uid: &str) -> bool {
        self.uids.contains(uid)
    }

    pub fn note(&mut self, uid: &str) {
        if self.uids.insert(uid.to_owned()) {
            self.order.push_back(uid.to_owned());
        }
        if self.order.len() > Self::REMEMBERED {
            self.order
                .pop_front()
                .map(|oldest| self.uids.remove(&oldest));
        }
    }
}
