//! Which snapshot is to be served: the decision about a Mirror, from what its status and its pods say.
//!
//! A plan decides, and its status says so. Only the next plan, which finds that in the status, has pods and templates
//! told: nobody is told what another controller could still decide otherwise.

mod together;

use fleet_api::{Halted, MirrorStatus, OrderStatus, Publication, ReplicaStatus, Trial};
use fleet_types::documents::{KeptSnapshot, ServedStatus};
use fleet_types::{Order, Reason, Sha256};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::build::{Ordered, kept_by};
use crate::canary::Audits;
use crate::fleet::{Fleet, Problem};
use crate::freshness::Freshness;
use crate::observed::Observed;
use crate::plan::PlannedEvent;
use crate::publication::together::{Member, Standing};
use crate::publication::{self, Copy, Decided, Known, Told, Unfulfilled, Wish};
use crate::report::instant;
use crate::runs::whole;
use crate::schedule::later;
use crate::site::Site;
use crate::status::served_until;
use crate::withdrawal::{self, Limits};

/// What came of the decision, besides what each copy is told.
#[derive(Debug)]
pub struct Ordering {
    pub publication: Option<Publication>,
    /// Why the manifest's wish cannot be fulfilled.
    pub problem: Option<Problem>,
    /// Whether what is newest somewhere is skipped.
    pub rolled_back: bool,
    /// Where copies follow each other: what they are to have.
    pub agreed: Option<Agreed>,
    /// Of the region that goes first, where one does.
    pub audits: Audits,
    /// When time alone changes this.
    pub look_again: Option<Timestamp>,
}

impl Ordering {
    /// What one region tries for the others.
    pub fn trial(&self) -> Option<&Trial> {
        self.publication.as_ref()?.canary.as_ref()
    }

    /// What was found bad.
    pub fn halted(&self) -> Option<&Halted> {
        self.publication.as_ref()?.halted.as_ref()
    }
}

/// What copies are to have that publish together, and how each stands.
#[derive(Debug)]
pub struct Agreed {
    pub standing: Standing,
    /// In the order of the sites.
    pub members: Vec<Member>,
}

/// Decides, and notes in the status of each copy what it is told.
pub fn decide(
    fleet: &Fleet,
    sites: &mut [Site],
    before: &MirrorStatus,
    seen: &Observed,
) -> Ordering {
    let (snapshots, rollout) = (&fleet.spec.snapshots, &fleet.spec.rollout);
    let canary = rollout.canary.as_ref();
    let wish = Wish {
        pinned: &snapshots.pinned,
        skip: &snapshots.skip,
        paused: rollout.paused,
        soak: canary.map(|canary| i64::try_from(canary.soak.as_secs()).unwrap_or(i64::MAX)),
    };
    let copies: Vec<Copy> = sites.iter().map(copy).collect();
    let rolled_back =
        snapshots.pinned.is_empty() && copies.iter().any(|copy| copy.goes_back(&wish));
    let known = known(before);
    if fleet.is_together() {
        let together = together::decide(fleet, sites, (before, &known), &wish, seen);
        return Ordering {
            rolled_back,
            ..together
        };
    }
    let decision = publication::decide(&decided(before), &wish, &known, &copies);
    note(sites, &decision.orders, seen.now);
    Ordering {
        publication: publication(before, &decision.decided, seen.now),
        problem: decision.unfulfilled.map(|why| problem(fleet, why)),
        rolled_back,
        agreed: None,
        audits: Audits::default(),
        look_again: withdraw(fleet, sites, seen.now),
    }
}

/// Notes which regions the lists leave out since they are too far behind, and says when time alone changes that.
fn withdraw(fleet: &Fleet, sites: &mut [Site], now: Timestamp) -> Option<Timestamp> {
    let freshness = &fleet.spec.freshness;
    let seconds = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    let limits = Limits {
        objective: seconds(freshness.objective.as_secs()),
        withdraw_after: seconds(freshness.withdraw_after_secs()),
        least: usize::try_from(freshness.min_healthy_regions).unwrap_or(usize::MAX),
    };
    let members: Vec<_> = sites.iter().map(withdrawal_member).collect();
    let out = withdrawal::decide(&members, limits, now.as_second());
    for (site, out) in sites.iter_mut().zip(&out) {
        site.withdrawn_at = known_or_new(site.view.withdrawn_before.clone(), *out);
    }
    let look_again = withdrawal::look_again(&members, limits, now.as_second());
    Timestamp::from_second(look_again?).ok()
}

