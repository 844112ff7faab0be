//! Why a pod or a volume is not there: the root, in the words of whoever refuses it.

use fleet_types::Reason;

use crate::observed::{SeenPod, SeenWarning};

/// A fixed word and Kubernetes' own words, as the end of a sentence about the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    pub reason: Reason,
    pub words: String,
}

impl Cause {
    fn new(reason: Reason, words: String) -> Cause {
        Cause { reason, words }
    }
}

/// What kubelets say of an image that they cannot get.
/// <https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/images/types.go>
const IMAGE: [&str; 7] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
];

/// Why a pod does not run, if it tells.
pub fn of_pod(pod: &SeenPod) -> Option<Cause> {
    if let Some(words) = &pod.unschedulable {
        return Some(Cause::new(
            Reason::PodUnschedulable,
            format!("cannot be scheduled: {words}"),
        ));
    }
    if let Some(trouble) = &pod.trouble {
        let image = pod.image.as_deref().unwrap_or("of its container");
        let words = [trouble.reason.as_str(), trouble.message.as_str()];
        let words = words.map(str::trim).join(": ");
        let words = words.trim_end_matches([':', ' ']);
        return Some(if IMAGE.contains(&trouble.reason.as_str()) {
            Cause::new(
                Reason::ImageNotPulled,
                format!("cannot get the image {image}: {words}"),
            )
        } else {
            Cause::new(Reason::PodNotReady, format!("is not well: {words}"))
        });
    }
    let end = pod.crash.as_ref()?;
    let reason = match end.reason.as_str() {
        "" | "Error" | "Completed" => String::new(),
        word => format!("{word}, "),
    };
    let line = match end.message.as_str() {
        "" => "; `kubectl logs --previous` may tell more".to_owned(),
        line => format!("; the last that it said: {line}"),
    };
    Some(Cause::new(
        Reason::PodCrashing,
        format!(
            "ends and is started again ({reason}exit code {}){line}",
            end.exit_code
        ),
    ))
}

/// Why a controller of Kubernetes makes no pod.
pub fn of_missing_pod(warning: Option<&SeenWarning>) -> Option<Cause> {
    let warning = warning?;
    Some(Cause::new(
        Reason::CreationRefused,
        format!("is refused by the cluster: {}", warning.message),
    ))
}
