//! What a run leaves for the mirror's own trace file.

use fleet_types::{Reason, Trace};

use crate::{Report, SyncOptions};

/// None where the format has no trace files, and after every run that does not leave the upstream's state served: the
/// dates of a trace must never claim more than is true.
pub(super) fn of(options: &SyncOptions, report: &Report) -> Option<Trace> {
    if !matches!(report.reason, Reason::Published | Reason::Unchanged) {
        return None;
    }
    let first = options
        .endpoints
        .iter()
        .min_by_key(|endpoint| endpoint.priority)
        .map_or(&options.authority, |endpoint| &endpoint.url);
    Some(Trace {
        started_at: report.started_at,
        finished_at: report.finished_at,
        software: options.user_agent.replace('/', " "),
        host: host(),
        upstream: first.host_str().unwrap_or("localhost").to_owned(),
        transport: first.scheme().to_owned(),
        received_bytes: report.bytes_fetched,
        seconds: report.seconds,
        fields: options.format.trace()?,
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
