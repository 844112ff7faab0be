//! What a person can do to a Mirror by a command: the patch for it, and what comes of it.

use std::collections::BTreeSet;

use fleet_api::{Mirror, labels};
use jiff::Timestamp;
use kube_core::ResourceExt;
use serde_json::{Value, json};

use crate::summary::{Known, Program, enumeration, short, span};
use crate::why::words;

/// Owner of what a person wrote by a command of ours.
pub const FIELD_MANAGER: &str = "mirrorfleet-cli";
/// Those that apply manifests from a repository by other means than server-side apply.
const APPLIERS: [&str; 2] = ["argocd-controller", "helm"];

/// Snapshots that can be skipped at once, as the schema has it.
const MOST_SKIPPED: usize = 8;

/// One of the things that a person can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Ask for a sync at once.
    SyncNow,
    /// Serve a snapshot, whatever the upstream publishes.
    Pin(String),
    /// Serve the newest again.
    Unpin,
    /// Never serve these snapshots but by a pin: all that are skipped from now on, of which the last is new.
    Skip(Vec<String>),
    /// Let all snapshots be served again.
    Unskip,
    /// Let no new sync begin.
    Suspend,
    /// Let syncs begin again.
    Resume,
}

impl Act {
    /// Pins the snapshot of this id, or of the beginning of one that is kept; without one, what is served now.
    ///
    /// # Errors
    /// A sentence, where no snapshot is meant or more than one.
    pub fn pin(mirror: &Mirror, id: Option<&str>) -> Result<Act, String> {
        meant(mirror, id).map(Act::Pin)
    }

    /// Skips the snapshot of this id, or of the beginning of one that is kept; without one, what is served now.
    ///
    /// # Errors
    /// A sentence, where no snapshot is meant or more than one, or where no more can be skipped.
    pub fn skip(mirror: &Mirror, id: Option<&str>) -> Result<Act, String> {
        let id = meant(mirror, id)?;
        let status = mirror.status.clone().unwrap_or_default();
        let is_kept = |skipped: &&String| {
            let mut kept = status.snapshots.iter();
            kept.any(|kept| kept.id.starts_with(skipped.as_str()))
                && !id.starts_with(skipped.as_str())
        };
        // What nobody keeps any more is never served again.
        let mut all: Vec<String> = mirror
            .spec
            .snapshots
            .skip
            .iter()
            .filter(is_kept)
            .cloned()
            .collect();
        all.push(id);
        match all.len() <= MOST_SKIPPED {
            true => Ok(Act::Skip(all)),
            false => Err(format!(
                "spec.snapshots.skip names {MOST_SKIPPED} snapshots already; pin the one that is to be served"
            )),
        }
    }

    /// # Errors
    /// A sentence, where it means nothing to this Mirror.
    pub fn fits(&self, mirror: &Mirror) -> Result<(), String> {
        match self {
            Act::Unpin | Act::Unskip | Act::Resume => Ok(()),
            _ if !mirror.spec.fills_itself() => Ok(()),
            _ => Err(format!(
                "Mirror {} is a registry that fills itself when it is asked: it has no syncs and no snapshots",
                mirror.name_any()
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
            Act::Skip(_) | Act::Unskip => ["f:spec", "f:snapshots", "f:skip"],
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
            Act::Skip(all) => (!all.iter().all(|id| spec.snapshots.skip.contains(id))).then(|| {
                let version = &mirror.metadata.resource_version;
                json!({"metadata": {"resourceVersion": version}, "spec": {"snapshots": {"skip": all}}})
            }),
            Act::Unskip => (!spec.snapshots.skip.is_empty())
                .then(|| json!({"spec": {"snapshots": {"skip": null}}})),
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
                Act::Skip(_) => "skips that snapshot",
                Act::Unskip => "skips no snapshot",
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
                "Mirror {mirror}: snapshot {} is pinned. Regions that keep it serve it within seconds; if none does, the \
                 Mirror says SnapshotNotFound and serves what it did. To serve the newest again: `{}`.",
                short(id),
                back("unpin")
            ),
            Act::Unpin => format!(
                "Mirror {mirror}: not pinned any more. Regions serve the newest snapshot that they keep within seconds."
            ),
            Act::Skip(all) => format!(
                "Mirror {mirror}: snapshot {} is not served any more. Regions serve the newest other one that they keep \
                 within seconds, until the upstream publishes something newer. Clients that have read it keep its lists, \
                 and find what it names. To let it be served again: `{}`.",
                all.last().map_or("", |id| short(id)),
                back("unskip")
            ),
            Act::Unskip => format!(
                "Mirror {mirror}: no snapshot is skipped any more. Regions serve the newest that they keep within seconds."
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

/// The id of the snapshot that a person means: of one that is kept, by its beginning; without one, of what is served.
fn meant(mirror: &Mirror, id: Option<&str>) -> Result<String, String> {
    let status = mirror.status.clone().unwrap_or_default();
    let served = status
        .replicas()
        .filter_map(|(_, replica)| replica.snapshot.clone());
    let kept = status.snapshots.iter().map(|kept| kept.id.clone());
    let known: BTreeSet<String> = match id {
        Some(_) => kept.chain(served).collect(),
        None => served.collect(),
    };
    let fits = |known: &&String| id.is_none_or(|id| known.starts_with(id));
    let fitting: Vec<String> = known.iter().filter(fits).cloned().collect();
    match (fitting.as_slice(), id) {
        ([one], _) => Ok(one.clone()),
        // One that comes yet, or that a pod keeps which cannot be asked.
        ([], Some(id)) => Ok(id.to_owned()),
        ([], None) => Err("no region serves a snapshot that could be meant".to_owned()),
        (several, Some(id)) => Err(format!(
            "several snapshots begin with {id}; name one of them: {}",
            several.join(", ")
        )),
        (several, None) => Err(format!(
            "regions serve different snapshots; name one of them: {}",
            several.join(", ")
        )),
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
