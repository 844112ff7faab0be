//! What a person is told of the endpoints of a Mirror's Upstream.

use fleet_api::upstream::{EndpointState, EndpointStatus};
use jiff::Timestamp;
use serde::Serialize;

use super::{Known, enumeration, span};

/// An endpoint in a few values.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSummary {
    pub endpoint: String,
    pub state: EndpointState,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// Why, or what it lacks; empty where there is nothing to say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The newest of the upstream's dates of what it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision_date: Option<Timestamp>,
    /// Since when the authority has had something newer than it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind_since: Option<Timestamp>,
    /// Of these, the longest first; eight at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub behind: Vec<String>,
}

/// Those that the Upstream's status tells of.
pub fn endpoints(known: &Known) -> Vec<EndpointSummary> {
    let status = known.upstream.and_then(|upstream| upstream.status.as_ref());
    let told = status.map_or(&[][..], |status| &status.endpoints);
    told.iter().map(EndpointSummary::from).collect()
}

/// A sentence of those that do not answer or are behind; empty where there are none. Where a copy is not as it should be,
/// they may be why.
pub fn sentence(endpoints: &[EndpointSummary]) -> String {
    let known = endpoints.iter().filter(|endpoint| endpoint.is_trouble());
    let known: Vec<String> = known
        .map(|endpoint| match endpoint.behind_since {
            Some(since) if endpoint.state == EndpointState::Reachable => {
                format!(
                    "{} is behind its authority since {since}",
                    endpoint.endpoint
                )
            }
            _ => format!(
                "{} does not answer since {}",
                endpoint.endpoint, endpoint.since
            ),
        })
        .collect();
    match known.is_empty() {
        true => String::new(),
        false => format!(" Of the Upstream's endpoints, {}.", enumeration(&known)),
    }
}

impl EndpointSummary {
    /// Whether it does not answer, or is behind the authority.
    pub fn is_trouble(&self) -> bool {
        self.state == EndpointState::Unreachable || self.behind_since.is_some()
    }

    /// How it stands, in words.
    pub fn words(&self, now: Timestamp) -> String {
        let ago = |since: Timestamp| span(now.duration_since(since).as_secs());
        let behind = self.behind_since.map(|since| {
            let units = enumeration(&self.behind);
            format!("behind the authority for {} ({units})", ago(since))
        });
        let stands = match self.state {
            EndpointState::NotAsked => "not asked".to_owned(),
            EndpointState::Unreachable => {
                let behind = behind.map_or(String::new(), |words| format!(", and was {words}"));
                format!("does not answer for {}{behind}", ago(self.since))
            }
            EndpointState::Reachable => {
                behind.unwrap_or_else(|| "has what the authority has".to_owned())
            }
        };
        match self.message.as_str() {
            "" => stands,
            message => format!("{stands}: {message}"),
        }
    }
}

impl From<&EndpointStatus> for EndpointSummary {
    fn from(told: &EndpointStatus) -> EndpointSummary {
        let since = told.behind.iter().map(|unit| unit.superseded_at.0);
        EndpointSummary {
            endpoint: told.name.clone(),
            state: told.state,
            since: told.since.0,
            message: told.message.clone(),
            revision_date: told.revision_date.as_ref().map(|date| date.0),
            behind_since: since.min(),
            behind: told.behind.iter().map(|unit| unit.unit.clone()).collect(),
        }
    }
}
