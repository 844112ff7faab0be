//! Whether a run starts now, and in which replica.

use std::collections::BTreeMap;

use fleet_api::{AcceptedUnit, MirrorStatus, Run, labels};
use fleet_types::{Order, Sha256};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_core::ResourceExt;

use crate::build::{self, Following, Ordered, Start};
use crate::due;
use crate::fleet::{Fleet, Source};
use crate::follow::{self, Next};
use crate::high_water;
use crate::news;
use crate::observed::{Observed, SeenJob};
use crate::orders::{Agreed, of_run};
use crate::plan::Write;
use crate::runs::whole;
use crate::schedule::later;
use crate::site::Site;
use crate::timing::{self, Due};
use crate::turn::Turn;

/// From one serving pod so many regions copy at once: its clients come first.
const COPIES_OF_ONE_SOURCE: u32 = 4;
/// How often it is looked whether other copies have ended.
const LOOK_FOR_ROOM: SignedDuration = SignedDuration::from_secs(10);

/// What is to be started, and what waits.
#[derive(Debug)]
pub struct Starting {
    pub writes: Vec<Write>,
    pub turn: Turn,
    /// How many runs copy from another region, those that start now among them.
    pub copies: u32,
    /// The earliest instant at which a run is due that fetches, in some region.
    pub next: Option<Timestamp>,
    pub look_again: Option<Timestamp>,
}

/// What runs are told, whoever they run for.
#[derive(Debug, Clone, Copy)]
pub struct Orders<'a> {
    pub marks: &'a [AcceptedUnit],
    /// Where regions follow each other: what they are to have.
    pub agreed: Option<&'a Agreed>,
    pub before: &'a MirrorStatus,
    /// Whether somebody else fetches from now on: nobody begins to in this plan.
    pub hands_over: bool,
}

/// Chooses what starts in each lane. There is one for each source, so that no region waits for a run of another source.
pub fn choose(fleet: &Fleet, sites: &mut [Site], orders: Orders, seen: &Observed) -> Starting {
    let mut starting = Starting {
        writes: Vec::new(),
        turn: Turn::Idle,
        copies: 0,
        next: None,
        look_again: None,
    };
    if fleet.spec.fills_itself() {
        // It has no runs: what clients ask for is fetched then.
        return starting;
    }
    let held = held(orders, seen);
    let nexts: Vec<Option<Next>> = (0..sites.len())
        .map(|at| follow::next(fleet, sites, at, orders.agreed?, orders.before))
        .collect();
    // What is here already is not fetched again.
    let refilled: Vec<bool> = (0..sites.len())
        .map(|at| (orders.agreed).is_some_and(|agreed| follow::is_refilled(sites, at, agreed)))
        .collect();
    let mut fetching = Vec::new();
    let mut following = Vec::new();
    for ((site, next), refilled) in sites.iter_mut().zip(nexts).zip(refilled) {
        match site.view.place.source {
            Source::Upstream if !refilled && !site.is_copying() => {
                let due = site.due(orders);
                let at = due.as_ref().map(|due| due.at);
                starting.next = starting.next.into_iter().chain(at).min();
                starting.look_at(at, seen.now);
                fetching.push((site, due));
            }
            Source::Upstream | Source::Replica(_) => {
                let at = next.as_ref().map(|next| next.due.at);
                starting.look_at(at, seen.now);
                site.next_copy = at.filter(|at| *at > seen.now);
                following.extend(next.map(|next| (site, next)));
            }
        }
    }
    starting.follow(following, (orders, &held), seen);
    starting.fetch(fleet, fetching, (orders, &held), seen);
    starting
}