fn withdrawal_member(site: &Site) -> withdrawal::Member {
    let standing = match &site.freshness {
        _ if !site.has_snapshot() => withdrawal::Standing::Unknown,
        Freshness::Current | Freshness::Assumed(_) => withdrawal::Standing::Current,
        Freshness::Unknown(..) => withdrawal::Standing::Unknown,
        behind => match behind.superseded_at() {
            Some(since) => withdrawal::Standing::BehindSince(since.as_second()),
            None => withdrawal::Standing::Current,
        },
    };
    let withdrawn = site.view.withdrawn_before.as_ref();
    withdrawal::Member {
        withdrawn: withdrawn.map(|at| at.0.as_second()),
        standing,
    }
}

/// What the status says of it stays to the second.
fn known_or_new(known: Option<Time>, withdrawn: Option<i64>) -> Option<Time> {
    let known = known.filter(|known| Some(known.0.as_second()) == withdrawn);
    known.or_else(|| Some(Time(Timestamp::from_second(withdrawn?).ok()?)))
}

/// Notes what each copy is told.
fn note(sites: &mut [Site], orders: &[Option<Order>], now: Timestamp) {
    for (site, order) in sites.iter_mut().zip(orders) {
        if site.view.order() != *order {
            let new = |order: &Order| OrderStatus::of(order, Time(whole(now)));
            site.runs.status.order = order.as_ref().map(new);
        }
    }
}

/// What a run is told that is started here: its volume is to remember what is decided durably, and nothing goes that may
/// be ordered before it ends, or that others copy: `held`.
pub fn of_run(site: &Site, held: &[Sha256], now: Timestamp) -> Ordered {
    let order = site.view.order();
    let told = site.view.served();
    let decided = site.runs.status.order();
    let on_pod = site.view.pod.and_then(|pod| {
        let text = pod.meta.annotation(fleet_api::labels::SERVE)?;
        Order::read(text).ok()?
    });
    let follows = told.and_then(|told| told.order);
    let orders = [order, decided, on_pod, follows].into_iter().flatten();
    let mut keep: Vec<Sha256> = orders.map(|order| order.snapshot).collect();
    let kept = told.map_or(&[][..], |told| &told.kept);
    keep.extend(retained(site, kept, now));
    keep.extend(held);
    keep.sort_unstable();
    keep.dedup();
    Ordered { order, keep }
}

/// What the manifest's numbers keep.
fn retained<'k>(
    site: &'k Site,
    kept: &'k [KeptSnapshot],
    now: Timestamp,
) -> impl Iterator<Item = Sha256> {
    let snapshots = &site.fleet.spec.snapshots;
    let number = usize::try_from(snapshots.keep).unwrap_or(usize::MAX);
    let min_age = crate::schedule::seconds(snapshots.min_age.as_secs());
    let before = site.fleet.mirror.status.as_ref();
    let recent = move |kept: &KeptSnapshot| {
        // What was in service until now is on its way out, which no status says yet.
        let until = before.and_then(|before| {
            let mut known = before.snapshots.iter();
            let known = known.find(|known| known.id == kept.id.to_string())?;
            served_until(known, before, now)
        });
        let until = until.map(|until| until.0).into_iter();
        let mut until = until.chain(kept.superseded_at.map(instant));
        until.any(|until| now < later(until, min_age))
    };
    let newest_first = kept.iter().rev().enumerate();
    let stays = newest_first.filter(move |(rank, kept)| *rank < number || recent(kept));
    stays.map(|(_, kept)| kept.id)
}

