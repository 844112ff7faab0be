//! In which order the regions of a Mirror get another pod template, and what is not started meanwhile.
//!
//! An index is written by the hub alone, in the version of its pod's image, and read by every region. So no region may
//! read less than the hub writes. With a later image the regions that are furthest from the hub go first and the hub goes
//! last; with an earlier one, whose indices have an earlier version, the hub goes first. Within a region it holds by
//! itself: a Job runs the image of its pod.

use fleet_types::counted;
use jiff::{SignedDuration, Timestamp};

use crate::fleet::{Fleet, Source};
use crate::schedule::later;
use crate::site::Site;

/// For so long others wait for a region: to be restarted, while its pod is not ready; and with the hub's next run, where it
/// reads less than that would write.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(15);

/// Who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    LeavesFirst,
    HubFirst,
}

/// A replica, as far as the order looks at it.
#[derive(Debug, Clone, Copy)]
struct Reader {
    /// Its index among the replicas.
    follows: Option<usize>,
    /// Whether its pod is of another template than the one that is wanted, and others wait for it.
    is_awaited: bool,
}

/// The order of one Mirror's restarts.
#[derive(Debug)]
pub struct Turns {
    /// All regions, in the order in which they are looked at.
    pub order: Vec<usize>,
    /// Of each region, why its pod is not made anew yet though nothing else is being restarted.
    pub holds: Vec<Option<String>>,
}

/// Decides who goes first.
pub fn turns(fleet: &Fleet, sites: &[Site]) -> Turns {
    let regions: Vec<Reader> = sites.iter().map(region).collect();
    let hub = hub(fleet, sites);
    let way = hub.map_or(Way::LeavesFirst, way);
    let mut order: Vec<usize> = (0..regions.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(followed(&regions, *at).count()));
    // What it says decides who goes first.
    if let Some(hub) = hub.filter(|hub| hub.is_of_before() && hub.view.not_asked()) {
        let words = format!(
            "its serving pod is made anew once that of region {} has been asked which indices it reads",
            hub.title()
        );
        return Turns {
            order,
            holds: vec![Some(words); sites.len()],
        };
    }
    let why = match way {
        Way::LeavesFirst => "which follows it",
        Way::HubFirst => {
            "which fetches for it: the image that comes writes an earlier version of the index"
        }
    };
    let words = |first: usize| {
        let name = sites.get(first)?.title();
        Some(format!(
            "its serving pod is made anew after that of region {name}, {why}"
        ))
    };
    let holds = (0..regions.len()).map(|at| goes_after(&regions, at, way).and_then(words));
    Turns {
        holds: holds.collect(),
        order,
    }
}

fn region(site: &Site) -> Reader {
    Reader {
        follows: match site.view.place.source {
            Source::Upstream => None,
            Source::Replica(at) => Some(at),
        },
        is_awaited: site.is_of_before() && !site.is_left_behind(),
    }
}

/// The region that fetches for others; none where no region follows.
fn hub<'s, 'a>(fleet: &Fleet, sites: &'s [Site<'a>]) -> Option<&'s Site<'a>> {
    let mut sites = sites.iter().filter(|_| fleet.is_together());
    sites.find(|site| site.view.place.source == Source::Upstream)
}

/// Whether the image that comes reads and writes less than the hub's.
fn way(hub: &Site) -> Way {
    let wanted = hub.settings.index_version;
    let earlier = hub
        .index_version()
        .is_some_and(|now| 0 < wanted && wanted < now);
    match earlier && hub.is_of_before() {
        true => Way::HubFirst,
        false => Way::LeavesFirst,
    }
}

/// Whom a region follows, and whom that one does.
fn followed(regions: &[Reader], at: usize) -> impl Iterator<Item = usize> {
    let next = |at: &usize| regions.get(*at)?.follows;
    // Of what is no tree, no more than all.
    std::iter::successors(next(&at), next).take(regions.len())
}

/// The region that is made anew before this one.
fn goes_after(regions: &[Reader], at: usize, way: Way) -> Option<usize> {
    let is_hub = |at: usize| followed(regions, at).count() == 0;
    let before = |other: &usize| match way {
        Way::LeavesFirst => followed(regions, *other).any(|followed| followed == at),
        Way::HubFirst => !is_hub(at) && is_hub(*other),
    };
    let awaited = |other: &usize| {
        let other = regions.get(*other);
        other.is_some_and(|other| other.is_awaited)
    };
    let first = (0..regions.len()).filter(awaited).filter(before);
    first.max_by_key(|other| followed(regions, *other).count())
}

