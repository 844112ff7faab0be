//! `mirrorfleet sync-now`, `pin`, `unpin`, `skip`, `unskip`, `suspend` and `resume`: patches, and what comes of them.

use clap_complete::ArgValueCandidates;
use std::time::Duration;

use fleet_api::{Mirror, labels};
use fleet_plan::act::{Act, FIELD_MANAGER};
use fleet_plan::summary::{capital, enumeration};
use fleet_types::Outcome;
use jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use serde_json::Value;

use super::read::{Beside, Scope, kind, mirror};
use super::refusal::failure;
use super::{Cluster, Target, ask, complete};
use crate::failure::Failure;
use crate::report::print;
use crate::runtime::LogArguments;

/// How often a decision is made again that somebody else overtook.
const TRIES: usize = 5;
/// How often is looked whether a sync has ended.
const LOOK: Duration = Duration::from_secs(1);

/// Asks for a sync of every region at once, whatever the schedule says
#[derive(Debug, clap::Args)]
pub struct SyncNow {
    #[command(flatten)]
    target: Target,
    /// Wait until it has ended, and exit with how, by the exit codes
    #[arg(long)]
    wait: bool,
}

/// Keeps a snapshot served, whatever the upstream publishes
#[derive(Debug, clap::Args)]
pub struct Pin {
    #[command(flatten)]
    target: Target,
    /// Id of a snapshot, or the first 8 or more digits of one that is kept [default: what every region serves now]
    #[arg(value_name = "SNAPSHOT", add = ArgValueCandidates::new(complete::snapshots))]
    snapshot: Option<String>,
}

/// Serves a snapshot no more: the newest other one is served, until the upstream publishes something newer
#[derive(Debug, clap::Args)]
pub struct Skip {
    #[command(flatten)]
    target: Target,
    /// Id of a snapshot, or the first 8 or more digits of one that is kept [default: what every region serves now]
    #[arg(value_name = "SNAPSHOT", add = ArgValueCandidates::new(complete::snapshots))]
    snapshot: Option<String>,
}

/// Lets all snapshots be served again that were skipped
#[derive(Debug, clap::Args)]
pub struct Unskip {
    #[command(flatten)]
    target: Target,
}

/// Ends a pin: the newest snapshot is served again
#[derive(Debug, clap::Args)]
pub struct Unpin {
    #[command(flatten)]
    target: Target,
}

/// Lets no new sync of a Mirror begin; what is served stays served
#[derive(Debug, clap::Args)]
pub struct Suspend {
    #[command(flatten)]
    target: Target,
}

/// Lets syncs of a Mirror begin again
#[derive(Debug, clap::Args)]
pub struct Resume {
    #[command(flatten)]
    target: Target,
}

pub fn sync_now(arguments: SyncNow, log: &LogArguments) -> Result<Outcome, Failure> {
    let target = &arguments.target;
    ask(&target.cluster, log, false, async |cluster| {
        let asked = act(cluster, target, |_| Ok(Act::SyncNow)).await?;
        if !arguments.wait {
            return Ok(Outcome::Good);
        }
        if asked.spec.suspend {
            let message = "--wait: it is suspended, so there is nothing to wait for";
            return Err(Failure::invalid(message));
        }
        ended(cluster, &asked).await
    })
}

pub fn pin(arguments: Pin, log: &LogArguments) -> Result<Outcome, Failure> {
    let id = arguments.snapshot;
    once(arguments.target, log, move |mirror| {
        Act::pin(mirror, id.as_deref()).map_err(Failure::invalid)
    })
}

pub fn skip(arguments: Skip, log: &LogArguments) -> Result<Outcome, Failure> {
    let id = arguments.snapshot;
    once(arguments.target, log, move |mirror| {
        Act::skip(mirror, id.as_deref()).map_err(Failure::invalid)
    })
}

pub fn unskip(arguments: Unskip, log: &LogArguments) -> Result<Outcome, Failure> {
    once(arguments.target, log, |_| Ok(Act::Unskip))
}

pub fn unpin(arguments: Unpin, log: &LogArguments) -> Result<Outcome, Failure> {
    once(arguments.target, log, |_| Ok(Act::Unpin))
}

pub fn suspend(arguments: Suspend, log: &LogArguments) -> Result<Outcome, Failure> {
    once(arguments.target, log, |_| Ok(Act::Suspend))
}

pub fn resume(arguments: Resume, log: &LogArguments) -> Result<Outcome, Failure> {
    once(arguments.target, log, |_| Ok(Act::Resume))
}

fn once(
    target: Target,
    log: &LogArguments,
    decide: impl Fn(&Mirror) -> Result<Act, Failure>,
) -> Result<Outcome, Failure> {
    ask(&target.cluster, log, false, async |cluster| {
        act(cluster, &target, decide).await?;
        Ok(Outcome::Good)
    })
}

