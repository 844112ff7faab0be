//! The small questions, each about one region: what is wrong, where, and what happens next.

use fleet_types::{Order, Outcome, Reason, are, counted};

use crate::fleet::Problem;
use crate::observed::{SeenPod, VolumePhase};
use crate::site::Site;

pub(super) fn volume_lost(site: &Site) -> Option<Problem> {
    let claim = site
        .view
        .claim
        .filter(|claim| claim.phase == VolumePhase::Lost)?;
    let helps = match site.is_replaced() {
        true => {
            "it is replaced and filled from another replica, as soon as one is well that has what is served"
        }
        false => "bring it back, or delete the claim to start empty",
    };
    let message = format!(
        "the volume of PersistentVolumeClaim {} (region {}) is lost: {helps}",
        claim.meta.name,
        site.title()
    );
    Some(Problem::new(Reason::VolumeUnreachable, message))
}

/// Somebody deleted the claim. It goes with the last pod that uses it, and no run may use it any more.
pub(super) fn volume_leaving(site: &Site) -> Option<Problem> {
    let claim = site.view.claim.filter(|claim| claim.meta.deleting)?;
    let is_used = site.view.pod.is_some_and(SeenPod::holds_its_node);
    let what = match &site.objects.refilled_from {
        Some(region) => format!("its serving pod is made anew, and all is copied again from region {region}"),
        None if is_used => "no other region that follows or is followed keeps what it serves, so it serves on and is not synced; delete its serving pod to \
             start empty"
            .to_owned(),
        None => "another one is made once it is gone".to_owned(),
    };
    let message = format!(
        "PersistentVolumeClaim {} (region {}) is being deleted: {what}",
        claim.meta.name,
        site.name()
    );
    Some(Problem::new(Reason::VolumePending, message))
}

pub(super) fn volume_pending(site: &Site) -> Option<Problem> {
    let region = site.title();
    match site.view.claim {
        None => Some(Problem::new(
            Reason::VolumePending,
            format!("region {region} has no PersistentVolumeClaim yet"),
        )),
        Some(claim) if claim.phase == VolumePhase::Pending => {
            let name = &claim.meta.name;
            let message = format!(
                "PersistentVolumeClaim {name} (region {region}) is not bound yet; `kubectl describe pvc {name}` may tell why"
            );
            if let Some(told) = volume_refused(site) {
                return Some(told);
            }
            Some(Problem::new(Reason::VolumePending, message))
        }
        Some(claim) => claim.resize_trouble.as_ref().map(|words| {
            let message = format!(
                "PersistentVolumeClaim {} (region {region}) cannot grow: {words}",
                claim.meta.name
            );
            Problem::new(Reason::VolumePending, message)
        }),
    }
}

/// A claim that is not bound, in the words of whoever has no volume for it.
pub(super) fn volume_refused(site: &Site) -> Option<Problem> {
    let claim = site
        .view
        .claim
        .filter(|claim| claim.phase == VolumePhase::Pending)?;
    let words = &site.view.warning(&claim.meta)?.message;
    let message = format!(
        "PersistentVolumeClaim {} (region {}) is not bound: {words}",
        claim.meta.name,
        site.title()
    );
    Some(Problem::new(Reason::VolumePending, message))
}

pub(super) fn storage_at_fault(site: &Site) -> Option<Problem> {
    if let Some(told) = site.view.served().and_then(|it| it.not_kept.as_ref()) {
        let message = format!("region {}: {}", site.title(), told.message);
        return Some(Problem::new(told.reason, message));
    }
    let (reason, last) = site.last_was(Outcome::Storage)?;
    Some(Problem::new(
        reason,
        format!("region {}: {}", site.title(), last.message),
    ))
}

