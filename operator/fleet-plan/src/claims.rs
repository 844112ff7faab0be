//! Claims: made, grown, replaced where their volume is lost, and given up. Data goes only where the manifest says so, and
//! only where another replica has what is served.

use fleet_api::mirror::{OnVolumeLost, ReclaimPolicy};
use kube_core::ResourceExt;

use crate::build;
use crate::fleet::Fleet;
use crate::object::Owned;
use crate::observed::{Observed, SeenMeta, VolumePhase};
use crate::plan::Write;
use crate::site::Site;

impl Site<'_> {
    /// What its claim lacks; `is_elsewhere` says that another replica has what is served.
    pub fn claim(&self, is_elsewhere: bool) -> Option<Write> {
        let fleet = self.fleet;
        let size = self.view.place.region.size(&fleet.spec.storage);
        let Some(claim) = self.view.claim else {
            return Some(Write::Create(build::claim(fleet, self.view.place).into()));
        };
        if self.is_replaced() {
            let gone = || Write::delete(Owned::Claim, &claim.meta);
            return (is_elsewhere && !claim.meta.deleting).then(gone);
        }
        let small = claim
            .requested
            .is_some_and(|requested| requested < size.bytes());
        (small && !claim.meta.deleting).then(|| Write::Grow {
            part: self.view.place.part(),
            name: claim.meta.name.clone(),
            size: size.to_string(),
        })
    }

    /// Whether its volume is lost and another one is to take its place.
    pub fn is_replaced(&self) -> bool {
        let storage = &self.fleet.spec.storage;
        let replaces = storage.on_volume_lost == OnVolumeLost::Replace && self.fleet.is_together();
        replaces && self.view.is_lost()
    }

    /// Whether it has what is served, on a volume that is there, and others can copy it from there.
    pub fn has_what_is_served(&self) -> bool {
        let bound = (self.view.claim).is_some_and(|claim| claim.phase == VolumePhase::Bound);
        let status = self.fleet.mirror.status.as_ref();
        let publication = status.and_then(|status| status.publication.as_ref());
        let served = self.view.served().and_then(|it| it.snapshot.as_ref());
        let same = served.is_some() && served == publication.map(|it| &it.snapshot);
        bound && same && self.view.ready()
    }

    /// Another replica that has what this one serves, where somebody deleted its claim. The claim goes with its pod; what is
    /// lost is copied again.
    pub fn refilled_from<'s>(
        &self,
        mut others: impl Iterator<Item = &'s Site<'s>>,
    ) -> Option<String> {
        let is_leaving = self.view.claim.is_some_and(|claim| claim.meta.deleting);
        if !is_leaving || !self.fleet.is_together() {
            return None;
        }
        let told = self.view.order().map(|order| order.snapshot);
        let has_it = |other: &&Site| {
            let serves = other.view.ready() && other.view.was_offered;
            let mut kept = other.view.served().into_iter().flat_map(|it| &it.kept);
            serves && told.is_none_or(|told| kept.any(|kept| kept.id == told))
        };
        others.find(has_it).map(Site::title)
    }

    /// Whether its pod has the claim of a volume that is replaced, which stays as long as that.
    pub fn keeps_claim(&self) -> bool {
        let leaves = self.view.claim.is_some_and(|claim| claim.meta.deleting);
        leaves && self.is_replaced()
    }
}

/// Claims of replicas that are no longer declared, where their manifest says that these go; never one that a pod still has,
/// and none before another replica of the region has what is served.
pub fn given_up(fleet: &Fleet, sites: &[Site], seen: &Observed) -> Vec<Write> {
    if fleet.spec.storage.reclaim_policy != ReclaimPolicy::Delete {
        return Vec::new();
    }
    let is_elsewhere = |region: &str| {
        let mut sites = sites.iter().filter(|site| site.name() == region);
        sites.any(Site::has_what_is_served)
    };
    let is_used = |claim: &SeenMeta| {
        let mut pods = seen.objects.pods.iter().map(|pod| &pod.meta);
        pods.any(|pod| {
            let same = pod.region() == claim.region() && pod.replica() == claim.replica();
            pod.belongs_to(&fleet.name) && same
        })
    };
    let claims = seen.objects.claims.iter().map(|claim| &claim.meta);
    let gone = claims.filter(|meta| {
        let ours =
            meta.belongs_to(&fleet.name) && !meta.deleting && !fleet.declares(Owned::Claim, meta);
        ours && meta.region().is_some_and(is_elsewhere) && !is_used(meta)
    });
    gone.map(|meta| Write::delete(Owned::Claim, meta)).collect()
}

/// Claims of ours whose region, or whose replica of it, is not declared.
pub fn retained_claims(mirror: &fleet_api::Mirror, seen: &Observed) -> Vec<String> {
    let name = mirror.name_any();
    let declared = |meta: &SeenMeta| {
        let mut regions = mirror.spec.regions.iter();
        regions.any(|region| {
            Some(region.name.as_str()) == meta.region() && meta.replica() < region.count()
        })
    };
    let claims = seen.objects.claims.iter().map(|claim| &claim.meta);
    let mut names: Vec<_> = claims
        .filter(|meta| meta.belongs_to(&name) && !meta.deleting && !declared(meta))
        .map(|meta| meta.name.clone())
        .collect();
    names.sort();
    names
}
