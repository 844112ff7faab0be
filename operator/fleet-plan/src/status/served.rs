//! What is served, told once for all regions: a line for each snapshot, and its units.

use fleet_api::{RegionStatus, SnapshotStatus, UnitStatus};
use fleet_types::UnitRevision;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::freshness::{BehindUnit, Freshness, remembered};
use crate::site::Site;

/// The snapshots that regions serve, in the order of the regions, and the units of each.
pub fn tables(
    sites: &[Site],
    regions: &[RegionStatus],
    before: &[UnitStatus],
) -> (Vec<SnapshotStatus>, Vec<UnitStatus>) {
    let (mut snapshots, mut all): (Vec<SnapshotStatus>, _) = (Vec::new(), Vec::new());
    let ids = regions.iter().flat_map(|region| &region.replicas);
    for id in ids.filter_map(|replica| replica.snapshot.as_ref()) {
        if snapshots.iter().any(|known| known.id == *id) {
            continue;
        }
        let serves = |region: &&RegionStatus| {
            let mut replicas = region.replicas.iter();
            replicas.any(|replica| replica.snapshot.as_ref() == Some(id))
        };
        let units = units(id, sites, before);
        snapshots.push(SnapshotStatus {
            id: id.clone(),
            created: None,
            revision_date: units.iter().filter_map(|unit| unit.date.clone()).max(),
            superseded_at: (units.iter())
                .filter_map(|unit| unit.superseded_at.clone())
                .min(),
            regions: i32::try_from(regions.iter().filter(serves).count()).unwrap_or(i32::MAX),
        });
        all.extend(units);
    }
    (snapshots, all)
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
