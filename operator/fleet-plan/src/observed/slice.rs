//! Where a Service leads, as it was seen.

use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::SeenMeta;

/// A part of the endpoints of a Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenSlice {
    pub meta: SeenMeta,
    /// The names of the pods that it leads to.
    pub pods: Vec<String>,
}

impl SeenSlice {
    const SERVICE: &str = "kubernetes.io/service-name";

    /// The Service that it is of.
    pub fn service(&self) -> Option<&str> {
        self.meta.label(Self::SERVICE)
    }
}

impl From<&EndpointSlice> for SeenSlice {
    fn from(slice: &EndpointSlice) -> Self {
        let endpoints = slice.endpoints.iter().filter(|endpoint| {
            let conditions = endpoint.conditions.as_ref();
            // Nothing said means that it is.
            conditions.is_none_or(|conditions| conditions.ready != Some(false))
        });
        let pods = endpoints.filter_map(|endpoint| endpoint.target_ref.as_ref()?.name.clone());
        SeenSlice {
            meta: SeenMeta::of(&slice.metadata),
            pods: pods.collect(),
        }
    }
}