/// What no run of any region may give up: what is served, comes next or was given up by who tried it, and what others copy.
fn held(orders: Orders, seen: &Observed) -> Vec<Sha256> {
    let decided = orders.agreed.map(|agreed| &agreed.standing);
    let next = decided.and_then(|decided| Some(decided.target?.snapshot));
    let served = decided.and_then(|decided| decided.decided.snapshot);
    // Nothing newer is published before the canary serves something else, and until then its clients may go anywhere.
    let halted = decided.and_then(|decided| decided.halted);
    let publication = orders
        .before
        .publication
        .as_ref()
        .filter(|_| decided.is_some());
    let was_next = publication.and_then(|it| it.preparing.as_ref());
    let was = publication.map(|it| &it.snapshot);
    let was = was.into_iter().chain(was_next.map(|it| &it.snapshot));
    let was = was.filter_map(|id| id.parse().ok());
    let copied = running_copies(seen).filter_map(|job| job.meta.annotation(labels::COPIES));
    let copied = copied.filter_map(|id| id.parse().ok());
    let all = next.into_iter().chain(served).chain(halted);
    all.chain(was).chain(copied).collect()
}

/// The runs that copy from another region.
fn running_copies(seen: &Observed) -> impl Iterator<Item = &SeenJob> {
    let copies = |job: &&SeenJob| job.meta.label(labels::FOLLOWS).is_some();
    seen.objects
        .jobs
        .iter()
        .filter(|job| job.end.is_none())
        .filter(copies)
}

impl Starting {
    fn look_at(&mut self, at: Option<Timestamp>, now: Timestamp) {
        let later = at.filter(|at| *at > now);
        self.look_again = self.look_again.into_iter().chain(later).min();
    }

    /// The lanes of regions that others follow: whoever has waited for longest, as far as its source and all copies of the
    /// cluster together let it.
    fn follow(
        &mut self,
        mut lane: Vec<(&mut Site, Next)>,
        (orders, held): (Orders, &[Sha256]),
        seen: &Observed,
    ) {
        let mut of_source: BTreeMap<String, u32> = BTreeMap::new();
        for job in running_copies(seen) {
            let source = job.meta.label(labels::FOLLOWS).unwrap_or_default();
            *of_source.entry(source.to_owned()).or_default() += 1;
            self.copies += 1;
        }
        lane.sort_by_key(|(_, next)| next.due.at);
        for (site, next) in lane {
            let able = next.due.at <= seen.now && !site.runs.occupied && site.is_able();
            if !able || site.is_running() {
                continue;
            }
            let busy = of_source.entry(next.following.source.clone()).or_default();
            let everywhere = seen.copies_elsewhere.saturating_add(self.copies);
            if *busy >= COPIES_OF_ONE_SOURCE || everywhere >= seen.settings.max_copies {
                site.queued = Some(format!(
                    "waits for others: region {} gives to {COPIES_OF_ONE_SOURCE} at a time, and {} run in the whole cluster at once",
                    next.following.source, seen.settings.max_copies
                ));
                self.look_at(Some(later(seen.now, LOOK_FOR_ROOM)), seen.now);
                continue;
            }
            *busy += 1;
            self.copies += 1;
            let Next { due, following } = next;
            self.writes
                .extend(site.start(&due, Some(following), (orders, held), seen));
        }
    }

    /// The lane of the Upstream: at most one run of the Mirror, in the region that has been due for longest of those that
    /// could start at once, and only in its turn.
    fn fetch(
        &mut self,
        fleet: &Fleet,
        lane: Vec<(&mut Site, Option<Due>)>,
        told: (Orders, &[Sha256]),
        seen: &Observed,
    ) {
        if lane.iter().any(|(site, _)| site.is_running()) {
            self.turn = Turn::Running;
            return;
        }
        if told.0.hands_over || lane.iter().any(|(site, _)| site.runs.occupied) {
            return;
        }
        let due_now = lane.into_iter().filter_map(|(site, due)| {
            let due = due.filter(|due| due.at <= seen.now && site.is_able())?;
            Some((site, due))
        });
        let Some((site, due)) = due_now.min_by_key(|(_, due)| due.at) else {
            return;
        };
        if !seen.line.lets_start(&fleet.name, due.at) {
            self.turn = Turn::Waiting(due.at);
            site.waiting = Some(waits_for(fleet, seen));
            return;
        }
        self.turn = Turn::Running;
        self.writes.extend(site.start(&due, None, told, seen));
    }
}

