//! HTTPRoutes and Ingresses: what is made, what becomes of the URL, and what is told of those that nobody accepts.

use fleet_api::mirror::RouteKind;
use fleet_plan::client_files::list_url;
use fleet_plan::{Object, RoutesAllowed, Write, names};
use fleet_types::documents::ClientList;
use serde_json::{Value, json};

use super::serving;
use crate::model::{World, condition, render};

const GATEWAY: &str = "HTTPRoute";

fn route(kind: &str) -> Value {
    match kind {
        GATEWAY => {
            json!({"kind": kind, "parentRefs": [{"name": "public", "namespace": "infra", "sectionName": "https"}],
            "scheme": "https", "annotations": {"external-dns.alpha.kubernetes.io/ttl": "60"}})
        }
        _ => json!({"kind": kind, "ingressClassName": "nginx", "tlsSecretName": "tls-$(region)"}),
    }
}

/// Two regions that serve, of which the second one is reached from outside by a route that was just made.
fn routed(kind: &str) -> World {
    let mut world = serving(&["eu", "us<eu"]);
    world.routes_allowed = RoutesAllowed {
        kinds: vec![RouteKind::HTTPRoute, RouteKind::Ingress],
        annotation_prefixes: vec!["external-dns.alpha.kubernetes.io/".to_owned()],
    };
    world.edit(
        "/spec/regions",
        json!([{"name": "eu"}, {"name": "us", "follows": "eu", "host": "us.example.org"}]),
    );
    world.edit("/spec/serving", json!({"route": route(kind)}));
    for _ in 0..4 {
        world.step();
    }
    world
}

fn is_at_rest(world: &World) {
    let plan = world.plan();
    assert!(
        plan.writes.is_empty() && !plan.status_changed,
        "{}",
        render(&plan)
    );
}

fn accept(world: &mut World) {
    let objects = &mut world.objects;
    let routes = objects.http_routes.iter_mut().chain(&mut objects.ingresses);
    routes.for_each(|route| route.accepted = true);
    for _ in 0..4 {
        world.step();
    }
}

fn url(world: &World, at: usize) -> String {
    world.status().regions[at].url.clone().unwrap()
}

/// What a plan would apply of routes.
fn applied(world: &World) -> Vec<Value> {
    let plan = world.plan();
    let routes = plan.writes.iter().filter_map(|write| match write {
        Write::Apply(Object::HttpRoute(route)) => Some(serde_json::to_value(route).unwrap()),
        Write::Apply(Object::Ingress(route)) => Some(serde_json::to_value(route).unwrap()),
        _ => None,
    });
    routes.collect()
}

/// A route that is about to be made.
fn made(kind: &str) -> Value {
    let mut world = routed(kind);
    world.objects.http_routes.clear();
    world.objects.ingresses.clear();
    let mut made = applied(&world);
    assert_eq!(made.len(), 1, "one for each region that has a host");
    let mut made = made.remove(0);
    let digest = made["metadata"]["annotations"]["mirrorfleet.dev/applied"].take();
    assert_eq!(digest.as_str().unwrap().len(), 16);
    assert_eq!(made["metadata"]["ownerReferences"][0]["uid"], "mirror-uid");
    made["metadata"]["ownerReferences"] = Value::Null;
    made
}

fn labels() -> Value {
    json!({"app.kubernetes.io/name": "mirrorfleet", "app.kubernetes.io/managed-by": "mirrorfleet",
        "app.kubernetes.io/component": "serving", "mirrorfleet.dev/mirror": "debian", "mirrorfleet.dev/region": "us"})
}

const PATHS: [&str; 4] = [
    "/debian",
    "/.mirrorfleet/mirrorlist/debian",
    "/.mirrorfleet/nearest/debian",
    "/.mirrorfleet/s/debian",
];

#[test]
fn an_http_route_leads_what_clients_ask_to_the_regions_service() {
    let child = names::child_name("debian", "us");
    let matches = PATHS.map(|path| json!({"path": {"type": "PathPrefix", "value": path}}));
    assert_eq!(
        made(GATEWAY),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": child, "namespace": "ns", "labels": labels(), "ownerReferences": null,
                "annotations": {"external-dns.alpha.kubernetes.io/ttl": "60", "mirrorfleet.dev/applied": null}},
            "spec": {"parentRefs": [{"name": "public", "namespace": "infra", "sectionName": "https"}],
                "hostnames": ["us.example.org"],
                "rules": [{"matches": matches, "backendRefs": [{"name": child, "port": 80}]}]},
        })
    );
}

