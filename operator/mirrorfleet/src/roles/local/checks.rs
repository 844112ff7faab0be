//! Checks of what this process serves, for the scores of its Mirrors: it asks its own port for clients, as a controller asks
//! serving pods. Kept in memory: another process begins with none.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_api::Mirror;
use fleet_controller::Asker;
use fleet_plan::Answer;
use fleet_plan::score::{Check, Checks, PERIOD, Question, Score, last_sync};
use fleet_telemetry::ObjectKey;
use fleet_types::lock;
use jiff::Timestamp;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::freshness::Told;
use super::lane::Shared;

/// The checks of all Mirrors.
#[derive(Default)]
pub struct SelfChecks(Mutex<BTreeMap<ObjectKey, Checks>>);

impl SelfChecks {
    /// What the checks of a Mirror come to; none before the first.
    pub fn score(&self, key: &ObjectKey, now: Timestamp) -> Option<Score> {
        let known = lock(&self.0);
        Some(known.get(key)?.score(now.as_second()))
    }

    fn note(&self, key: &ObjectKey, check: Check) -> Score {
        let mut known = lock(&self.0);
        let checks = known.entry(key.clone()).or_default();
        checks.note(check);
        checks.score(check.at)
    }

    fn keep_only(&self, declared: &[(ObjectKey, Told)]) {
        lock(&self.0).retain(|known, _| declared.iter().any(|(key, _)| key == known));
    }
}

/// Checks each Mirror twice a minute until `stop`; clients are served at `listening`.
pub async fn keep(
    shared: Arc<Shared>,
    asker: Asker,
    listening: SocketAddr,
    stop: CancellationToken,
) {
    let at = from_here(listening);
    let mut ticks = tokio::time::interval(Duration::from_secs(PERIOD));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // At first nothing that is declared may have been served yet.
    ticks.tick().await;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let told = shared.freshness.told();
        shared.checks.keep_only(&told);
        for (key, told) in told {
            let Told::Copy { mirror, .. } = told else {
                continue;
            };
            let question = ask(&asker, at, &mirror, &key.name).await;
            if let Some(check) = Check::of(Timestamp::now().as_second(), &[question]) {
                let score = shared.checks.note(&key, check);
                shared.freshness.checked(&key, score.gauges());
            }
        }
    }
}

async fn ask(asker: &Asker, at: SocketAddr, mirror: &Mirror, name: &str) -> Question {
    let asked = asker.ask_at(at, name).await;
    let last_sync = match &asked.answer {
        Answer::Serves(served) => {
            let status = mirror.status.as_ref();
            let region = status.and_then(|status| status.regions.first());
            let superseded = region.and_then(|region| region.superseded_at.as_ref());
            let superseded = superseded.map(|at| at.0.as_second());
            last_sync(served, served.confirmed_at.map(|at| at.0), superseded)
        }
        Answer::Nothing => None,
        Answer::Unreachable(_) => return Question::Failed,
        Answer::NotAsked => return Question::NotAsked,
    };
    Question::Answered {
        seconds: asked.seconds,
        last_sync,
    }
}

/// Who listens at all addresses is reached at the one that does not leave this machine.
fn from_here(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}