/// Decides by the Mirror as it is, writes, and says what is so now and what happens next.
async fn act(
    cluster: &Cluster,
    target: &Target,
    decide: impl Fn(&Mirror) -> Result<Act, Failure>,
) -> Result<Mirror, Failure> {
    let (scope, name) = (target.scope(cluster), target.mirror.as_str());
    let mut tries = 0;
    let (act, after, changed) = loop {
        let before = scope.mirrors(&cluster.client).await?;
        let Some(before) = before.into_iter().next() else {
            return Err(Failure::invalid(format!("Mirror {name} cannot be read")));
        };
        let act = decide(&before)?;
        act.fits(&before).map_err(Failure::invalid)?;
        let Some(patch) = act.patch(&before, Timestamp::now()) else {
            break (act, before, false);
        };
        match write(cluster, &scope, name, &patch).await {
            Ok(after) => break (act, after.unwrap_or(before), true),
            Err(kube::Error::Api(status)) if status.is_conflict() && tries < TRIES => tries += 1,
            Err(error) => return Err(failure(error)),
        }
    };
    let mirrors = std::slice::from_ref(&after);
    let beside = Beside::read(&cluster.client, &scope, mirrors).await;
    let told = beside.known(&after, Timestamp::now(), |known| {
        act.told(known, changed, &cluster.program)
    });
    print(&format!("{told}\n"))?;
    let others = act.others(&after);
    if changed && !others.is_empty() {
        eprintln!(
            "{} says the same field and may set it back: change it where that has it from",
            capital(&enumeration(&others))
        );
    }
    Ok(after)
}

async fn write(
    cluster: &Cluster,
    scope: &Scope,
    name: &str,
    patch: &Value,
) -> Result<Option<Mirror>, kube::Error> {
    let api = scope.api(&cluster.client, &kind::<Mirror>());
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let written = api.patch(name, &parameters, &Patch::Merge(patch)).await?;
    Ok(mirror(written))
}

/// Waits for the runs that `asked` asked for, and tells how they ended.
async fn ended(cluster: &Cluster, asked: &Mirror) -> Result<Outcome, Failure> {
    let name = asked.metadata.name.clone().unwrap_or_default();
    let api: Api<Mirror> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    loop {
        let mirror = api.get(&name).await.map_err(failure)?;
        if let Some(worst) = outcome(&mirror, asked) {
            for line in lines(&mirror) {
                print(&line)?;
            }
            return Ok(worst);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The worst end of the runs that were asked for; none while one has not begun or has not ended.
fn outcome(mirror: &Mirror, asked: &Mirror) -> Option<Outcome> {
    let request = |mirror: &Mirror| {
        let annotations = mirror.metadata.annotations.as_ref()?;
        annotations.get(labels::SYNC_REQUESTED_AT).cloned()
    };
    let status = mirror.status.as_ref()?;
    // Somebody who asked later is answered by the same runs, or by later ones.
    let handled = status.last_handled_sync_request.is_some()
        && (status.last_handled_sync_request == request(asked)
            || status.last_handled_sync_request == request(mirror));
    let mut worst = Outcome::Good;
    // Who follows has what that one brings.
    for (_, replica) in status.fetching() {
        let last = replica.last_attempt.as_ref()?;
        if replica.current_run.is_some() {
            return None;
        }
        worst = worst.worst(last.reason.outcome());
    }
    handled.then_some(worst)
}

fn lines(mirror: &Mirror) -> Vec<String> {
    let status = mirror.status.clone().unwrap_or_default();
    let lines = status.fetching().filter_map(|(region, replica)| {
        let last = replica.last_attempt.as_ref()?;
        let words = match last.message.as_str() {
            "" => last.reason.description().trim(),
            told => told,
        };
        Some(format!(
            "region {}: {}: {words}\n",
            region.name, last.reason
        ))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mirror(request: &str, handled: &str, replica: Value) -> Mirror {
        serde_json::from_value(json!({
            "apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Mirror",
            "metadata": {"name": "m", "annotations": {labels::SYNC_REQUESTED_AT: request}},
            "spec": {"upstreamRef": {"name": "u"}, "content": {}},
            "status": {"lastHandledSyncRequest": handled, "regions": [{"name": "eu", "replicas": [replica]}]},
        }))
        .unwrap()
    }

    #[test]
    fn a_sync_has_ended_once_it_is_handled_and_nothing_runs() {
        let last = |reason: &str| {
            json!({"lastAttempt": {"job": "j", "trigger": "Request", "reason": reason, "message": "told",
                "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:00Z"}})
        };
        let asked = mirror("now", "before", last("Published"));
        assert_eq!(outcome(&asked, &asked), None, "not handled yet");
        let mut runs = last("Published");
        runs["currentRun"] =
            json!({"job": "k", "trigger": "Request", "startedAt": "2026-01-01T00:00:01Z"});
        assert_eq!(outcome(&mirror("now", "now", runs), &asked), None);
        let ended = mirror("now", "now", last("SignatureBad"));
        assert_eq!(outcome(&ended, &asked), Some(Outcome::Refused));
        assert_eq!(lines(&ended), ["region eu: SignatureBad: told\n"]);
        let later = mirror("later", "later", last("Unchanged"));
        assert_eq!(outcome(&later, &asked), Some(Outcome::Good));
    }
}
