//! Where copies stand: each replica of each region, and from where it copies.

use fleet_api::mirror::{Canary, MOST_COPIES, Region};
use fleet_api::rules::{
    CANARY_MESSAGE, COPIES_MESSAGE, FOLLOWS_ANOTHER_MESSAGE, FOLLOWS_THE_HUB_MESSAGE,
    ONE_HUB_MESSAGE, STANDBY_MESSAGE,
};
use fleet_api::{Fetcher, MirrorSpec};

use crate::names;
use crate::observed::SeenMeta;
use crate::plan::part;

/// Where runs take what they copy from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The Upstream that the Mirror names, which gives to one run at a time.
    Upstream,
    /// Another replica, of this region or of the one that it follows: its index among the places.
    Replica(usize),
}

/// One replica of a region, and the names of its objects.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    pub region: &'a Region,
    /// From 0.
    pub replica: u32,
    pub source: Source,
    /// The name that its StatefulSet, claim and first part of its Jobs' names share.
    pub child: String,
    /// The name of its region's Service and budget, which are those of all its replicas.
    pub service: String,
}

impl Place<'_> {
    /// Whether it is the first of its region, whose objects are those of the region too.
    pub const fn is_first(&self) -> bool {
        self.replica == 0
    }

    /// What people call it: the region, and after it the replica where there are several.
    pub fn title(&self) -> String {
        let name = &self.region.name;
        match self.region.is_replicated() {
            true => format!("{name}/{}", self.replica),
            false => name.clone(),
        }
    }

    /// What of a plan fails together with a write of it.
    pub fn part(&self) -> String {
        part(&self.region.name, self.replica)
    }

    /// Whether the labels of an object of this Mirror name it.
    pub fn owns(&self, meta: &SeenMeta) -> bool {
        meta.region() == Some(&self.region.name) && meta.replica() == self.replica
    }
}

/// Who may fetch where copies follow each other, by their indices, whoever is to do so first: the replicas of the region that
/// follows none, then those of the one that stands by.
pub fn fetchers(places: &[Place]) -> Vec<usize> {
    let of = |wanted: fn(&Region) -> bool| {
        let places = places.iter().enumerate();
        places.filter(move |(_, place)| wanted(place.region))
    };
    let hub = of(|region| region.follows.is_none());
    let standby = of(|region| region.follows.is_some() && region.standby);
    hub.chain(standby).map(|(at, _)| at).collect()
}

/// Each replica with where it copies from, now that `fetcher` fetches.
pub fn places<'a>(
    spec: &'a MirrorSpec,
    mirror: &str,
    fetcher: Option<&Fetcher>,
) -> Result<Vec<Place<'a>>, String> {
    let mut places = declared(spec, mirror)?;
    let fetches = |place: &Place| {
        let fetcher = fetcher.filter(|fetcher| fetcher.region == place.region.name);
        fetcher.is_some_and(|fetcher| fetcher.replica == place.replica)
    };
    let is_together = places.iter().any(|place| place.source != Source::Upstream);
    let all = fetchers(&places);
    let takes_over = all.iter().copied().find(|at| fetches(&places[*at]));
    if let (Some(at), Some(hub), true) = (takes_over, all.first().copied(), is_together) {
        // Whoever it followed follows it now, and all others whom they did.
        places[hub].source = Source::Replica(at);
        places[at].source = Source::Upstream;
    }
    Ok(places)
}

