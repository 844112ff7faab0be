//! The connections of a run: never more are open at once than the upstream's budget allows, over all endpoints and both
//! ways of fetching together.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use fleet_types::{Problem, lock};
use reqwest::Client;
use tokio::sync::oneshot;

use super::client::Recipe;
use super::pipeline::Wire;

/// Shared by all endpoints of a run.
pub(super) struct Budget {
    state: Mutex<State>,
    /// As in [`State::waiters`], for a look without the lock.
    need: AtomicU8,
    /// Somebody waits.
    pub wanted: tokio::sync::Notify,
    recipe: Recipe,
}

/// Who waits for a place, by how much they need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Need {
    Nobody,
    /// Only lanes are wanted.
    Lane,
    /// Somebody who has nothing of its own: a run of rsync, or the first pipelined connection to an endpoint.
    Place,
}

struct State {
    free: usize,
    /// Connections that are kept until they are used again or their place is needed.
    idle: Vec<Idle>,
    waiters: VecDeque<Waiter>,
}

struct Waiter {
    /// Where a lane is wanted to; none where only the place is.
    to: Option<Target>,
    grant: oneshot::Sender<Grant>,
}

enum Grant {
    Place(Place),
    Lane(Lane),
}

/// The right to have one connection open. What is kept idle has one too, and does not keep the budget.
pub(super) struct Place(Weak<Budget>);

/// A pipelined connection, and the right to have it open. It is closed before its place is given up: by order of the fields.
pub(super) struct Kept {
    pub wire: Wire,
    pub place: Place,
    pub origin: Arc<str>,
}

/// A connection that nobody uses.
enum Idle {
    Lane(Lane),
    Wire(Kept),
}

impl Idle {
    fn into_place(self) -> Place {
        match self {
            Idle::Lane(lane) => lane.place,
            Idle::Wire(kept) => kept.place,
        }
    }
}

/// What a connection leads to.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub origin: Arc<str>,
    /// Names must lead to no address of this machine or its cloud.
    pub is_guarded: bool,
}

/// A client with a connection of its own to one origin, which outlives the request.
pub(super) struct Lane {
    pub client: Client,
    to: Target,
    place: Place,
}

impl Budget {
    pub fn new(connections: usize, recipe: Recipe) -> Arc<Budget> {
        Arc::new(Budget {
            state: Mutex::new(State {
                free: connections,
                idle: Vec::new(),
                waiters: VecDeque::new(),
            }),
            need: AtomicU8::new(Need::Nobody as u8),
            wanted: tokio::sync::Notify::new(),
            recipe,
        })
    }

    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Waits for a lane.
    pub async fn lane(self: &Arc<Self>, to: &Target) -> Result<Lane, Problem> {
        let grant = match self.free_or_idle(Some(to)) {
            Some(grant) => grant,
            None => self.granted(Some(to.clone())).await,
        };
        self.lane_of(grant, to)
    }

    /// A lane that nobody uses or waits for; none where there is none.
    pub fn free_lane(self: &Arc<Self>, to: &Target) -> Option<Result<Lane, Problem>> {
        let grant = self.free_or_idle(Some(to))?;
        Some(self.lane_of(grant, to))
    }

    fn lane_of(&self, grant: Grant, to: &Target) -> Result<Lane, Problem> {
        let place = match grant {
            Grant::Lane(lane) => return Ok(lane),
            Grant::Place(place) => place,
        };
        Ok(Lane {
            client: match to.is_guarded {
                true => self.recipe.guarded_client()?,
                false => self.recipe.client()?,
            },
            to: to.clone(),
            place,
        })
    }

    /// Waits for a place.
    pub async fn place(self: &Arc<Self>) -> Place {
        match self.try_place() {
            Some(place) => place,
            None => match self.granted(None).await {
                Grant::Place(place) => place,
                Grant::Lane(lane) => lane.place,
            },
        }
    }

