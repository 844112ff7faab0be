//! `mirrorfleet snapshots`.

use std::path::Path;

use fleet_store::{SnapshotId, SnapshotInfo, Store, Writer};
use fleet_types::documents::UnixSeconds;
use indicatif::HumanBytes;
use serde::Serialize;

use crate::arguments::DataArguments;
use crate::failure::Failure;
use crate::progress::Display;
use crate::report::{OutputFormat, print, print_json};
use crate::runtime::{LogArguments, Verbosity, now};

/// Lists the snapshots of a Mirror, or chooses the one that is served
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    data: DataArguments,
    /// Name of the Mirror
    mirror: String,
    /// How to print the list
    #[arg(short = 'o', long, value_enum, default_value = "text")]
    output: OutputFormat,
    #[command(subcommand)]
    choice: Option<Choice>,
}

#[derive(Debug, clap::Subcommand)]
enum Choice {
    /// Serves this snapshot and keeps serving it, whatever is synced later
    Pin {
        /// An id, or its first 8 or more digits
        id: String,
    },
    /// Ends a pin; the next sync publishes the newest
    Unpin,
    /// Serves this snapshot until the upstream publishes something newer
    Rollback {
        /// An id, or its first 8 or more digits
        id: String,
    },
}

/// One line of the list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    snapshot: String,
    current: bool,
    pinned: bool,
    prepared_only: bool,
    created: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    published_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    superseded_at: Option<i64>,
    files: u64,
    bytes: u64,
    /// What `sync --follow` takes as `--index`; none where the index cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<String>,
    revision: Vec<fleet_types::UnitRevision>,
}

pub fn run(arguments: Arguments, log: &LogArguments) -> Result<(), Failure> {
    log.init(Verbosity::Quiet, &Display::Silent)?;
    let store = super::store(&arguments.data.data, &arguments.mirror)?;
    match arguments.choice {
        None => list(&store, arguments.output),
        Some(choice) => choose(&store, &arguments.data.data.join(&arguments.mirror), choice),
    }
}

fn choose(store: &Store, dir: &Path, choice: Choice) -> Result<(), Failure> {
    // Before the writer is opened, which sets aside what is damaged.
    if let Choice::Pin { id } | Choice::Rollback { id } = &choice {
        whole(store, id)?;
    }
    let writer = Writer::open_existing(dir)?;
    let told = |what: &str, id: &SnapshotId| print(&format!("{what} {id}\n"));
    match choice {
        Choice::Pin { id } => {
            let id = whole(store, &id)?;
            writer.pin(&id, now())?;
            told("pinned: this is served from now on:", &id)
        }
        Choice::Rollback { id } => {
            let id = whole(store, &id)?;
            writer.rollback(&id, now())?;
            told(
                "rolled back: this is served until the upstream publishes something newer:",
                &id,
            )
        }
        Choice::Unpin => {
            writer.unpin()?;
            print("not pinned any more: the next sync publishes the newest\n")
        }
    }
}

/// A snapshot whose index is not damaged: found out before the switch, which itself reads none of it.
fn whole(store: &Store, id: &str) -> Result<SnapshotId, Failure> {
    let id = store.resolve(id)?;
    store.snapshot(&id)?;
    Ok(id)
}

fn list(store: &Store, format: OutputFormat) -> Result<(), Failure> {
    let mut snapshots = store.snapshots()?;
    snapshots.reverse();
    match format {
        OutputFormat::Json => snapshots
            .into_iter()
            .try_for_each(|info| print_json(&Row::of(store, info))),
        OutputFormat::Text => print(&table(&snapshots)),
    }
}

fn table(snapshots: &[SnapshotInfo]) -> String {
    let mut text = format!(
        "{:<14}{:<22}{:<22}{:>9}  {:>12}  {}\n",
        "SNAPSHOT", "CREATED", "PUBLISHED", "FILES", "SIZE", "STATE"
    );
    for info in snapshots {
        text.push_str(&format!(
            "{:<14}{:<22}{:<22}{:>9}  {:>12}  {}\n",
            crate::report::short(&info.id.to_string()),
            instant(Some(info.meta.created)),
            instant(info.published_at),
            info.meta.entries,
            HumanBytes(info.meta.bytes).to_string(),
            state(info)
        ));
    }
    text
}

fn state(info: &SnapshotInfo) -> String {
    let words = [
        (info.current, "served"),
        (info.pinned, "pinned"),
        (info.prepared_only, "prepared"),
    ];
    let words: Vec<_> = words
        .iter()
        .filter(|(is, _)| *is)
        .map(|(_, word)| *word)
        .collect();
    if words.is_empty() {
        "kept".to_owned()
    } else {
        words.join(", ")
    }
}

fn instant(seconds: Option<i64>) -> String {
    seconds.map_or_else(
        || "-".to_owned(),
        |seconds| UnixSeconds(seconds).to_string(),
    )
}

impl Row {
    fn of(store: &Store, info: SnapshotInfo) -> Row {
        Row {
            index: store.index_pin(&info.id).ok().map(|pin| pin.to_string()),
            snapshot: info.id.to_string(),
            current: info.current,
            pinned: info.pinned,
            prepared_only: info.prepared_only,
            created: info.meta.created,
            published_at: info.published_at,
            superseded_at: info.superseded_at,
            files: info.meta.entries,
            bytes: info.meta.bytes,
            revision: info.meta.revision,
        }
    }
}
