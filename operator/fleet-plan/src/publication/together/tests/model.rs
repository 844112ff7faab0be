//! A region that fetches and one that follows it, of two replicas each, as a model: whatever happens in whatever order, no
//! client is taken back but by a person, or from what was tried and found bad, nobody to whom routing leads lacks what
//! another of these serves, nobody but the canary serves what is tried, and all ends well.

use super::*;
use crate::publication::sources::{lacks, sources};
use crate::routing::{Stand, leads, leads_elsewhere};

/// Snapshots that a run keeps besides those that it is told to keep.
const KEEP: usize = 2;
const SITES: usize = 4;
const FOLLOWED: [Option<usize>; SITES] = [None, Some(0), Some(0), Some(2)];
/// The region that goes first, where one does.
const CANARY: std::ops::Range<usize> = 2..4;
const REGIONS: [std::ops::Range<usize>; 2] = [0..2, 2..4];

#[derive(Debug, Clone)]
enum Event {
    /// The controller asks, decides and writes that down.
    Decide,
    /// It writes the template, or what the pod is told, or its label, as it was decided.
    Template(usize),
    Annotate(usize),
    Label(usize),
    /// Routing of all regions follows the label, and that of its region does.
    Route(usize),
    RouteRegion(usize),
    /// The kubelet brings the annotation, and the server looks.
    Look(usize),
    /// All three at once, as they come as a rule.
    Tell(usize),
    /// The pod is made anew.
    Restart(usize),
    Reachable(usize, bool),
    /// A run begins, as far as there is something to do; and ends, well or not.
    Begin(usize),
    End(usize),
    Fail(usize),
    /// Both at once, as they come as a rule.
    Run(usize),
    /// Seconds pass.
    Pass(i64),
    /// A person decides.
    Pin(Option<u8>),
    Skip(Vec<u8>),
    Pause(bool),
    /// What is tried is found good or bad.
    Judge(bool),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let site = 0..SITES;
    let event = prop_oneof![
        12 => Just(Event::Decide),
        8 => site.clone().prop_map(Event::Template),
        8 => site.clone().prop_map(Event::Annotate),
        8 => site.clone().prop_map(Event::Label),
        8 => site.clone().prop_map(Event::Route),
        8 => site.clone().prop_map(Event::RouteRegion),
        8 => site.clone().prop_map(Event::Look),
        12 => site.clone().prop_map(Event::Tell),
        4 => site.clone().prop_map(Event::Restart),
        4 => (site.clone(), any::<bool>()).prop_map(|(site, is)| Event::Reachable(site, is)),
        12 => site.clone().prop_map(Event::Begin),
        10 => site.clone().prop_map(Event::End),
        3 => site.clone().prop_map(Event::Fail),
        12 => site.prop_map(Event::Run),
        4 => (1..400i64).prop_map(Event::Pass),
        1 => prop::option::of(1..12u8).prop_map(Event::Pin),
        1 => prop::collection::vec(1..12u8, 0..3).prop_map(Event::Skip),
        1 => any::<bool>().prop_map(Event::Pause),
        4 => any::<bool>().prop_map(Event::Judge),
    ];
    prop::collection::vec(event, 0..160)
}

impl Event {
    /// Whether a person decides it, who may have servers go back: little else can be asked for after that.
    fn is_a_persons(&self) -> bool {
        matches!(self, Event::Pin(_) | Event::Skip(_))
    }
}

/// What a pod is told: by its template, and by what is written on it.
type Written = (Option<Order>, Labels);

/// Whether the Service of all regions leads to a pod, and that of its region.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Labels {
    offered: bool,
    routed: bool,
}

/// One replica: its volume, its pod, and what the controller wrote for it.
#[derive(Debug, Default)]
struct Site {
    /// By number, oldest first.
    kept: Vec<u8>,
    /// What a run settled.
    settled: Option<Order>,
    /// What the server follows since it was started.
    follows: Option<Order>,
    annotation: Option<Order>,
    labels: Labels,
    template: Written,
    /// Whether routing leads to it.
    routed: Labels,
    unreachable: bool,
    fails: bool,
    run: Option<Run>,
}

/// A run that goes on.
#[derive(Debug)]
struct Run {
    keep: Vec<u8>,
    order: Option<Order>,
    /// What it copies, and from whom; none where it fetches.
    copies: Option<(u8, usize)>,
}