    /// A place that nobody uses: what only might be used again is closed for it.
    pub fn try_place(self: &Arc<Self>) -> Option<Place> {
        self.free_or_idle(None).map(|grant| match grant {
            Grant::Place(place) => place,
            Grant::Lane(lane) => lane.place,
        })
    }

    /// A place for which nothing is closed.
    pub fn free_place(self: &Arc<Self>) -> Option<Place> {
        let mut state = self.state();
        state.free = state.free.checked_sub(1)?;
        Some(Place(Arc::downgrade(self)))
    }

    /// A pipelined connection to `origin` that was kept.
    pub fn kept(&self, origin: &str) -> Option<Kept> {
        let mut state = self.state();
        let is_it = |idle: &mut Idle| matches!(idle, Idle::Wire(kept) if *kept.origin == *origin);
        match state.idle.extract_if(.., is_it).next()? {
            Idle::Wire(kept) => Some(kept),
            Idle::Lane(_) => None,
        }
    }

    /// Keeps a pipelined connection for the next requests to its origin, or gives its place to who waits.
    pub fn keep(self: &Arc<Self>, kept: Kept) {
        let mut state = self.state();
        if state.waiters.is_empty() {
            return state.idle.push(Idle::Wire(kept));
        }
        drop(state);
        // Its place goes to who is first.
        drop(kept);
    }

    pub fn need(&self) -> Need {
        match self.need.load(Ordering::Relaxed) {
            0 => Need::Nobody,
            1 => Need::Lane,
            _ => Need::Place,
        }
    }

    /// Keeps a lane for the next request to its origin, or gives its place to who waits.
    pub fn give_back(self: &Arc<Self>, lane: Lane) {
        let mut state = self.state();
        let Some(waiter) = state.waiters.pop_front() else {
            state.idle.push(Idle::Lane(lane));
            return;
        };
        self.note_need(&state);
        drop(state);
        let grant = if waiter.to.as_ref() == Some(&lane.to) {
            Grant::Lane(lane)
        } else {
            Grant::Place(lane.place)
        };
        // Who does not wait any more drops it, which passes the place on.
        drop(waiter.grant.send(grant));
    }

    fn free_or_idle(self: &Arc<Self>, to: Option<&Target>) -> Option<Grant> {
        let mut state = self.state();
        let is_there = |idle: &mut Idle| matches!(idle, Idle::Lane(lane) if Some(&lane.to) == to);
        if let Some(Idle::Lane(lane)) = state.idle.extract_if(.., is_there).next() {
            return Some(Grant::Lane(lane));
        }
        if state.free > 0 {
            state.free -= 1;
            return Some(Grant::Place(Place(Arc::downgrade(self))));
        }
        let closed = state.idle.pop();
        drop(state);
        closed.map(|idle| Grant::Place(idle.into_place()))
    }

    async fn granted(self: &Arc<Self>, to: Option<Target>) -> Grant {
        let (grant, granted) = oneshot::channel();
        {
            let mut state = self.state();
            state.waiters.push_back(Waiter { to, grant });
            self.note_need(&state);
        }
        self.wanted.notify_waiters();
        match granted.await {
            Ok(grant) => grant,
            // Waiters are only dropped after an answer; this is for the compiler.
            Err(_) => std::future::pending().await,
        }
    }

    fn note_need(&self, state: &State) {
        let need = |waiter: &Waiter| match waiter.to {
            Some(_) => Need::Lane,
            None => Need::Place,
        };
        let most = state.waiters.iter().map(need).max();
        self.need
            .store(most.unwrap_or(Need::Nobody) as u8, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(budget) = self.0.upgrade() else {
            return;
        };
        let mut state = budget.state();
        let Some(waiter) = state.waiters.pop_front() else {
            state.free += 1;
            return;
        };
        budget.note_need(&state);
        drop(state);
        // As above.
        drop(waiter.grant.send(Grant::Place(Place(self.0.clone()))));
    }
}
