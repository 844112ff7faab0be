//! Claims as they were seen.

use fleet_api::{ByteQuantity, ConditionStatus};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::SeenMeta;

/// Where a claim stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum VolumePhase {
    #[default]
    Pending,
    Bound,
    Lost,
}

/// A PersistentVolumeClaim.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenClaim {
    pub meta: SeenMeta,
    pub phase: VolumePhase,
    /// The requested size, in bytes where it can be read.
    pub requested: Option<u64>,
    /// What the volume really has, in bytes.
    pub capacity: Option<u64>,
    /// Why a resize does not come about, in the volume plugin's words.
    pub resize_trouble: Option<String>,
}

impl From<&PersistentVolumeClaim> for SeenClaim {
    fn from(claim: &PersistentVolumeClaim) -> Self {
        let request = claim
            .spec
            .as_ref()
            .and_then(|spec| spec.resources.as_ref())
            .and_then(|r| r.requests.as_ref());
        let status = claim.status.as_ref();
        let capacity = status.and_then(|status| status.capacity.as_ref());
        let phase = match status.and_then(|status| status.phase.as_deref()) {
            Some("Bound") => VolumePhase::Bound,
            Some("Lost") => VolumePhase::Lost,
            _ => VolumePhase::Pending,
        };
        let resize_trouble = status
            .and_then(|status| status.conditions.as_ref())
            .into_iter()
            .flatten();
        let resize_trouble = resize_trouble
            .filter(|condition| {
                ConditionStatus::True.is(&condition.status)
                    && condition.type_.ends_with("ResizeError")
            })
            .find_map(|condition| condition.message.clone());
        SeenClaim {
            meta: SeenMeta::of(&claim.metadata),
            phase,
            requested: request.and_then(|map| map.get("storage")).and_then(bytes),
            capacity: capacity.and_then(|map| map.get("storage")).and_then(bytes),
            resize_trouble,
        }
    }
}

fn bytes(quantity: &Quantity) -> Option<u64> {
    quantity
        .0
        .parse::<ByteQuantity>()
        .ok()
        .map(|quantity| quantity.bytes())
}
