//! Whether the authority has a state that no run here has taken: the occasion of a run where `sync.onUpstreamChange` says
//! so. One rule, for the regions of a fleet and for `mirrorfleet local`.

use fleet_api::upstream::ObservedUnit;
use fleet_api::{AcceptedUnit, Mirror, MirrorStatus, ReplicaStatus};
use fleet_types::UnitRevision;
use jiff::Timestamp;

use crate::fleet::{Fleet, Source};
use crate::view::RegionView;

/// A state of a unit that a copy has.
struct Taken {
    unit: String,
    digest: String,
    date: Option<Timestamp>,
}

impl Taken {
    /// A state that is older than one which was taken is no news: a run would refuse it.
    fn covers(&self, seen: &ObservedUnit) -> bool {
        let dates = self.date.zip(seen.date.as_ref());
        let older = dates.is_some_and(|(taken, seen)| seen.0 < taken);
        self.unit == seen.unit && (self.digest == seen.digest || older)
    }
}

/// When the newest such state of a declared unit was first seen. `taken` is what this copy has.
fn seen_at(mirror: &Mirror, authority: &[ObservedUnit], taken: &[Taken]) -> Option<Timestamp> {
    let units = mirror.spec.content.units();
    let is_news = |seen: &&ObservedUnit| {
        units.contains(&seen.unit) && !taken.iter().any(|taken| taken.covers(seen))
    };
    let news = authority.iter().filter(is_news);
    let seen_at = news.filter_map(|seen| seen.observed_at.as_ref());
    seen_at.map(|at| at.0).max()
}

/// Of one region of a fleet. `marks` are the Mirror's after the runs that have ended.
pub fn of_region(
    fleet: &Fleet,
    view: &RegionView,
    marks: &[AcceptedUnit],
    before: &MirrorStatus,
) -> Option<Timestamp> {
    let status = fleet.upstream.status.as_ref()?;
    let places = fleet.places.iter();
    let fetching = places.filter(|place| place.source == Source::Upstream);
    let mut taken = match view.served() {
        Some(served) => revision(&served.revision),
        // Nobody was asked yet, or nobody answers: what was said before stands.
        None => told(before, &view.before),
    };
    if fetching.count() == 1 {
        taken.extend(accepted(marks));
    }
    seen_at(fleet.mirror, &status.revision, &taken)
}

/// The same, as far as the status of a Mirror tells it.
pub fn of_status(
    mirror: &Mirror,
    status: &MirrorStatus,
    replica: &ReplicaStatus,
    authority: &[ObservedUnit],
) -> Option<Timestamp> {
    let mut taken = told(status, replica);
    if status.fetching().count() == 1 {
        taken.extend(accepted(&status.high_water));
    }
    seen_at(mirror, authority, &taken)
}

/// What runs have accepted, served yet or not. It is known of the Mirror and not of each region, so that it tells what a
/// region has only where no other fetches.
fn accepted(marks: &[AcceptedUnit]) -> impl Iterator<Item = Taken> {
    marks.iter().map(|mark| Taken {
        unit: mark.unit.clone(),
        digest: mark.digest.clone(),
        date: Some(mark.date.0),
    })
}

/// What a pod says that it serves.
fn revision(served: &[UnitRevision]) -> Vec<Taken> {
    let served = served.iter().map(|serves| Taken {
        unit: serves.unit.clone(),
        digest: serves.digest.to_string(),
        date: (serves.is_dated())
            .then(|| Timestamp::from_second(serves.date).ok())
            .flatten(),
    });
    served.collect()
}

/// What a status says that a copy serves.
fn told(status: &MirrorStatus, replica: &ReplicaStatus) -> Vec<Taken> {
    let serves = |id: &str| replica.snapshot.as_deref() == Some(id);
    let units = status.units.iter().filter(|unit| serves(&unit.snapshot));
    let taken = units.map(|unit| Taken {
        unit: unit.unit.clone(),
        digest: unit.digest.clone(),
        date: unit.date.as_ref().map(|date| date.0),
    });
    taken.collect()
}
