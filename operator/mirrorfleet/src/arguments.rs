//! Flags that several roles share.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use fleet_telemetry::ServerPlace;

use crate::failure::Failure;
use crate::resolve::References;

/// Where the manifests are.
#[derive(Debug, clap::Args)]
pub struct ManifestArguments {
    /// Manifests, as `kubectl apply` takes them; a folder stands for its *.yaml, *.yml and *.json, `-` for standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR", required = true, num_args = 1..)]
    pub files: Vec<PathBuf>,
}

/// Where the stores are.
#[derive(Debug, clap::Args)]
pub struct DataArguments {
    /// The folder that holds one store per Mirror, DIR/<mirror>/
    #[arg(
        long,
        value_name = "DIR",
        env = "MIRRORFLEET_DATA",
        hide_env_values = true
    )]
    pub data: PathBuf,
}

/// Where a pod has the values that manifests refer to.
#[derive(Debug, clap::Args)]
pub struct ReferenceArguments {
    /// Mounted values of Secrets and ConfigMaps: DIR/{Secret,ConfigMap}/<name>/<key>. Refuses file URLs
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    pub refs: Option<PathBuf>,
}

impl ReferenceArguments {
    pub fn references(&self) -> References {
        match &self.refs {
            Some(directory) => References::Directory(directory.clone()),
            None => References::Manifests,
        }
    }
}

/// Where a server listens besides for clients.
#[derive(Debug, clap::Args)]
pub struct ListenArguments {
    /// Where to serve metrics and health [default: nowhere]
    #[arg(
        long,
        value_name = "ADDR",
        env = "MIRRORFLEET_METRICS_LISTEN",
        hide_env_values = true
    )]
    pub metrics_listen: Option<SocketAddr>,
    /// Where other mirrors may copy from, by digest (`sync --follow`) [default: nowhere]
    #[arg(
        long,
        value_name = "ADDR",
        env = "MIRRORFLEET_FOLLOW_LISTEN",
        hide_env_values = true
    )]
    pub follow_listen: Option<SocketAddr>,
}

/// Where in a fleet a pod stands.
#[derive(Debug, clap::Args)]
pub struct PlaceArguments {
    /// The namespace of the Mirror: a label of the metrics
    #[arg(long, value_name = "NS", default_value = "", hide_short_help = true)]
    pub namespace: String,
    /// The region of the Mirror that this is: a label of the metrics, the name of a run's trace file, and what a server takes for itself in the list of regions
    #[arg(long, value_name = "NAME", default_value = "", hide_short_help = true)]
    pub region: String,
}

impl PlaceArguments {
    pub fn of_server(&self) -> ServerPlace {
        ServerPlace {
            namespace: self.namespace.clone(),
            region: self.region.clone(),
        }
    }
}

/// Leaves what a kubelet reads as the pod's last word, where a role was told to.
pub fn leave_behind(
    termination_message: Option<&Path>,
    message: impl FnOnce() -> String,
) -> Result<(), Failure> {
    let Some(path) = termination_message else {
        return Ok(());
    };
    std::fs::write(path, message()).map_err(|error| {
        Failure::output(&format!("--termination-message {}", path.display()), error)
    })
}
