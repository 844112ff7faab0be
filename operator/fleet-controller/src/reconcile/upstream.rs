//! One Upstream: its authority is asked when that is due, and its status says what it has.

use std::sync::Arc;
use std::time::Duration;

use fleet_api::Upstream;
use fleet_api::upstream::{CaBundleRef, RefKind};
use fleet_plan::freshness::Confirmed;
use fleet_plan::{
    ObservedUpstream, Probe, ProbeAnswer, Prober, SeenAttempt, UpstreamPlan, confirmed,
    plan_upstream,
};
use fleet_types::Reason;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Resource};
use url::Url;

use super::{Next, counted, prober, publish, report, unreadable};
use crate::context::Context;
use crate::error::WriteError;
use crate::probe::{
    Access, Audience, Authority, Declared, ENDPOINTS_AT_ONCE, Findings, HttpFetcher, Inquiry,
    Memory, ProbeError, declared,
};
use crate::world::{Guarded, ObjectName};

/// Reconciles the Upstream of that name; says when to come back by itself.
pub async fn reconcile(context: Arc<Context>, name: ObjectName) -> Option<Duration> {
    counted(&context, "Upstream", &name, one(&context, &name)).await
}

async fn one(context: &Context, name: &ObjectName) -> Result<Next, WriteError> {
    let Some(known) = context.world.upstreams.get(name, &name.name) else {
        context.authorities.forget(name);
        context.metrics.remove_upstream(&report::key(name));
        return Ok(Next::Gone);
    };
    let Guarded { 0: Ok(upstream) } = &*known else {
        return unreadable::tell(context, &known).await;
    };
    let mut declared = declared_by_mirrors(context, name);
    let mut authority = context.authorities.get(name, upstream.metadata.generation);
    let mut told = told_by_mirrors(context, name);
    told.prober = prober::observe(context, name, &authority);
    if prober::hear(context, name, (upstream, &told.prober), &mut authority) {
        context.authorities.put(name, authority.clone());
    }
    let mut plan = decide(upstream, &declared, &authority, &told);
    if !plan.probe.is_empty() {
        let units = declared.keys().cloned().collect::<Vec<_>>();
        declared.retain(|unit, _| plan.probe.contains(unit));
        ask(context, name, upstream, &declared, &mut authority).await;
        authority.probes.retain(|probe| units.contains(&probe.unit));
        context.authorities.put(name, authority.clone());
        declared = declared_by_mirrors(context, name);
        plan = decide(upstream, &declared, &authority, &told);
    } else if !plan.probe_endpoints.is_empty() {
        // What the authority has is told before others are waited for.
        let due = plan.probe_endpoints.as_slice();
        ask_endpoints(context, name, (upstream, due), &declared, &mut authority).await;
        context.authorities.put(name, authority.clone());
        declared = declared_by_mirrors(context, name);
        plan = decide(upstream, &declared, &authority, &told);
    }
    let begun = prober::carry_out(context, name, &plan.prober, &mut authority).await;
    if begun.is_err() {
        context.authorities.put(name, authority.clone());
        told.prober = prober::observe(context, name, &authority);
        plan = decide(upstream, &declared, &authority, &told);
    }
    tell(context, name, upstream, &plan).await?;
    begun?;
    let asked = plan.prober.start.is_some() || !plan.prober.remove.is_empty();
    let more = plan.status_changed || asked || !plan.probe_endpoints.is_empty();
    Ok(match more {
        true => Next::Again,
        false => Next::At(plan.wake_at),
    })
}

fn declared_by_mirrors(context: &Context, name: &ObjectName) -> Declared {
    let mirrors = context.mirrors_of(name);
    declared(
        mirrors
            .iter()
            .filter_map(|(_, mirror)| mirror.0.as_ref().ok()),
    )
}

/// How the last runs of its Mirrors ended, and what they found it to have; and what Jobs tell that ask it.
struct Told {
    attempts: Vec<SeenAttempt>,
    confirmed: Vec<Confirmed>,
    prober: Prober,
}

fn told_by_mirrors(context: &Context, name: &ObjectName) -> Told {
    let mirrors = context.mirrors_of(name);
    let mirrors = || {
        mirrors
            .iter()
            .filter_map(|(_, mirror)| mirror.0.as_ref().ok())
    };
    Told {
        attempts: mirrors()
            .flat_map(|mirror| SeenAttempt::of(mirror, mirror.status.as_ref()))
            .collect(),
        confirmed: mirrors().flat_map(confirmed).collect(),
        prober: Prober::default(),
    }
}

fn decide(
    upstream: &Upstream,
    declared: &Declared,
    authority: &Authority,
    told: &Told,
) -> UpstreamPlan {
    let seen = ObservedUpstream {
        now: Timestamp::now(),
        units: declared.keys().cloned().collect(),
        probes: authority.probes.clone(),
        endpoints: authority.endpoints.clone(),
        attempts: told.attempts.clone(),
        confirmed: told.confirmed.clone(),
        prober: told.prober.clone(),
    };
    plan_upstream(upstream, &seen)
}

/// Asks for the declared units and notes the answers.
async fn ask(
    context: &Context,
    name: &ObjectName,
    upstream: &Upstream,
    declared: &Declared,
    authority: &mut Authority,
) {
    let findings = match fetcher(context, name, upstream, authority).await {
        Ok(fetcher) => {
            inquiry(context, upstream, declared, &fetcher, &authority.memory)
                .of_authority()
                .await
        }
        Err(problem) => all_failed(declared, &problem),
    };
    for found in findings.values() {
        let metrics = &context.metrics;
        metrics.record_probe(&report::key(name), found.is_ok());
    }
    if findings.values().any(Result::is_err) {
        // Perhaps its certificates were changed: they are read again.
        authority.ca_bundle = None;
    }
    note(&mut authority.probes, findings, Timestamp::now());
}

