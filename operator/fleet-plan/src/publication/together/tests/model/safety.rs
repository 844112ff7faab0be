//! What holds whatever happens, and what holds in the end.

use super::*;

impl World {
    /// What comes to be served for all was not found bad, nor is it served while a person holds it.
    pub fn is_tried_first(&self, next: &Standing) {
        let before = &self.standing;
        let moves = before.decided.snapshot != next.decided.snapshot;
        if !moves || before.decided.snapshot.is_none() || self.meddled {
            return;
        }
        assert!(!self.paused, "{next:?} after {before:?}");
        assert_ne!(next.decided.snapshot, before.halted);
        let bad = |trial: Trial| trial.verdict == Some(Verdict::Bad);
        assert!(!before.trial.is_some_and(bad) || self.soak.is_none());
    }

    pub fn is_safe(&self, before: &[Option<u8>]) {
        let halted = self.standing.halted.as_ref().map(number);
        let decided = self.standing.decided.snapshot.as_ref().map(number);
        let sites = self.sites.iter().enumerate();
        // Of whom routing has left, or should have for long enough, nobody comes.
        let is_left = |at: usize, site: &Site| {
            let out = self.withdrawn[at];
            out.is_some_and(|at| !site.routed.offered || self.now >= at + ROUTING_PATIENCE)
        };
        let newest = sites.filter(|(at, site)| !is_left(*at, site));
        let newest = newest.filter_map(|(_, site)| site.serves()).max();
        for (at, site) in self.sites.iter().enumerate() {
            let serves = site.serves();
            assert!(
                serves >= before[at] || self.meddled || before[at] == halted,
                "taken back from {before:?}: {site:?}"
            );
            assert!(
                serves <= decided || CANARY.contains(&at) || self.meddled,
                "{at} serves what others are to try: {site:?}"
            );
            assert!(
                serves.is_none_or(|n| site.kept.contains(&n)),
                "dropped: {site:?}"
            );
            let stuck = self.withdrawn[at].is_some_and(|at| self.now >= at + ROUTING_PATIENCE);
            let lacks = newest.filter(|n| !site.kept.contains(n));
            assert!(
                lacks.is_none() || !site.routed.offered || stuck || self.meddled,
                "routing leads to {at}, which lacks {lacks:?}: {site:?}"
            );
            if self.withdrawn[at].is_none() {
                self.is_followed_by_siblings(at, serves > before[at]);
            }
        }
    }

    /// Whoever serves in a region that is offered leaves no sibling behind to which clients of that region are led: none to
    /// which its Service still leads when that one comes to serve something newer, and none to which it is decided to lead at
    /// any time.
    pub fn is_followed_by_siblings(&self, at: usize, is_newer: bool) {
        let Some(serves) = self.sites[at].serves() else {
            return;
        };
        let region = REGIONS
            .into_iter()
            .find(|region| region.contains(&at))
            .unwrap();
        for other in region {
            let site = &self.sites[other];
            let stuck = self.withdrawn[other].is_some_and(|at| self.now >= at + ROUTING_PATIENCE);
            let is_still = is_newer && !stuck;
            // A pod that serves nothing is not ready.
            let is_behind = site.serves().is_some_and(|n| n < serves);
            let is_behind = is_behind && !site.kept.contains(&serves);
            let is_led_to = site.routed.routed && (is_still || self.leads(other));
            assert!(
                !is_behind || !is_led_to || self.meddled,
                "{at} serves {serves}, and clients of its region are led to {other}: {site:?}"
            );
        }
    }

    pub fn is_well(&mut self) {
        let before = self.standing.clone();
        let together = self.decide();
        assert_eq!(self.standing, before, "it does not come to rest");
        let served = self.standing.decided.snapshot.as_ref().map(number);
        let skipped = |n: &&u8| self.skip.contains(&id(**n).to_string());
        let fulfilled = together.decision.unfulfilled.is_none();
        if self.pinned.is_empty() {
            let halted = self.standing.halted.as_ref().map(number);
            let hubs = self.sites[0].kept.iter().rfind(|n| !skipped(n)).copied();
            let hubs = hubs.filter(|n| Some(*n) != halted);
            assert!(served >= hubs || !fulfilled, "{served:?} and not {hubs:?}");
        }
        for (at, site) in self.sites.iter().enumerate() {
            // The hub copies from nobody.
            let can = FOLLOWED[at].is_some() || served.is_some_and(|n| site.kept.contains(&n));
            if can && served.is_some() && fulfilled {
                assert_eq!(site.serves(), served, "{at}: {site:?} {:?}", self.standing);
                let led_to = site.routed.offered && site.routed.routed;
                assert!(led_to && self.withdrawn[at].is_none(), "{at}: {site:?}");
            }
        }
    }
}
