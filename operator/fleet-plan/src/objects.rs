//! Which of a region's objects are missing, differ, or belong to no region any more.

use fleet_api::labels;
use fleet_api::mirror::ReclaimPolicy;
use fleet_types::Order;
use jiff::{SignedDuration, Timestamp};
use kube_core::ResourceExt;
use serde_json::Value;

use crate::build;
use crate::canonical::is_as_wanted;
use crate::claims;
use crate::fleet::Fleet;
use crate::object::{Object, Owned};
use crate::observed::{Observed, SeenApplied, SeenMeta};
use crate::plan::{Labelled, Write};
use crate::rollout;
use crate::schedule::later;
use crate::site::Site;
use crate::wanted::Wish;

/// A restarted pod that is not ready after so long holds up only its own Mirror, not the whole fleet.
const ROLLOUT_PATIENCE: SignedDuration = SignedDuration::from_mins(5);
/// How often it is asked whether a pod may go.
const EVICTION_PERIOD: SignedDuration = SignedDuration::from_secs(10);

/// What must be written for the regions' objects, in order.
#[derive(Debug, Default)]
pub struct Objects {
    /// Finalizer; then per region claim, labels, Service, StatefulSet, budget (a pod without its claim would only wait, and
    /// a Service from the start gives clients a name that stays) and the pod that is to be made anew; then what regions
    /// left behind.
    pub writes: Vec<Write>,
    /// What tells pods which snapshot to serve, and the templates of those that follow them: a template before its pod, or
    /// a pod that is made anew in between would be told less than the one before.
    pub orders: Vec<Write>,
    /// What leads clients outside of the cluster to regions. Nothing waits for it.
    pub routes: Vec<Write>,
    /// What leads to all regions, for the end: no region waits for it.
    pub of_all: Option<Write>,
    /// Regions that are being restarted.
    pub rollouts: u32,
    pub look_again: Option<Timestamp>,
}

pub fn converge(fleet: &Fleet, sites: &mut [Site], seen: &Observed) -> Objects {
    let mut objects = Objects::default();
    objects.writes.extend(finalizer(fleet));
    let turns = rollout::turns(fleet, sites);
    for index in turns.order {
        let (before, after) = (&sites[..index], &sites[index + 1..]);
        let others = || before.iter().chain(after);
        let others_roll = others().any(Site::is_rolling);
        let is_elsewhere = others().any(Site::has_what_is_served);
        let refilled_from = sites[index].refilled_from(others());
        let site = &mut sites[index];
        site.objects.refilled_from = refilled_from;
        let turn = Turn {
            others_roll,
            hold: turns.holds[index].as_deref(),
            is_elsewhere,
        };
        objects.writes.extend(site.converge(seen, turn));
        objects.orders.extend(site.order());
        let again = objects.look_again.into_iter();
        let again = again.chain(site.is_left_behind_at());
        objects.look_again = again.chain(site.objects.look_again).min();
    }
    for site in sites.iter().filter(|site| site.is_rolling()) {
        let until = site.restarted_at().map(|at| later(at, ROLLOUT_PATIENCE));
        if until.is_none_or(|until| seen.now < until) {
            objects.rollouts += 1;
            objects.look_again = objects.look_again.into_iter().chain(until).min();
        }
    }
    let routes = sites.iter().filter_map(|site| site.wanted.route.wish());
    objects.routes.extend(routes.filter_map(Wish::apply));
    objects.writes.extend(left_behind(fleet, seen));
    objects.writes.extend(claims::given_up(fleet, sites, seen));
    objects.of_all = mirror_service(fleet, seen);
    objects
}

/// Whether a pod that serves may be made anew now.
#[derive(Debug, Clone, Copy)]
struct Turn<'t> {
    /// Another region of the Mirror does not serve what it has.
    others_roll: bool,
    /// Another one goes first; in words.
    hold: Option<&'t str>,
    /// Another replica has what is served.
    is_elsewhere: bool,
}

