//! One serving pod with a name that stays. No claim templates: the controller makes and keeps the claim itself.

use fleet_api::labels;
use fleet_types::Order;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy};
use k8s_openapi::api::core::v1::{
    Container, HTTPGetAction, Lifecycle, LifecycleHandler, PodTemplateSpec, Probe,
    SecretVolumeSource, SleepAction, TopologySpreadConstraint, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::fill;
use super::metadata::{
    Map, applied, label_selector, map, region_labels, replica_labels, replica_selector,
    serving_selector,
};
use super::pod::{
    self, DATA, FOLLOW_PORT, FOLLOW_PORT_NAME, HTTP_PORT, HTTP_PORT_NAME, METRICS_PORT,
    METRICS_PORT_NAME,
};
use crate::canonical::fingerprint;
use crate::fleet::{Fleet, Place};
use crate::observed::Settings;
use crate::view::{RegionView, Routing};

pub const CONTAINER: &str = "serve";
/// A pod that has it serves by order.
pub const ORDERS_VOLUME: &str = "orders";
const ORDERS_DIR: &str = "/etc/mirrorfleet/orders";
const LISTS_VOLUME: &str = "lists";
const LISTS_DIR: &str = "/etc/mirrorfleet/lists";
const TLS_VOLUME: &str = "tls";
const TLS_DIR: &str = "/etc/mirrorfleet/tls";
/// Measured: some 20 MiB and what connections hold, which the server bounds. What it reads of the volume counts as cache.
const RESOURCES: pod::Needs = pod::Needs {
    cpu: "50m",
    memory: "64Mi",
    memory_limit: "512Mi",
};
/// A pod that is to go is told at once, and the nodes that lead clients to it a moment later.
const LEAVING_SECONDS: i64 = 5;
/// Long enough for that, and for the server to finish what it is sending.
const GRACE_SECONDS: i64 = 60;

/// What a pod is told that is made from a template, and restarts none that runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    pub order: Option<Order>,
    /// Whether the Mirror's Service leads to it; none where there is no such Service.
    pub offered: Option<bool>,
    /// Whether its region's Service leads to it; none where that leads to all.
    pub routed: Option<bool>,
}

impl Told {
    /// By what the status says.
    pub fn new(fleet: &Fleet, view: &RegionView, order: Option<Order>) -> Told {
        Told {
            order,
            offered: fleet.is_together().then_some(view.was_offered),
            routed: (view.routing != Routing::Plain).then_some(view.leads),
        }
    }

    /// What Services look for.
    pub fn labels(&self) -> Map {
        let offered = self.offered.map(|offered| (labels::OFFERED, offered));
        let routed = self.routed.map(|routed| (labels::ROUTED, routed));
        let all = offered.into_iter().chain(routed);
        all.map(|(key, holds)| (key.to_owned(), holds.to_string()))
            .collect()
    }
}

pub fn stateful_set(fleet: &Fleet, place: &Place, settings: &Settings, told: &Told) -> StatefulSet {
    let spec = StatefulSetSpec {
        replicas: Some(1),
        service_name: Some(place.service.clone()),
        selector: label_selector(replica_selector(fleet, place)),
        // With OrderedReady a broken pod is waited for even by the change that mends it.
        pod_management_policy: Some("Parallel".to_owned()),
        update_strategy: Some(StatefulSetUpdateStrategy {
            // A new template restarts nothing by itself: the planner says which pod goes when.
            type_: Some("OnDelete".to_owned()),
            ..Default::default()
        }),
        revision_history_limit: Some(2),
        template: template(fleet, place, settings, told),
        ..Default::default()
    };
    StatefulSet {
        metadata: applied(
            fleet,
            place,
            replica_labels(fleet, place, labels::COMPONENT_SERVING),
            &spec,
        ),
        spec: Some(spec),
        ..Default::default()
    }
}

fn template(fleet: &Fleet, place: &Place, settings: &Settings, told: &Told) -> PodTemplateSpec {
    let orders = pod::annotation_volume(ORDERS_VOLUME, &fleet.name, labels::SERVE);
    let lists = pod::annotation_volume(LISTS_VOLUME, &fleet.name, labels::LIST);
    let mut volumes = vec![pod::data_volume(place), orders, lists];
    volumes.extend(fleet.tls_secret().map(tls_volume));
    let fills = fill::is_wanted(fleet);
    if fills {
        volumes.extend(fill::volumes(fleet));
    }
    let mut spec = pod::pod_spec(
        &fleet.pods,
        place.region,
        container(fleet, place, settings),
        volumes,
    );
    let fill = fills.then(|| fill::container(fleet, place, settings));
    spec.containers.extend(fill);
    spec.termination_grace_period_seconds = Some(GRACE_SECONDS);
    let mut asked = fleet.pods.annotations.clone();
    if fills {
        asked.insert(
            labels::FILL_MANIFESTS.to_owned(),
            fill::manifests(fleet, place),
        );
    }
    let component = labels::COMPONENT_SERVING;
    let with_ours = |ours| pod::with_ours(&fleet.pods.labels, ours);
    // Without the replica, whose label is put on pods that run: it restarts none.
    let filling = |mut all: Map| {
        all.extend(fills.then(|| (labels::FILLS.to_owned(), "true".to_owned())));
        all
    };
    let restarting = with_ours(filling(region_labels(fleet, place, component)));
    let applied = fingerprint(&spec, &(&restarting, &asked));
    // Neither does that it is no longer the only one: where it runs now is looked at when it is made anew.
    let spread = place.region.is_replicated();
    spec.topology_spread_constraints = spread.then(|| apart(fleet, place));
    // Another order restarts no pod either, and no other list.
    let order = told.order.as_ref().map(Order::to_string);
    let order = order.unwrap_or_default();
    let mut marked = filling(replica_labels(fleet, place, component));
    marked.extend(told.labels());
    let ours = map([
        (labels::APPLIED, &applied),
        (labels::SERVE, &order),
        (labels::LIST, &fleet.list.text),
    ]);
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            annotations: Some(pod::with_ours(&asked, ours)),
            labels: Some(with_ours(marked)),
            ..Default::default()
        }),
        spec: Some(spec),
    }
}