#[test]
fn an_ingress_does_the_same() {
    let child = names::child_name("debian", "us");
    let backend = json!({"service": {"name": child, "port": {"number": 80}}});
    let paths = PATHS.map(|path| json!({"path": path, "pathType": "Prefix", "backend": backend}));
    assert_eq!(
        made("Ingress"),
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": child, "namespace": "ns", "labels": labels(), "ownerReferences": null,
                "annotations": {"mirrorfleet.dev/applied": null}},
            "spec": {"ingressClassName": "nginx", "tls": [{"hosts": ["us.example.org"], "secretName": "tls-us"}],
                "rules": [{"host": "us.example.org", "http": {"paths": paths}}]},
        })
    );
}

#[test]
fn the_url_is_that_of_the_route_once_it_is_accepted_and_lists_follow() {
    for kind in [GATEWAY, "Ingress"] {
        let mut world = routed(kind);
        is_at_rest(&world);
        let inside = format!(
            "http://{}.ns.svc/debian/",
            names::child_name("debian", "us")
        );
        assert_eq!(url(&world, 1), inside);
        let pending = ("True".to_owned(), "RouteNotAccepted".to_owned());
        assert_eq!(world.condition("Reconciling"), Some(pending), "{kind}");
        assert_eq!(world.condition("Ready").unwrap().0, "True", "{kind}");
        accept(&mut world);
        is_at_rest(&world);
        assert_eq!(url(&world, 1), "https://us.example.org/debian/");
        assert_eq!(world.condition("Reconciling"), None, "{kind}");
        let text = world.serving_pod().meta.annotations["mirrorfleet.dev/list"].clone();
        let list: ClientList = serde_json::from_str(&text).unwrap();
        let urls: Vec<_> = list
            .regions
            .iter()
            .map(|region| region.url.as_str())
            .collect();
        assert_eq!(
            urls,
            ["https://us.example.org/debian/"],
            "only what is reached from outside"
        );
        assert_eq!(
            list_url(&world.mirror).as_deref(),
            Some("https://us.example.org/.mirrorfleet/mirrorlist/debian")
        );
    }
}

#[test]
fn a_public_url_says_it_better() {
    let mut world = routed(GATEWAY);
    world.edit(
        "/spec/regions/1",
        json!({"name": "us", "follows": "eu", "host": "us.example.org", "publicUrl": "https://cdn.example.org/"}),
    );
    for _ in 0..4 {
        world.step();
    }
    assert_eq!(url(&world, 1), "https://cdn.example.org/debian/");
    assert_eq!(world.objects.http_routes.len(), 1);
}

#[test]
fn a_route_that_is_refused_is_told_in_the_words_of_its_parent_and_holds_up_nothing() {
    let mut world = routed(GATEWAY);
    let words =
        "Gateway infra/public (listener https) says NotAllowedByListeners: no listener takes it";
    world.objects.http_routes[0].refusals = vec![words.to_owned()];
    world.step();
    is_at_rest(&world);
    let status = world.status();
    let stalled = ("True".to_owned(), "RouteNotAccepted".to_owned());
    assert_eq!(condition(&status, "Stalled"), Some(stalled));
    assert_eq!(condition(&status, "Ready").unwrap().0, "True");
    for kind in ["Stalled", "Ready"] {
        let mut conditions = status.conditions.iter();
        let told = &conditions
            .find(|known| known.type_ == kind)
            .unwrap()
            .message;
        assert!(told.contains(words) && told.contains("region us"), "{told}");
    }
    world.pass(3600);
    world.step();
    assert!(world.is_running(), "its next sync begins all the same");
}