struct World {
    sites: Vec<Site>,
    standing: Standing,
    orders: Vec<Option<Order>>,
    withdrawn: Vec<Option<i64>>,
    /// What each said that it serves, when that was last decided.
    said: Vec<Option<u8>>,
    pinned: String,
    skip: Vec<String>,
    paused: bool,
    soak: Option<i64>,
    newest: u8,
    now: i64,
    /// Whether a person decided something, so that a server may go back.
    meddled: bool,
}

fn number(id: &Sha256) -> u8 {
    id.0[0]
}

impl Site {
    fn look(&mut self) {
        let keeps = |id: &Sha256| self.kept.contains(&number(id));
        self.follows = Order::next(self.follows, self.annotation, keeps);
    }

    fn restart(&mut self) {
        (self.annotation, self.labels) = self.template;
        self.follows = self.settled;
        self.routed = Labels::default();
        self.look();
    }

    fn serves(&self) -> Option<u8> {
        self.follows.map(|order| number(&order.snapshot))
    }

    fn told(&self) -> Option<Told> {
        // What a run may drop before it ends may not be ordered meanwhile.
        let stays = |n: &&u8| self.run.as_ref().is_none_or(|run| run.keep.contains(n));
        let kept = self.kept.iter().filter(stays).copied().map(kept).collect();
        let follows = self.follows;
        (!self.unreachable).then_some(Told { kept, follows })
    }
}

impl World {
    fn new(soak: Option<i64>) -> World {
        World {
            sites: (0..SITES).map(|_| Site::default()).collect(),
            standing: Standing {
                decided: Decided {
                    epoch: 0,
                    snapshot: None,
                    pinned: false,
                },
                target: None,
                trial: None,
                halted: None,
            },
            orders: vec![None; SITES],
            withdrawn: vec![Some(0); SITES],
            said: vec![None; SITES],
            pinned: String::new(),
            skip: Vec::new(),
            paused: false,
            soak,
            newest: 0,
            now: 0,
            meddled: false,
        }
    }

    fn members(&self) -> Vec<Member> {
        let sites = self.sites.iter().enumerate();
        let members = sites.map(|(at, site)| Member {
            copy: Copy {
                order: self.orders[at],
                told: site.told(),
            },
            is_hub: at == 0,
            is_canary: CANARY.contains(&at),
            is_away: site.unreachable,
            fails: site.fails,
            is_deaf: false,
            withdrawn: self.withdrawn[at],
            is_routed: {
                let all = [site.routed, site.labels, site.template.1];
                let (stands, number) = self.stands(at);
                let beside_others = leads_elsewhere(&stands, number);
                all.iter()
                    .any(|it| it.offered || beside_others && it.routed)
            },
        });
        members.collect()
    }

    /// Whether its region's Service is to lead to a replica.
    fn leads(&self, at: usize) -> bool {
        let (stands, number) = self.stands(at);
        leads(&stands)[number]
    }

    /// The replicas of its region, and which of them it is.
    fn stands(&self, at: usize) -> (Vec<Stand>, usize) {
        let region = REGIONS
            .into_iter()
            .find(|region| region.contains(&at))
            .unwrap();
        let stand = |at: usize| Stand {
            is_offered: self.withdrawn[at].is_none(),
            serves: self.said[at].map(i64::from),
        };
        let number = at - region.start;
        (region.map(stand).collect(), number)
    }

    /// What is decided for a replica.
    fn told(&self, at: usize) -> Written {
        let labels = Labels {
            offered: self.withdrawn[at].is_none(),
            routed: self.leads(at),
        };
        (self.orders[at], labels)
    }