/// As it is declared. Checks again what the schema does, of what was stored before it did.
fn declared<'a>(spec: &'a MirrorSpec, mirror: &str) -> Result<Vec<Place<'a>>, String> {
    let regions = &spec.regions;
    if regions.is_empty() {
        return Err(
            "spec.regions is empty: name at least one region, for example `- name: main`"
                .to_owned(),
        );
    }
    let followed = |region: &Region| {
        let Some(name) = &region.follows else {
            return Ok(None);
        };
        let mut all = regions.iter();
        let at = all.position(|other| other.name == *name && other.name != region.name);
        at.map(Some)
            .ok_or_else(|| format!("spec.regions: {FOLLOWS_ANOTHER_MESSAGE}"))
    };
    let followed: Vec<Option<usize>> = regions.iter().map(followed).collect::<Result<_, _>>()?;
    let next = |at: usize| followed.get(at).copied().flatten();
    let mut edges = (0..regions.len()).filter_map(next);
    if edges.any(|first| next(first).is_some_and(|second| next(second).is_some())) {
        return Err(format!("spec.regions: {FOLLOWS_THE_HUB_MESSAGE}"));
    }
    let hubs = followed.iter().filter(|followed| followed.is_none());
    let copies = followed.iter().any(Option::is_some) || regions.iter().any(Region::is_replicated);
    if copies && hubs.count() != 1 {
        return Err(format!("spec.regions: {ONE_HUB_MESSAGE}"));
    }
    let standbys = || {
        regions
            .iter()
            .enumerate()
            .filter(|(_, region)| region.standby)
    };
    let stands_by = |(at, _)| next(at).is_some_and(|followed| next(followed).is_none());
    if standbys().count() > 1 || !standbys().all(stands_by) {
        return Err(format!("spec.regions: {STANDBY_MESSAGE}"));
    }
    let goes_first = |canary: &Canary| {
        let is_declared = regions.iter().any(|region| region.name == canary.region);
        is_declared && followed.iter().any(Option::is_some)
    };
    if !spec.rollout.canary.iter().all(goes_first) {
        return Err(format!("spec.rollout: {CANARY_MESSAGE}"));
    }
    let counts = regions.iter().map(Region::count);
    if counts.clone().sum::<u32>() > MOST_COPIES {
        return Err(format!("spec.regions: {COPIES_MESSAGE}"));
    }
    // Where the first replica of each region stands among all of them.
    let firsts = counts.scan(0, |next, count| {
        let first = *next;
        *next += count as usize;
        Some(first)
    });
    let firsts: Vec<usize> = firsts.collect();
    let first = |region: usize| firsts.get(region).copied();
    let regions = regions.iter().zip(followed).enumerate();
    let places = regions.flat_map(|(at, (region, followed))| {
        let followed = followed.and_then(first);
        (0..region.count()).map(move |replica| Place {
            region,
            replica,
            source: match (replica, followed) {
                (0, None) => Source::Upstream,
                (0, Some(followed)) => Source::Replica(followed),
                _ => first(at).map_or(Source::Upstream, Source::Replica),
            },
            child: names::replica_name(mirror, &region.name, replica),
            service: names::child_name(mirror, &region.name),
        })
    });
    Ok(places.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sources(regions: serde_json::Value) -> Result<Vec<(String, Source)>, String> {
        let spec = json!({
            "upstreamRef": {"name": "debian"}, "content": {"debian": {"suites": ["trixie"]}}, "regions": regions,
        });
        let spec: MirrorSpec = serde_json::from_value(spec).unwrap();
        let places = places(&spec, "debian", None)?;
        Ok(places
            .iter()
            .map(|place| (place.title(), place.source))
            .collect())
    }

    #[test]
    fn the_first_replica_gets_what_its_region_gets_and_the_others_copy_from_it() {
        let all = sources(json!([
            {"name": "us", "follows": "eu", "replicas": 2},
            {"name": "eu", "replicas": 3},
            {"name": "asia", "follows": "us"},
        ]));
        let wanted = [
            ("us/0", Source::Replica(2)),
            ("us/1", Source::Replica(0)),
            ("eu/0", Source::Upstream),
            ("eu/1", Source::Replica(2)),
            ("eu/2", Source::Replica(2)),
            ("asia", Source::Replica(0)),
        ];
        let wanted = wanted.map(|(title, source)| (title.to_owned(), source));
        assert_eq!(all.unwrap(), wanted);
    }

    #[test]
    fn where_there_are_replicas_one_region_fetches_and_all_of_them_are_not_too_many() {
        let two = sources(json!([{"name": "eu", "replicas": 2}, {"name": "us"}]));
        assert!(two.unwrap_err().contains("exactly one fetches"));
        let edge =
            |number: usize| json!({"name": format!("r{number}"), "follows": "eu", "replicas": 4});
        let hub = std::iter::once(json!({"name": "eu", "replicas": 4}));
        let many = |edges: usize| sources(hub.clone().chain((0..edges).map(edge)).collect());
        assert_eq!(many(15).unwrap().len(), 64);
        assert!(many(16).unwrap_err().contains("64 replicas at most"));
    }
}
