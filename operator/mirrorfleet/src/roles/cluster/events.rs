//! `mirrorfleet events`.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::Mirror;
use fleet_plan::names;
use fleet_plan::summary::span;
use fleet_types::Outcome;
use futures::TryStreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, ListParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event as Change, watcher};
use kube::{Client, ResourceExt};
use serde::Serialize;

use super::read::Scope;
use super::refusal::failure;
use super::show::{json, yaml};
use super::terminal::{Colour, Colours};
use super::why::Form;
use super::{Cluster, Targets, ask, begun_again};
use crate::failure::Failure;
use crate::report::print;
use crate::runtime::LogArguments;

/// Prints the Events about Mirrors, about their Upstreams and about all that was made for them, the newest last
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    targets: Targets,
    /// How to show them
    #[arg(short = 'o', long, value_enum, default_value = "text")]
    output: Form,
    /// Go on printing what comes, until interrupted
    #[arg(short = 'w', long)]
    watch: bool,
}

/// What is told of an Event.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    #[serde(rename = "type")]
    kind: String,
    reason: String,
    namespace: String,
    /// `kind/name`
    object: String,
    /// How often it happened.
    count: i32,
    message: String,
}

pub fn run(arguments: Arguments, log: &LogArguments) -> Result<Outcome, Failure> {
    ask(
        &arguments.targets.cluster,
        log,
        arguments.watch,
        async |cluster| tell(cluster, &arguments).await,
    )
}

async fn tell(cluster: &Cluster, arguments: &Arguments) -> Result<Outcome, Failure> {
    let scope = arguments.targets.scope(cluster);
    let objects = Objects::of(&scope.mirrors(&cluster.client).await?);
    let api = api(&cluster.client, &scope);
    let list = api.list(&ListParams::default()).await.map_err(failure)?;
    let seen = list.items.iter().map(version).collect();
    let mut events: Vec<Told> = (list.items.iter())
        .filter(|event| objects.cover(event))
        .map(told)
        .collect();
    events.sort_by_key(|event| event.at);
    let printer = Printer {
        form: arguments.output,
        everywhere: arguments.targets.all_namespaces,
        colours: Colours::of_standard_output(),
    };
    if events.is_empty() && !arguments.watch {
        eprintln!("nobody tells anything; Kubernetes keeps Events for an hour as a rule");
    }
    print(&printer.text(&events, Timestamp::now(), true)?)?;
    if arguments.watch {
        follow(&api, &objects, &printer, seen).await?;
    }
    Ok(Outcome::Good)
}

/// The last version of each Event that there is, by its uid.
type Seen = BTreeMap<String, Option<String>>;

fn version(event: &Event) -> (String, Option<String>) {
    (event.uid().unwrap_or_default(), event.resource_version())
}

/// Prints what comes beside what was `seen`.
async fn follow(
    api: &Api<Event>,
    objects: &Objects,
    printer: &Printer,
    mut seen: Seen,
) -> Result<(), Failure> {
    let events = watcher(api.clone(), watcher::Config::default()).default_backoff();
    let mut events = std::pin::pin!(events);
    loop {
        match events.try_next().await {
            Ok(None) => return Ok(()),
            Ok(Some(Change::Apply(event) | Change::InitApply(event))) => {
                let (uid, version) = version(&event);
                let before = seen.insert(uid, version.clone());
                if objects.cover(&event) && before != Some(version) {
                    print(&printer.text(&[told(&event)], Timestamp::now(), false)?)?;
                }
            }
            Ok(Some(Change::Delete(event))) => {
                seen.remove(&version(&event).0);
            }
            Ok(Some(Change::Init | Change::InitDone)) => {}
            Err(error) => begun_again(&error),
        }
    }
}

fn api(client: &Client, scope: &Scope) -> Api<Event> {
    match scope {
        Scope::Everywhere => Api::all(client.clone()),
        Scope::Namespace(namespace) | Scope::Named(namespace, _) => {
            Api::namespaced(client.clone(), namespace)
        }
    }
}

/// What Events may be about: namespace, and the beginning of a name or all of it.
struct Objects {
    /// Namespace, kind and name.
    own: BTreeSet<(String, &'static str, String)>,
    /// Namespace and the name that a region's objects share.
    children: BTreeSet<(String, String)>,
}

impl Objects {
    fn of(mirrors: &[Mirror]) -> Objects {
        let mut objects = Objects {
            own: BTreeSet::new(),
            children: BTreeSet::new(),
        };
        for mirror in mirrors {
            let (namespace, name) = (mirror.namespace().unwrap_or_default(), mirror.name_any());
            let upstream = mirror.spec.upstream_ref.name.clone();
            let declared = mirror.spec.regions.iter().map(|region| &region.name);
            let status = mirror.status.iter().flat_map(|status| &status.regions);
            for region in declared.chain(status.map(|region| &region.name)) {
                let child = names::child_name(&name, region);
                objects.children.insert((namespace.clone(), child));
            }
            objects.own.insert((namespace.clone(), "Mirror", name));
            objects.own.insert((namespace, "Upstream", upstream));
        }
        objects
    }

