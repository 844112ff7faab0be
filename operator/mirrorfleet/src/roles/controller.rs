//! `mirrorfleet controller`.

use std::net::{Ipv6Addr, SocketAddr};

use fleet_api::mirror::{PodSettings, PullPolicy, PullSecret};
use fleet_api::pods::{KEY_MESSAGE, is_reserved};
use fleet_controller::{
    ControllerOptions, Intervals, LeaseOptions, PodsAllowed, RoutesAllowed, Settings,
    StatusPageOptions,
};
use fleet_plan::build::METRICS_PORT;
use fleet_types::Reason;

use crate::failure::Failure;
use crate::progress::Display;
use crate::resolve::USER_AGENT;
use crate::runtime::{LogArguments, Verbosity, block_on};

/// Deploys Mirrors on Kubernetes
///
/// Runs in the cluster, several replicas of which one leads; also runs outside with a kubeconfig.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The image that sync and serving pods run: this program's own
    #[arg(long, env = "MIRRORFLEET_IMAGE", hide_env_values = true)]
    image: String,
    /// When kubelets pull the image: Always, IfNotPresent or Never [default: what Kubernetes does]
    #[arg(long, value_name = "POLICY", env = "MIRRORFLEET_IMAGE_PULL_POLICY", hide_env_values = true, value_parser = pull_policy)]
    image_pull_policy: Option<PullPolicy>,
    /// A Secret in each Mirror's namespace to pull the image with; may be repeated
    #[arg(long = "image-pull-secret", value_name = "NAME")]
    image_pull_secrets: Vec<String>,
    /// What holds for the pods of Mirrors that say nothing: JSON with the fields of spec.pods
    #[arg(long, value_name = "JSON", value_parser = pods)]
    pods: Option<PodSettings>,
    /// What Mirrors may ask for in spec.pods: JSON with priorityClasses, runtimeClasses, labelPrefixes, annotationPrefixes
    #[arg(long, value_name = "JSON", value_parser = allowed)]
    pods_allowed: Option<PodsAllowed>,
    /// What Mirrors may ask for in spec.serving.route: JSON with kinds (HTTPRoute, Ingress) and annotationPrefixes [default: nothing]
    #[arg(long, value_name = "JSON", value_parser = routes_allowed)]
    routes_allowed: Option<RoutesAllowed>,
    /// The only namespace to look after [default: all]
    #[arg(
        long,
        value_name = "NS",
        env = "MIRRORFLEET_NAMESPACE",
        hide_env_values = true
    )]
    namespace: Option<String>,
    /// Where to serve metrics and health
    #[arg(
        long,
        value_name = "ADDR",
        default_value_t = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), METRICS_PORT),
        env = "MIRRORFLEET_METRICS_LISTEN",
        hide_env_values = true
    )]
    metrics_listen: SocketAddr,
    /// Where to serve the status page [default: nowhere]
    #[arg(
        long,
        value_name = "ADDR",
        env = "MIRRORFLEET_STATUS_LISTEN",
        hide_env_values = true
    )]
    status_listen: Option<SocketAddr>,
    /// A namespace whose Mirrors the status page shows; may be repeated [default: that of --namespace, else the controller's own]
    #[arg(long = "status-namespace", value_name = "NS")]
    status_namespaces: Vec<String>,
    /// Show the Mirrors of all namespaces that are looked after on the status page
    #[arg(long, conflicts_with = "status_namespaces")]
    status_all_namespaces: bool,
    /// Show on the status page fixed words only, for strangers: no sentence in which words of an upstream may stand, no commands
    #[arg(long)]
    status_fixed_words: bool,
    /// Where to take pushes: POST /push/NAMESPACE/UPSTREAM with a token of the Upstream's spec.push [default: nowhere]
    #[arg(
        long,
        value_name = "ADDR",
        env = "MIRRORFLEET_PUSH_LISTEN",
        hide_env_values = true
    )]
    push_listen: Option<SocketAddr>,
    /// The Lease that makes one replica the leader
    #[arg(long, value_name = "NAME", default_value = "mirrorfleet-controller")]
    lease_name: String,
    /// The namespace of the Lease: the controller's own
    #[arg(
        long,
        value_name = "NS",
        env = "POD_NAMESPACE",
        hide_env_values = true,
        default_value = "mirrorfleet-system"
    )]
    lease_namespace: String,
    /// This replica's name in the Lease
    #[arg(long, value_name = "NAME", env = "POD_NAME", hide_env_values = true, default_value_t = fallback_identity(), hide_default_value = true)]
    identity: String,
    /// A leader that cannot renew for so many seconds is no longer one
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(6..=600))]
    lease_duration: u64,
    /// How many regions of the fleet may be restarted at once for a changed pod template; where there are more than a hundred times as many, one in a hundred
    #[arg(long, value_name = "N", default_value_t = Settings::default().max_rollouts, value_parser = clap::value_parser!(u32).range(1..))]
    max_rollouts: u32,
    /// How many runs of the whole fleet may copy from one region to another at once.
    #[arg(long, value_name = "N", default_value_t = Settings::default().max_copies, value_parser = clap::value_parser!(u32).range(1..))]
    max_copies: u32,
    /// Let Mirrors tolerate the taints of control-plane nodes
    #[arg(long)]
    allow_control_plane_tolerations: bool,
}

fn pull_policy(text: &str) -> Result<PullPolicy, String> {
    let known = PullPolicy::ALL
        .into_iter()
        .find(|policy| policy.as_str() == text);
    known.ok_or_else(|| "write Always, IfNotPresent or Never".to_owned())
}

