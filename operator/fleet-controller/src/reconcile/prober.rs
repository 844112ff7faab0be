//! Jobs that ask an Upstream where the controller may not.

use fleet_api::Upstream;
use fleet_plan::{Errand, Probe, ProbeAnswer, Prober, ProberPlan, SeenWarning};
use jiff::Timestamp;

use super::report;
use crate::context::Context;
use crate::error::WriteError;
use crate::probe::Authority;
use crate::world::ObjectName;

/// What is known of them.
pub fn observe(context: &Context, name: &ObjectName, authority: &Authority) -> Prober {
    let world = &context.world;
    let jobs: Vec<_> = world.probers.jobs.group(name);
    let about = jobs
        .iter()
        .map(|job| ObjectName::new(&name.namespace, &job.meta.name));
    let warnings = about.flat_map(|job| world.warnings.group(&job));
    let mirrors = context.mirrors_of(name);
    let mirrors = mirrors
        .iter()
        .filter_map(|(_, mirror)| mirror.0.as_ref().ok());
    let upstream = world.upstreams.get(name, &name.name);
    let needs = upstream.as_deref().and_then(|known| known.0.as_ref().ok());
    let needs = needs.is_some_and(|upstream| upstream.spec.is_asked_by_jobs());
    Prober {
        warnings: warnings.map(|it| SeenWarning::clone(&it)).collect(),
        jobs: jobs.iter().map(|job| (**job).clone()).collect(),
        pods: (world.probers.pods.group(name).iter())
            .map(|pod| (**pod).clone())
            .collect(),
        errand: needs
            .then(|| Errand::of(mirrors, &context.settings))
            .flatten(),
        running_elsewhere: match needs {
            true => world.probers.running_beside(name),
            false => 0,
        },
        refused: authority.refused.clone(),
        heard: authority.heard.clone(),
    }
}

/// Takes over what the last Job told, once. Whether it was news.
pub fn hear(
    context: &Context,
    name: &ObjectName,
    (upstream, prober): (&Upstream, &Prober),
    authority: &mut Authority,
) -> bool {
    let heard = prober
        .heard(upstream)
        .filter(|_| upstream.spec.is_asked_by_jobs());
    let Some(heard) = heard.filter(|heard| authority.heard.as_ref() != Some(&heard.job)) else {
        return false;
    };
    for (_, answer) in &heard.authority {
        let answered = matches!(answer, ProbeAnswer::Has { .. });
        context.metrics.record_probe(&report::key(name), answered);
    }
    note(&mut authority.probes, heard.authority, heard.at);
    for (endpoint, answers) in heard.endpoints {
        note(
            authority.endpoints.entry(endpoint).or_default(),
            answers,
            heard.at,
        );
    }
    authority.heard = Some(heard.job);
    true
}

/// Notes what was told of units at that time.
pub fn note(
    probes: &mut Vec<Probe>,
    answers: impl IntoIterator<Item = (String, ProbeAnswer)>,
    at: Timestamp,
) {
    for (unit, answer) in answers {
        let last = probes.iter().find(|probe| probe.unit == unit);
        let probe = Probe::after(last, unit, at, answer);
        probes.retain(|last| last.unit != probe.unit);
        probes.push(probe);
    }
}

/// Makes the next one and deletes those that have served.
pub async fn carry_out(
    context: &Context,
    name: &ObjectName,
    plan: &ProberPlan,
    authority: &mut Authority,
) -> Result<(), WriteError> {
    let (writer, world) = (&context.writer, &context.world);
    if let Some(job) = &plan.start {
        let made = writer.begin_probe(world, name, job).await;
        authority.refused = match &made {
            Err(error @ (WriteError::Refused { .. } | WriteError::NameConflict { .. })) => {
                Some(error.to_string())
            }
            _ => None,
        };
        made?;
        context.authorities.put(name, authority.clone());
    }
    for (job, uid) in &plan.remove {
        writer.remove_probe(world, name, (job, uid)).await?;
    }
    Ok(())
}
