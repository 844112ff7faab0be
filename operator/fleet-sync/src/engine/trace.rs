//! What a run leaves for the mirror's own trace file.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Duration;

use fleet_store::Writer;
use fleet_types::{Reason, Trace};
use futures::future::maybe_done;
use serde::{Deserialize, Serialize};

use super::blocking::blocking;
use super::publish::Served;
use super::run::Ground;
use super::upstream::Upstream;
use crate::fetch::Arrival;
use crate::{Problem, Report, RunResult, SyncOptions};

/// Nothing depends on the upstream's own trace, so a run does not wait for long.
const PATIENCE: Duration = Duration::from_secs(10);

/// `state/upstream-trace.json`: the field of the upstream's own trace that ours repeats, as of the state that is served.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Word {
    field: Option<(String, String)>,
}

impl Word {
    const DOCUMENT: &str = "upstream-trace";
}

/// The upstream's trace is asked for while something new is published, since that may cost a round trip, or the
/// upstream's patience; an unchanged upstream costs no request more.
pub(super) async fn noting_upstreams_word(
    ground: &Ground,
    upstream: &Upstream,
    publishing: impl Future<Output = Result<Option<Served>, Problem>>,
) -> Result<Option<Served>, Problem> {
    let mut word = pin!(maybe_done(upstreams_word(ground, upstream)));
    let mut publishing = pin!(publishing);
    let served = poll_fn(|cx| {
        let _ = word.as_mut().poll(cx);
        publishing.as_mut().poll(cx)
    })
    .await?;
    if served.as_ref().map(|served| served.result) == Some(RunResult::Published) {
        word.as_mut().await;
        let word = word.take_output().unwrap_or_default();
        let at = ground.clone();
        // What is published stays so, whether or not this can be written; the next trace says what it can.
        let _ = blocking(move || keep_word(&at, word)).await;
    }
    Ok(served)
}

/// That it is not there, or not as it should be, is no failure.
async fn upstreams_word(ground: &Ground, upstream: &Upstream) -> Word {
    let ask = async {
        let trace = ground.rules.options.format.upstream_trace()?;
        let endpoint = upstream.fetcher.endpoints().bulk().next()?;
        match upstream.fetch_root(&trace.file, endpoint, None).await {
            Ok(Ok(Arrival::Complete(received))) => (trace.read)(&received.body?),
            _ => None,
        }
    };
    let field = tokio::time::timeout(PATIENCE, ask).await.ok().flatten();
    Word { field }
}

/// For this run's trace and those of the unchanged ones after it.
fn keep_word(ground: &Ground, word: Word) -> Result<(), Problem> {
    Ok(ground
        .stock
        .shelves
        .writer
        .state_write(Word::DOCUMENT, &word)?)
}

/// None where the format has no trace files, and after every run that does not leave the upstream's state served: the
/// dates of a trace must never claim more than is true.
pub(super) fn of(options: &SyncOptions, report: &Report, writer: &Writer) -> Option<Trace> {
    if !matches!(report.reason, Reason::Published | Reason::Unchanged) {
        return None;
    }
    let first = options
        .endpoints
        .iter()
        .min_by_key(|endpoint| endpoint.priority)
        .map_or(&options.authority, |endpoint| &endpoint.url);
    // A trace without the field is better than none.
    let word: Option<Word> = writer.take_state(Word::DOCUMENT).unwrap_or_default();
    let mut fields: Vec<_> = word.and_then(|word| word.field).into_iter().collect();
    fields.extend(options.format.trace()?);
    Some(Trace {
        started_at: report.started_at,
        finished_at: report.finished_at,
        software: options.user_agent.replace('/', " "),
        host: host(),
        upstream: first.host_str().unwrap_or("localhost").to_owned(),
        transport: first.scheme().to_owned(),
        received_bytes: report.bytes_fetched,
        seconds: report.seconds,
        fields,
    })
}

/// As the kernel calls this machine or pod.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}
