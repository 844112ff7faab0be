//! Copies, their servers and the controller as a model: whatever happens in whatever order, no client is taken back but by
//! a person, and all ends well.

use super::*;

/// Snapshots that a run keeps besides those that it is told to keep.
const KEEP: usize = 2;
const COPIES: usize = 2;

#[derive(Debug, Clone)]
enum Event {
    /// The controller asks, decides and writes that down.
    Decide,
    /// It writes the template, or the annotation of the pod, as it was decided.
    Template(usize),
    Annotate(usize),
    /// The kubelet brings the annotation, and the server looks.
    Look(usize),
    /// The pod is made anew.
    Restart(usize),
    Reachable(usize, bool),
    /// A run begins, and ends with a new snapshot.
    Begin(usize),
    End(usize),
    /// A person decides.
    Pin(Option<u8>),
    Skip(Vec<u8>),
    /// Somebody writes another order on a pod.
    Meddle(usize, u64, u8),
    /// The Mirror is made anew upon its old volumes.
    Forget,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let copy = 0..COPIES;
    let event = prop_oneof![
        8 => Just(Event::Decide),
        8 => copy.clone().prop_map(Event::Template),
        8 => copy.clone().prop_map(Event::Annotate),
        8 => copy.clone().prop_map(Event::Look),
        4 => copy.clone().prop_map(Event::Restart),
        3 => (copy.clone(), any::<bool>()).prop_map(|(copy, is)| Event::Reachable(copy, is)),
        8 => copy.clone().prop_map(Event::Begin),
        8 => copy.clone().prop_map(Event::End),
        2 => prop::option::of(1..12u8).prop_map(Event::Pin),
        2 => prop::collection::vec(1..12u8, 0..3).prop_map(Event::Skip),
        1 => (copy, 1..20u64, 1..12u8).prop_map(|(copy, epoch, n)| Event::Meddle(copy, epoch, n)),
        1 => Just(Event::Forget),
    ];
    prop::collection::vec(event, 0..120)
}

/// One copy: its volume, its pod, and what the controller wrote for it.
#[derive(Debug, Default)]
struct Site {
    /// By number, oldest first.
    kept: Vec<u8>,
    /// What a run settled: epoch and snapshot.
    settled: Option<Order>,
    /// What the server follows since it was started.
    follows: Option<Order>,
    annotation: Option<Order>,
    template: Option<Order>,
    unreachable: bool,
    run: Option<Run>,
}

/// A run that goes on: what it was told when it began.
#[derive(Debug)]
struct Run {
    keep: Vec<u8>,
    order: Option<Order>,
}

#[derive(Debug, Default)]
struct World {
    sites: Vec<Site>,
    decided: Option<Decided>,
    orders: Vec<Option<Order>>,
    pinned: String,
    skip: Vec<String>,
    newest: u8,
    /// Whether people or strangers decided something, so that a server may go back.
    meddled: bool,
}

fn number(id: &Sha256) -> u8 {
    id.0[0]
}

impl Site {
    fn look(&mut self) {
        let before = self.follows;
        let keeps = |id: &Sha256| self.kept.contains(&number(id));
        self.follows = Order::next(self.follows, self.annotation, keeps);
        assert!(
            self.follows.map_or(0, |order| order.epoch) >= before.map_or(0, |order| order.epoch)
        );
    }

