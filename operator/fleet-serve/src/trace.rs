//! `project/trace/`: our own trace file in the form that checkers of Debian mirrors read, rendered from `state/`. It is in
//! no snapshot, since it changes without a new revision; an upstream's own traces are unsigned and not ours to repeat.
//! <https://salsa.debian.org/mirror-team/archvsync>

use bytes::Bytes;
use fleet_store::{Afterwards, Identity, Result, Store};
use fleet_types::{RepoPath, Trace};

/// Where trace files are, below a mirror's path.
pub const DIRECTORY: &str = "project/trace";

/// The files of [`DIRECTORY`].
pub struct TraceFiles {
    /// Name and content, sorted by name.
    pub files: Vec<(String, Bytes)>,
    /// When what they say was found out; Unix seconds.
    pub modified: i64,
}

impl TraceFiles {
    /// None before the first run that has something to tell, and where the format has no traces. Blocks on the disk.
    pub fn read(store: &Store) -> Result<Option<TraceFiles>> {
        let trace: Option<Trace> = store.state(Trace::DOCUMENT)?;
        Ok(trace.map(|trace| TraceFiles::of(&trace, store.identity())))
    }

    fn of(trace: &Trace, identity: &Identity) -> TraceFiles {
        let name = identity.clients.trace_name.as_ref();
        let name = name.unwrap_or(&identity.mirror).clone();
        let Trace { host, upstream, .. } = trace;
        let hierarchy = format!("{name} {name} {host} {upstream}\n");
        let text = render(trace, identity.clients.contact.as_deref());
        let mut files = vec![
            ("_hierarchy".to_owned(), Bytes::from(hierarchy)),
            ("_traces".to_owned(), Bytes::from(format!("{name}\n"))),
            (name, Bytes::from(text)),
        ];
        files.sort();
        TraceFiles {
            files,
            modified: trace.finished_at,
        }
    }

    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.files
            .iter()
            .find_map(|(known, content)| (known == name).then_some(content))
    }
}

/// The trace files of a store, for a tree that is written of it.
pub fn trace_files(store: &Store) -> Result<Vec<Afterwards>> {
    let Some(traces) = TraceFiles::read(store)? else {
        return Ok(Vec::new());
    };
    let file = |(name, content): (String, Bytes)| {
        Some(Afterwards {
            path: RepoPath::new(&format!("{DIRECTORY}/{name}")).ok()?,
            content: content.to_vec(),
            mtime: traces.modified,
        })
    };
    Ok(traces.files.into_iter().filter_map(file).collect())
}

/// The first line is what `date -u` prints, the others are fields.
fn render(trace: &Trace, contact: Option<&str>) -> String {
    let finished = trace.finished_at;
    let mut text = format!("{}\n", date(finished, "%a %b %e %H:%M:%S UTC %Y"));
    let mut add = |field: &str, value: &str| {
        let value: Vec<&str> = value.split(char::is_control).collect();
        text.push_str(&format!("{field}: {}\n", value.join(" ").trim()));
    };
    const MAIL_DATE: &str = "%a, %d %b %Y %H:%M:%S +0000";
    add("Date", &date(finished, MAIL_DATE));
    add("Date-Started", &date(trace.started_at, MAIL_DATE));
    add("Creator", &trace.software);
    add("Running on host", &trace.host);
    if let Some(contact) = contact {
        add("Maintainer", contact);
    }
    for (field, value) in &trace.fields {
        add(field, value);
    }
    add("Upstream-mirror", &trace.upstream);
    add("Transport", &trace.transport);
    add("Total bytes received", &trace.received_bytes.to_string());
    add("Total time spent", &format!("{:.0}", trace.seconds.ceil()));
    if trace.seconds >= 1.0 {
        let rate = trace.received_bytes as f64 / trace.seconds;
        add("Average rate", &format!("{rate:.0} B/s"));
    }
    text
}

fn date(unix_seconds: i64, format: &str) -> String {
    jiff::Timestamp::from_second(unix_seconds)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .strftime(format)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace() -> Trace {
        Trace {
            started_at: 784_111_700,
            finished_at: 784_111_777,
            software: "mirrorfleet 0.1.0".into(),
            host: "pod-0".into(),
            upstream: "upstream.example.org".into(),
            transport: "https".into(),
            received_bytes: 4096,
            seconds: 76.5,
            fields: vec![("Architectures".into(), "all amd64".into())],
        }
    }

    #[test]
    fn the_text_is_as_ftpsync_writes_it() {
        assert_eq!(
            render(&trace(), Some("Admins <admins@example.org>\nX: y")),
            "Sun Nov  6 08:49:37 UTC 1994\n\
             Date: Sun, 06 Nov 1994 08:49:37 +0000\n\
             Date-Started: Sun, 06 Nov 1994 08:48:20 +0000\n\
             Creator: mirrorfleet 0.1.0\n\
             Running on host: pod-0\n\
             Maintainer: Admins <admins@example.org> X: y\n\
             Architectures: all amd64\n\
             Upstream-mirror: upstream.example.org\n\
             Transport: https\n\
             Total bytes received: 4096\n\
             Total time spent: 77\n\
             Average rate: 54 B/s\n"
        );
    }
}
