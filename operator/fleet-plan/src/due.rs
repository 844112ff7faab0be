//! What a copy's status says that happened, for [`timing`](crate::timing).

use fleet_api::{Attempt, Mirror, ReplicaStatus, Upstream, labels};
use fleet_types::Outcome;
use jiff::Timestamp;

use crate::fleet::{Fleet, requested};
use crate::inputs::Inputs;
use crate::timing::{self, Due, Ended, History};

/// The next run of a copy, which carries out `inputs`. None while `suspend` holds: a request that comes then is carried out afterwards.
/// `volume_since` is when its claim was created, `news_at` when the authority was seen to have what the copy has not taken.
pub fn next(
    (fleet, inputs): (&Fleet, &Inputs),
    status: &ReplicaStatus,
    volume_since: Option<Timestamp>,
    news_at: Option<Timestamp>,
) -> Option<Due> {
    let edited = |last: &Attempt| !inputs.are_those_of(last);
    let edited = status.last_attempt.as_ref().is_some_and(edited);
    let history = || History {
        edited: edited.then(|| inputs.occasion()),
        volume_since,
        ..history(fleet.mirror, Some(fleet.upstream), status, news_at)
    };
    (!fleet.spec.suspend)
        .then(|| timing::next(&fleet.timing, &history()))
        .flatten()
}

/// What happened to a copy; whether its declaration was edited since, and its volume replaced, is for who knows of it.
pub fn history(
    mirror: &Mirror,
    upstream: Option<&Upstream>,
    status: &ReplicaStatus,
    news_at: Option<Timestamp>,
) -> History {
    let created = mirror.metadata.creation_timestamp.as_ref();
    let last = status.last_attempt.as_ref();
    let wanted =
        (requested(mirror)).filter(|wanted| status.handled_sync_request.as_ref() != Some(wanted));
    History {
        declared_at: created.map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        last: last.map(|last| Ended {
            started_at: last.started_at.0,
            finished_at: last.finished_at.0,
            good: last.reason.outcome() == Outcome::Good,
            retry: last.retry,
            not_before: last.not_before.as_ref().map(|wait| wait.0),
        }),
        round_started_at: status.round_started_at.as_ref().map(|round| round.0),
        request: wanted.cloned(),
        edited: None,
        pushed_at: upstream.and_then(pushed_at),
        news_at,
        volume_since: None,
        started_up_at: None,
    }
}

/// When somebody last said that it has something new. What nobody can read was never said.
pub fn pushed_at(upstream: &Upstream) -> Option<Timestamp> {
    let told = upstream.metadata.annotations.as_ref()?;
    told.get(labels::PUSHED_AT)?.parse().ok()
}
