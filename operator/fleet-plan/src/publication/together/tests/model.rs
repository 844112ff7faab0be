//! A region that fetches and one that follows it, of two replicas each, as a model: whatever happens in whatever order, no
//! client is taken back but by a person, or from what was tried and found bad, nobody to whom routing leads lacks what
//! another of these serves, nobody but the canary serves what is tried, and all ends well.

use super::*;
use crate::routing::{Stand, leads, leads_elsewhere};

mod event;
mod run;
mod safety;
mod site;

use event::{Event, events};
use site::{Labels, Site, Written, number};

const SITES: usize = 4;
const FOLLOWED: [Option<usize>; SITES] = [None, Some(0), Some(0), Some(2)];
/// The region that goes first, where one does.
const CANARY: std::ops::Range<usize> = 2..4;
const REGIONS: [std::ops::Range<usize>; 2] = [0..2, 2..4];

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