impl Site<'_> {
    /// What makes the region's objects what they should be.
    fn converge(&mut self, seen: &Observed, turn: Turn) -> Vec<Write> {
        let mut writes: Vec<Write> = self.claim(turn.is_elsewhere).into_iter().collect();
        writes.extend(self.labels());
        writes.extend(self.wanted.service.as_ref().and_then(Wish::apply));
        let ordered = self.is_ordered_anew();
        writes.extend(self.stateful_set().filter(|_| !ordered));
        writes.extend(self.routed());
        writes.extend(self.listed());
        writes.extend(self.wanted.disruption_budget.as_ref().and_then(Wish::apply));
        let evict = self.evict(seen, turn);
        self.objects.evicting = evict.is_some();
        writes.extend(evict);
        let waiting_for = match self.view.claim {
            Some(claim) if claim.meta.deleting => Some(format!(
                "PersistentVolumeClaim {} is being deleted",
                claim.meta.name
            )),
            _ if !writes.is_empty() || ordered && !self.differs_in_order_only() => {
                Some("its objects are being written".to_owned())
            }
            _ if self.set_is_leaving() => Some("its StatefulSet is being made anew".to_owned()),
            _ if !self.pod_is_current() => Some("its serving pod is being made".to_owned()),
            _ => None,
        };
        self.objects.waiting_for = self.objects.waiting_for.take().or(waiting_for);
        writes
    }

    /// Labels that a claim or pod of an earlier version lacks. The pod has them before the StatefulSet that looks for them.
    fn labels(&self) -> Vec<Write> {
        let labels = build::replica_labels(self.fleet, self.view.place, labels::COMPONENT_SERVING);
        let claim = self.view.claim.map(|claim| (Labelled::Claim, &claim.meta));
        let pod = self.view.pod.map(|pod| (Labelled::Pod, &pod.meta));
        let lacking = |(kind, meta): (Labelled, &SeenMeta)| {
            let lacks = |(key, _): &(&String, &String)| meta.label(key).is_none();
            let labels = labels.iter().filter(lacks);
            let labels = labels.map(|(key, value)| (key.clone(), value.clone()));
            Write::Label {
                kind,
                part: self.view.place.part(),
                name: meta.name.clone(),
                uid: meta.uid.clone(),
                labels: labels.collect(),
            }
        };
        let stays = |(_, meta): &(Labelled, &SeenMeta)| !meta.deleting;
        let all = claim.into_iter().chain(pod).filter(stays).map(lacking);
        all.filter(|write| !matches!(write, Write::Label { labels, .. } if labels.is_empty()))
            .collect()
    }

    /// Which Services lead to the pod, where its labels say otherwise. After its template, as with orders.
    fn routed(&self) -> Option<Write> {
        let pod = self.view.pod.filter(|pod| !pod.meta.deleting)?;
        let mut labels = build::Told::new(self.fleet, &self.view, None).labels();
        labels.retain(|key, value| pod.meta.label(key) != Some(value));
        (!labels.is_empty()).then(|| Write::Label {
            kind: Labelled::Pod,
            part: self.view.place.part(),
            name: pod.meta.name.clone(),
            uid: pod.meta.uid.clone(),
            labels,
        })
    }

    /// What it tells clients of the regions, where its pod has something else. After its template, as with orders.
    fn listed(&self) -> Option<Write> {
        let pod = self
            .view
            .pod
            .filter(|pod| pod.takes_orders && !pod.meta.deleting)?;
        let list = &self.fleet.list.text;
        (pod.meta.annotation(labels::LIST) != Some(list.as_str())).then(|| Write::List {
            part: self.view.place.part(),
            name: pod.meta.name.clone(),
            uid: pod.meta.uid.clone(),
            list: list.clone(),
        })
    }

    /// Whether its StatefulSet is there and its template tells another order than it should.
    fn is_ordered_anew(&self) -> bool {
        let apply = matches!(self.stateful_set(), Some(Write::Apply(_)));
        let told = self.view.stateful_set.map(told_by);
        apply && told.is_some_and(|told| told != self.order_text())
    }

    /// Whether that is all that its StatefulSet lacks.
    fn differs_in_order_only(&self) -> bool {
        let Some(live) = self.view.stateful_set else {
            return false;
        };
        let (fleet, place) = (self.fleet, self.view.place);
        let order = Order::read(&told_by(live)).ok().flatten();
        let told = build::Told::new(fleet, &self.view, order);
        let as_told = build::stateful_set(fleet, place, self.settings, &told);
        is_as_wanted(live, &as_told.into())
    }

    fn order_text(&self) -> String {
        let order = self.view.order();
        order.map(|order| order.to_string()).unwrap_or_default()
    }

    /// What brings the order that the status holds to the pod and to the one that follows it.
    fn order(&self) -> Vec<Write> {
        let template = self.stateful_set().filter(|_| self.is_ordered_anew());
        let pod = self
            .view
            .pod
            .filter(|pod| pod.takes_orders && !pod.meta.deleting);
        let unheeded = self.unheeded();
        let again = unheeded.and_then(|unheeded| unheeded.again(self.now));
        let told = |order: &Order| {
            let pod = pod.filter(|pod| {
                let told = pod.meta.annotation(labels::SERVE).unwrap_or_default();
                let told_again = pod.meta.annotation(labels::SERVE_AGAIN);
                told != order.to_string() || again.is_some() && told_again != again.as_deref()
            })?;
            Some(Write::Order {
                part: self.view.place.part(),
                name: pod.meta.name.clone(),
                uid: pod.meta.uid.clone(),
                order: *order,
                again: again.clone(),
            })
        };
        let pod = self.view.order().as_ref().and_then(told);
        template.into_iter().chain(pod).collect()
    }

    /// Applied; or, where it cannot become what is wanted, taken away from its pod, which the next one adopts.
    fn stateful_set(&self) -> Option<Write> {
        let write = self.wanted.stateful_set.apply()?;
        let live = self.view.stateful_set;
        let stuck = live.filter(|live| selects_otherwise(live, &self.wanted.stateful_set.object));
        Some(stuck.map_or(write, |live| Write::Orphan {
            part: self.view.place.part(),
            name: live.meta.name.clone(),
            uid: live.meta.uid.clone(),
        }))
    }

    /// Has a pod leave that was made from another template, once it is its turn: one region after another, and only those
    /// at once that serve nothing anyway.
    fn evict(&mut self, seen: &Observed, turn: Turn) -> Option<Write> {
        let set = self.view.stateful_set?;
        let made = self.wanted.stateful_set.stands && !set.pending && !self.set_is_leaving();
        let pod = self.view.pod.filter(|pod| made && !pod.meta.deleting)?;
        let renewed = self
            .unheeded()
            .and_then(|unheeded| unheeded.is_renewed_at());
        let is_renewed = renewed.is_some_and(|at| at <= seen.now);
        let is_refilled = self.objects.refilled_from.is_some() && pod.holds_its_node();
        let gives_way = self.keeps_claim() || is_refilled;
        if self.pod_is_current() && !is_renewed && !gives_way {
            return None;
        }
        let hold = turn.hold.filter(|_| self.is_of_before());
        if let Some(words) = hold.filter(|_| self.view.ready()) {
            self.objects.waiting_for = Some(words.to_owned());
            return None;
        }
        let full = seen.rollouts_elsewhere >= seen.settings.max_rollouts;
        if self.view.ready() && (turn.others_roll || full) {
            let words = "other regions are being restarted; this one follows";
            self.objects.waiting_for = Some(words.to_owned());
            return None;
        }
        if let Some(refusal) = self.view.refusal {
            let (words, again) = (&refusal.message, later(refusal.at, EVICTION_PERIOD));
            self.objects.waiting_for = Some(format!(
                "its serving pod is to be made anew and may not go yet: {words}"
            ));
            if seen.now < again {
                self.objects.look_again = Some(again);
                return None;
            }
        }
        Some(Write::Evict {
            part: self.view.place.part(),
            name: pod.meta.name.clone(),
            uid: pod.meta.uid.clone(),
        })
    }

    /// Whether it does not serve what it has, because of us or not: no other region of its Mirror is to follow, unless it
    /// is left behind.
    fn is_rolling(&self) -> bool {
        let serves = self.view.ready() || self.is_left_behind();
        self.objects.evicting || self.has_content() && !serves
    }

    /// Whether its pod is on its way out for another template.
    pub fn pod_is_leaving(&self) -> bool {
        let leaving = self.view.pod.is_some_and(|pod| pod.meta.deleting);
        leaving && !self.pod_is_current()
    }

    fn set_is_leaving(&self) -> bool {
        let set = self.view.stateful_set;
        set.is_some_and(|set| set.meta.deleting)
    }

    /// When the pod was made, if it is the new one already.
    fn restarted_at(&self) -> Option<Timestamp> {
        let pod = self.view.pod.filter(|_| self.pod_is_current())?;
        pod.meta.created_at
    }

    pub fn pod_is_current(&self) -> bool {
        self.view.pod_is_current(self.wanted.template.as_deref())
    }
}