/// On nodes and in zones of their own, as far as there are enough: a node too few is no reason to have one replica less.
fn apart(fleet: &Fleet, place: &Place) -> Vec<TopologySpreadConstraint> {
    let over = |topology_key: &str| TopologySpreadConstraint {
        max_skew: 1,
        topology_key: topology_key.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(label_selector(serving_selector(fleet, place))),
        ..Default::default()
    };
    ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
        .map(over)
        .into()
}

fn container(fleet: &Fleet, place: &Place, settings: &Settings) -> Container {
    let tls = fleet.tls_secret().is_some();
    let mut mounts = vec![
        pod::data_mount(true),
        // The whole directory: what is mounted as a single file is never replaced.
        pod::mount(ORDERS_VOLUME, ORDERS_DIR),
        pod::mount(LISTS_VOLUME, LISTS_DIR),
    ];
    mounts.extend(tls.then(|| pod::mount(TLS_VOLUME, TLS_DIR)));
    mounts.extend(fill::is_wanted(fleet).then(fill::socket_mount));
    Container {
        name: CONTAINER.to_owned(),
        image: Some(settings.image.clone()),
        image_pull_policy: pod::pull_policy(&fleet.pods),
        args: Some(arguments(fleet, place, tls)),
        ports: Some(vec![
            pod::port(HTTP_PORT_NAME, HTTP_PORT),
            pod::port(FOLLOW_PORT_NAME, FOLLOW_PORT),
            pod::port(METRICS_PORT_NAME, METRICS_PORT.into()),
        ]),
        readiness_probe: Some(probe("/readyz", 5, 3)),
        liveness_probe: Some(probe("/healthz", 10, 6)),
        lifecycle: Some(leaves_last()),
        resources: Some(pod::resources(&fleet.spec.serving.resources, &RESOURCES)),
        security_context: Some(pod::container_security()),
        termination_message_policy: Some(pod::TERMINATION_MESSAGE.to_owned()),
        volume_mounts: Some(mounts),
        ..Default::default()
    }
}

/// Serves on while clients are being led elsewhere.
fn leaves_last() -> Lifecycle {
    let sleep = SleepAction {
        seconds: LEAVING_SECONDS,
    };
    Lifecycle {
        pre_stop: Some(LifecycleHandler {
            sleep: Some(sleep),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn arguments(fleet: &Fleet, place: &Place, tls: bool) -> Vec<String> {
    let mut arguments = vec![
        "serve".to_owned(),
        "--data".to_owned(),
        DATA.to_owned(),
        "--orders".to_owned(),
        ORDERS_DIR.to_owned(),
        "--lists".to_owned(),
        LISTS_DIR.to_owned(),
        "--listen".to_owned(),
        format!("[::]:{HTTP_PORT}"),
        "--follow-listen".to_owned(),
        format!("[::]:{FOLLOW_PORT}"),
        "--metrics-listen".to_owned(),
        format!("[::]:{METRICS_PORT}"),
        "--namespace".to_owned(),
        fleet.namespace.clone(),
        "--region".to_owned(),
        place.region.name.clone(),
    ];
    if tls {
        arguments.extend(["--tls-cert".to_owned(), format!("{TLS_DIR}/tls.crt")]);
        arguments.extend(["--tls-key".to_owned(), format!("{TLS_DIR}/tls.key")]);
    }
    if fill::is_wanted(fleet) {
        arguments.extend(fill::server_arguments(fleet));
    }
    arguments
}

fn probe(path: &str, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(METRICS_PORT_NAME.to_owned()),
            ..Default::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failure_threshold),
        ..Default::default()
    }
}

/// Optional, so that a missing Secret is the server's own message and not a pod that never starts.
fn tls_volume(secret: &str) -> Volume {
    Volume {
        name: TLS_VOLUME.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            optional: Some(true),
            default_mode: Some(0o440),
            ..Default::default()
        }),
        ..Default::default()
    }
}
