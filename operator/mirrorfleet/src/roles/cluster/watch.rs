//! `status --watch`: on a terminal one page that stays true, elsewhere what changes, line below line.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use fleet_api::Mirror;
use futures::TryStreamExt;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::DynamicObject;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use tokio::time::MissedTickBehavior;

use super::begun_again;
use super::read::{Beside, Scope, kind, mirror};
use super::show::{Form, Show, nothing};
use super::terminal::repaint;
use crate::failure::Failure;
use crate::report::print;

/// How often the page is painted anew while nothing changes: ages grow and runs go on.
const REPAINT: Duration = Duration::from_secs(2);
/// How often what stands beside Mirrors is read again.
const REREAD: Duration = Duration::from_secs(30);

type Key = (String, String);

/// Shows what is and what becomes of it, until the caller has enough.
pub async fn watch(show: &Show<'_>, scope: &Scope) -> Result<(), Failure> {
    let client = &show.cluster.client;
    // A Mirror that is named and does not exist, a right that is missing: told at once.
    let mut mirrors = by_key(scope.mirrors(client).await?);
    let paints = std::io::stdout().is_terminal() && matches!(show.form, Form::Text | Form::Wide);
    let mut screen = Screen {
        show,
        scope,
        paints,
        beside: Beside::default(),
        read_at: None,
        asked_at: None,
        printed: 0,
    };
    screen.show(&mirrors, None).await?;
    let api = scope.api(client, &kind::<Mirror>());
    let changes = watcher::watcher(api, watcher::Config::default()).default_backoff();
    let mut changes = std::pin::pin!(changes);
    let mut tick = tokio::time::interval(REPAINT);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            change = changes.try_next() => match change {
                Ok(Some(event)) => {
                    if let Some(key) = take(&mut mirrors, scope, event) {
                        screen.show(&mirrors, Some(&key)).await?;
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) => begun_again(&error),
            },
            _ = tick.tick(), if paints => screen.show(&mirrors, None).await?,
        }
    }
}

fn by_key(mirrors: Vec<Mirror>) -> BTreeMap<Key, Mirror> {
    let keyed = mirrors.into_iter().map(|mirror| (key(&mirror), mirror));
    keyed.collect()
}

fn key(mirror: &Mirror) -> Key {
    (mirror.namespace().unwrap_or_default(), mirror.name_any())
}

/// Takes an event in; the Mirror that is another than before.
fn take(
    mirrors: &mut BTreeMap<Key, Mirror>,
    scope: &Scope,
    event: Event<DynamicObject>,
) -> Option<Key> {
    match event {
        Event::Apply(object) | Event::InitApply(object) => {
            let found = mirror(object).filter(|mirror| scope.covers(mirror))?;
            let key = key(&found);
            let before = mirrors.insert(key.clone(), found);
            (before.as_ref() != mirrors.get(&key)).then_some(key)
        }
        Event::Delete(object) => {
            let key = (object.namespace().unwrap_or_default(), object.name_any());
            mirrors.remove(&key).map(|_| key)
        }
        Event::Init | Event::InitDone => None,
    }
}

struct Screen<'a> {
    show: &'a Show<'a>,
    scope: &'a Scope,
    paints: bool,
    beside: Beside,
    read_at: Option<tokio::time::Instant>,
    /// When runs were asked how far they are.
    asked_at: Option<tokio::time::Instant>,
    printed: usize,
}

impl Screen<'_> {
    /// Shows all, or the one that changed where lines cannot be taken back.
    async fn show(
        &mut self,
        mirrors: &BTreeMap<Key, Mirror>,
        changed: Option<&Key>,
    ) -> Result<(), Failure> {
        let changed = changed.filter(|_| !self.paints);
        let shown: Vec<&Mirror> = match changed {
            Some(key) => mirrors.get(key).into_iter().collect(),
            None => mirrors.values().collect(),
        };
        self.read(&shown).await;
        let now = Timestamp::now();
        let summaries = shown.iter().map(|mirror| self.beside.summary(mirror, now));
        let summaries: Vec<_> = summaries.collect();
        if self.paints {
            let page = match summaries.is_empty() {
                true => format!("{}\n", nothing(self.scope)),
                false => self.show.page(&summaries, now)?,
            };
            return print(&repaint(&page));
        }
        for summary in &summaries {
            print(&self.show.change(summary, self.printed == 0, now)?)?;
            self.printed += 1;
        }
        Ok(())
    }

    /// What stands beside these; a page that is painted often asks no more often for that.
    async fn read(&mut self, shown: &[&Mirror]) {
        let client = &self.show.cluster.client;
        let now = tokio::time::Instant::now();
        let is_within = |at: Option<tokio::time::Instant>, span| {
            at.is_some_and(|at| now.duration_since(at) < span)
        };
        if !is_within(self.read_at, REREAD) {
            self.beside = Beside::read(client, self.scope, shown.iter().copied()).await;
            (self.read_at, self.asked_at) = (Some(now), Some(now));
        } else if !self.paints || !is_within(self.asked_at, REPAINT) {
            self.beside
                .read_progress(client, shown.iter().copied())
                .await;
            self.asked_at = Some(now);
        }
    }
}