#[test]
fn what_the_cluster_or_the_installation_lacks_is_told_and_nothing_is_written_for_it() {
    type Lacks = fn(&mut World);
    let cases: [(&str, Lacks, &str); 4] = [
        (
            GATEWAY,
            |world| world.serves_http_routes = false,
            "have the Gateway API installed",
        ),
        (
            GATEWAY,
            |world| world.routes_allowed.kinds.clear(),
            "HTTPRoute added to routesAllowed.kinds",
        ),
        (
            "Ingress",
            |world| world.routes_allowed.kinds.clear(),
            "Ingress added to routesAllowed.kinds",
        ),
        (
            GATEWAY,
            |world| world.routes_allowed.annotation_prefixes.clear(),
            "routesAllowed.annotationPrefixes",
        ),
    ];
    for (kind, lacks, words) in cases {
        let mut world = routed(kind);
        world.objects.http_routes.clear();
        world.objects.ingresses.clear();
        lacks(&mut world);
        world.step();
        is_at_rest(&world);
        let status = world.status();
        let stalled = ("True".to_owned(), "RouteUnavailable".to_owned());
        assert_eq!(condition(&status, "Stalled"), Some(stalled), "{words}");
        let mut conditions = status.conditions.iter();
        let told = conditions.find(|known| known.type_ == "Stalled").unwrap();
        assert!(told.message.contains(words), "{}", told.message);
        assert_eq!(condition(&status, "Ready").unwrap().0, "True", "{words}");
    }
}

#[test]
fn another_kind_takes_the_place_of_the_first_and_none_leaves_none() {
    let mut world = routed(GATEWAY);
    accept(&mut world);
    world.edit("/spec/serving", json!({"route": route("Ingress")}));
    for _ in 0..4 {
        world.step();
    }
    is_at_rest(&world);
    let count = |world: &World| {
        (
            world.objects.http_routes.len(),
            world.objects.ingresses.len(),
        )
    };
    assert_eq!(count(&world), (0, 1));
    world.edit("/spec/regions/1", json!({"name": "us", "follows": "eu"}));
    world.edit("/spec/serving", json!({}));
    for _ in 0..4 {
        world.step();
    }
    is_at_rest(&world);
    assert_eq!(count(&world), (0, 0));
    assert_eq!(world.objects.services.len(), 3);
}

#[test]
fn what_somebody_edits_by_hand_is_put_right_and_a_strangers_route_is_left_alone() {
    let mut world = routed(GATEWAY);
    let annotations = |world: &mut World| {
        let route = &mut world.objects.http_routes[0].applied.meta;
        std::mem::take(&mut route.annotations)
    };
    let mut edited = annotations(&mut world);
    edited.insert(
        "external-dns.alpha.kubernetes.io/ttl".to_owned(),
        "1".to_owned(),
    );
    edited.insert("example.org/theirs".to_owned(), "stays".to_owned());
    world.objects.http_routes[0].applied.meta.annotations = edited;
    assert_eq!(applied(&world).len(), 1);
    world.objects.http_routes[0].applied.meta.labels.clear();
    let plan = world.plan();
    assert!(plan.writes.is_empty(), "{}", render(&plan));
    let stalled = ("True".to_owned(), "NameConflict".to_owned());
    assert_eq!(condition(&plan.status, "Stalled"), Some(stalled));
}

#[test]
fn services_are_of_the_families_that_are_asked_for() {
    let mut world = serving(&["eu", "us<eu"]);
    world.edit(
        "/spec/serving",
        json!({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6"]}),
    );
    let plan = world.plan();
    let services = plan.writes.iter().filter_map(|write| match write {
        Write::Apply(Object::Service(service)) => service.spec.clone(),
        _ => None,
    });
    let services: Vec<_> = services.collect();
    assert_eq!(services.len(), 3, "{}", render(&plan));
    for service in services {
        assert_eq!(service.ip_family_policy.as_deref(), Some("PreferDualStack"));
        assert_eq!(service.ip_families, Some(vec!["IPv6".to_owned()]));
    }
    world.settle();
    // As the API server fills it up where the cluster has both.
    for service in &mut world.objects.services {
        let mut spec: Value = serde_json::from_str(&service.spec).unwrap();
        spec["ipFamilies"] = json!(["IPv6", "IPv4"]);
        service.spec = spec.to_string().into_boxed_str();
    }
    is_at_rest(&world);
}