/// That nothing is started in a region, since its indices and what is read elsewhere do not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// What does not fit, and what helps.
    pub message: String,
    /// Until when it is waited for.
    pub until: Option<Timestamp>,
}

/// Notes in each site what does not fit. Only known versions are compared: what a pod says, or what the image of this
/// program has where its pod has not said it yet.
pub fn compare(fleet: &Fleet, sites: &mut [Site]) {
    let Some(hub) = hub(fleet, sites) else {
        return;
    };
    let Some((writes, made)) = hub.index_version().zip(hub.pod_made_at()) else {
        return;
    };
    let (name, now) = (hub.title(), hub.now);
    let reads_less = |site: &&Site| site.index_version().is_some_and(|reads| reads < writes);
    let until = later(made, PATIENCE);
    let lacking = sites.iter().filter(reads_less);
    let offered = lacking.filter(|site| site.view.was_offered && now < until);
    let offered: Vec<String> = offered.map(Site::title).collect();
    let of_hub = (!offered.is_empty()).then(|| Misfit {
        message: format!(
            "region {name} would write indices of version {writes}, which {} ({}) cannot read: its next sync begins once their pods \
             run the image of region {name}, or at {until} without them",
            counted(offered.len(), "region"),
            offered.join(", ")
        ),
        until: Some(until),
    });
    for site in sites {
        site.misfit = match site.view.place.source {
            Source::Upstream => of_hub.clone(),
            Source::Replica(_) => site.index_version().filter(|reads| *reads < writes).map(|reads| Misfit {
                message: format!(
                    "region {} reads indices up to version {reads}, and region {name} writes version {writes}: nothing is copied to it \
                     before its pod runs the image of region {name}; where that does not come by itself, delete its pod",
                    site.title()
                ),
                until: None,
            }),
        };
    }
}

impl Site<'_> {
    /// Whether its pod was made from another template than the one that is wanted.
    pub fn is_of_before(&self) -> bool {
        self.view.pod.is_some() && !self.pod_is_current()
    }

    /// The version of indices that its pod reads, and that its runs write, since they run its image; none where nobody
    /// knows.
    pub fn index_version(&self) -> Option<u32> {
        let pod = self.view.pod.filter(|pod| !pod.meta.deleting)?;
        let is_ours = pod.image.as_ref() == Some(&self.settings.image);
        let version = match self.view.served() {
            Some(served) => served.index_version,
            None if is_ours => self.settings.index_version,
            None => 0,
        };
        (version > 0).then_some(version)
    }

    /// Since when a pod of another template has not been ready: its node is gone, as a rule, and the pod with it.
    fn away_since(&self) -> Option<Timestamp> {
        let pod = self.view.pod.filter(|pod| !pod.ready)?;
        pod.ready_changed_at.filter(|_| self.is_of_before())
    }

    /// Whether the others are restarted without it.
    pub fn is_left_behind(&self) -> bool {
        let since = self.away_since();
        since.is_some_and(|since| later(since, PATIENCE) <= self.now)
    }

    /// When the others no longer wait for it, if that is to come.
    pub fn is_left_behind_at(&self) -> Option<Timestamp> {
        let at = later(self.away_since()?, PATIENCE);
        (self.now < at).then_some(at)
    }

    /// What is left behind, and why.
    pub fn left_behind(&self) -> Option<String> {
        let since = self.away_since().filter(|_| self.is_left_behind())?;
        let pod = self.view.pod?;
        Some(format!(
            "region {} is left behind with image {}: its serving pod has not been ready since {since} and does not go, so the other regions are \
             restarted without it; it runs {} once the pod is gone (node {})",
            self.title(),
            pod.image.as_deref().unwrap_or("unknown"),
            self.settings.image,
            pod.node.as_deref().unwrap_or("unknown"),
        ))
    }

    fn pod_made_at(&self) -> Option<Timestamp> {
        self.view.pod?.meta.created_at
    }
}

#[cfg(test)]
mod tests;
