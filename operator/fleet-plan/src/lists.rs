//! What serving pods tell clients of the regions, so that they can without the controller: one list, the same for all pods
//! of a Mirror, as an annotation beside their orders.
//!
//! Whoever is withdrawn stands in no list, nor who is led to by a route that nobody has accepted, and a list is never empty:
//! where nobody is left, all stand in it that serve something, and else all that are declared. Like the label by which the
//! Mirror's Service finds its pods it says what the status says already.

use std::collections::BTreeSet;

use fleet_api::mirror::{MirrorSpec, Region};
use fleet_api::{MirrorStatus, RegionStatus, labels};
use fleet_types::documents::{ClientList, ListedRegion};
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};

use crate::fleet::{Fleet, Place};
use crate::names;
use crate::observed::{Answer, Observed, PodRole, SeenPod};
use crate::schedule::later;

/// A pod that has not been ready for so long is doubted: pods that are made anew come back sooner, and each change of the
/// list is written to all of them.
const PATIENCE: SignedDuration = SignedDuration::from_secs(90);

/// The networks that a manifest names, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    /// Of the clients of each region, in the order of the regions.
    clients: Vec<Vec<IpNet>>,
    proxies: Vec<IpNet>,
}

impl Networks {
    /// # Errors
    /// Which one cannot be read, and what to write.
    pub fn of(spec: &MirrorSpec) -> Result<Networks, String> {
        let clients = spec.regions.iter().map(|region| {
            let field = format!("spec.regions: clientCidrs of region {}", region.name);
            networks(&field, &region.client_cidrs)
        });
        Ok(Networks {
            clients: clients.collect::<Result<_, _>>()?,
            proxies: networks("spec.serving.trustedProxies", &spec.serving.trusted_proxies)?,
        })
    }
}

fn networks(field: &str, texts: &[String]) -> Result<Vec<IpNet>, String> {
    let read = |text: &String| {
        text.parse().map_err(|_| {
            format!(
                "{field}: {text} is no network; write an address and the length of its prefix, such as 198.51.100.0/24 or 2001:db8::/32"
            )
        })
    };
    texts.iter().map(read).collect()
}

/// The list as it is to be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// As the annotation has it.
    pub text: String,
    /// The regions in it.
    pub names: BTreeSet<String>,
    /// When time alone changes it.
    pub look_again: Option<Timestamp>,
}

/// What is to be told, by the status and by what is seen.
pub fn of(fleet: &Fleet, networks: &Networks, seen: &Observed) -> Listed {
    let status = fleet.status();
    let told = told_before(fleet, seen);
    let mut look_again: Option<Timestamp> = None;
    let mut regions = Vec::new();
    for (index, region) in chosen(fleet.spec, &status) {
        let mut places = fleet.places.iter().filter(|place| is_of(place, region));
        let Some(first) = places.clone().next() else {
            continue;
        };
        let was_doubtful = || {
            let mut told = told.iter().flat_map(|list| &list.regions);
            told.any(|told| told.name == region.name && told.doubtful)
        };
        // A region is doubted where all of its copies are.
        let doubtful = places.all(|place| match standing(place, seen) {
            Standing::Answers => false,
            Standing::Silent => true,
            Standing::Untold => was_doubtful(),
            Standing::Unready { since } => {
                let until = later(since, PATIENCE);
                let early = seen.now < until;
                if early {
                    look_again = look_again.into_iter().chain([until]).min();
                }
                !early || was_doubtful()
            }
        });
        regions.push(ListedRegion {
            name: region.name.clone(),
            url: fleet.url(first),
            clients: networks.clients.get(index).cloned().unwrap_or_default(),
            doubtful,
        });
    }
    let names: BTreeSet<String> = regions.iter().map(|region| region.name.clone()).collect();
    let list = ClientList {
        together: fleet.is_together() && are_offered(&names, fleet.spec, &status),
        regions,
        trusted_proxies: networks.proxies.clone(),
    };
    Listed {
        text: serde_json::to_string(&list).unwrap_or_default(),
        names,
        look_again,
    }
}

fn is_of(place: &Place, region: &Region) -> bool {
    place.region.name == region.name
}

