//! What a person can do to a Mirror by a command: the patch for it, and what comes of it.

use std::collections::BTreeSet;

use fleet_api::{Mirror, labels};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::summary::{Known, Program, enumeration, span};
use crate::why::words;

/// Owner of what a person wrote by a command of ours.
pub const FIELD_MANAGER: &str = "mirrorfleet-cli";
/// Those that apply manifests from a repository by other means than server-side apply.
const APPLIERS: [&str; 2] = ["argocd-controller", "helm"];

/// One of the things that a person can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Ask for a sync at once.
    SyncNow,
    /// Serve a snapshot, whatever the upstream publishes.
    Pin(String),
    /// Serve the newest again.
    Unpin,
    /// Let no new sync begin.
    Suspend,
    /// Let syncs begin again.
    Resume,
}

impl Act {
    /// Pins the snapshot of this id, or of the beginning of one that is served; without one, what is served now.
    ///
    /// # Errors
    /// A sentence, where no snapshot is meant or more than one.
    pub fn pin(mirror: &Mirror, id: Option<&str>) -> Result<Act, String> {
        let status = mirror.status.clone().unwrap_or_default();
        let served = status
            .replicas()
            .filter_map(|(_, replica)| replica.snapshot.clone());
        let served: BTreeSet<String> = served.collect();
        let fits = |known: &&String| id.is_none_or(|id| known.starts_with(id));
        let fitting: Vec<String> = served.iter().filter(fits).cloned().collect();
        match (fitting.as_slice(), id) {
            ([one], _) => Ok(Act::Pin(one.clone())),
            // Whether the volumes have it, only a sync can tell.
            ([], Some(id)) => Ok(Act::Pin(id.to_owned())),
            ([], None) => Err("no region serves a snapshot that could be pinned".to_owned()),
            (several, _) => Err(format!(
                "regions serve different snapshots; name one of them: {}",
                several.join(", ")
            )),
        }
    }

    /// Where in the Mirror it is written, as a path of its managed fields.
    fn field(&self) -> [&'static str; 3] {
        match self {
            Act::SyncNow => [
                "f:metadata",
                "f:annotations",
                "f:mirrorfleet.dev/sync-requested-at",
            ],
            Act::Pin(_) | Act::Unpin => ["f:spec", "f:snapshots", "f:pinned"],
            Act::Suspend | Act::Resume => ["f:spec", "f:suspend", ""],
        }
    }

    /// The merge patch; none where the Mirror is so already. What was decided by its status holds for that version only.
    pub fn patch(&self, mirror: &Mirror, now: Timestamp) -> Option<Value> {
        let spec = &mirror.spec;
        match self {
            Act::SyncNow => {
                let annotations = json!({labels::SYNC_REQUESTED_AT: now.to_string()});
                Some(json!({"metadata": {"annotations": annotations}}))
            }
            Act::Pin(id) => (spec.snapshots.pinned != *id).then(|| {
                let version = &mirror.metadata.resource_version;
                json!({"metadata": {"resourceVersion": version}, "spec": {"snapshots": {"pinned": id}}})
            }),
            Act::Unpin => (!spec.snapshots.pinned.is_empty())
                .then(|| json!({"spec": {"snapshots": {"pinned": null}}})),
            Act::Suspend => (!spec.suspend).then(|| json!({"spec": {"suspend": true}})),
            Act::Resume => spec.suspend.then(|| json!({"spec": {"suspend": false}})),
        }
    }

    /// Who else says what stands there, and may say it again: what applies manifests from a repository, as a rule.
    pub fn others(&self, mirror: &Mirror) -> Vec<String> {
        let entries = mirror.metadata.managed_fields.iter().flatten();
        let says = entries.filter(|entry| {
            let path = self.field().into_iter().filter(|part| !part.is_empty());
            let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
            let found = path.fold(fields, |value, part| value?.get(part));
            let manager = entry.manager.as_deref().unwrap_or_default();
            let applies =
                entry.operation.as_deref() == Some("Apply") || APPLIERS.contains(&manager);
            applies && found.is_some()
        });
        let names = says.filter_map(|entry| entry.manager.clone());
        let names: BTreeSet<String> = names.filter(|name| name != FIELD_MANAGER).collect();
        names.into_iter().collect()
    }

    /// What is so now and what happens next. `known` is the Mirror after the patch; `changed` whether there was one.
    pub fn told(&self, known: &Known, changed: bool, program: &Program) -> String {
        let mirror = known.name();
        let suspended = known.mirror.spec.suspend;
        if !changed {
            let words = match self {
                Act::SyncNow | Act::Pin(_) => "is pinned to that snapshot",
                Act::Unpin => "is not pinned",
                Act::Suspend => "is suspended",
                Act::Resume => "is not suspended",
            };
            return format!("Mirror {mirror} {words} already: nothing was changed.");
        }
        let back = |command: &str| program.ours(command, &mirror, &known.namespace());
        let held = format!(
            "once the Mirror is no longer suspended: `{}`.",
            back("resume")
        );
        let next = match suspended {
            true => held,
            false => format!("{}.", begins(known)),
        };
        match self {
            Act::SyncNow => format!("Mirror {mirror}: a sync was asked for. It begins {next}"),
            Act::Pin(id) => format!(
                "Mirror {mirror}: snapshot {} is pinned. The sync that serves it begins {next} It ends with \
                 SnapshotNotFound if a volume no longer has it. To serve the newest again: `{}`.",
                id.get(..12).unwrap_or(id),
                back("unpin")
            ),
            Act::Unpin => format!(
                "Mirror {mirror}: not pinned any more. The sync that serves the newest begins {next}"
            ),
            Act::Suspend => format!(
                "Mirror {mirror} is suspended: no new sync begins{}, and clients go on getting what is served. To let them \
                 begin again: `{}`.",
                running(known),
                back("resume")
            ),
            Act::Resume => format!(
                "Mirror {mirror} is not suspended any more: {}.",
                resumed(known)
            ),
        }
    }
}

/// When a sync begins that is due now.
fn begins(known: &Known) -> String {
    let upstream = &known.mirror.spec.upstream_ref.name;
    match known.runs().first() {
        Some((_, run)) => format!("when the one that runs has ended (Job {})", run.job),
        None if known.is_waiting() => format!("when it is its turn at Upstream {upstream}"),
        None => format!("within seconds, or when it is its turn at Upstream {upstream}"),
    }
}

fn running(known: &Known) -> String {
    let jobs: Vec<String> = known.runs().into_iter().map(|(_, run)| run.job).collect();
    match jobs.as_slice() {
        [] => String::new(),
        jobs => format!(", what runs goes on to its end (Job {})", enumeration(jobs)),
    }
}

fn resumed(known: &Known) -> String {
    let Some(due) = known.due() else {
        return "no sync is planned".to_owned();
    };
    let what = words(known, Some(&due));
    match known.now < due.at {
        true => format!(
            "{what} begins at {}, in {}",
            due.at,
            span(due.at.duration_since(known.now).as_secs())
        ),
        false => format!("{what} is due and begins {}", begins(known)),
    }
}

#[cfg(test)]
mod tests;
