//! What commands are made of that help a person.

use fleet_api::mirror::RouteKind;
use fleet_types::Reason;

use super::place;
use crate::names;
use crate::summary::{Known, Program};

/// A Mirror, what is wrong with it, and who asks.
pub struct Facts<'a> {
    pub known: &'a Known<'a>,
    pub program: &'a Program,
    pub namespace: String,
    pub mirror: String,
    pub upstream: String,
    /// The region in question.
    pub region: String,
    /// The name that the objects of its replica in question share.
    pub child: String,
}

impl<'a> Facts<'a> {
    pub fn new(known: &'a Known<'a>, reason: Reason, program: &'a Program) -> Facts<'a> {
        let (region, replica) = place(known, reason);
        Facts {
            known,
            program,
            namespace: known.namespace(),
            mirror: known.name(),
            upstream: known.mirror.spec.upstream_ref.name.clone(),
            child: names::replica_name(&known.name(), &region, replica),
            region,
        }
    }

    pub fn ours(&self, command: &str) -> String {
        self.program.ours(command, &self.mirror, &self.namespace)
    }

    pub fn kubectl(&self, command: &str) -> String {
        self.program.kubectl(command, &self.namespace)
    }

    pub fn edit(&self) -> String {
        self.kubectl(&format!("edit mirror {}", self.mirror))
    }

    pub fn edit_upstream(&self) -> String {
        self.kubectl(&format!("edit upstream {}", self.upstream))
    }

    /// Where a field of the Upstream points.
    pub fn reference(&self, field: &str) -> String {
        let path = format!("-o jsonpath='{{.spec.{field}}}{{\"\\n\"}}'");
        self.kubectl(&format!("get upstream {} {path}", self.upstream))
    }

    pub fn describe_pod(&self) -> String {
        let pod = names::serving_pod_name(&self.child);
        self.kubectl(&format!("describe pod {pod}"))
    }

    pub fn serving_pods(&self) -> String {
        let (component, mirror) = (fleet_api::labels::COMPONENT, fleet_api::labels::MIRROR);
        self.kubectl(&format!(
            "get pods -o wide -l {mirror}={},{component}={}",
            self.mirror,
            fleet_api::labels::COMPONENT_SERVING
        ))
    }

    pub fn describe_claim(&self) -> String {
        self.kubectl(&format!("describe pvc {}", self.child))
    }

    /// By its group too, as kinds of that name are in several.
    pub fn describe_route(&self) -> String {
        let route = self.known.mirror.spec.serving.route.as_ref();
        let kind = match route.map(|route| route.kind) {
            Some(RouteKind::HTTPRoute) => "httproutes.gateway.networking.k8s.io",
            Some(RouteKind::Ingress) | None => "ingresses.networking.k8s.io",
        };
        let (mirror, region) = (fleet_api::labels::MIRROR, fleet_api::labels::REGION);
        self.kubectl(&format!(
            "describe {kind} -l {mirror}={},{region}={}",
            self.mirror, self.region
        ))
    }

    pub fn watch(&self) -> String {
        self.ours("status --watch")
    }

    /// A volume of twice the size; one region's own is a line of a list, which no patch of a few words changes.
    pub fn grow(&self) -> String {
        let regions = &self.known.mirror.spec.regions;
        let own = regions.iter().find(|region| region.name == self.region);
        let own = own.and_then(|region| region.storage.as_ref()?.size.as_ref());
        if own.is_some() {
            return self.edit();
        }
        let size = self.known.mirror.spec.storage.size.bytes();
        let size = size.saturating_mul(2).div_ceil(1 << 30);
        self.patch(&format!(
            "{{\"spec\":{{\"storage\":{{\"size\":\"{size}Gi\"}}}}}}"
        ))
    }

    pub fn patch(&self, patch: &str) -> String {
        self.kubectl(&format!(
            "patch mirror {} --type merge -p '{patch}'",
            self.mirror
        ))
    }
}
