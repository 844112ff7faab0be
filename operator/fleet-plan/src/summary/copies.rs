//! What regions do that follow another one: what they copy, when a copy that failed is tried again, and what comes of a
//! publication meanwhile.

use fleet_api::{Attempt, RegionRole, RegionStatus, ReplicaStatus};
use fleet_types::Outcome;
use jiff::Timestamp;
use kube_core::ResourceExt;

use super::{Known, enumeration, short, span};
use crate::follow;
use crate::schedule::later;

/// What a region does about what it lacks, as the end of a sentence.
pub fn doing(known: &Known, region: &RegionStatus) -> String {
    let runs = region.replicas.iter().find_map(|replica| {
        let run = replica.current_run.as_ref()?;
        run.copies.as_ref().map(|_| &run.job)
    });
    let failed = region.replicas.iter().find_map(failure);
    match (runs, failed) {
        (Some(job), _) => format!("Job {job} copies it"),
        (None, Some(last)) => format!(
            "its last copy failed: {}: {}{}",
            last.reason,
            last.message.trim_end_matches(['.', ' ']),
            next_try(known, region)
        ),
        (None, None) if region.withdrawn_at.is_some() => "its clients are led elsewhere".to_owned(),
        (None, None) => "its copy has not begun".to_owned(),
    }
}

/// When a copy that failed is tried again, as the end of a sentence.
fn next_try(known: &Known, region: &RegionStatus) -> String {
    match again(known, region) {
        Some(at) if is_up(region) => format!("; it is tried again at {at}"),
        Some(_) => "; it is tried again once its serving pod is back".to_owned(),
        None => String::new(),
    }
}

/// The last run of a copy, if it failed.
fn failure(replica: &ReplicaStatus) -> Option<&Attempt> {
    let last = replica.last_attempt.as_ref()?;
    (last.reason.outcome() != Outcome::Good).then_some(last)
}

/// When a region's last copy, which failed, is tried again; none where none runs by that rule: it runs, it did not fail, or
/// what it copied is not wanted any more.
fn again(known: &Known, region: &RegionStatus) -> Option<Timestamp> {
    if region.role != Some(RegionRole::Edge) {
        return None;
    }
    let status = known.status();
    let publication = status.publication.as_ref()?;
    let next = publication.preparing.as_ref().map(|next| &next.snapshot);
    let is_wanted = |id: &String| next == Some(id) || publication.snapshot == *id;
    let seed = known.mirror.uid().unwrap_or_default();
    let retries = &known.mirror.spec.sync.retries;
    let numbered = region.replicas.iter().enumerate();
    let idle = numbered.filter(|(_, replica)| replica.current_run.is_none());
    let failed = idle.filter_map(|(number, replica)| Some((number, failure(replica)?)));
    let wanted = failed.filter(|(_, last)| last.copies.as_ref().is_some_and(is_wanted));
    let tries =
        wanted.map(|(number, last)| follow::again_at(retries, &seed, &region.title(number), last));
    tries.min()
}

/// Whether all its serving pods are ready.
fn is_up(region: &RegionStatus) -> bool {
    region.replicas.iter().all(|replica| replica.ready)
}

/// The copies that come next by themselves, each as the part of a sentence.
pub fn to_come(known: &Known) -> Vec<String> {
    let status = known.status();
    let regions = status.regions.iter();
    let copies = regions.filter_map(|region| {
        let name = &region.name;
        let at = again(known, region)?;
        let seconds = at.duration_since(known.now).as_secs();
        Some(match (is_up(region), seconds) {
            (false, _) => {
                format!("a copy to region {name} is tried again once its serving pod is back")
            }
            (true, ..=0) => format!("a copy to region {name} is tried again now"),
            (true, _) => {
                format!(
                    "a copy to region {name} is tried again at {at}, in {}",
                    span(seconds)
                )
            }
        })
    });
    copies.collect()
}

/// What becomes of the next snapshot, as the part of a sentence.
pub fn publication(known: &Known) -> Option<String> {
    let status = known.status();
    let preparing = status.publication.as_ref()?.preparing.as_ref()?;
    let waited_for = &preparing.waiting_for;
    let word = match waited_for.len() {
        0 => return None,
        1 => "region",
        _ => "regions",
    };
    let names = enumeration(waited_for);
    let snapshot = short(&preparing.snapshot);
    let until = until(known, preparing.since.0);
    Some(match until > known.now {
        true => format!(
            "snapshot {snapshot} is served once {word} {names} can, and at {until} by those that can"
        ),
        false => {
            format!(
                "snapshot {snapshot} is served once no client is led to {word} {names} any more"
            )
        }
    })
}

/// Until when regions are waited for that have lacked the next snapshot since then.
pub fn until(known: &Known, since: Timestamp) -> Timestamp {
    let patience = known.mirror.spec.rollout.patience.as_secs();
    later(since, crate::schedule::seconds(patience))
}

/// The region that fetches in the place of another one, as far as it could.
pub fn stands_by<'k>(known: &'k Known, away: &str) -> Option<&'k str> {
    let mut regions = known.mirror.spec.regions.iter();
    let name = regions.find(|region| region.standby)?.name.as_str();
    let status = known.status();
    let mut others = status.regions.iter().filter(|region| region.name != away);
    let is_up = others.any(|region| region.name == name && is_up(region));
    is_up.then_some(name)
}

/// What happens by itself about regions whose serving pod has served and is not ready, as the part of a sentence.
pub fn comes_back(known: &Known) -> Option<String> {
    let status = known.status();
    let down = |region: &&RegionStatus| {
        let mut replicas = region.replicas.iter();
        replicas.any(|replica| replica.snapshot.is_some() && !replica.ready)
    };
    let region = status.regions.iter().find(down)?;
    let name = &region.name;
    if region.replicas.iter().any(|replica| replica.ready) {
        return Some(format!(
            "region {name} serves on without the replica that is away, which catches up once its serving pod is back"
        ));
    }
    Some(match region.role {
        Some(RegionRole::Hub) => match stands_by(known, name) {
            None => format!(
                "the other regions serve on, and nothing is fetched before the serving pod of region {name} is back"
            ),
            Some(other) => format!(
                "the other regions serve on, and region {other} fetches once the serving pod of region {name} has been away for five minutes"
            ),
        },
        Some(RegionRole::Edge) => format!(
            "what is published meanwhile is served without region {name}, which catches up once its serving pod is back"
        ),
        None => format!("region {name} serves again once its pod is ready"),
    })
}