/// What the serving pod found damaged on its volume; a run mends it.
pub(super) fn damaged(site: &Site) -> Option<Problem> {
    let served = site.view.served()?;
    let files = (!served.damaged.is_empty()).then(|| {
        let count = served.damaged.len();
        let them = if count == 1 { "it" } else { "them" };
        let files = counted(count, "stored file");
        format!(
            "{files} {} damaged; the next sync fetches {them} again",
            are(count)
        )
    });
    let words = served.problem.iter().cloned().chain(files);
    let words: Vec<_> = words.collect();
    (!words.is_empty()).then(|| {
        let message = format!("region {}: {}", site.title(), words.join("; "));
        Problem::new(Reason::StoreCorrupt, message)
    })
}

pub(super) fn refused(site: &Site) -> Option<Problem> {
    let (reason, last) = site.last_was(Outcome::Refused)?;
    Some(Problem::new(
        reason,
        format!("region {}: {}", site.title(), last.message),
    ))
}

/// The reasons that an edit mends; a part of the archive that upstream does not offer is a typing error as a rule.
pub(super) fn manifest_at_fault(site: &Site) -> Option<Problem> {
    let offered = site
        .last_was(Outcome::Refused)
        .filter(|(reason, _)| *reason == Reason::NotOffered);
    let (reason, last) = site.last_was(Outcome::Manifest).or(offered)?;
    Some(Problem::new(
        reason,
        format!("region {}: {}", site.title(), last.message),
    ))
}

/// The run that is under way has no pod that runs, and Kubernetes tells why.
pub(super) fn run_held_up(site: &Site) -> Option<Problem> {
    let job = &site.runs.status.current_run.as_ref()?.job;
    let cause = site.view.job_cause(job)?;
    let region = site.title();
    Some(Problem::new(
        cause.reason,
        format!(
            "the pod of sync Job {job} (region {region}) {}",
            cause.words
        ),
    ))
}

/// The same where nothing is served before it is mended.
pub(super) fn first_run_held_up(site: &Site) -> Option<Problem> {
    run_held_up(site).filter(|_| !site.has_snapshot())
}

pub(super) fn never_synced(site: &Site) -> Option<Problem> {
    if site.has_content() {
        return None;
    }
    let region = site.title();
    if site.fleet.spec.fills_itself() {
        let message = format!("region {region}: its registry has not answered yet");
        return Some(Problem::new(Reason::Progressing, message));
    }
    let problem = |reason, message: String| Some(Problem::new(reason, message));
    match (&site.runs.status.current_run, site.last()) {
        (Some(run), _) => problem(
            Reason::FirstSyncRunning,
            format!("region {region}: the first sync runs as Job {}", run.job),
        ),
        (None, Some(last)) if last.reason.outcome() != Outcome::Good => problem(
            last.reason,
            format!(
                "region {region} has no snapshot; its last sync failed: {}",
                last.message
            ),
        ),
        (None, Some(_)) => problem(
            Reason::Progressing,
            format!("region {region}: the first sync is done; its pod has yet to serve it"),
        ),
        (None, None) if site.waiting.is_some() => problem(
            Reason::WaitingForTurn,
            format!(
                "region {region} has no snapshot; its first sync {}",
                site.waiting.as_deref().unwrap_or_default()
            ),
        ),
        (None, None) => problem(
            Reason::FirstSyncPending,
            format!("region {region} has no snapshot; its first sync has not started yet"),
        ),
    }
}

/// The serving pod does not run, and Kubernetes tells why.
pub(super) fn pod_held_up(site: &Site) -> Option<Problem> {
    let cause = site.view.pod_cause()?;
    let name = crate::names::serving_pod_name(&site.view.place.child);
    Some(Problem::new(
        cause.reason,
        format!(
            "serving pod {name} (region {}) {}",
            site.title(),
            cause.words
        ),
    ))
}

