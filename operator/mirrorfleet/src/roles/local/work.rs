//! What the manifests ask of this process: one lane per Upstream, with its Mirrors one after another.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use fleet_api::{Mirror, Upstream};
use fleet_plan::inputs::Inputs;
use fleet_plan::names;
use fleet_plan::timing::Timing;
use fleet_sync::{Progress, Report, SyncOptions};
use fleet_types::Reason;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::manifests::Manifests;
use crate::report::not_begun;
use crate::resolve::{Filling, References, Resolver, namespace};
use crate::runtime::now;

/// One Mirror, ready to run, or why it is not.
#[derive(Clone)]
pub struct Task {
    pub mirror: String,
    pub namespace: String,
    pub suspended: bool,
    pub ready: Result<Box<Ready>, Failure>,
}

impl Task {
    /// Where the manifests tell it.
    pub fn upstream_type(&self) -> Option<String> {
        let ready = self.ready.as_ref().ok()?;
        Some(ready.options.upstream_type.clone())
    }
}

/// What a run needs.
#[derive(Clone)]
pub struct Ready {
    pub options: SyncOptions,
    /// How it is filled on demand, where it is.
    pub filling: Option<Filling>,
    pub timing: Timing,
    /// The manifests that it was made of.
    pub declared: Mirror,
    pub upstream: Upstream,
    pub probe_interval: std::time::Duration,
    /// Of everything that the result of a run depends on; it changes when a person changes that.
    pub fingerprint: String,
}

/// Mirrors that share an Upstream, by its name. Different Upstreams run side by side.
pub type Lanes = BTreeMap<String, Vec<Task>>;

/// The names of Mirrors that have no runs, since they are filled on demand.
pub fn on_demand(manifests: &Manifests) -> impl Iterator<Item = &str> {
    let mirrors = manifests
        .mirrors
        .values()
        .filter(|mirror| mirror.spec.fills_itself());
    mirrors.map(|mirror| mirror.metadata.name.as_deref().unwrap_or_default())
}

/// Resolves every Mirror that is synced.
pub fn lanes(manifests: &Manifests, data: &Path) -> Lanes {
    let resolver = Resolver {
        manifests,
        references: References::Manifests,
        data,
    };
    let mut lanes = Lanes::new();
    for mirror in manifests
        .mirrors
        .values()
        .filter(|mirror| !mirror.spec.fills_itself())
    {
        let task = Task {
            mirror: mirror.metadata.name.clone().unwrap_or_default(),
            namespace: namespace(mirror).to_owned(),
            suspended: mirror.spec.suspend,
            ready: ready(&resolver, mirror).map(Box::new),
        };
        let lane = format!("{}/{}", task.namespace, mirror.spec.upstream_ref.name);
        lanes.entry(lane).or_default().push(task);
    }
    lanes
}

fn ready(resolver: &Resolver<'_>, mirror: &Mirror) -> Result<Ready, Failure> {
    let options = resolver.options(mirror, Vec::new())?;
    let filling = resolver.filling(mirror, &options)?;
    let upstream = resolver.upstream_of(mirror)?;
    let politeness = &upstream.spec.politeness;
    let name = mirror.metadata.name.as_deref().unwrap_or_default();
    let timing = Timing::new(&mirror.spec.sync, politeness, name).map_err(Failure::invalid)?;
    let inputs = Inputs::of(&mirror.spec, name, &upstream.spec);
    // Without a cluster a run says what is served.
    let snapshots = &mirror.spec.snapshots;
    let wish = names::hash(&[&snapshots.pinned, &snapshots.skip.join(" ")]);
    let fingerprint = format!("{} {} {wish}", options.trust_digest, inputs.occasion());
    Ok(Ready {
        options,
        filling,
        timing,
        declared: mirror.clone(),
        upstream: upstream.clone(),
        probe_interval: upstream.spec.probe.interval.0,
        fingerprint,
    })
}

/// Runs a Mirror once and answers with its report, whatever stands in the way.
pub async fn run(
    task: &Task,
    data: &Path,
    progress: Arc<dyn Progress>,
    stop: CancellationToken,
) -> Report {
    let refused = |failure: &Failure| {
        not_begun(
            &task.mirror,
            failure,
            crate::roles::served(data, &task.mirror),
            now(),
        )
    };
    match &task.ready {
        Err(failure) => refused(failure),
        Ok(_) if task.suspended => refused(&Failure::new(
            Reason::Suspended,
            "spec.suspend stops new syncs of this Mirror; remove it, or run `mirrorfleet sync`",
        )),
        Ok(ready) => fleet_sync::sync(ready.options.clone(), progress, stop).await,
    }
}
