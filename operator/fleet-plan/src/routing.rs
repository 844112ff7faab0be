//! To which replicas of a region its own Service leads: a client of the region is not to see an older state after a newer
//! one, and not nobody as long as somebody serves. Decided from plain values that the status holds.

use fleet_api::mirror::Region;
use fleet_api::{MirrorStatus, RegionStatus};

/// One replica, as far as this looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stand {
    /// Whether the Mirror's Service leads to it.
    pub is_offered: bool,
    /// When the snapshot was made that it serves, in Unix seconds; none where it serves nothing.
    pub serves: Option<i64>,
}

/// Whether the region's Service leads to each of its replicas: to those that all regions' Service leads to; where these are
/// none, to those that serve the newest; where nobody serves anything, to all.
pub fn leads(replicas: &[Stand]) -> Vec<bool> {
    let is_offered = replicas.iter().any(|replica| replica.is_offered);
    let newest = replicas
        .iter()
        .map(|replica| replica.serves)
        .max()
        .flatten();
    let leads = |replica: &Stand| match is_offered {
        true => replica.is_offered,
        false => replica.serves == newest,
    };
    replicas.iter().map(leads).collect()
}

/// Whether the region's Service leads to others once a replica is left out: then its clients see what those serve, and must not
/// come back to it before it has that. What is decided now, the Service follows only later.
pub fn leads_elsewhere(replicas: &[Stand], without: usize) -> bool {
    let leaves = leads(replicas).get(without).is_some_and(|leads| !leads);
    let mut others = replicas.iter().enumerate();
    leaves || others.any(|(other, replica)| other != without && replica.is_offered)
}

/// The replicas of a declared region as a status has them. A replica that is new there is not offered.
pub fn stands(region: &Region, before: Option<&RegionStatus>, status: &MirrorStatus) -> Vec<Stand> {
    let made = |id: &String| {
        let known = status.snapshots.iter().find(|known| known.id == *id);
        let made = known.and_then(|known| known.created.as_ref());
        made.map_or(i64::MIN, |made| made.0.as_second())
    };
    let stand = |replica: u32| {
        let number = replica as usize;
        let known = before.and_then(|before| before.replicas.get(number));
        Stand {
            is_offered: before.is_some_and(|before| is_offered(before, number)),
            serves: known.and_then(|known| known.snapshot.as_ref()).map(made),
        }
    };
    (0..region.count()).map(stand).collect()
}

/// Whether a status says that the Mirror's Service leads to a replica. To one that is new, or of a Mirror none of whose
/// copies followed another, it did not.
pub fn is_offered(before: &RegionStatus, replica: usize) -> bool {
    let is_known = before.role.is_some() && replica < before.replicas.len();
    is_known && before.withdrawn(replica).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stand(is_offered: bool, serves: impl Into<Option<i64>>) -> Stand {
        Stand {
            is_offered,
            serves: serves.into(),
        }
    }

    #[test]
    fn who_is_left_out_is_missed_by_nobody_where_another_one_serves_its_clients() {
        for (replicas, wanted) in [
            // Also before it is left out: it may be so from now on.
            (vec![stand(true, 2), stand(true, 2)], [true, true]),
            (vec![stand(true, 2), stand(false, 1)], [false, true]),
            (vec![stand(false, 2), stand(false, 1)], [false, true]),
            (vec![stand(false, 1), stand(false, 1)], [false, false]),
        ] {
            let elsewhere = [0, 1].map(|without| leads_elsewhere(&replicas, without));
            assert_eq!(elsewhere, wanted, "{replicas:?}");
        }
        assert!(!leads_elsewhere(&[stand(true, 1)], 0));
    }

    #[test]
    fn clients_of_a_region_are_led_to_whoever_serves_the_newest_and_never_to_nobody() {
        for (replicas, wanted) in [
            (vec![stand(true, 2), stand(true, 2)], vec![true, true]),
            // One that joins, and one whose pod is gone for a while.
            (vec![stand(true, 2), stand(false, None)], vec![true, false]),
            (vec![stand(true, None), stand(false, 1)], vec![true, false]),
            // The whole region is behind.
            (vec![stand(false, 1), stand(false, 2)], vec![false, true]),
            (vec![stand(false, 2), stand(false, 2)], vec![true, true]),
            (vec![stand(false, None), stand(false, 1)], vec![false, true]),
            // Nothing was ever served.
            (
                vec![stand(false, None), stand(false, None)],
                vec![true, true],
            ),
        ] {
            assert_eq!(leads(&replicas), wanted, "{replicas:?}");
        }
    }
}