/// A pod that does not follow what it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unheeded {
    pub order: Order,
    /// Since when it could have.
    pub since: Timestamp,
    /// Whether nothing that it knows of keeps it from following.
    pub is_deaf: bool,
}

impl Unheeded {
    /// It is told again after so long, each time.
    const AGAIN: [SignedDuration; 2] = [SignedDuration::from_secs(3), SignedDuration::from_secs(6)];
    /// It is told of after so long.
    const PATIENCE: SignedDuration = SignedDuration::from_secs(10);
    /// A pod that nothing else keeps from following is made anew after so long.
    const RENEWAL: SignedDuration = SignedDuration::from_mins(2);

    pub fn is_told_at(&self) -> Timestamp {
        later(self.since, Self::PATIENCE)
    }

    /// When its pod is to be made anew; never where that would not help.
    pub fn is_renewed_at(&self) -> Option<Timestamp> {
        self.is_deaf.then(|| later(self.since, Self::RENEWAL))
    }

    /// What says that it is told again, once it is time; never where that would not help.
    pub fn again(&self, now: Timestamp) -> Option<String> {
        let times = self.is_told_again_at().filter(|at| *at <= now).count();
        (times > 0).then(|| format!("{} {times}", self.order.epoch))
    }

    fn is_told_again_at(&self) -> impl Iterator<Item = Timestamp> {
        let each = Self::AGAIN.iter().filter(|_| self.is_deaf);
        each.map(|after| later(self.since, *after))
    }

    /// When time alone changes what is to be done about it.
    pub fn look_again(&self, now: Timestamp) -> Option<Timestamp> {
        let instants = [Some(self.is_told_at()), self.is_renewed_at()];
        let instants = instants.into_iter().flatten();
        let instants = instants.chain(self.is_told_again_at());
        instants.filter(|at| *at > now).min()
    }
}

impl Site<'_> {
    /// What its pod was told and does not follow, as it says itself.
    pub fn unheeded(&self) -> Option<Unheeded> {
        let pod = self.view.pod.filter(|pod| pod.takes_orders)?;
        let (order, served) = (self.view.order()?, self.view.served()?);
        let follows = served.order.map_or(0, |order| order.epoch);
        let told = self.view.before.order.as_ref()?.since.as_ref()?.0;
        let is_kept = served.kept.iter().any(|kept| kept.id == order.snapshot);
        (follows < order.epoch).then(|| Unheeded {
            order,
            since: pod.meta.created_at.map_or(told, |made| told.max(made)),
            is_deaf: is_kept && served.problem.is_none(),
        })
    }
}

fn copy(site: &Site) -> Copy {
    let takes_orders = (site.view.pod).is_some_and(|pod| pod.takes_orders && !pod.meta.deleting);
    let told = site.view.served().filter(|_| takes_orders);
    Copy {
        order: site.view.order(),
        told: told.map(|served| Told {
            kept: orderable(site, Some(served)),
            follows: served.order,
        }),
    }
}

/// What runs prepared that have just ended: their pod may not have been asked since.
pub fn prepared(site: &Site) -> impl Iterator<Item = KeptSnapshot> {
    let reports = site.runs.finished.iter();
    reports.filter_map(|run| run.report.as_ref()?.prepared)
}

/// What is kept and no run that goes on may give up before it ends; and what runs have just prepared.
fn orderable(site: &Site, served: Option<&ServedStatus>) -> Vec<KeptSnapshot> {
    let runs = site.view.jobs.iter().filter(|job| job.end.is_none());
    let keeps: Vec<Vec<Sha256>> = runs.filter_map(|job| kept_by(&job.meta)).collect();
    let stays = |kept: &&KeptSnapshot| keeps.iter().all(|keep| keep.contains(&kept.id));
    let told = served.map_or(&[][..], |served| &served.kept);
    let mut kept: Vec<_> = told.iter().filter(stays).copied().collect();
    for new in prepared(site) {
        if told.iter().all(|kept| kept.id != new.id) {
            kept.push(new);
        }
    }
    kept.sort_by_key(|kept| kept.created);
    kept
}

