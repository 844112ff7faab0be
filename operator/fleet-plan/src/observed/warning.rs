//! What Kubernetes' own controllers say about an object of ours in Events, where its status has no place for it: that a
//! pod of a StatefulSet or Job is refused, or why a claim gets no volume.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;

/// An Event about an object of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenWarning {
    /// The object that it is about.
    pub uid: String,
    /// Kubernetes' words.
    pub message: String,
    /// When it was last said.
    pub at: Option<Timestamp>,
}

impl SeenWarning {
    /// The reasons that tell why something is not there. Others (that a pod was made) are no use here.
    pub const REASONS: [&str; 4] = [
        "FailedCreate",
        "ProvisioningFailed",
        "FailedBinding",
        "ExternalProvisioning",
    ];

    /// None where the Event says nothing of interest.
    pub fn of(event: &Event) -> Option<SeenWarning> {
        let reason = event.reason.as_deref()?;
        if !Self::REASONS.contains(&reason) {
            return None;
        }
        let series = event
            .series
            .as_ref()
            .and_then(|it| it.last_observed_time.as_ref());
        let at = series.map(|time| time.0);
        let at = at.or(event.last_timestamp.as_ref().map(|time| time.0));
        Some(SeenWarning {
            uid: event.involved_object.uid.clone()?,
            message: event.message.clone().unwrap_or_default().trim().to_owned(),
            at: at.or(event.event_time.as_ref().map(|time| time.0)),
        })
    }
}
