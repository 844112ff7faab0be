//! `project/trace/`: our own trace file in the form that checkers of Debian mirrors read, and the file of the archive's
//! master, which every mirror carries: which run of the archive it has.
//! <https://salsa.debian.org/mirror-team/archvsync>

use fleet_types::documents::OwnFile;
use fleet_types::{RepoPath, RunFacts};

use super::Debian;
use crate::seam::{RootFile, StateFiles, Told, UpstreamWord};

const DIRECTORY: &str = "project/trace";
const MASTER: &str = "project/trace/master";
/// Real ones have less than a kilobyte.
const MAX_BYTES: u64 = 64 << 10;
/// `Archive-Update-in-Progress-<host>`: empty, or a few words.
const MAX_MARK_BYTES: u64 = 64 << 10;
const FIELD: &str = "Archive serial";
const MAX_DIGITS: usize = 20;

/// A line of a trace.
type Field = (String, String);

impl StateFiles for Debian {
    fn word(&self) -> Option<UpstreamWord> {
        Some(UpstreamWord {
            file: RootFile {
                path: RepoPath::new(MASTER).ok()?,
                max_bytes: MAX_BYTES,
            },
            read: archive_serial,
        })
    }

    fn update_mark(&self, host: &str) -> Option<RootFile> {
        let path = RepoPath::new(&format!("Archive-Update-in-Progress-{host}")).ok()?;
        path.parent().is_none().then_some(RootFile {
            path,
            max_bytes: MAX_MARK_BYTES,
        })
    }

    /// The trace, and what lists the traces.
    fn render(&self, told: &Told<'_>) -> Vec<OwnFile> {
        let Told {
            run, name, contact, ..
        } = told;
        let slice = self.fields();
        // An older version wrote both into the facts.
        let is_of_slice = |field: &&Field| slice.iter().any(|(name, _)| *name == field.0);
        let word = run.fields.iter().filter(|field| !is_of_slice(field));
        let fields: Vec<Field> = word.chain(&slice).cloned().collect();
        let hierarchy = format!("{name} {name} {} {}\n", run.host, run.upstream);
        let files = [
            ("_hierarchy", hierarchy),
            ("_traces", format!("{name}\n")),
            (name, text(run, *contact, &fields)),
        ];
        let file = |(name, content): (&str, String)| OwnFile {
            path: format!("{DIRECTORY}/{name}"),
            content,
        };
        files.into_iter().map(file).collect()
    }
}

impl Debian {
    /// What a trace says of the declared slice.
    fn fields(&self) -> Vec<Field> {
        let slice = &self.slice;
        let mut declared = slice.architectures.clone();
        declared.extend(slice.include.sources.then(|| "source".to_owned()));
        let mut held = declared.clone();
        held.extend((!slice.architectures.is_empty()).then(|| "all".to_owned()));
        held.sort();
        held.dedup();
        let mut fields = vec![("Suites".to_owned(), slice.suites.join(" "))];
        // Nothing is said of the architectures of a flat repository.
        if !declared.is_empty() {
            fields.push(("Architectures".to_owned(), held.join(" ")));
            let include = format!("INCLUDE {}", declared.join(" "));
            fields.push(("Architectures-Configuration".to_owned(), include));
        }
        fields
    }
}

/// The first line is what `date -u` prints, the others are fields.
fn text(trace: &RunFacts, contact: Option<&str>, fields: &[Field]) -> String {
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
    for (field, value) in fields {
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

/// Nobody has signed it, so that nothing but a number is repeated.
pub(super) fn archive_serial(text: &[u8]) -> Option<(String, String)> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let value = lines.find_map(|line| line.strip_prefix(FIELD.as_bytes())?.strip_prefix(b":"))?;
    let value = str::from_utf8(value.trim_ascii()).ok()?;
    let is_number =
        (1..=MAX_DIGITS).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| (FIELD.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace() -> RunFacts {
        RunFacts {
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
            text(
                &trace(),
                Some("Admins <admins@example.org>\nX: y"),
                &trace().fields
            ),
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

    #[test]
    fn only_a_number_is_repeated() {
        let serial = |text: &[u8]| archive_serial(text).map(|(_, value)| value);
        let master =
            b"Sat Nov 23 20:20:20 UTC 2024\nUsing dak v1\nArchive serial: 2024112304\r\nDate: x\n";
        assert_eq!(serial(master), Some("2024112304".to_owned()));
        for text in [
            &b""[..],
            b"Archive serial",
            b"Archive serial:\n",
            b"Archive serial: 1 2",
            b"Archive serial: -1",
            b"Archive serial: 123456789012345678901",
            b"Archive serial: \xff1",
            "Archive serial: \u{661}".as_bytes(),
            b" Archive serial: 1",
        ] {
            assert_eq!(serial(text), None, "{}", String::from_utf8_lossy(text));
        }
    }
}
