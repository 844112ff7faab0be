//! How clients outside are led to a region: what the installation and the cluster let be made, how the route stands, and what
//! people are told of it.
//!
//! That there is none holds up nothing else: whoever is inside of the cluster is served all the same.

use fleet_api::mirror::{Route, RouteKind};
use fleet_types::Reason;
use serde::Deserialize;

use crate::build;
use crate::fleet::{Fleet, Place, Problem};
use crate::observed::{Observed, SeenRoute};
use crate::view::RegionView;
use crate::wanted::Wish;

/// What the installation lets controllers make; nothing by default. A route claims a host for everybody who can reach the
/// cluster, which who writes Mirrors may not be allowed to do by himself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RoutesAllowed {
    pub kinds: Vec<RouteKind>,
    /// What the keys of annotations may begin with.
    pub annotation_prefixes: Vec<String>,
}

impl RoutesAllowed {
    pub fn allows(&self, kind: RouteKind) -> bool {
        self.kinds.contains(&kind)
    }
}

/// What is to become of the route of a region.
#[derive(Debug)]
pub enum RouteWish<'a> {
    /// None is declared; one that is there goes.
    Nothing,
    /// One is declared and cannot be made; one that is there stays.
    Unavailable(Problem),
    /// It is to be as the wish says; how it stands.
    Made(Wish, Option<&'a SeenRoute>),
}

impl<'a> RouteWish<'a> {
    /// For the first replica of a region, whose Service it leads to.
    pub fn of(fleet: &Fleet, view: &RegionView<'a>, seen: &Observed) -> RouteWish<'a> {
        let place = view.place;
        let Some((route, host)) = fleet.route_of(place) else {
            return RouteWish::Nothing;
        };
        let live = match route.kind {
            RouteKind::HTTPRoute => view.http_route,
            RouteKind::Ingress => view.ingress,
        };
        match refused(route, seen) {
            Some(problem) => RouteWish::Unavailable(problem),
            None => {
                let object = build::route(fleet, place, route, host);
                RouteWish::Made(Wish::new(object, live.map(|live| &live.applied)), live)
            }
        }
    }

    pub fn wish(&self) -> Option<&Wish> {
        match self {
            RouteWish::Made(wish, _) => Some(wish),
            RouteWish::Nothing | RouteWish::Unavailable(_) => None,
        }
    }

    /// Whether clients come by it.
    pub fn is_accepted(&self) -> bool {
        matches!(self, RouteWish::Made(_, Some(live)) if live.accepted)
    }

    /// What a person has to change.
    pub fn refusal(&self, fleet: &Fleet, place: &Place) -> Option<Problem> {
        let (route, _) = fleet.route_of(place)?;
        match self {
            RouteWish::Nothing => None,
            RouteWish::Unavailable(problem) => Some(problem.clone()),
            RouteWish::Made(_, live) => {
                let words = live.filter(|live| !live.refusals.is_empty())?;
                let message = format!(
                    "region {}: {} {} is not accepted: {}",
                    place.region.name,
                    route.kind.as_str(),
                    place.service,
                    words.refusals.join("; ")
                );
                Some(Problem::new(Reason::RouteNotAccepted, message))
            }
        }
    }

    /// What is still waited for.
    pub fn pending(&self, fleet: &Fleet, place: &Place) -> Option<Problem> {
        let (route, _) = fleet.route_of(place)?;
        let RouteWish::Made(wish, live) = self else {
            return None;
        };
        let waits = live.is_none_or(|live| !live.accepted && live.refusals.is_empty());
        if !wish.stands || !waits {
            return None;
        }
        let (kind, name) = (route.kind.as_str(), &place.service);
        let words = match route.kind {
            RouteKind::HTTPRoute => {
                let parents = route.parent_refs.iter();
                let parents = parents.map(|parent| parent.title(&fleet.namespace));
                let parents: Vec<_> = parents.collect();
                format!(
                    "{kind} {name} was accepted by nobody yet; it is for {}: is there such a Gateway, and does its controller run?",
                    parents.join(", ")
                )
            }
            RouteKind::Ingress => {
                let class = match &route.ingress_class_name {
                    Some(class) => format!("IngressClass {class}"),
                    None => "the default IngressClass".to_owned(),
                };
                format!(
                    "{kind} {name} has no address yet; it is for {class}: is there such a class, and does its controller run? One that never writes addresses into the status needs regions[].publicUrl"
                )
            }
        };
        let message = format!("region {}: {words}", place.region.name);
        Some(Problem::new(Reason::RouteNotAccepted, message))
    }
}

/// Why a route is not made.
fn refused(route: &Route, seen: &Observed) -> Option<Problem> {
    let (allowed, kind) = (&seen.settings.routes_allowed, route.kind);
    let word = kind.as_str();
    let unavailable = |message: String| Some(Problem::new(Reason::RouteUnavailable, message));
    if !allowed.allows(kind) {
        return unavailable(format!(
            "spec.serving.route: this installation makes no {word} objects: have {word} added to routesAllowed.kinds in the chart's values, or write regions[].publicUrl and make one yourself"
        ));
    }
    if kind == RouteKind::HTTPRoute && !seen.serves_http_routes {
        return unavailable(format!(
            "spec.serving.route: this cluster serves no {word} of gateway.networking.k8s.io/v1: have the Gateway API installed (version 1.0 or newer), or write kind: Ingress"
        ));
    }
    let is_allowed = |key: &&String| {
        let mut prefixes = allowed.annotation_prefixes.iter();
        let ours = key.starts_with("mirrorfleet.dev/");
        !ours && prefixes.any(|prefix| !prefix.is_empty() && key.starts_with(prefix.as_str()))
    };
    let key = route.annotations.keys().find(|key| !is_allowed(key))?;
    let prefixes = match allowed.annotation_prefixes.is_empty() {
        true => "none".to_owned(),
        false => allowed.annotation_prefixes.join(", "),
    };
    unavailable(format!(
        "spec.serving.route.annotations: {key:?} begins with none of the prefixes that this installation allows ({prefixes}): take it out, or have one added to routesAllowed.annotationPrefixes in the chart's values"
    ))
}
