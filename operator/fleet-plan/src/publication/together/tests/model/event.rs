//! What can happen.

use super::*;

#[derive(Debug, Clone)]
pub enum Event {
    /// The controller asks, decides and writes that down.
    Decide,
    /// It writes the template, or what the pod is told, or its label, as it was decided.
    Template(usize),
    Annotate(usize),
    Label(usize),
    /// Routing of all regions follows the label, and that of its region does.
    Route(usize),
    RouteRegion(usize),
    /// The kubelet brings the annotation, and the server looks.
    Look(usize),
    /// All three at once, as they come as a rule.
    Tell(usize),
    /// The pod is made anew.
    Restart(usize),
    Reachable(usize, bool),
    /// A run begins, as far as there is something to do; and ends, well or not.
    Begin(usize),
    End(usize),
    Fail(usize),
    /// Both at once, as they come as a rule.
    Run(usize),
    /// Seconds pass.
    Pass(i64),
    /// A person decides.
    Pin(Option<u8>),
    Skip(Vec<u8>),
    Pause(bool),
    /// What is tried is found good or bad.
    Judge(bool),
}

pub fn events() -> impl Strategy<Value = Vec<Event>> {
    let site = 0..SITES;
    let event = prop_oneof![
        12 => Just(Event::Decide),
        8 => site.clone().prop_map(Event::Template),
        8 => site.clone().prop_map(Event::Annotate),
        8 => site.clone().prop_map(Event::Label),
        8 => site.clone().prop_map(Event::Route),
        8 => site.clone().prop_map(Event::RouteRegion),
        8 => site.clone().prop_map(Event::Look),
        12 => site.clone().prop_map(Event::Tell),
        4 => site.clone().prop_map(Event::Restart),
        4 => (site.clone(), any::<bool>()).prop_map(|(site, is)| Event::Reachable(site, is)),
        12 => site.clone().prop_map(Event::Begin),
        10 => site.clone().prop_map(Event::End),
        3 => site.clone().prop_map(Event::Fail),
        12 => site.prop_map(Event::Run),
        4 => (1..400i64).prop_map(Event::Pass),
        1 => prop::option::of(1..12u8).prop_map(Event::Pin),
        1 => prop::collection::vec(1..12u8, 0..3).prop_map(Event::Skip),
        1 => any::<bool>().prop_map(Event::Pause),
        4 => any::<bool>().prop_map(Event::Judge),
    ];
    prop::collection::vec(event, 0..160)
}

impl Event {
    /// Whether a person decides it, who may have servers go back: little else can be asked for after that.
    pub fn is_a_persons(&self) -> bool {
        matches!(self, Event::Pin(_) | Event::Skip(_))
    }
}
