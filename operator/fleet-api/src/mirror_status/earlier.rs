//! Statuses of the version before. It told of each region what is the Mirror's now (high-water marks, units that are
//! behind) or a replica's (everything of one volume).

use std::collections::BTreeMap;

use fleet_types::Accepted;
use serde_json::{Map, Value, json};

use super::{AcceptedUnit, MirrorStatus, UnitStatus};

/// What was a region's and is a replica's.
const OF_A_REPLICA: [&str; 7] = [
    "snapshot",
    "currentRun",
    "lastAttempt",
    "lastSuccess",
    "consecutiveFailures",
    "roundStartedAt",
    "handledSyncRequest",
];

/// Moves everything to its place; whether anything was not there.
pub fn take_up(status: &mut Value) -> bool {
    let Some(status) = status.as_object_mut() else {
        return false;
    };
    let [mut regions, mut marks, mut units] =
        ["regions", "highWater", "units"].map(|field| list(status, field));
    let mut is_earlier = false;
    for region in regions.iter_mut().filter_map(Value::as_object_mut) {
        if region
            .get("replicas")
            .is_some_and(|replicas| *replicas != json!([]))
        {
            continue;
        }
        is_earlier = true;
        let is_ready = (region.remove("readyReplicas")).is_some_and(|count| count != 0);
        let mut replica = Map::from_iter([("ready".to_owned(), json!(is_ready))]);
        replica.extend((OF_A_REPLICA.iter()).filter_map(|field| region.remove_entry(*field)));
        let snapshot = replica.get("snapshot").cloned().unwrap_or(json!(""));
        marks.extend(list(region, "highWater"));
        units.extend(list(region, "behind").into_iter().map(|mut unit| {
            unit["snapshot"] = snapshot.clone();
            unit
        }));
        region.insert("replicas".to_owned(), json!([replica]));
    }
    let fields = [("regions", regions), ("highWater", marks), ("units", units)];
    status.extend(fields.map(|(field, all)| (field.to_owned(), json!(all))));
    is_earlier
}

fn list(region: &mut Map<String, Value>, field: &str) -> Vec<Value> {
    match region.remove(field) {
        Some(Value::Array(all)) => all,
        _ => Vec::new(),
    }
}

/// Keeps one of what several regions told: the newest mark of each unit, and a unit of a snapshot as behind since it
/// first was.
pub fn once(status: &mut MirrorStatus) {
    let mut newest: BTreeMap<String, Accepted> = BTreeMap::new();
    for mark in status.high_water.iter().filter_map(AcceptedUnit::mark) {
        let unit = mark.revision.unit.clone();
        let mark = match newest.remove(&unit) {
            Some(known) => known.newer(mark),
            None => mark,
        };
        newest.insert(unit, mark);
    }
    status.high_water = newest.values().filter_map(AcceptedUnit::of).collect();
    let of = |unit: &UnitStatus| (unit.snapshot.clone(), unit.unit.clone());
    let units = &mut status.units;
    units.sort_by_cached_key(|unit| (of(unit), unit.superseded_at.clone()));
    units.dedup_by(|one, other| of(one) == of(other));
}
