//! Whether an endpoint has stopped: its clock stands while the authority's goes on. How far apart the two are says little,
//! since there may be days between two changes; for how long the endpoint has not followed does.

use std::collections::BTreeMap;

use fleet_types::documents::UnixSeconds;
use fleet_types::{ClockReading, Reason};
use serde::{Deserialize, Serialize};

use super::list::Lister;
use super::one_clock::GRACE;
use crate::Problem;

/// An endpoint whose clock is behind the authority's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Behind {
    /// What it shows.
    pub state: String,
    /// Since when the authority is known to be further while it does.
    pub since: UnixSeconds,
}

/// By URL.
pub(super) type AllBehind = BTreeMap<String, Behind>;

/// An endpoint, and how it is behind, if it is.
pub(super) type Pace = (String, Option<Behind>);

impl Lister<'_> {
    /// How an endpoint keeps pace with the authority; none where that cannot be told. Errors: `BehindAuthority` where it has
    /// not moved for too long.
    pub(super) async fn pace(
        &self,
        unit: &str,
        endpoint: usize,
        clock: Option<&ClockReading>,
    ) -> Result<Option<Pace>, Problem> {
        let endpoints = self.upstream.fetcher.endpoints();
        let (authority, identity) = (endpoints.authority(), endpoints.identity(endpoint));
        let format = self.rules.options.format.as_ref();
        let (Some(kind), Some(here)) = (format.state_files().clock(), clock) else {
            return Ok(None);
        };
        if authority == endpoint {
            return Ok(None);
        }
        let Ok(Some(there)) = self.upstream.clock(format, authority).await else {
            return Ok(None);
        };
        let is_behind = (kind.read)(&here.state) < (kind.read)(&there.state);
        let known = self.stock.memory.behind.get(&identity);
        let now = self.rules.now;
        let behind = is_behind.then(|| behind(known, here, now));
        if let Some(behind) = &behind
            && now.saturating_sub(behind.since.0) > GRACE.as_secs().cast_signed()
        {
            let text = format!(
                "{unit}: the {} of {} has stood at {} at least since {}, while the authority's has gone on to {}; name another \
                 endpoint, or ask its operators",
                kind.state.path,
                endpoints.url(endpoint),
                here.state.trim(),
                behind.since,
                there.state.trim()
            );
            return Err(Problem::new(Reason::BehindAuthority, text));
        }
        Ok(Some((identity, behind)))
    }
}

/// Since the same reading was first known to be behind. A clock of ours that went back proves nothing.
fn behind(known: Option<&Behind>, here: &ClockReading, now: i64) -> Behind {
    let known = known.filter(|known| known.state == here.state);
    Behind {
        state: here.state.clone(),
        since: UnixSeconds(known.map_or(now, |known| known.since.0.min(now))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_moves_begins_anew() {
        let reading = |state: &str| ClockReading {
            state: state.to_owned(),
            beat: None,
        };
        let first = behind(None, &reading("100"), 1000);
        assert_eq!(behind(Some(&first), &reading("100"), 2000).since.0, 1000);
        assert_eq!(behind(Some(&first), &reading("150"), 2000).since.0, 2000);
        assert_eq!(behind(Some(&first), &reading("100"), 500).since.0, 500);
    }
}
