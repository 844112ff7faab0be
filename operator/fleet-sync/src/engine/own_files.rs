//! What a run leaves for the files that the mirror publishes about itself.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Duration;

use fleet_fetch::{Arrival, Body};
use fleet_formats::seam::Told;
use fleet_store::Writer;
use fleet_types::documents::{NextOwnFiles, OwnFiles, UnixSeconds};
use fleet_types::{Reason, RunFacts};
use futures::future::maybe_done;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::blocking::blocking;
use super::memory::Memory;
use super::publish::Served;
use super::run::Ground;
use super::upstream::Upstream;
use crate::{Problem, Publishing, Report, SyncOptions};

/// Nothing depends on the upstream's own word, so a run does not wait for long.
const PATIENCE: Duration = Duration::from_secs(10);

/// `state/upstream-trace.json`: the field of the upstream's own word that we repeat, as of the state that is served.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Word {
    field: Option<(String, String)>,
}

impl Word {
    const DOCUMENT: &str = "upstream-trace";
}

/// The upstream's word is asked for while something new is published, since that may cost a round trip, or the
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
    if served.as_ref().is_some_and(|served| served.result.is_new()) {
        word.as_mut().await;
        let word = word.take_output().unwrap_or_default();
        let at = ground.clone();
        // What is published stays so, whether or not this can be written; the next file says what it can.
        let _ = blocking(move || keep_word(&at, word)).await;
    }
    Ok(served)
}

/// That it is not there, or not as it should be, is no failure.
async fn upstreams_word(ground: &Ground, upstream: &Upstream) -> Word {
    let ask = async {
        let word = ground.rules.options.format.state_files().word()?;
        let endpoint = upstream.fetcher.endpoints().bulk().next()?;
        match upstream.fetch_root(&word.file, endpoint, None).await {
            Ok(Ok(Arrival::Complete(received))) => match received.body? {
                Body::Memory(text) => (word.read)(&text),
                Body::File(_) => None,
            },
            _ => None,
        }
    };
    let field = tokio::time::timeout(PATIENCE, ask).await.ok().flatten();
    Word { field }
}

/// For this run's files and those of the unchanged ones after it.
fn keep_word(ground: &Ground, word: Word) -> Result<(), Problem> {
    Ok(ground
        .stock
        .shelves
        .writer
        .state_write(Word::DOCUMENT, &word)?)
}

/// What is written down after a run.
pub(super) struct Left {
    /// Of the run that left the upstream's state served.
    facts: Option<RunFacts>,
    files: Option<OwnFiles>,
    /// What will be so once the snapshot is served that this run prepared.
    next: Option<NextOwnFiles>,
}

impl Left {
    /// The facts are of the last run that left the upstream's state served: what a mirror says of itself must never claim
    /// more than is true.
    pub fn by(options: &SyncOptions, report: &Report, writer: &Writer) -> Left {
        let served = writer.current().ok().flatten().map(|id| id.0);
        let newest = report.prepared.map(|newest| newest.id);
        let is_served = match options.publishing {
            Publishing::ByRun { .. } => true,
            Publishing::ByOrder { .. } => newest.is_some() && newest == served,
        };
        // By a person, or since the order for what was prepared has not come.
        let is_held = !is_served || matches!(report.reason, Reason::Pinned | Reason::RolledBack);
        let run = || facts(options, report, writer);
        let (good, next) = match report.reason {
            Reason::Published => (Some(run()), None),
            Reason::Unchanged if is_served => (Some(run()), None),
            Reason::Prepared => (None, newest.map(|newest| (newest, run()))),
            _ => (None, None),
        };
        // Of a run before this one, whose snapshot is served since.
        let taken_up: Option<NextOwnFiles> = taken(writer, NextOwnFiles::DOCUMENT);
        let known: Option<RunFacts> = taken(writer, RunFacts::DOCUMENT);
        let is_news = |run: &RunFacts| {
            let known = known.as_ref();
            known.is_none_or(|known| known.finished_at < run.finished_at)
        };
        let taken_up = taken_up.filter(|next| Some(next.snapshot) == served && is_news(&next.run));
        let (facts, own) = match (good, taken_up) {
            (Some(run), _) => {
                let own = files(options, &run, writer);
                (Some(run), Some(own))
            }
            (None, Some(next)) => (Some(next.run), Some(next.own)),
            // How the clock stands is true of what is not served.
            (None, None) if is_held && options.format.state_files().clock().is_some() => {
                (None, None)
            }
            (None, None) => (None, known.map(|run| files(options, &run, writer))),
        };
        Left {
            files: own,
            facts,
            next: next.map(|(snapshot, run)| NextOwnFiles {
                snapshot,
                own: files(options, &run, writer),
                run,
            }),
        }
    }

    pub fn write(&self, writer: &Writer) -> Result<(), Problem> {
        if let Some(facts) = &self.facts {
            writer.state_write(RunFacts::DOCUMENT, facts)?;
        }
        let before = writer.take_state(OwnFiles::DOCUMENT)?;
        if let Some(files) = self
            .files
            .as_ref()
            .filter(|files| before.as_ref() != Some(*files))
        {
            writer.state_write(OwnFiles::DOCUMENT, files)?;
        }
        if let Some(next) = &self.next {
            writer.state_write(NextOwnFiles::DOCUMENT, next)?;
        }
        Ok(())
    }
}

/// A document that may be damaged.
fn taken<T: DeserializeOwned>(writer: &Writer, document: &str) -> Option<T> {
    writer.take_state(document).unwrap_or_default()
}

fn files(options: &SyncOptions, run: &RunFacts, writer: &Writer) -> OwnFiles {
    let memory: Option<Memory> = writer.take_state(Memory::DOCUMENT).unwrap_or_default();
    let memory = memory.unwrap_or_default();
    let clock = |unit: &String| memory.units.get(unit)?.clock.clone();
    let clocks: Option<Vec<_>> = options.format.units().iter().map(clock).collect();
    let clients = &options.clients;
    let told = Told {
        run,
        name: clients.trace_name.as_ref().unwrap_or(&options.mirror),
        contact: clients.contact.as_deref(),
        clocks: clocks.unwrap_or_default(),
    };
    let state_files = options.format.state_files();
    let heartbeat = state_files.heartbeat(&told);
    OwnFiles {
        modified: UnixSeconds(run.finished_at),
        heartbeat: heartbeat.and_then(|at| i64::try_from(at).ok().map(UnixSeconds)),
        files: state_files.render(&told),
    }
}

fn facts(options: &SyncOptions, report: &Report, writer: &Writer) -> RunFacts {
    let first = options
        .endpoints
        .iter()
        .min_by_key(|endpoint| endpoint.priority)
        .map_or(&options.authority, |endpoint| &endpoint.url);
    let followed = options.follow.as_ref().map(|follow| follow.name.clone());
    let upstream = followed.or_else(|| first.host_str().map(str::to_owned));
    // A file without the field is better than none.
    let word: Option<Word> = writer.take_state(Word::DOCUMENT).unwrap_or_default();
    RunFacts {
        // Of a copy both are of the mirror that asked the upstream: the clock of this machine says nothing of that.
        started_at: report.confirmed_at.unwrap_or(report.started_at).0,
        finished_at: report.found_at().0,
        software: options.user_agent.replace('/', " "),
        host: host(),
        upstream: upstream.unwrap_or_else(|| "localhost".to_owned()),
        transport: first.scheme().to_owned(),
        received_bytes: report.bytes_fetched,
        seconds: report.seconds,
        fields: word.and_then(|word| word.field).into_iter().collect(),
    }
}

/// As the kernel calls this machine or pod.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}
