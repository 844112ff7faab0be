//! Why the controller ends, and why one reconciliation does.

use fleet_types::Reason;

/// Why the controller ended. The process ends with it; Kubernetes starts it again.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    #[error("the Lease {name} is lost: {why}")]
    LeaseLost { name: String, why: &'static str },
    #[error(
        "the election cannot start; the ServiceAccount needs get, create and patch on Leases in the Lease's namespace: {0}"
    )]
    Election(#[from] kube_lease_manager::LeaseManagerError),
    #[error("no cluster to talk to: {0}; outside a pod, KUBECONFIG names one")]
    Client(Box<kube::Error>),
    #[error("a watch ended by itself, which none should")]
    WatchEnded,
    #[error("no HTTP client: {0}")]
    HttpClient(#[from] reqwest::Error),
    #[error("metrics cannot be served: {0}")]
    Metrics(String),
    #[error("pushes cannot be taken at {address}: {error}")]
    PushListen {
        address: std::net::SocketAddr,
        error: std::io::Error,
    },
    #[error("the status page cannot be served at {address}: {error}")]
    StatusPage {
        address: std::net::SocketAddr,
        error: std::io::Error,
    },
}

/// Why one write to the Kubernetes API did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// An object of that name exists and does not carry our labels.
    #[error(
        "{kind} {name} exists and is not ours; rename or delete it, or choose another name for the Mirror or the region"
    )]
    NameConflict { kind: String, name: String },
    /// Somebody changed the object since we last saw it. The watch brings the new state, and the plan is made again.
    #[error("{kind} {name} was changed at the same time")]
    Outdated { kind: String, name: String },
    /// A rule of the cluster forbids it: a quota, an admission rule, a value that is not valid, a right that we lack.
    #[error("{kind} {name} is refused by the cluster: {message}")]
    Refused {
        kind: String,
        name: String,
        message: String,
    },
    /// The API server failed or did not answer.
    #[error("{kind} {name} cannot be written: {message}")]
    Api {
        kind: String,
        name: String,
        message: String,
    },
}

impl WriteError {
    /// All that [`reason`](Self::reason) says.
    pub const REASONS: &[Reason] = &[
        Reason::NameConflict,
        Reason::CreationRefused,
        Reason::ApiError,
    ];

    /// What the API server's answer means for a write.
    pub fn of(kind: &str, name: &str, error: &kube::Error) -> WriteError {
        let (kind, name) = (kind.to_owned(), name.to_owned());
        match error {
            kube::Error::Api(status) if status.is_conflict() || status.is_not_found() => {
                WriteError::Outdated { kind, name }
            }
            kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422) => {
                WriteError::Refused {
                    kind,
                    name,
                    message: status.message.clone(),
                }
            }
            kube::Error::Api(status) => WriteError::Api {
                kind,
                name,
                message: status.message.clone(),
            },
            error => WriteError::Api {
                kind,
                name,
                message: error.to_string(),
            },
        }
    }

    /// The fixed word for conditions, events and metrics.
    pub fn reason(&self) -> Reason {
        match self {
            WriteError::NameConflict { .. } => Reason::NameConflict,
            WriteError::Refused { .. } => Reason::CreationRefused,
            WriteError::Outdated { .. } | WriteError::Api { .. } => Reason::ApiError,
        }
    }
}