/// The regions that stand in the list, in its order, with their places among those that are declared.
///
/// Where some are reached from outside, the others are not told: clients outside could not even look up their names.
pub fn chosen<'a>(spec: &'a MirrorSpec, status: &MirrorStatus) -> Vec<(usize, &'a Region)> {
    let reachable = || reachable(spec);
    let before = |region: &Region| {
        let mut known = status.regions.iter();
        known.find(|known| known.name == region.name)
    };
    let offered = |(_, region): &(usize, &Region)| {
        let known = before(region);
        known.is_some_and(|known| is_offered(spec, known) && is_reached(spec, region, known))
    };
    let offered: Vec<_> = reachable().filter(offered).collect();
    if !offered.is_empty() {
        return offered;
    }
    let serves = |(_, region): &(usize, &Region)| before(region).is_some_and(serves);
    let mut serving: Vec<_> = reachable().filter(serves).collect();
    serving.sort_by_key(|(_, region)| {
        let behind = before(region).and_then(|known| known.superseded_at.as_ref());
        (behind.is_some(), std::cmp::Reverse(behind.map(|at| at.0)))
    });
    match serving.is_empty() {
        true => reachable().collect(),
        false => serving,
    }
}

/// The regions that can stand in the list.
pub fn reachable(spec: &MirrorSpec) -> impl Iterator<Item = (usize, &Region)> {
    let all = || spec.regions.iter().enumerate();
    let public = is_public(spec);
    all().filter(move |(_, region)| !public || spec.outside(region).is_some())
}

/// Whether clients come to a region by the URL that is told: a route leads there once it is accepted.
pub fn is_reached(spec: &MirrorSpec, region: &Region, known: &RegionStatus) -> bool {
    let base = spec.outside(region).filter(|_| region.public_url.is_none());
    let url = known.url.as_deref().unwrap_or_default();
    base.is_none_or(|base| {
        url.strip_prefix(&base)
            .is_some_and(|rest| rest.starts_with('/'))
    })
}

/// Whether clients outside the cluster are led to some region.
pub fn is_public(spec: &MirrorSpec) -> bool {
    let mut regions = spec.regions.iter();
    regions.any(|region| spec.outside(region).is_some())
}

/// Whether all of these regions are offered, and not only serve something.
fn are_offered(names: &BTreeSet<String>, spec: &MirrorSpec, status: &MirrorStatus) -> bool {
    names.iter().all(|name| {
        let mut known = status.regions.iter();
        known.any(|known| known.name == *name && is_offered(spec, known))
    })
}

fn is_offered(spec: &MirrorSpec, known: &RegionStatus) -> bool {
    match spec.is_together() {
        true => known.role.is_some() && known.withdrawn_at.is_none(),
        false => serves(known) && known.withdrawn_at.is_none(),
    }
}

fn serves(known: &RegionStatus) -> bool {
    known.state.has_content()
}

/// Whether a copy can be sent clients, as far as it is known.
enum Standing {
    Answers,
    Silent,
    /// Nobody has asked it yet, or its pod is being made: what was said before stands.
    Untold,
    Unready {
        since: Timestamp,
    },
}

fn standing(place: &Place, seen: &Observed) -> Standing {
    let name = names::serving_pod_name(&place.child);
    let mut pods = seen.objects.pods.iter();
    let Some(pod) = pods.find(|pod| pod.meta.name == name && pod.role == PodRole::Serving) else {
        return Standing::Untold;
    };
    if pod.meta.deleting {
        return Standing::Untold;
    }
    if !pod.ready {
        let changed = pod.ready_changed_at.or(pod.meta.created_at);
        return changed.map_or(Standing::Untold, |since| Standing::Unready { since });
    }
    match seen.answers.get(&name) {
        None | Some(Answer::NotAsked) => Standing::Untold,
        Some(Answer::Unreachable(_)) if seen.cut_off => Standing::Untold,
        Some(Answer::Unreachable(_)) => Standing::Silent,
        Some(Answer::Serves(_) | Answer::Nothing) => Standing::Answers,
    }
}

/// What pods were told, each text once.
fn told_before(fleet: &Fleet, seen: &Observed) -> Vec<ClientList> {
    let texts: BTreeSet<&str> = pods(fleet, seen)
        .filter_map(|pod| pod.meta.annotation(labels::LIST))
        .collect();
    let lists = texts.into_iter();
    lists
        .filter_map(|text| serde_json::from_str(text).ok())
        .collect()
}

/// The serving pods of a Mirror, without those that leave.
fn pods<'s>(fleet: &Fleet, seen: &'s Observed) -> impl Iterator<Item = &'s SeenPod> {
    let ours =
        move |pod: &&SeenPod| pod.role == PodRole::Serving && pod.meta.belongs_to(&fleet.name);
    let pods = seen.objects.pods.iter().filter(ours);
    pods.filter(|pod| !pod.meta.deleting)
}

/// The regions to which some pod may still send clients, and is not to.
pub fn left(fleet: &Fleet, seen: &Observed) -> BTreeSet<String> {
    let lists = told_before(fleet, seen).into_iter();
    let names = lists.flat_map(|list| list.regions);
    let names = names.map(|region| region.name);
    names
        .filter(|name| !fleet.list.names.contains(name))
        .collect()
}
