//! When what a unit lists does not fit together: whether the upstream says that it is being changed at the moment.
//! Asked for only then, so that runs in which all is well cost no request more.
//!
//! The mark is not signed. It explains why a file is not there; it takes nothing from a refusal by verification, which
//! keeps its reason.

use fleet_fetch::Arrival;
use fleet_formats::seam::Format;
use fleet_types::Reason;
use url::Url;

use super::plan::Refusals;
use super::upstream::Upstream;
use crate::Problem;

/// Says of units that are refused that an update may be the cause, where an endpoint has the mark of one.
pub(super) async fn blame_update(
    format: &dyn Format,
    upstream: &Upstream,
    refusals: &mut Refusals,
) {
    if !refusals.values().any(may_be_an_update) {
        return;
    }
    let Some(mark) = mark_of_update(format, upstream).await else {
        return;
    };
    for problem in refusals
        .values_mut()
        .filter(|problem| may_be_an_update(problem))
    {
        let reason = match problem.reason {
            Reason::UpstreamIncomplete => Reason::UpstreamUpdating,
            refused => refused,
        };
        *problem = Problem {
            reason,
            message: format!(
                "{}; the upstream says that it is being updated ({mark} is there), the next run tries again",
                problem.message
            ),
            ..problem.clone()
        };
    }
}

/// The first endpoint's mark that is there. That nobody can tell changes nothing about the reasons that there are.
async fn mark_of_update(format: &dyn Format, upstream: &Upstream) -> Option<String> {
    let endpoints = upstream.fetcher.endpoints();
    for endpoint in endpoints.bulk() {
        let host = Url::parse(&endpoints.url(endpoint))
            .ok()
            .and_then(|url| url.host_str().map(str::to_owned));
        let mark = host.and_then(|host| format.state_files().update_mark(&host));
        let Some(mark) = mark else { continue };
        if let Ok(Ok(Arrival::Complete(_))) = upstream.fetch_root(&mark, endpoint, None).await {
            return Some(mark.path.to_string());
        }
    }
    None
}

fn may_be_an_update(problem: &Problem) -> bool {
    let misfit = [Reason::UpstreamIncomplete, Reason::DigestMismatch];
    problem.unsettled || misfit.contains(&problem.reason)
}
