//! What people ask of a cluster and do in it: `status`, `why` and the rest of `kubectl mirrorfleet`. All of it is said by
//! `fleet_plan::summary`; here it is read, printed and patched.

pub mod act;
mod complete;
pub mod events;
pub mod logs;
mod progress;
mod read;
mod refusal;
mod show;
pub mod status;
mod table;
mod terminal;
mod watch;
pub mod why;

use std::path::PathBuf;

use clap::ValueHint;
use clap_complete::ArgValueCandidates;
use fleet_plan::summary::Program;
use fleet_types::{Outcome, Reason};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use self::read::Scope;
use self::refusal::{chain, failure};
use crate::failure::Failure;
use crate::program::Called;
use crate::progress::Display;
use crate::runtime::{LogArguments, Verbosity, block_on};

/// Which cluster, and where in it.
#[derive(Debug, Clone, clap::Args)]
pub struct ClusterArguments {
    /// The namespace [default: that of the kubeconfig's context; in a pod, its own]
    #[arg(short = 'n', long, help_heading = "Cluster", value_name = "NS", add = ArgValueCandidates::new(complete::namespaces))]
    pub namespace: Option<String>,
    /// The context of the kubeconfig [default: its current one]
    #[arg(long, help_heading = "Cluster", value_name = "NAME", add = ArgValueCandidates::new(complete::contexts))]
    context: Option<String>,
    /// The kubeconfig [default: KUBECONFIG, ~/.kube/config, or the service account of the pod that this runs in]
    #[arg(long, help_heading = "Cluster", value_name = "FILE", value_hint = ValueHint::FilePath)]
    kubeconfig: Option<PathBuf>,
}

/// A Mirror, and where it is.
#[derive(Debug, clap::Args)]
pub struct Target {
    /// Name of the Mirror
    #[arg(value_name = "MIRROR", add = ArgValueCandidates::new(complete::mirrors))]
    mirror: String,
    #[command(flatten)]
    cluster: ClusterArguments,
}

impl Target {
    fn scope(&self, cluster: &Cluster) -> Scope {
        Scope::Named(cluster.namespace.clone(), vec![self.mirror.clone()])
    }
}

/// Mirrors, and where they are.
#[derive(Debug, clap::Args)]
pub struct Targets {
    /// Names of Mirrors [default: all of the namespace]
    #[arg(value_name = "MIRROR", add = ArgValueCandidates::new(complete::mirrors))]
    mirrors: Vec<String>,
    #[command(flatten)]
    cluster: ClusterArguments,
    /// The Mirrors of all namespaces
    #[arg(
        short = 'A',
        long,
        help_heading = "Cluster",
        conflicts_with = "mirrors"
    )]
    all_namespaces: bool,
}

impl Targets {
    fn scope(&self, cluster: &Cluster) -> Scope {
        let namespace = cluster.namespace.clone();
        match (self.all_namespaces, self.mirrors.as_slice()) {
            (true, _) => Scope::Everywhere,
            (false, []) => Scope::Namespace(namespace),
            (false, names) => Scope::Named(namespace, names.to_vec()),
        }
    }
}

/// A cluster that can be asked.
pub struct Cluster {
    pub client: Client,
    pub namespace: String,
    /// How commands are written that a person copies.
    pub program: Program,
}

/// Asks a cluster. Who interrupts what goes on for ever has seen enough; elsewhere nobody knows what would have come.
fn ask(
    arguments: &ClusterArguments,
    log: &LogArguments,
    goes_on: bool,
    work: impl AsyncFnOnce(&Cluster) -> Result<Outcome, Failure>,
) -> Result<Outcome, Failure> {
    log.init(Verbosity::Quiet, &Display::Silent)?;
    block_on(|stop| async move {
        let work = async { work(&arguments.connect().await?).await };
        tokio::select! {
            result = work => result,
            () = stop.cancelled() => match goes_on {
                true => Ok(Outcome::Good),
                false => Err(Failure::new(Reason::ApiError, "interrupted")),
            },
        }
    })
}

impl ClusterArguments {
    async fn connect(&self) -> Result<Cluster, Failure> {
        let config = self.config().await?;
        let namespace = self.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(failure)?;
        Ok(Cluster {
            client,
            namespace,
            program: self.program(),
        })
    }

    async fn config(&self) -> Result<Config, Failure> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let unusable = |error: &dyn std::error::Error| {
            Failure::invalid(format!("no cluster to talk to: {}", chain(error)))
        };
        match &self.kubeconfig {
            Some(file) => {
                let read = Kubeconfig::read_from(file).map_err(|error| unusable(&error))?;
                let config = Config::from_custom_kubeconfig(read, &options).await;
                config.map_err(|error| unusable(&error))
            }
            None if self.context.is_some() => {
                let config = Config::from_kubeconfig(&options).await;
                config.map_err(|error| unusable(&error))
            }
            None => Config::infer().await.map_err(|error| {
                Failure::invalid(format!(
                    "no cluster to talk to: {}; name a kubeconfig by --kubeconfig or KUBECONFIG",
                    chain(&error)
                ))
            }),
        }
    }

    fn program(&self) -> Program {
        let context = self.context.iter();
        let context = context.map(|name| format!("--context {}", quoted(name)));
        let file = self.kubeconfig.iter();
        let file = file.map(|file| format!("--kubeconfig {}", quoted(&file.to_string_lossy())));
        Program {
            name: Called::now().as_str().to_owned(),
            cluster: context.chain(file).collect(),
        }
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@%+=:,./-_".contains(&byte);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// For a watch that broke off, which `kube` mends by itself.
fn begun_again(error: &dyn std::error::Error) {
    let name = Called::now().as_str();
    eprintln!("{name}: the watch is begun again: {}", chain(error));
}