/// Who goes first: whoever runs, else whoever has waited for longest.
fn waits_for(fleet: &Fleet, seen: &Observed) -> String {
    let upstream = &fleet.spec.upstream_ref.name;
    match (&seen.line.running, &seen.line.first) {
        (Some(mirror), _) => format!(
            "waits for its turn: Mirror {mirror} is being synced from Upstream {upstream}, which gives to one at a time"
        ),
        (None, Some((_, mirror))) => format!(
            "waits for its turn: Mirror {mirror} has waited for Upstream {upstream} for longer"
        ),
        (None, None) => "waits for its turn: other runs go first".to_owned(),
    }
}

impl Site<'_> {
    /// Its next run.
    fn due(&self, orders: Orders) -> Option<Due> {
        let claim = self.view.claim;
        let volume_since = claim.and_then(|claim| claim.meta.created_at);
        let news_at = news::of_region(self.fleet, &self.view, orders.marks, orders.before);
        let inputs = self.fleet.inputs_of(self.view.place);
        let this = (self.fleet, &inputs);
        due::next(this, &self.runs.status, volume_since, news_at)
    }

    /// Whether what runs there copies from another replica.
    fn is_copying(&self) -> bool {
        let run = self.runs.status.current_run.as_ref();
        run.is_some_and(|run| run.copies.is_some())
    }

    fn is_running(&self) -> bool {
        self.runs.status.current_run.is_some()
    }

    /// A Job is made only beside a serving pod that is bound and stays, and only where what it writes or copies can be read.
    fn is_able(&self) -> bool {
        let claim = self.view.claim.is_some_and(|claim| !claim.meta.deleting);
        let claim = claim && !self.view.is_lost();
        let pod = self.view.pod.is_some_and(|pod| pod.holds_its_node());
        claim && pod && !self.objects.evicting && self.misfit.is_none()
    }

    fn start(
        &mut self,
        due: &Due,
        following: Option<Following>,
        (orders, held): (Orders, &[Sha256]),
        seen: &Observed,
    ) -> Option<Write> {
        let (fleet, pod, served) = (self.fleet, self.view.pod?, self.view.served());
        let ordered = pod.takes_orders.then(|| {
            let ordered = of_run(self, held, seen.now);
            let published = following.as_ref();
            let published = published.and_then(|it| published_order(orders.before, &it.snapshot));
            Ordered {
                order: published.or(ordered.order),
                ..ordered
            }
        });
        let start = Start {
            trigger: due.trigger,
            retry: due.retry,
            occasion: due.occasion.clone(),
            image: pod.image.as_deref().unwrap_or(&seen.settings.image),
            node: pod.node.as_deref()?,
            high_water: match &following {
                Some(_) => high_water::lowered(orders.marks),
                None => high_water::argument(orders.marks),
            },
            damaged: served.map_or_else(Vec::new, |served| served.damaged.clone()),
            ordered,
            following,
        };
        let job = build::job(fleet, self.view.place, &start);
        let inputs = fleet.inputs_of(self.view.place);
        let now = Time(whole(seen.now));
        let status = &mut self.runs.status;
        if timing::begins_round(due.trigger) {
            status.round_started_at = Some(now.clone());
        }
        // Whatever it was started for, a run that begins after a request and asks the upstream answers it.
        if start.following.is_none() {
            status.handled_sync_request = fleet.request.clone();
        }
        status.current_run = Some(Run {
            job: job.name_any(),
            trigger: due.trigger,
            retry: due.retry,
            started_at: now,
            copies: start
                .following
                .map(|following| following.snapshot.to_string()),
            inputs: inputs.snapshot,
            snapshots_inputs: inputs.snapshots,
        });
        Some(Write::Create(job.into()))
    }
}

/// The decision to serve a snapshot, if that is what is served: a run that brings just that is told so, since a pinned one
/// may be older than all that its volume has.
fn published_order(before: &MirrorStatus, snapshot: &Sha256) -> Option<Order> {
    let publication = before.publication.as_ref()?;
    let order = Order {
        epoch: u64::try_from(publication.epoch).ok()?,
        snapshot: publication.snapshot.parse().ok()?,
    };
    (order.snapshot == *snapshot).then_some(order)
}
