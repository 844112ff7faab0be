//! Leadership by a Lease: who of the replicas acts. Owned here: taking the Lease, knowing that it is still held, giving
//! it back. What a leader does is somebody else's business.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::error::ControllerError;
use crate::options::LeaseOptions;

/// How often a leader looks whether the Lease is still its own.
const GUARD_PERIOD: Duration = Duration::from_secs(4);
/// A look that takes longer counts as failed.
const GUARD_TIMEOUT: Duration = Duration::from_secs(3);
/// How long giving the Lease back may take at the end.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// A replica's part in the election.
pub struct Election {
    state: watch::Receiver<bool>,
    manager: JoinHandle<Result<LeaseManager, kube_lease_manager::LeaseManagerError>>,
    leases: Api<Lease>,
    options: LeaseOptions,
}

impl Election {
    /// Begins to stand for election.
    pub async fn join(client: Client, options: &LeaseOptions) -> Result<Self, ControllerError> {
        let manager = LeaseManagerBuilder::new(client.clone(), &options.name)
            .with_namespace(&options.namespace)
            .with_identity(&options.identity)
            .with_duration(options.duration.as_secs().max(6))
            .with_grace((options.duration.as_secs() / 3).max(2))
            .build()
            .await?;
        let (state, manager) = manager.watch().await;
        let leases = Api::namespaced(client, &options.namespace);
        Ok(Election {
            state,
            manager,
            leases,
            options: options.clone(),
        })
    }

    /// Returns when this replica holds the Lease.
    pub async fn won(&mut self) -> Result<(), ControllerError> {
        self.state
            .wait_for(|leads| *leads)
            .await
            .map(drop)
            .map_err(|_| self.lost("the election ended unexpectedly"))
    }

    /// Returns, with the reason, when the Lease is no longer certainly held; never otherwise.
    ///
    /// The library tells of a Lease that somebody else took, but neither of renewals that fail until it has expired nor,
    /// until its next renewal, of one that was taken by force. So the Lease itself is asked too.
    pub async fn lost_lease(&self) -> ControllerError {
        let mut state = self.state.clone();
        let told = async move {
            while !matches!(state.wait_for(|leads| !*leads).await, Ok(_) | Err(_)) {}
        };
        tokio::select! {
            () = told => self.lost("another replica took it"),
            error = self.guard() => error,
        }
    }

    async fn guard(&self) -> ControllerError {
        let mut held_until = Timestamp::now() + self.duration();
        loop {
            tokio::time::sleep(GUARD_PERIOD).await;
            match tokio::time::timeout(GUARD_TIMEOUT, self.leases.get(&self.options.name)).await {
                Ok(Ok(lease)) => match held_by(&lease, &self.options.identity) {
                    Some(renewed) => held_until = renewed + self.duration(),
                    None => return self.lost("another replica took it"),
                },
                Ok(Err(error)) => tracing::warn!(%error, "the Lease cannot be read"),
                Err(_) => tracing::warn!(
                    "the Lease cannot be read: no answer in {} s",
                    GUARD_TIMEOUT.as_secs()
                ),
            }
            if Timestamp::now() + SignedDuration::try_from(GUARD_PERIOD).unwrap_or_default()
                >= held_until
            {
                return self.lost("it could not be renewed in time");
            }
        }
    }

    fn duration(&self) -> SignedDuration {
        SignedDuration::try_from(self.options.duration).unwrap_or(SignedDuration::from_secs(20))
    }

    fn lost(&self, why: &'static str) -> ControllerError {
        ControllerError::LeaseLost {
            name: format!("{}/{}", self.options.namespace, self.options.name),
            why,
        }
    }

    /// Gives the Lease back, so that another replica need not wait until it expires.
    pub async fn resign(self) {
        drop(self.state);
        match tokio::time::timeout(RELEASE_TIMEOUT, self.manager).await {
            Ok(Ok(Ok(_))) => {}
            Ok(Ok(Err(error))) => {
                tracing::warn!(%error, "the Lease could not be given back; it expires by itself")
            }
            Ok(Err(error)) => tracing::warn!(%error, "the election ended unexpectedly"),
            Err(_) => {
                tracing::warn!("the Lease could not be given back in time; it expires by itself")
            }
        }
    }
}

/// When `identity` last renewed the Lease; none when it does not hold it.
fn held_by(lease: &Lease, identity: &str) -> Option<Timestamp> {
    let spec = lease.spec.as_ref()?;
    (spec.holder_identity.as_deref() == Some(identity)).then_some(spec.renew_time.as_ref()?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::coordination::v1::LeaseSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    #[test]
    fn a_lease_is_held_only_by_the_one_it_names_and_only_since_it_was_renewed() {
        let renewed: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let lease = |holder: Option<&str>, at: Option<Timestamp>| Lease {
            spec: Some(LeaseSpec {
                holder_identity: holder.map(str::to_owned),
                renew_time: at.map(MicroTime),
                ..Default::default()
            }),
            ..Default::default()
        };
        assert_eq!(
            held_by(&lease(Some("a"), Some(renewed)), "a"),
            Some(renewed)
        );
        assert_eq!(held_by(&lease(Some("b"), Some(renewed)), "a"), None);
        assert_eq!(held_by(&lease(None, Some(renewed)), "a"), None);
        assert_eq!(held_by(&lease(Some("a"), None), "a"), None);
        assert_eq!(held_by(&Lease::default(), "a"), None);
    }
}
