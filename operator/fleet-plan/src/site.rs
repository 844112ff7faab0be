//! A replica of a region while it is planned: what is seen of it, what is wanted, and what was found out step by step.

use fleet_api::{Attempt, MirrorStatus};
use fleet_types::{Outcome, Reason};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::fleet::{Fleet, Place};
use crate::freshness::{self, BehindUnit, Freshness};
use crate::observed::{Observed, Settings};
use crate::rollout::Misfit;
use crate::runs::Runs;
use crate::view::RegionView;
use crate::wanted::{Standing, Wanted};

/// One replica with everything that was found out about it.
#[derive(Debug)]
pub struct Site<'a> {
    pub fleet: &'a Fleet<'a>,
    pub settings: &'a Settings,
    pub now: Timestamp,
    pub view: RegionView<'a>,
    pub wanted: Wanted<'a>,
    /// How its objects stand; for [`converge`](crate::objects::converge) to say.
    pub objects: Standing,
    /// What became of its runs; as the status has them before [`Site::take_stock`].
    pub runs: Runs,
    pub freshness: Freshness,
    /// For whom its next run waits, as the end of a sentence, while it could start but for that.
    pub waiting: Option<String>,
    /// For which other copies its next one waits, as the end of a sentence, while it could start but for that.
    pub queued: Option<String>,
    /// When its next copy from another region begins, where that is later than now.
    pub next_copy: Option<Timestamp>,
    /// Why no run of it begins, since indices are written that are not read everywhere.
    pub misfit: Option<Misfit>,
    /// Since when the Mirror's Service leaves it out, as it is decided now; none while it does not, and where there is none.
    pub withdrawn_at: Option<Time>,
}

impl<'a> Site<'a> {
    pub fn new(
        fleet: &'a Fleet<'a>,
        place: &'a Place<'a>,
        before: &MirrorStatus,
        behind: &[BehindUnit],
        seen: &'a Observed,
    ) -> Site<'a> {
        let view = RegionView::new(place, &fleet.name, before, seen);
        Site {
            wanted: Wanted::new(fleet, &view, seen),
            objects: Standing::default(),
            runs: Runs::new(view.before.clone()),
            freshness: freshness::of_region(fleet, &view, behind, seen.now),
            waiting: None,
            queued: None,
            next_copy: None,
            misfit: None,
            withdrawn_at: None,
            settings: &seen.settings,
            now: seen.now,
            fleet,
            view,
        }
    }

    /// The name of its region.
    pub fn name(&self) -> &'a str {
        self.view.name()
    }

    /// What people call it.
    pub fn title(&self) -> String {
        self.view.place.title()
    }

    /// Whether what clients of its region see depends on it: not while they are led to other replicas.
    pub fn counts(&self) -> bool {
        !self.view.place.region.is_replicated() || self.view.leads
    }

    /// Takes the results of runs over, once it is known how the objects stand.
    pub fn take_stock(&mut self, now: Timestamp) {
        let leaving = self.pod_is_leaving();
        self.runs
            .take_stock(&self.view, &self.fleet.uid, now, leaving);
    }

    pub fn last(&self) -> Option<&Attempt> {
        self.runs.status.last_attempt.as_ref()
    }

    /// The last run's reason, if it was of this kind.
    pub fn last_was(&self, outcome: Outcome) -> Option<(Reason, &Attempt)> {
        let last = self
            .last()
            .filter(|last| last.reason.outcome() == outcome)?;
        Some((last.reason, last))
    }

    /// Whether clients can be given something here: a snapshot was ever seen, or the registry has answered.
    pub fn has_content(&self) -> bool {
        if !self.fleet.spec.fills_itself() {
            return self.has_snapshot();
        }
        match self.view.served() {
            Some(served) => served.registry.is_some(),
            None => self.view.state_before.has_content(),
        }
    }

    /// Whether a snapshot was ever seen here.
    pub fn has_snapshot(&self) -> bool {
        match self.view.served() {
            Some(served) => served.snapshot.is_some(),
            None => self.view.before.snapshot.is_some(),
        }
    }
}
