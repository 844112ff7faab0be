//! What Jobs do: the first replica of all fetches, and the others copy.

use super::*;
use crate::publication::sources::{lacks, sources};

/// Snapshots that a run keeps besides those that it is told to keep.
const KEEP: usize = 2;

/// A run that goes on.
#[derive(Debug)]
pub struct Run {
    pub keep: Vec<u8>,
    pub order: Option<Order>,
    /// What it copies, and from whom; none where it fetches.
    pub copies: Option<(u8, usize)>,
}

impl World {
    pub fn begin(&mut self, at: usize) {
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

    pub fn end(&mut self, at: usize) {
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
}