/// Unknown fields are typing errors here; in a Mirror the API server has dropped them already.
fn pods(text: &str) -> Result<PodSettings, String> {
    let given: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let read: PodSettings =
        serde_json::from_value(given.clone()).map_err(|error| error.to_string())?;
    let known = serde_json::to_value(&read).map_err(|error| error.to_string())?;
    let unknown = given
        .as_object()
        .into_iter()
        .flatten()
        .find(|(key, value)| {
            let empty = value.as_object().is_some_and(serde_json::Map::is_empty)
                || value.as_array().is_some_and(Vec::is_empty);
            known.get(key).is_none() && !empty
        });
    if let Some((key, _)) = unknown {
        return Err(format!("unknown field {key:?}"));
    }
    let keys = read.labels.keys().chain(read.annotations.keys());
    match keys.into_iter().find(|key| is_reserved(key)) {
        Some(key) => Err(format!("{key:?}: {KEY_MESSAGE}")),
        None => Ok(read),
    }
}

fn allowed(text: &str) -> Result<PodsAllowed, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn routes_allowed(text: &str) -> Result<RoutesAllowed, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Outside of a pod nobody says who we are; a process id tells two on one machine apart.
fn fallback_identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}", host.trim(), std::process::id())
}

pub fn run(arguments: Arguments, log: &LogArguments) -> Result<(), Failure> {
    log.init(Verbosity::Daemon, &Display::Silent)?;
    let status_page = status_page(&arguments);
    let image = PodSettings {
        image_pull_policy: arguments.image_pull_policy,
        image_pull_secrets: arguments
            .image_pull_secrets
            .into_iter()
            .map(|name| PullSecret { name })
            .collect(),
        ..PodSettings::default()
    };
    let options = ControllerOptions {
        status_page,
        settings: Settings {
            image: arguments.image,
            // What `--image` names is this program's own.
            index_version: fleet_store::INDEX_VERSION,
            pods: arguments.pods.unwrap_or_default().over(&image),
            pods_allowed: arguments.pods_allowed.unwrap_or_default(),
            routes_allowed: arguments.routes_allowed.unwrap_or_default(),
            max_rollouts: arguments.max_rollouts,
            max_copies: arguments.max_copies,
            allow_control_plane: arguments.allow_control_plane_tolerations,
        },
        namespace: arguments.namespace,
        metrics_listen: arguments.metrics_listen,
        push_listen: arguments.push_listen,
        lease: LeaseOptions {
            name: arguments.lease_name,
            namespace: arguments.lease_namespace,
            identity: arguments.identity,
            duration: std::time::Duration::from_secs(arguments.lease_duration),
        },
        user_agent: USER_AGENT.to_owned(),
        intervals: Intervals::default(),
    };
    block_on(|stop| async move {
        fleet_controller::run(options, stop)
            .await
            .map_err(|error| Failure::new(Reason::ApiError, error.to_string()))
    })
}

/// One namespace, unless somebody says more.
fn status_page(arguments: &Arguments) -> Option<StatusPageOptions> {
    let one = || match &arguments.namespace {
        Some(namespace) => namespace.clone(),
        None => arguments.lease_namespace.clone(),
    };
    let namespaces = match arguments.status_namespaces.as_slice() {
        [] => vec![one()],
        several => several.to_vec(),
    };
    Some(StatusPageOptions {
        listen: arguments.status_listen?,
        namespaces: (!arguments.status_all_namespaces).then_some(namespaces),
        fixed_words: arguments.status_fixed_words,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_chart_hands_over_is_read_and_typing_errors_are_not() {
        let read = pods(
            r#"{"labels": {"example.org/team": "a"}, "imagePullSecrets": [], "securityContext": {"identity": "Platform"}}"#,
        );
        assert_eq!(read.unwrap().labels.len(), 1);
        for (text, word) in [
            (r#"{"label": {"a": "b"}}"#, "label"),
            (r#"{"labels": {"kubernetes.io/a": "b"}}"#, "kubernetes.io/a"),
            (r#"{"imagePullPolicy": "Sometimes"}"#, "Sometimes"),
            ("[", "EOF"),
        ] {
            let error = pods(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        assert!(allowed(r#"{"priorityClasses": ["low"]}"#).is_ok());
        assert!(allowed(r#"{"priorityClass": ["low"]}"#).is_err());
        let routes = routes_allowed(r#"{"kinds": ["Ingress"], "annotationPrefixes": []}"#);
        assert!(
            routes
                .unwrap()
                .allows(fleet_api::mirror::RouteKind::Ingress)
        );
        assert!(routes_allowed(r#"{"kinds": ["Route"]}"#).is_err());
    }

    #[test]
    fn the_status_page_shows_one_namespace_unless_somebody_says_more() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            arguments: Arguments,
        }
        let shown = |more: &[&str]| {
            let given = ["controller", "--image=a", "--lease-namespace=own"];
            let line = given.iter().chain(more).copied();
            let line = <Line as clap::Parser>::try_parse_from(line).unwrap();
            status_page(&line.arguments).map(|page| page.namespaces)
        };
        let listen = "--status-listen=127.0.0.1:0";
        let some =
            |names: &[&str]| Some(Some(names.iter().map(|name| (*name).to_owned()).collect()));
        assert_eq!(
            shown(&["--status-namespace=a"]),
            None,
            "nobody asked for a page"
        );
        assert_eq!(shown(&[listen]), some(&["own"]));
        assert_eq!(shown(&[listen, "--namespace=only"]), some(&["only"]));
        assert_eq!(
            shown(&[listen, "--status-namespace=a", "--status-namespace=b"]),
            some(&["a", "b"])
        );
        assert_eq!(shown(&[listen, "--status-all-namespaces"]), Some(None));
    }
}
