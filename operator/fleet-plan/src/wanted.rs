//! A replica's objects, and those of its region with the first one's: as they should be, and how they stand.

use fleet_api::labels;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;

use crate::build;
use crate::canonical::is_as_wanted;
use crate::fleet::Fleet;
use crate::object::Object;
use crate::observed::{Observed, SeenApplied};
use crate::plan::Write;
use crate::routes::RouteWish;
use crate::view::RegionView;

/// How one replica's objects stand.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Standing {
    /// This plan evicts the serving pod.
    pub evicting: bool,
    /// The replica from which all is copied again, where the claim is being deleted and its pod gives way to that.
    pub refilled_from: Option<String>,
    /// What is still missing, for people.
    pub waiting_for: Option<String>,
    /// When time alone changes this.
    pub look_again: Option<Timestamp>,
}

/// A replica's objects as they should be.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The region's, with its first replica.
    pub service: Option<Wish>,
    pub stateful_set: Wish,
    /// The same.
    pub disruption_budget: Option<Wish>,
    /// The same.
    pub route: RouteWish<'a>,
    /// Digest of the pod template.
    pub template: Option<String>,
}

/// An object as it should be, and whether it is.
#[derive(Debug)]
pub struct Wish {
    pub object: Object,
    pub stands: bool,
}

impl<'a> Wanted<'a> {
    pub fn new(fleet: &Fleet, view: &RegionView<'a>, seen: &Observed) -> Wanted<'a> {
        let (place, settings) = (view.place, &seen.settings);
        let told = build::Told::new(fleet, view, view.order());
        let set = build::stateful_set(fleet, place, settings, &told);
        let service = || Wish::new(build::service(fleet, place, view.routing), view.service);
        let budget = || {
            let budget = build::disruption_budget(fleet, place, view.routing);
            Wish::new(budget, view.disruption_budget)
        };
        let is_first = place.is_first();
        Wanted {
            service: is_first.then(service),
            disruption_budget: is_first.then(budget),
            route: RouteWish::of(fleet, view, seen),
            template: template_of(&set).map(str::to_owned),
            stateful_set: Wish::new(set, view.stateful_set),
        }
    }
}

impl Wish {
    pub fn new(object: impl Into<Object>, live: Option<&SeenApplied>) -> Wish {
        let object = object.into();
        let stands = live.is_some_and(|live| {
            let mut owners = object.meta().owner_references.iter().flatten();
            let owned = owners.all(|owner| live.meta.owners.contains(&owner.uid));
            // An object on its way out comes back only after it is gone: applying to it now would be lost.
            live.meta.deleting || owned && is_as_wanted(live, &object)
        });
        Wish { object, stands }
    }

    /// The write that makes it so.
    pub fn apply(&self) -> Option<Write> {
        (!self.stands).then(|| Write::Apply(self.object.clone()))
    }
}

fn template_of(set: &StatefulSet) -> Option<&str> {
    let template = set.spec.as_ref()?.template.metadata.as_ref()?;
    let annotations = template.annotations.as_ref()?;
    annotations.get(labels::APPLIED).map(String::as_str)
}