/// The finalizer exists only while volumes are to go with the Mirror.
fn finalizer(fleet: &Fleet) -> Option<Write> {
    let has = fleet
        .mirror
        .finalizers()
        .iter()
        .any(|name| name == labels::CLAIM_FINALIZER);
    match (fleet.spec.storage.reclaim_policy, has) {
        (ReclaimPolicy::Delete, false) => Some(Write::AddFinalizer),
        (ReclaimPolicy::Retain, true) => Some(Write::RemoveFinalizer),
        _ => None,
    }
}

/// The Service that leads to all regions that are offered.
fn mirror_service(fleet: &Fleet, seen: &Observed) -> Option<Write> {
    let name = crate::names::mirror_name(&fleet.name);
    let mut services = seen.objects.services.iter();
    let live = services.find(|service| service.meta.name == name);
    let together = fleet.is_together();
    together
        .then(|| Wish::new(build::mirror_service(fleet), live).apply())
        .flatten()
}

/// What the template of a StatefulSet tells its pods to serve, as text.
fn told_by(live: &SeenApplied) -> String {
    let live: Value = serde_json::from_str(&live.spec).unwrap_or_default();
    let told = &live["template"]["metadata"]["annotations"][labels::SERVE];
    told.as_str().unwrap_or_default().to_owned()
}

/// Whether a StatefulSet selects other pods than it should, which can never be changed.
fn selects_otherwise(live: &SeenApplied, wanted: &Object) -> bool {
    let live: Value = serde_json::from_str(&live.spec).unwrap_or_default();
    live["selector"] != wanted.spec()["selector"]
}

/// Objects of regions that are no longer declared. Their claims stay.
fn left_behind(fleet: &Fleet, seen: &Observed) -> Vec<Write> {
    let gone = |kind: Owned, meta: &SeenMeta| {
        !fleet.declares(kind, meta)
            && !meta.deleting
            && meta.belongs_to(&fleet.name)
            && meta.owners.contains(&fleet.uid)
    };
    let all = seen.objects.metas();
    all.filter(|(kind, meta)| *kind != Owned::Claim && gone(*kind, meta))
        .map(|(kind, meta)| Write::delete(kind, meta))
        .collect()
}