/// Asks these endpoints, each for all declared units, and notes the answers.
async fn ask_endpoints(
    context: &Context,
    name: &ObjectName,
    (upstream, due): (&Upstream, &[String]),
    declared: &Declared,
    authority: &mut Authority,
) {
    let fetcher = fetcher(context, name, upstream, authority).await;
    let memory = authority.memory.clone();
    let endpoints = &upstream.spec.endpoints;
    let due = endpoints
        .iter()
        .filter(|endpoint| due.contains(&endpoint.name));
    let due: Vec<(String, Url)> = due.map(|it| (it.name.clone(), it.url.clone())).collect();
    let asked = futures::stream::iter(due).map(|(endpoint, url)| {
        let (fetcher, memory) = (&fetcher, &memory);
        async move {
            let findings = match fetcher {
                Ok(fetcher) => {
                    inquiry(context, upstream, declared, fetcher, memory)
                        .of_endpoint(&url)
                        .await
                }
                Err(problem) => all_failed(declared, problem),
            };
            (endpoint, findings)
        }
    });
    let asked: Vec<_> = asked.buffer_unordered(ENDPOINTS_AT_ONCE).collect().await;
    let known = &mut authority.endpoints;
    known.retain(|name, _| endpoints.iter().any(|endpoint| endpoint.name == *name));
    for (name, findings) in asked {
        let probes = known.entry(name).or_default();
        probes.retain(|probe| findings.contains_key(&probe.unit));
        note(probes, findings, Timestamp::now());
    }
}

fn inquiry<'a>(
    context: &'a Context,
    upstream: &'a Upstream,
    declared: &'a Declared,
    fetcher: &'a HttpFetcher,
    memory: &'a Memory,
) -> Inquiry<'a, HttpFetcher> {
    Inquiry {
        upstream,
        declared,
        fetcher,
        memory,
        budget: &context.probe_budget,
        audience: Audience::Everybody,
        now: Timestamp::now(),
    }
}

fn all_failed(declared: &Declared, problem: &ProbeError) -> Findings {
    let units = declared.keys();
    units
        .map(|unit| (unit.clone(), Err(problem.clone())))
        .collect()
}

fn note(probes: &mut Vec<Probe>, findings: Findings, at: Timestamp) {
    let answers = findings.into_iter().map(|(unit, found)| {
        let answer = match found {
            Ok(revision) => ProbeAnswer::Has {
                digest: revision.digest.to_string(),
                date: Timestamp::from_second(revision.date)
                    .ok()
                    .filter(|_| revision.is_dated()),
            },
            Err(ProbeError { reason, message }) => ProbeAnswer::Failed { reason, message },
        };
        (unit, answer)
    });
    prober::note(probes, answers, at);
}

async fn fetcher(
    context: &Context,
    name: &ObjectName,
    upstream: &Upstream,
    authority: &mut Authority,
) -> Result<HttpFetcher, ProbeError> {
    let spec = &upstream.spec.access;
    if let (Some(bundle), None) = (&spec.ca_bundle_ref, &authority.ca_bundle) {
        authority.ca_bundle = Some(ca_bundle(context, name, bundle).await?);
    }
    let contact = upstream
        .spec
        .politeness
        .contact
        .as_ref()
        .map(|contact| format!(" ({contact})"));
    let access = Access {
        user_agent: format!("{}{}", context.user_agent, contact.unwrap_or_default()),
        ca_bundle: authority.ca_bundle.clone(),
        proxy: spec.proxy_url.clone(),
    };
    HttpFetcher::new(&access, context.probe_budget.clone())
}

/// The CA bundle, from a ConfigMap: the controller has no right to read Secrets.
async fn ca_bundle(
    context: &Context,
    name: &ObjectName,
    bundle: &CaBundleRef,
) -> Result<Vec<u8>, ProbeError> {
    let CaBundleRef {
        kind,
        name: object,
        key,
    } = bundle;
    if *kind == RefKind::Secret {
        let message = "access.caBundleRef names a Secret, which the controller may not read; put the certificates, which \
            are public, into a ConfigMap";
        return Err(ProbeError::new(Reason::NotProbed, message));
    }
    let missing = || {
        ProbeError::new(
            Reason::CaBundleNotFound,
            format!("access.caBundleRef: no key {key:?} in ConfigMap {object:?}"),
        )
    };
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &name.namespace);
    let found = api.get_opt(object).await.map_err(|error| {
        ProbeError::new(
            Reason::ApiError,
            format!("access.caBundleRef: ConfigMap {object:?} cannot be read: {error}"),
        )
    })?;
    let text = found
        .and_then(|map| map.data)
        .and_then(|mut data| data.remove(key))
        .ok_or_else(missing)?;
    Ok(text.into_bytes())
}

async fn tell(
    context: &Context,
    name: &ObjectName,
    upstream: &Upstream,
    plan: &UpstreamPlan,
) -> Result<(), WriteError> {
    let key = report::key(name);
    context.metrics.replace_upstream(&key, plan.gauges());
    if !plan.status_changed {
        return Ok(());
    }
    context
        .writer
        .upstream_status(&context.world, upstream, &plan.status)
        .await?;
    context.tell_mirrors(name, Some(upstream));
    publish(context, &upstream.object_ref(&()), &plan.events).await;
    Ok(())
}
