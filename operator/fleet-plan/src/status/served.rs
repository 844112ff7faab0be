//! What is served, told once for all regions: a line for each snapshot, and its units.

use fleet_api::{MirrorStatus, RegionStatus, ReplicaStatus, SnapshotStatus, UnitStatus};
use fleet_types::UnitRevision;
use fleet_types::documents::KeptSnapshot;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::follow;
use crate::freshness::{BehindUnit, Freshness, remembered};
use crate::orders::{self, Ordering};
use crate::report::instant;
use crate::runs::whole;
use crate::site::Site;

/// Snapshots that a status tells of; no volume keeps more.
const MOST: usize = 32;

/// The snapshots that regions keep, newest first, and the units of those that they serve.
pub fn tables(
    sites: &[Site],
    regions: &[RegionStatus],
    ordering: &Ordering,
    before: &MirrorStatus,
    now: Timestamp,
) -> (Vec<SnapshotStatus>, Vec<UnitStatus>) {
    let heard = Heard {
        sites,
        regions,
        ordering,
        before,
        now,
    };
    let mut all = Vec::new();
    let snapshots = heard.ids().into_iter().map(|id| {
        let (snapshot, units) = heard.snapshot(id);
        all.extend(units);
        snapshot
    });
    let mut snapshots: Vec<SnapshotStatus> = snapshots.collect();
    snapshots.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.created.clone()));
    snapshots.truncate(MOST);
    (snapshots, all)
}

/// What is known of snapshots: by those who keep them, by what was ordered, and by what was told before.
struct Heard<'a> {
    sites: &'a [Site<'a>],
    regions: &'a [RegionStatus],
    ordering: &'a Ordering,
    before: &'a MirrorStatus,
    now: Timestamp,
}

impl<'a> Heard<'a> {
    fn replicas(&self) -> impl Iterator<Item = &'a ReplicaStatus> {
        self.regions.iter().flat_map(|region| &region.replicas)
    }

    /// What replicas say that they keep, and what was prepared for them.
    fn kept(&self) -> impl Iterator<Item = KeptSnapshot> {
        let served = self.sites.iter().filter_map(|site| site.view.served());
        let kept = served.flat_map(|served| served.kept.iter().copied());
        kept.chain(self.sites.iter().flat_map(orders::prepared))
    }

    /// Of all that there is to tell of, each once.
    fn ids(&self) -> Vec<String> {
        let publication = self.ordering.publication.iter();
        let next = publication
            .clone()
            .filter_map(|it| it.preparing.as_ref())
            .map(|it| it.snapshot.clone());
        // Whoever cannot be asked keeps what it kept.
        let is_silent = |site: &Site| site.view.served().is_none();
        let known = self.before.snapshots.iter().map(|known| known.id.clone());
        let known = known.filter(|_| self.sites.iter().any(is_silent));
        let all = self
            .replicas()
            .filter_map(|replica| replica.snapshot.clone())
            .chain(self.replicas().filter_map(ordered))
            .chain(publication.map(|it| it.snapshot.clone()))
            .chain(next)
            .chain(self.kept().map(|kept| kept.id.to_string()))
            .chain(known);
        let mut ids: Vec<String> = Vec::new();
        for id in all {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
    }

    /// One of them, and its units where it is served.
    fn snapshot(&self, id: String) -> (SnapshotStatus, Vec<UnitStatus>) {
        let (before, sites) = (self.before, self.sites);
        let known = before.snapshots.iter().find(|known| known.id == id);
        let kept = self.kept().find(|kept| kept.id.to_string() == id);
        let serves = |region: &&RegionStatus| {
            let mut replicas = region.replicas.iter();
            replicas.any(|replica| replica.snapshot.as_ref() == Some(&id))
        };
        let serving = self.regions.iter().filter(serves).count();
        let units = match serving {
            0 => Vec::new(),
            _ => units(&id, sites, &before.units),
        };
        let needed = serving > 0 || self.replicas().filter_map(ordered).any(|it| it == id);
        let snapshot = SnapshotStatus {
            created: (kept.map(|kept| Time(instant(kept.created))))
                .or_else(|| known?.created.clone()),
            index: match self.ordering.agreed {
                Some(_) => follow::index(sites, known.and_then(|it| it.index.as_ref()), &id),
                None => None,
            },
            revision_date: (units.iter().filter_map(|unit| unit.date.clone()).max())
                .or_else(|| Some(Time(instant(kept?.date?))))
                .or_else(|| known?.revision_date.clone()),
            bytes: (kept.and_then(|kept| i64::try_from(kept.bytes?).ok())).or_else(|| known?.bytes),
            changes: (kept.and_then(|kept| kept.changes.map(Into::into)))
                .or_else(|| known?.changes),
            superseded_at: (units.iter())
                .filter_map(|unit| unit.superseded_at.clone())
                .min(),
            served_until: match needed {
                true => None,
                false => known.and_then(|known| served_until(known, before, self.now)),
            },
            regions: i32::try_from(serving).unwrap_or(i32::MAX),
            id,
        };
        (snapshot, units)
    }
}

fn ordered(replica: &ReplicaStatus) -> Option<String> {
    replica.ordered().map(str::to_owned)
}

/// Since when a snapshot of the status before has been out of service, if it is now.
pub fn served_until(known: &SnapshotStatus, before: &MirrorStatus, now: Timestamp) -> Option<Time> {
    let mut replicas = before.replicas();
    let told = replicas.any(|(_, replica)| replica.ordered() == Some(known.id.as_str()));
    let ends = || (told || known.regions > 0).then(|| Time(whole(now)));
    known.served_until.clone().or_else(ends)
}

/// The units of one snapshot, as a pod that serves it tells; as they were said before while none can be asked.
fn units(id: &str, sites: &[Site], before: &[UnitStatus]) -> Vec<UnitStatus> {
    let known = before.iter().filter(|unit| unit.snapshot == id).cloned();
    let known: Vec<_> = known.collect();
    let serves = |site: &&Site| {
        let served = site.view.served();
        served.is_some_and(|served| served.snapshot.as_deref() == Some(id))
    };
    // The first that can be measured, else the first.
    let is_unknown = |site: &&Site| matches!(site.freshness, Freshness::Unknown(..));
    let Some(site) = sites.iter().filter(serves).min_by_key(is_unknown) else {
        return known;
    };
    let mut behind = remembered(&known);
    site.freshness.remember(&mut behind);
    let told = site.view.revision().iter();
    let mut units: Vec<_> = told.map(|unit| self::unit(id, unit)).collect();
    for BehindUnit {
        unit,
        digest,
        superseded_at,
    } in behind
    {
        match units.iter_mut().find(|told| told.unit == unit) {
            Some(told) => told.superseded_at = Some(superseded_at),
            None => units.push(UnitStatus {
                snapshot: id.to_owned(),
                unit,
                digest,
                superseded_at: Some(superseded_at),
                ..UnitStatus::default()
            }),
        }
    }
    units
}

fn unit(snapshot: &str, revision: &UnitRevision) -> UnitStatus {
    let time = |at: i64| Timestamp::from_second(at).ok().map(Time);
    UnitStatus {
        snapshot: snapshot.to_owned(),
        unit: revision.unit.clone(),
        digest: revision.digest.to_string(),
        date: time(revision.date).filter(|_| revision.is_dated()),
        valid_until: revision.valid_until.and_then(time),
        superseded_at: None,
    }
}