fn decided(before: &MirrorStatus) -> Decided {
    let publication = before.publication.as_ref();
    let epoch = publication.map_or(0, |it| u64::try_from(it.epoch).unwrap_or(0));
    Decided {
        epoch,
        snapshot: publication.and_then(|it| it.snapshot.parse().ok()),
        pinned: publication.is_some_and(|it| it.pinned),
    }
}

fn known(before: &MirrorStatus) -> Vec<Known> {
    let known = before.snapshots.iter().filter_map(|known| {
        Some(Known {
            id: known.id.parse().ok()?,
            created: known.created.as_ref()?.0.as_second(),
        })
    });
    known.collect()
}

fn publication(before: &MirrorStatus, decided: &Decided, now: Timestamp) -> Option<Publication> {
    let snapshot = decided.snapshot?.to_string();
    let known = before.publication.as_ref();
    let same = known.filter(|known| known.snapshot == snapshot && known.pinned == decided.pinned);
    let since = same.and_then(|same| same.since.clone());
    Some(Publication {
        epoch: i64::try_from(decided.epoch).unwrap_or(i64::MAX),
        snapshot,
        pinned: decided.pinned,
        since: since.or(Some(Time(whole(now)))),
        phase: None,
        preparing: None,
        canary: None,
        halted: None,
    })
}

fn problem(fleet: &Fleet, why: Unfulfilled) -> Problem {
    let pinned = &fleet.spec.snapshots.pinned;
    let words = match why {
        Unfulfilled::PinNotFound => format!(
            "spec.snapshots.pinned: no region keeps snapshot {pinned}; write one of status.snapshots, or leave it empty"
        ),
        Unfulfilled::PinAmbiguous => format!(
            "spec.snapshots.pinned: several snapshots in status.snapshots begin with {pinned}; write more of the one that is meant"
        ),
        Unfulfilled::AllSkipped => "spec.snapshots.skip names every snapshot that a region keeps; leave one of status.snapshots out, or \
             the next sync that brings something newer ends it"
            .to_owned(),
    };
    let words = format!("{words}; what was served goes on being served");
    Problem::new(Reason::SnapshotNotFound, words)
}

/// What people should hear of: a region serves what it was told.
pub fn events(before: &MirrorStatus, after: &MirrorStatus) -> Vec<PlannedEvent> {
    let was = |region: &str, index: usize| {
        let mut regions = before.regions.iter();
        let known = regions.find(|known| known.name == region)?;
        known.replicas.get(index)?.snapshot.as_deref()
    };
    let regions = after.regions.iter().flat_map(|region| {
        let replicas = region.replicas.iter().enumerate();
        replicas.map(move |(index, replica)| (region, index, replica))
    });
    let news = regions.filter_map(|(region, index, replica)| {
        let order = replica.order().filter(|_| serves_its_order(replica))?;
        let before = was(&region.name, index);
        (before != replica.ordered()).then(|| event(after, &region.title(index), before, &order))
    });
    news.collect()
}

fn serves_its_order(replica: &ReplicaStatus) -> bool {
    replica.snapshot.is_some() && replica.ordered() == replica.snapshot.as_deref()
}

fn event(
    after: &MirrorStatus,
    region: &str,
    before: Option<&str>,
    Order { epoch, snapshot }: &Order,
) -> PlannedEvent {
    let made = |id: &str| {
        let known = after.snapshots.iter().find(|known| known.id == id)?;
        known.created.as_ref().map(|created| created.0)
    };
    let back = before.is_some_and(|before| made(before) > made(&snapshot.to_string()));
    let pinned = after.publication.as_ref().is_some_and(|it| it.pinned);
    let reason = match (pinned, back) {
        (true, _) => Reason::Pinned,
        (false, true) => Reason::RolledBack,
        (false, false) => Reason::Published,
    };
    let note = match back {
        true => {
            "; clients that have read a newer state keep it, and what it names stays there for them"
        }
        false => "",
    };
    PlannedEvent {
        warning: false,
        reason,
        action: "Publish",
        message: format!("region {region} serves snapshot {snapshot} (order {epoch}){note}"),
    }
}