    fn restart(&mut self) {
        self.annotation = self.template;
        self.follows = self.settled;
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
    fn new() -> World {
        World {
            sites: (0..COPIES).map(|_| Site::default()).collect(),
            orders: vec![None; COPIES],
            ..World::default()
        }
    }

    fn decide(&mut self) -> Decision {
        let copies = self.sites.iter().zip(&self.orders);
        let copies: Vec<Copy> = copies
            .map(|(site, order)| Copy {
                order: *order,
                told: site.told(),
            })
            .collect();
        let known: Vec<Known> = self
            .sites
            .iter()
            .flat_map(|site| &site.kept)
            .map(|n| Known {
                id: id(*n),
                created: i64::from(*n),
            })
            .collect();
        let wish = Wish {
            pinned: &self.pinned,
            skip: &self.skip,
            ..NEWEST
        };
        let before = self.decided.clone().unwrap_or(NOTHING);
        let decision = decide(&before, &wish, &known, &copies);
        for (before, after) in self.orders.iter().zip(&decision.orders) {
            let epoch = |order: &Option<Order>| order.map_or(0, |order| order.epoch);
            assert!(
                before == after || epoch(after) > epoch(before),
                "{before:?} {after:?}"
            );
            assert!(epoch(after) <= decision.decided.epoch);
        }
        assert!(decision.decided.epoch >= before.epoch);
        self.decided = Some(decision.decided.clone());
        self.orders.clone_from(&decision.orders);
        decision
    }

    fn begin(&mut self, site: usize) {
        let order = self.orders[site];
        let site = &mut self.sites[site];
        if site.run.is_some() {
            return;
        }
        let newest = site.kept.iter().rev().take(KEEP).copied();
        // What it serves or may come to serve meanwhile.
        let ordered = [
            order,
            site.follows,
            site.settled,
            site.annotation,
            site.template,
        ];
        let ordered = ordered.into_iter().flatten();
        let keep = newest.chain(ordered.map(|order| number(&order.snapshot)));
        let keep = keep.collect();
        site.run = Some(Run { keep, order });
    }

    fn end(&mut self, site: usize) {
        let site = &mut self.sites[site];
        let Some(run) = site.run.take() else {
            return;
        };
        self.newest += 1;
        let keeps = |id: &Sha256| site.kept.contains(&number(id));
        site.settled = Order::next(site.settled, run.order, keeps);
        site.kept.retain(|n| run.keep.contains(n));
        site.kept.push(self.newest);
    }

    fn happens(&mut self, event: Event) {
        let before: Vec<_> = self.sites.iter().map(Site::serves).collect();
        match event {
            Event::Decide => drop(self.decide()),
            Event::Template(at) => self.sites[at].template = self.orders[at],
            // Never before the template: a pod that is made anew must not be told less than the one before.
            Event::Annotate(at) if self.sites[at].template == self.orders[at] => {
                self.sites[at].annotation = self.orders[at]
            }
            Event::Annotate(_) => {}
            Event::Look(at) => self.sites[at].look(),
            Event::Restart(at) => self.sites[at].restart(),
            Event::Reachable(at, is) => self.sites[at].unreachable = !is,
            Event::Begin(at) => self.begin(at),
            Event::End(at) => self.end(at),
            Event::Pin(n) => {
                self.pinned = n.map_or_else(String::new, |n| id(n).to_string());
                self.meddled = true;
            }
            Event::Skip(all) => {
                self.skip = all.into_iter().map(|n| id(n).to_string()).collect();
                self.meddled = true;
            }
            Event::Meddle(at, epoch, n) => {
                self.sites[at].annotation = Some(order(epoch, n));
                self.meddled = true;
            }
            Event::Forget => {
                (self.decided, self.orders, self.meddled) = (None, vec![None; COPIES], true);
                for site in &mut self.sites {
                    (site.template, site.run) = (None, None);
                    site.restart();
                }
            }
        }
        for (site, before) in self.sites.iter().zip(before) {
            let serves = site.serves();
            assert!(
                serves >= before || self.meddled,
                "taken back from {before:?}: {site:?}"
            );
            assert!(
                serves.is_none_or(|n| site.kept.contains(&n)) || self.meddled,
                "dropped: {site:?}"
            );
        }
    }

    /// All goes well for a while.
    fn settle(&mut self) {
        for at in 0..COPIES {
            self.sites[at].unreachable = false;
            self.end(at);
        }
        for _ in 0..3 {
            self.decide();
            for at in 0..COPIES {
                for event in [Event::Template(at), Event::Annotate(at), Event::Look(at)] {
                    self.happens(event);
                }
            }
        }
    }

    fn is_well(&mut self) {
        let before = self.decided.clone();
        let decision = self.decide();
        assert_eq!(
            Some(&decision.decided),
            before.as_ref(),
            "it does not come to rest"
        );
        for (site, order) in self.sites.iter().zip(&self.orders) {
            let skipped = |n: &&u8| self.skip.contains(&id(**n).to_string());
            let newest = site.kept.iter().rfind(|n| !skipped(n)).copied();
            let pin = site
                .kept
                .iter()
                .copied()
                .find(|n| id(*n).to_string() == self.pinned);
            let settled = site.follows == *order || order.is_none();
            assert!(settled, "not followed: {site:?} {order:?}");
            match (self.pinned.is_empty(), pin, newest) {
                (true, _, Some(newest)) => assert_eq!(site.serves(), Some(newest), "{site:?}"),
                (false, Some(pin), _) => assert_eq!(site.serves(), Some(pin), "{site:?}"),
                // Nothing that may be served is here: what was served goes on.
                _ => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn nobody_is_taken_back_and_all_ends_well(events in events()) {
        let mut world = World::new();
        for event in events {
            world.happens(event);
        }
        world.settle();
        world.is_well();
    }
}