pub(super) fn pod_not_ready(site: &Site) -> Option<Problem> {
    if site.view.ready() {
        return None;
    }
    let told = pod_held_up(site);
    let region = site.title();
    let words = match site.view.pod {
        None => format!("region {region} has no serving pod yet"),
        Some(pod) => {
            let stage = if pod.meta.deleting {
                "is being replaced"
            } else {
                "is not ready yet"
            };
            let words = format!("serving pod {} (region {region}) {stage}", pod.meta.name);
            // Where a node is gone, its pods stay as they were.
            match pod
                .ready_changed_at
                .filter(|_| !pod.ready)
                .zip(pod.node.as_ref())
            {
                Some((since, node)) => {
                    format!("{words}: not ready since {since}, on node {node}")
                }
                None => words,
            }
        }
    };
    told.or(Some(Problem::new(Reason::PodNotReady, words)))
}

pub(super) fn objects_pending(site: &Site) -> Option<Problem> {
    let words = site.objects.waiting_for.as_ref()?;
    Some(Problem::new(
        Reason::Progressing,
        format!("region {}: {words}", site.title()),
    ))
}

/// The others are restarted without it.
pub(super) fn left_behind(site: &Site) -> Option<Problem> {
    let words = site.left_behind()?;
    Some(Problem::new(Reason::Progressing, words))
}

/// What a region would write or copy cannot be read everywhere.
pub(super) fn indices_do_not_fit(site: &Site) -> Option<Problem> {
    let misfit = site.misfit.as_ref()?;
    let reason = Reason::IndexVersionTooNew;
    Some(Problem::new(reason, misfit.message.clone()))
}

/// A replica that lacks what the others serve, and how it comes to it.
pub(super) fn joining(site: &Site) -> Option<Problem> {
    let joins = site.fleet.is_together() && site.has_snapshot();
    let since = &site.withdrawn_at.as_ref().filter(|_| joins)?.0;
    let run = site.runs.status.current_run.as_ref();
    let copies = run.and_then(|run| Some((&run.job, run.copies.as_ref()?)));
    let failed = || {
        let last = site
            .last()
            .filter(|last| last.reason.outcome() != Outcome::Good)?;
        let again = site
            .next_copy
            .map(|at| format!("; it is tried again at {at}"));
        Some(format!(
            "its last copy failed: {}: {}{}",
            last.reason,
            last.message,
            again.unwrap_or_default()
        ))
    };
    let queued = (site.queued.as_ref()).map(|words| format!("its copy {words}"));
    let what = match copies {
        Some((job, snapshot)) => format!("Job {job} copies snapshot {snapshot}"),
        None if site.view.served().is_none() => "it cannot be asked".to_owned(),
        None => queued
            .or_else(failed)
            .unwrap_or_else(|| "it goes on as soon as another region has what it lacks".to_owned()),
    };
    Some(Problem::new(
        Reason::Joining,
        format!(
            "region {} has been left out of {} since {since}, until it serves what the others do: {what}",
            site.title(),
            match site.view.place.region.is_replicated() {
                true => "its Services",
                false => "the Mirror's Service",
            }
        ),
    ))
}

/// Clients outside are not led here, and a person has to change something.
pub(super) fn route_not_made(site: &Site) -> Option<Problem> {
    site.wanted.route.refusal(site.fleet, site.view.place)
}

/// Clients outside are not led here yet.
pub(super) fn route_pending(site: &Site) -> Option<Problem> {
    site.wanted.route.pending(site.fleet, site.view.place)
}

/// A pod that does not serve what it was told to, after it had its time.
pub(super) fn order_not_taken(site: &Site) -> Option<Problem> {
    let unheeded = site.unheeded()?;
    if site.now < unheeded.is_told_at() {
        return None;
    }
    let problem = site.view.served().and_then(|served| served.problem.clone());
    let then = match (problem, unheeded.is_renewed_at()) {
        (Some(problem), _) => problem,
        (None, Some(at)) => format!("its pod is made anew at {at}"),
        (None, None) => "it does not keep that snapshot".to_owned(),
    };
    let Order { epoch, snapshot } = unheeded.order;
    Some(Problem::new(
        Reason::OrderNotTaken,
        format!(
            "region {} was told at {} to serve snapshot {snapshot} (order {epoch}) and does not: {then}",
            site.title(),
            unheeded.since
        ),
    ))
}