    fn decide(&mut self) -> Together {
        let known: Vec<Known> = (1..=self.newest)
            .map(|n| Known {
                id: id(n),
                created: i64::from(n),
            })
            .collect();
        let wish = Wish {
            pinned: &self.pinned,
            skip: &self.skip,
            paused: self.paused,
            soak: self.soak,
        };
        let clock = Clock {
            now: self.now,
            patience: PATIENCE,
        };
        let together = decide(&self.standing, &wish, &known, &self.members(), clock);
        let made = |standing: &Standing| standing.decided.snapshot.as_ref().map(number);
        let next = Standing {
            decided: together.decision.decided.clone(),
            target: together.target,
            trial: together.trial,
            halted: together.halted,
        };
        self.is_tried_first(&next);
        assert!(
            made(&next) >= made(&self.standing) || self.meddled,
            "{next:?} after {:?}",
            self.standing
        );
        let offered = |withdrawn: &[Option<i64>]| withdrawn.iter().any(Option::is_none);
        assert!(
            !offered(&self.withdrawn) || offered(&together.withdrawn) || self.meddled,
            "all were withdrawn"
        );
        self.standing = next;
        self.orders.clone_from(&together.decision.orders);
        self.withdrawn.clone_from(&together.withdrawn);
        for (site, said) in self.sites.iter().zip(&mut self.said) {
            if !site.unreachable {
                *said = site.serves();
            }
        }
        together
    }

    /// What comes to be served for all was not found bad, nor is it served while a person holds it.
    fn is_tried_first(&self, next: &Standing) {
        let before = &self.standing;
        let moves = before.decided.snapshot != next.decided.snapshot;
        if !moves || before.decided.snapshot.is_none() || self.meddled {
            return;
        }
        assert!(!self.paused, "{next:?} after {before:?}");
        assert_ne!(next.decided.snapshot, before.halted);
        let bad = |trial: Trial| trial.verdict == Some(Verdict::Bad);
        assert!(!before.trial.is_some_and(bad) || self.soak.is_none());
    }

    fn begin(&mut self, at: usize) {
        if self.sites[at].run.is_some() || self.sites[at].unreachable {
            return;
        }
        let members = self.members();
        let copies = match FOLLOWED[at] {
            None => None,
            Some(_) => {
                let Some(wanted) = lacks(&self.standing, &members[at]) else {
                    return;
                };
                let from = sources(&wanted, &members, &FOLLOWED, at);
                let Some(from) = from.first() else {
                    return;
                };
                Some((number(&wanted), *from))
            }
        };
        let copied = self
            .sites
            .iter()
            .filter_map(|site| site.run.as_ref()?.copies);
        let copied: Vec<u8> = copied.chain(copies).map(|(n, _)| n).collect();
        let next = self.standing.target.map(|target| target.snapshot);
        let decided = next.into_iter().chain(self.standing.decided.snapshot);
        let decided = decided.chain(self.standing.halted);
        let decided: Vec<u8> = decided.map(|id| number(&id)).collect();
        let order = self.orders[at];
        let site = &mut self.sites[at];
        let newest = site.kept.iter().rev().take(KEEP).copied();
        let ordered = [order, site.follows, site.settled, site.annotation];
        let ordered = ordered.into_iter().chain([site.template.0]).flatten();
        let ordered = ordered.map(|order| number(&order.snapshot));
        let keep = newest.chain(ordered).chain(copied).chain(decided);
        site.run = Some(Run {
            keep: keep.collect(),
            order,
            copies,
        });
    }

    fn end(&mut self, at: usize) {
        let Some(run) = self.sites[at].run.take() else {
            return;
        };
        let new = match run.copies {
            None => {
                self.newest += 1;
                self.newest
            }
            Some((copied, from)) => {
                let source = &self.sites[from];
                assert!(source.kept.contains(&copied), "{from} dropped {copied}");
                copied
            }
        };
        let site = &mut self.sites[at];
        let keeps = |id: &Sha256| site.kept.contains(&number(id));
        site.settled = Order::next(site.settled, run.order, keeps);
        site.kept.retain(|n| run.keep.contains(n));
        site.kept.push(new);
        site.kept.sort_unstable();
        site.kept.dedup();
        site.fails = false;
    }

