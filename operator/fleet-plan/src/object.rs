//! The kinds of which a region has objects. One that is added here is one line, and whoever forgets it does not compile.

use fleet_api::labels;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::http_route::HttpRoute;

macro_rules! owned {
    ($($kind:ident($object:ident);)+) => {
        /// A kind of which a region has objects.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Owned {
            $($kind,)+
        }

        impl Owned {
            /// Kubernetes' word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Owned::$kind => <$object as k8s_openapi::Resource>::KIND,)+
                }
            }
        }

        /// An object as we want it.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Object {
            $($kind(Box<$object>),)+
        }

        impl Object {
            pub fn kind(&self) -> Owned {
                match self {
                    $(Object::$kind(_) => Owned::$kind,)+
                }
            }

            pub fn meta(&self) -> &ObjectMeta {
                match self {
                    $(Object::$kind(object) => &object.metadata,)+
                }
            }

            /// Its `.spec` as JSON.
            pub fn spec(&self) -> Value {
                let spec = match self {
                    $(Object::$kind(object) => serde_json::to_value(&object.spec),)+
                };
                spec.unwrap_or_default()
            }
        }

        $(impl From<$object> for Object {
            fn from(object: $object) -> Object {
                Object::$kind(Box::new(object))
            }
        })+
    };
}

owned! {
    Claim(PersistentVolumeClaim);
    Service(Service);
    StatefulSet(StatefulSet);
    DisruptionBudget(PodDisruptionBudget);
    Ingress(Ingress);
    HttpRoute(HttpRoute);
    Job(Job);
}

impl Object {
    pub fn label(&self, key: &str) -> Option<&str> {
        let labels = self.meta().labels.as_ref()?;
        labels.get(key).map(String::as_str)
    }

    /// The digest of what is applied.
    pub fn applied(&self) -> Option<&str> {
        let annotations = self.meta().annotations.as_ref()?;
        annotations.get(labels::APPLIED).map(String::as_str)
    }
}
