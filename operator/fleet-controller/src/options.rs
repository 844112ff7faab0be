//! What a person decides about the controller, as plain values.

use std::net::SocketAddr;
use std::time::Duration;

use fleet_plan::Settings;

/// How the controller runs.
#[derive(Debug, Clone)]
pub struct ControllerOptions {
    /// What all pods of the fleet have in common. The image is the controller's own, so that no versions are mixed.
    pub settings: Settings,
    /// The only namespace to look after; all of them without one.
    pub namespace: Option<String>,
    /// Where metrics and health are served.
    pub metrics_listen: SocketAddr,
    /// The status page, where there is to be one.
    pub status_page: Option<StatusPageOptions>,
    /// Where pushes are taken, if they are.
    pub push_listen: Option<SocketAddr>,
    pub lease: LeaseOptions,
    /// Sent to upstreams with each probe.
    pub user_agent: String,
    pub intervals: Intervals,
}

/// Where the status page is, and what it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusPageOptions {
    pub listen: SocketAddr,
    /// Whose Mirrors it shows, of those that are looked after; none: of all namespaces.
    pub namespaces: Option<Vec<String>>,
    /// No sentence in which words of an upstream may stand, and no commands.
    pub fixed_words: bool,
}

/// The Lease that makes one replica the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseOptions {
    pub name: String,
    pub namespace: String,
    /// Different for each replica: the pod's name.
    pub identity: String,
    /// A leader that cannot renew for so long is no longer one; at least six seconds.
    pub duration: Duration,
}

/// How often the controller looks at what no watch tells it. None of these reads the Kubernetes API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    /// Between two questions to each serving pod.
    pub pods: Duration,
    /// Every object is planned again after this time, should an event have been missed.
    pub resync: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Intervals {
            pods: Duration::from_secs(30),
            resync: Duration::from_secs(600),
        }
    }
}