    fn happens(&mut self, event: Event) {
        let before: Vec<_> = self.sites.iter().map(Site::serves).collect();
        match event {
            Event::Decide => drop(self.decide()),
            Event::Template(at) => self.sites[at].template = self.told(at),
            // Never before the template: a pod that is made anew must not be told less than the one before.
            Event::Annotate(at) if self.sites[at].template == self.told(at) => {
                self.sites[at].annotation = self.orders[at]
            }
            Event::Label(at) if self.sites[at].template == self.told(at) => {
                self.sites[at].labels = self.told(at).1
            }
            Event::Annotate(_) | Event::Label(_) => {}
            Event::Route(at) => self.sites[at].routed.offered = self.sites[at].labels.offered,
            Event::RouteRegion(at) => self.sites[at].routed.routed = self.sites[at].labels.routed,
            Event::Look(at) => self.sites[at].look(),
            Event::Tell(at) => {
                for event in [Event::Template(at), Event::Annotate(at), Event::Look(at)] {
                    self.happens(event);
                }
            }
            Event::Restart(at) => self.sites[at].restart(),
            Event::Reachable(at, is) => self.sites[at].unreachable = !is,
            Event::Begin(at) => self.begin(at),
            Event::End(at) => self.end(at),
            Event::Fail(at) => {
                if self.sites[at].run.take().is_some() {
                    self.sites[at].fails = true;
                }
            }
            Event::Run(at) => {
                self.begin(at);
                self.end(at);
            }
            Event::Pass(seconds) => self.now += seconds,
            Event::Pin(n) => {
                self.pinned = n.map_or_else(String::new, |n| id(n).to_string());
                self.meddled = true;
            }
            Event::Skip(all) => {
                self.skip = all.into_iter().map(|n| id(n).to_string()).collect();
                self.meddled = true;
            }
            Event::Pause(is) => self.paused = is,
            Event::Judge(is_good) => self.judge(is_good),
        }
        self.is_safe(&before);
    }

    /// Nobody can tell before somebody serves it.
    fn judge(&mut self, is_good: bool) {
        let serves = |id: &Sha256| {
            let mut canaries = self.sites[CANARY].iter();
            canaries.any(|site| site.serves() == Some(number(id)))
        };
        let verdict = match is_good {
            true => Verdict::Good,
            false => Verdict::Bad,
        };
        let trial = self.standing.trial.filter(|trial| serves(&trial.snapshot));
        self.standing.trial = match trial {
            Some(trial) => Some(Trial {
                verdict: trial.verdict.or(Some(verdict)),
                ..trial
            }),
            None => self.standing.trial,
        };
    }

    fn is_safe(&self, before: &[Option<u8>]) {
        let halted = self.standing.halted.as_ref().map(number);
        let decided = self.standing.decided.snapshot.as_ref().map(number);
        let sites = self.sites.iter().enumerate();
        // Of whom routing has left, or should have for long enough, nobody comes.
        let is_left = |at: usize, site: &Site| {
            let out = self.withdrawn[at];
            out.is_some_and(|at| !site.routed.offered || self.now >= at + ROUTING_PATIENCE)
        };
        let newest = sites.filter(|(at, site)| !is_left(*at, site));
        let newest = newest.filter_map(|(_, site)| site.serves()).max();
        for (at, site) in self.sites.iter().enumerate() {
            let serves = site.serves();
            assert!(
                serves >= before[at] || self.meddled || before[at] == halted,
                "taken back from {before:?}: {site:?}"
            );
            assert!(
                serves <= decided || CANARY.contains(&at) || self.meddled,
                "{at} serves what others are to try: {site:?}"
            );
            assert!(
                serves.is_none_or(|n| site.kept.contains(&n)),
                "dropped: {site:?}"
            );
            let stuck = self.withdrawn[at].is_some_and(|at| self.now >= at + ROUTING_PATIENCE);
            let lacks = newest.filter(|n| !site.kept.contains(n));
            assert!(
                lacks.is_none() || !site.routed.offered || stuck || self.meddled,
                "routing leads to {at}, which lacks {lacks:?}: {site:?}"
            );
            if self.withdrawn[at].is_none() {
                self.is_followed_by_siblings(at, serves > before[at]);
            }
        }
    }

    /// Whoever serves in a region that is offered leaves no sibling behind to which clients of that region are led: none to
    /// which its Service still leads when that one comes to serve something newer, and none to which it is decided to lead at
    /// any time.
    fn is_followed_by_siblings(&self, at: usize, is_newer: bool) {
        let Some(serves) = self.sites[at].serves() else {
            return;
        };
        let region = REGIONS
            .into_iter()
            .find(|region| region.contains(&at))
            .unwrap();
        for other in region {
            let site = &self.sites[other];
            let stuck = self.withdrawn[other].is_some_and(|at| self.now >= at + ROUTING_PATIENCE);
            let is_still = is_newer && !stuck;
            // A pod that serves nothing is not ready.
            let is_behind = site.serves().is_some_and(|n| n < serves);
            let is_behind = is_behind && !site.kept.contains(&serves);
            let is_led_to = site.routed.routed && (is_still || self.leads(other));
            assert!(
                !is_behind || !is_led_to || self.meddled,
                "{at} serves {serves}, and clients of its region are led to {other}: {site:?}"
            );
        }
    }