    fn cover(&self, event: &Event) -> bool {
        let about = &event.involved_object;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (namespace, kind, name) =
            (text(&about.namespace), text(&about.kind), text(&about.name));
        let own = self
            .own
            .iter()
            .any(|(of, word, called)| (of, *word, called) == (&namespace, kind.as_str(), &name));
        // A Job is called after its region's objects, and its pod after it.
        let belongs = |child: &str| {
            let rest = name.strip_prefix(child);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        own || (self.children.iter()).any(|(of, child)| *of == namespace && belongs(child))
    }
}

fn told(event: &Event) -> Told {
    let series = event.series.as_ref();
    let at = [
        series.and_then(|series| series.last_observed_time.as_ref().map(|at| at.0)),
        event.last_timestamp.as_ref().map(|at| at.0),
        event.event_time.as_ref().map(|at| at.0),
        event.creation_timestamp().map(|at| at.0),
    ];
    let about = &event.involved_object;
    let kind = about.kind.as_deref().unwrap_or_default().to_lowercase();
    Told {
        at: at.into_iter().flatten().next(),
        kind: event.type_.clone().unwrap_or_default(),
        reason: event.reason.clone().unwrap_or_default(),
        namespace: about.namespace.clone().unwrap_or_default(),
        object: format!("{kind}/{}", about.name.as_deref().unwrap_or_default()),
        count: series
            .and_then(|series| series.count)
            .or(event.count)
            .unwrap_or(1),
        message: event.message.clone().unwrap_or_default(),
    }
}

struct Printer {
    form: Form,
    everywhere: bool,
    colours: Colours,
}

impl Printer {
    fn text(&self, events: &[Told], now: Timestamp, head: bool) -> Result<String, Failure> {
        match self.form {
            Form::Json => json(events),
            Form::Yaml => yaml(events),
            Form::Text => Ok(self.lines(events, now, head && !events.is_empty())),
        }
    }

    /// An Event is a line with what it is about, and what it says below.
    fn lines(&self, events: &[Told], now: Timestamp, head: bool) -> String {
        let mut text = String::new();
        if head {
            let title = format!("{:<10}{:<9}{:<24}{}", "SEEN", "TYPE", "REASON", "OBJECT");
            text = format!("{}\n", self.colours.paint(Colour::Bold, &title));
        }
        for event in events {
            let ago = event.at.map(|at| {
                let ago = now.duration_since(at).as_secs();
                format!("{} ago", span(ago))
            });
            let colour = match event.kind.as_str() {
                "Normal" => Colour::Plain,
                _ => Colour::Yellow,
            };
            let times = match event.count {
                ..=1 => String::new(),
                many => format!(" ({many} times)"),
            };
            let namespace = match self.everywhere {
                true => format!("{}: ", event.namespace),
                false => String::new(),
            };
            let kind = self.colours.paint(colour, &format!("{:<9}", event.kind));
            text.push_str(&format!(
                "{:<10}{kind}{:<24}{namespace}{}{times}\n",
                ago.unwrap_or_default(),
                event.reason,
                event.object
            ));
            for line in super::terminal::wrap(&event.message, 96) {
                text.push_str(&format!("    {line}\n"));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, name: &str) -> Event {
        serde_json::from_value(json!({
            "metadata": {"name": "e", "namespace": "ns", "creationTimestamp": "2026-01-01T11:00:00Z"},
            "involvedObject": {"kind": kind, "name": name, "namespace": "ns"},
            "type": "Warning", "reason": "FailedScheduling", "message": "no node", "count": 3,
        }))
        .unwrap()
    }

    #[test]
    fn events_are_those_of_a_mirror_and_of_what_was_made_for_it() {
        let mirror: Mirror = serde_json::from_value(json!({
            "apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Mirror", "metadata": {"name": "debian", "namespace": "ns"},
            "spec": {"upstreamRef": {"name": "kernel"}, "content": {}, "regions": [{"name": "eu"}]},
        }))
        .unwrap();
        let objects = Objects::of(&[mirror]);
        let child = names::child_name("debian", "eu");
        for (kind, name, covered) in [
            ("Mirror", "debian", true),
            ("Mirror", "other", false),
            ("Upstream", "kernel", true),
            ("Upstream", "debian", false),
            ("Pod", &format!("{child}-0"), true),
            ("PersistentVolumeClaim", &child, true),
            ("Job", &format!("{child}-0123abcd"), true),
            ("Pod", &format!("{child}x"), false),
            ("Pod", "debian", false),
        ] {
            assert_eq!(objects.cover(&event(kind, name)), covered, "{kind} {name}");
        }
        let mut elsewhere = event("Mirror", "debian");
        elsewhere.involved_object.namespace = Some("other".to_owned());
        assert!(!objects.cover(&elsewhere));
    }

    #[test]
    fn an_event_is_a_line_and_what_it_says() {
        let printer = Printer {
            form: Form::Text,
            everywhere: false,
            colours: Colours::NONE,
        };
        let told = told(&event("Pod", "p"));
        let text = printer.lines(&[told], "2026-01-01T11:12:00Z".parse().unwrap(), true);
        assert_eq!(
            text,
            "SEEN      TYPE     REASON                  OBJECT\n12m ago   Warning  FailedScheduling        pod/p (3 times)\n    no node\n"
        );
    }
}
