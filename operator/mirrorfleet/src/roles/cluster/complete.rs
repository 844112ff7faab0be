//! What a shell can complete that only the cluster knows. Nobody waits long for it, and nobody is told why it failed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap_complete::CompletionCandidate;
use fleet_api::Mirror;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use kube::config::Kubeconfig;

use super::read::Scope;
use super::{Cluster, ClusterArguments};
use crate::runtime::block_on;

/// So long a shell may stand still.
const PATIENCE: Duration = Duration::from_secs(2);

type Candidates = Vec<CompletionCandidate>;

/// Names of Mirrors, each with how it is.
pub fn mirrors() -> Candidates {
    ask(async |cluster: &Cluster| {
        let named = |mirror: &Mirror| {
            let status = mirror.status.as_ref();
            let state = status.and_then(|status| status.state.clone());
            CompletionCandidate::new(mirror.name_any()).help(state.map(Into::into))
        };
        of_namespace(cluster).await.iter().map(named).collect()
    })
}

/// Snapshots that the Mirrors on the line serve.
pub fn snapshots() -> Candidates {
    let words: Vec<OsString> = std::env::args_os().collect();
    ask(async |cluster: &Cluster| {
        let mut candidates = Vec::new();
        for mirror in of_namespace(cluster).await {
            if !words.contains(&mirror.name_any().into()) {
                continue;
            }
            let status = mirror.status.unwrap_or_default();
            candidates.extend(status.replicas().filter_map(|(region, replica)| {
                let help = format!("served by region {}", region.name);
                let id = replica.snapshot.clone()?;
                Some(CompletionCandidate::new(id).help(Some(help.into())))
            }));
            let kept = status
                .snapshots
                .into_iter()
                .filter(|kept| kept.regions == 0);
            candidates.extend(kept.map(|kept| {
                let made = kept.created.map(|at| format!("made {}", at.0));
                let help = made.unwrap_or_else(|| "kept".to_owned());
                CompletionCandidate::new(kept.id).help(Some(help.into()))
            }));
        }
        candidates
    })
}

/// Names of regions of the Mirrors on the line.
pub fn regions() -> Candidates {
    let words: Vec<OsString> = std::env::args_os().collect();
    ask(async |cluster: &Cluster| {
        let mirrors = of_namespace(cluster).await.into_iter();
        let meant = mirrors.filter(|mirror| words.contains(&mirror.name_any().into()));
        let regions = meant.flat_map(|mirror| mirror.spec.regions);
        regions
            .map(|region| CompletionCandidate::new(region.name))
            .collect()
    })
}

pub fn namespaces() -> Candidates {
    ask(async |cluster: &Cluster| {
        let api: Api<Namespace> = Api::all(cluster.client.clone());
        let list = api.list(&ListParams::default()).await;
        let names = list.map(|list| list.items).unwrap_or_default();
        let names = names.iter().map(|namespace| namespace.name_any());
        names.map(CompletionCandidate::new).collect()
    })
}

pub fn contexts() -> Candidates {
    let file = of_the_line().kubeconfig;
    let read = match file {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    };
    let contexts = read.map(|read| read.contexts).unwrap_or_default();
    let names = contexts.into_iter().map(|context| context.name);
    names.map(CompletionCandidate::new).collect()
}

async fn of_namespace(cluster: &Cluster) -> Vec<Mirror> {
    let scope = Scope::Namespace(cluster.namespace.clone());
    scope.mirrors(&cluster.client).await.unwrap_or_default()
}

fn ask(question: impl AsyncFnOnce(&Cluster) -> Candidates) -> Candidates {
    let answer = block_on(|_| async {
        let asked = async {
            let cluster = of_the_line().connect().await?;
            Ok(question(&cluster).await)
        };
        let answer = tokio::time::timeout(PATIENCE, asked).await;
        answer.unwrap_or_else(|_| Ok(Vec::new()))
    });
    answer.unwrap_or_default()
}

/// Which cluster the line that is being typed means, as far as it says so already.
fn of_the_line() -> ClusterArguments {
    let words: Vec<String> = (std::env::args_os())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    ClusterArguments {
        namespace: value(&words, &["-n", "--namespace"]),
        context: value(&words, &["--context"]),
        kubeconfig: value(&words, &["--kubeconfig"]).map(PathBuf::from),
    }
}

/// The value of a flag: `-n x`, `-nx`, `--namespace x` or `--namespace=x`.
fn value(words: &[String], names: &[&str]) -> Option<String> {
    let mut words = words.iter();
    let mut found = None;
    while let Some(word) = words.next() {
        for name in names {
            let rest = word.strip_prefix(name);
            found = match rest {
                Some("") => words.next().cloned(),
                Some(rest) if !name.starts_with("--") => Some(rest.to_owned()),
                Some(rest) => rest.strip_prefix('=').map(str::to_owned).or(found),
                None => found,
            };
        }
    }
    found.filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_in_each_way_to_write_them() {
        let read = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            value(&words, &["-n", "--namespace"])
        };
        for line in [
            "why -n a",
            "why -na",
            "--namespace a why",
            "--namespace=a x",
        ] {
            assert_eq!(read(line).as_deref(), Some("a"), "{line}");
        }
        for line in ["why a", "why -n", "why --namespaces a"] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