    /// The controller and Kubernetes do what they have to.
    fn round(&mut self) {
        self.now += 1;
        self.decide();
        for at in 0..SITES {
            let all = [Event::Template, Event::Annotate, Event::Label];
            let all = all
                .into_iter()
                .chain([Event::Route, Event::RouteRegion, Event::Look]);
            for event in all {
                self.happens(event(at));
            }
        }
    }

    /// All goes well for a while.
    fn settle(&mut self) {
        for site in &mut self.sites {
            (site.unreachable, site.fails) = (false, false);
        }
        self.end(0);
        self.paused = false;
        for _ in 0..24 {
            self.round();
            self.judge(true);
            self.now += self.soak.unwrap_or(0);
            for at in 1..SITES {
                self.begin(at);
                self.happens(Event::End(at));
            }
        }
    }

    fn is_well(&mut self) {
        let before = self.standing.clone();
        let together = self.decide();
        assert_eq!(self.standing, before, "it does not come to rest");
        let served = self.standing.decided.snapshot.as_ref().map(number);
        let skipped = |n: &&u8| self.skip.contains(&id(**n).to_string());
        let fulfilled = together.decision.unfulfilled.is_none();
        if self.pinned.is_empty() {
            let halted = self.standing.halted.as_ref().map(number);
            let hubs = self.sites[0].kept.iter().rfind(|n| !skipped(n)).copied();
            let hubs = hubs.filter(|n| Some(*n) != halted);
            assert!(served >= hubs || !fulfilled, "{served:?} and not {hubs:?}");
        }
        for (at, site) in self.sites.iter().enumerate() {
            // The hub copies from nobody.
            let can = FOLLOWED[at].is_some() || served.is_some_and(|n| site.kept.contains(&n));
            if can && served.is_some() && fulfilled {
                assert_eq!(site.serves(), served, "{at}: {site:?} {:?}", self.standing);
                let led_to = site.routed.offered && site.routed.routed;
                assert!(led_to && self.withdrawn[at].is_none(), "{at}: {site:?}");
            }
        }
    }
}

/// More cases than others have, as a case is short; `PROPTEST_CASES` may ask for more.
fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    ProptestConfig {
        cases: asked.cases.max(3000),
        max_shrink_iters: 20_000,
        ..asked
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn nobody_is_taken_back_nobody_routed_lacks_anything_and_all_ends_well(events in events(), is_new: bool, meddles: bool, soak in prop::option::of(0..100i64)) {
        let mut world = World::new(soak);
        if !is_new {
            // A fleet that serves, and of which all regions are offered.
            world.begin(0);
            world.settle();
            world.is_well();
        }
        for event in events.into_iter().filter(|event| meddles || !event.is_a_persons()) {
            world.happens(event);
        }
        world.settle();
        world.is_well();
    }
}

/// An upstream that publishes every two seconds, and regions that copy for five: what the hub has goes on, and what is
/// served does too.
#[test]
fn a_fast_upstream_starves_nobody() {
    let mut world = World::new(None);
    let mut begun = [0; SITES];
    let mut publications = Vec::new();
    for second in 0..240 {
        world.round();
        for (at, begun) in begun.iter_mut().enumerate() {
            let takes = if at == 0 { 2 } else { 5 };
            match world.sites[at].run {
                None => {
                    world.begin(at);
                    *begun = second;
                }
                Some(_) if second >= *begun + takes => world.happens(Event::End(at)),
                Some(_) => {}
            }
        }
        let served = world.standing.decided.snapshot;
        if publications.last() != Some(&served) {
            publications.push(served);
        }
    }
    assert!(publications.len() > 240 / 20, "{publications:?}");
    for site in &world.sites {
        let behind = world.newest - site.serves().unwrap();
        assert!(
            site.routed.offered && behind < 16,
            "{behind} behind: {site:?}"
        );
    }
}
