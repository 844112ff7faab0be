//! Why a run did not start or left no report, in Kubernetes' words.

use fleet_types::Reason;

use crate::observed::{SeenJob, SeenPod, last_line};
use crate::view::RegionView;

/// Why a Job's pod does not run, as a word and as the end of a sentence about the pod.
pub fn held_up(view: &RegionView, job: &str) -> (Reason, String) {
    match view.job_cause(job) {
        Some(cause) if cause.reason == Reason::PodUnschedulable => {
            (Reason::SyncUnschedulable, cause.words)
        }
        Some(cause) => (cause.reason, cause.words),
        None => {
            let words = "has not started, and nobody tells why; `kubectl describe job` may";
            (Reason::SyncUnschedulable, words.to_owned())
        }
    }
}

pub fn end_words(pod: Option<&SeenPod>, job: &SeenJob) -> String {
    match (pod.and_then(|pod| pod.end.as_ref()), &job.end) {
        (Some(end), _) => {
            // Without a report of its own, Kubernetes takes the end of its log.
            let said = last_line(&end.message);
            let said = if said.is_empty() {
                said
            } else {
                format!("; the last that it said: {said}")
            };
            format!("{}, exit code {}{said}", end.reason, end.exit_code)
        }
        (None, Some(end)) if !end.message.is_empty() => end.message.clone(),
        _ => "its pod is gone".to_owned(),
    }
}
