//! What the end of a run says about one of its files. Decided with plain values.
//!
//! A daemon can say what it wants. The worst that it can do here is to have a file looked for elsewhere, or to be left
//! alone for a while.

use super::folder::no_room;
use super::program::Ended;
use crate::{FailureKind, FetchError, Sink};
use fleet_types::counted;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// The run went well, as far as this file is concerned.
    Sent,
    /// The daemon's file is larger than the largest that was asked for.
    TooLarge,
    Missing(FailureKind, String),
    /// The run ended before its end.
    BrokenOff(FetchError),
}

/// What became of a file, where it is not there; where it is there, whether it is whole. `path` is what rsync calls it.
pub(super) fn told_of(ended: &Ended, path: &str) -> Fate {
    use FailureKind::*;
    let lines = || ended.said.lines();
    if lines().any(|line| line.strip_suffix(" is over max-size") == Some(path)) || outgrew(ended) {
        return Fate::TooLarge;
    }
    let quoted = format!("{path}\"");
    let about = || lines().filter(|line| line.contains(&quoted));
    match ended.code {
        Some(0) => match about().next() {
            // "skipping non-regular file": a device, a pipe, a link to nowhere.
            Some(line) => Fate::Missing(NotFound, line.to_owned()),
            None => Fate::Sent,
        },
        // Some files could not be sent, or vanished meanwhile.
        Some(23 | 24) => match about().next() {
            None => Fate::Sent,
            Some(line) if line.contains("Permission denied") => {
                Fate::Missing(Forbidden, line.to_owned())
            }
            Some(line) if line.contains("failed verification") => {
                Fate::Missing(Broken, line.to_owned())
            }
            Some(line) => Fate::Missing(NotFound, line.to_owned()),
        },
        code => Fate::BrokenOff(broken_off(code, &ended.said)),
    }
}

/// More came than was announced, and the limit of the receiver ended the run.
pub(super) fn outgrew(ended: &Ended) -> bool {
    ended.code == Some(11) && ended.said.contains("File too large")
}

/// By rsync's exit codes, and the daemon's own words where the code says nothing.
fn broken_off(code: Option<i32>, said: &str) -> FetchError {
    use FailureKind::*;
    // rsync's own summary comes last; the line before it says what happened.
    let told = said.lines().rfind(|line| {
        !line.is_empty() && !line.starts_with("rsync error:") && !line.contains("read error:")
    });
    let told = told.or(said.lines().last()).unwrap_or("without a word");
    let daemon = |words: &str| {
        let mut lines = said.lines().filter(|line| line.contains("@ERROR"));
        lines.any(|line| line.contains(words))
    };
    let kind = match code {
        Some(11) => match no_room(said) {
            Some(error) => return error,
            None => Broken,
        },
        Some(3) if told.contains("change_dir") => NotFound,
        // The daemon has a directory there, and what is there of the file is one.
        Some(3) if told.contains("cannot overwrite non-directory") => NotFound,
        Some(5) if daemon("Unknown module") => NotFound,
        Some(5) if daemon("max connections") => Busy { retry_after: None },
        Some(5) if daemon("auth failed") || daemon("access denied") => Forbidden,
        Some(5 | 10 | 35) => Unreachable,
        Some(30) => Stalled,
        _ => Broken,
    };
    let code = code.map_or("a signal".to_owned(), |code| format!("exit code {code}"));
    FetchError::new(kind, format!("rsync ended with {code}: {told}"))
}

impl Fate {
    /// Why the file `name` is not there.
    pub fn error(&self, name: &str, sink: &Sink) -> FetchError {
        match self {
            Fate::Sent => FetchError::new(
                FailureKind::NotFound,
                format!("{name}: the daemon does not have such a file"),
            ),
            Fate::TooLarge => {
                let limit = sink.limit();
                match sink.promised() {
                    Some(promised) => FetchError::new(
                        FailureKind::Mismatch,
                        format!(
                            "{name}: more than its index promises, {}",
                            counted(promised, "byte")
                        ),
                    ),
                    None => FetchError::new(
                        FailureKind::TooLarge,
                        format!(
                            "{name}: larger than {}, the most that such a file may have",
                            counted(limit, "byte")
                        ),
                    ),
                }
            }
            Fate::Missing(kind, line) => FetchError::new(kind.clone(), format!("{name}: {line}")),
            Fate::BrokenOff(error) => {
                FetchError::new(error.kind.clone(), format!("{name}: {}", error.message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fate(code: Option<i32>, said: &str, path: &str) -> Fate {
        let said = said.to_owned();
        told_of(&Ended { code, said }, path)
    }

    #[test]
    fn each_file_of_a_run_has_its_own_fate() {
        let said = "pool/big is over max-size\nskipping non-regular file \"pool/pipe\"\n\
            rsync: [sender] link_stat \"/sub/pool/gone\" (in mod) failed: No such file or directory (2)\n\
            rsync: [sender] send_files failed to open \"pool/secret\" (in mod): Permission denied (13)\n\
            rsync error: some files/attrs were not transferred (see previous errors) (code 23)";
        let kind = |path| match fate(Some(23), said, path) {
            Fate::Missing(kind, _) => Some(kind),
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(fate(Some(23), said, "pool/big"), Fate::TooLarge);
        assert_eq!(fate(Some(23), said, "pool/fine"), Fate::Sent);
        assert_eq!(kind("pool/pipe"), Some(FailureKind::NotFound));
        assert_eq!(kind("pool/gone"), Some(FailureKind::NotFound));
        assert_eq!(kind("pool/secret"), Some(FailureKind::Forbidden));
        let grown = "rsync: [receiver] write failed on \"x\": File too large (27)";
        assert_eq!(fate(Some(11), grown, "pool/a"), Fate::TooLarge);
    }

    #[test]
    fn a_run_that_breaks_off_says_why() {
        use FailureKind::*;
        for (code, said, kind) in [
            (
                5,
                "@ERROR: Unknown module 'x'\nrsync error: (code 5)",
                NotFound,
            ),
            (5, "@ERROR: auth failed on module x", Forbidden),
            (5, "@ERROR: access denied to x from y (1.2.3.4)", Forbidden),
            (
                5,
                "@ERROR: max connections (4) reached -- try again later",
                Busy { retry_after: None },
            ),
            (
                10,
                "rsync: failed to connect to x: Connection refused",
                Unreachable,
            ),
            (12, "rsync: connection unexpectedly closed", Broken),
            (
                30,
                "rsync error: timeout in data send/receive (code 30)",
                Stalled,
            ),
            (
                35,
                "rsync error: timeout waiting for daemon connection",
                Unreachable,
            ),
        ] {
            let Fate::BrokenOff(error) = fate(Some(code), said, "pool/a") else {
                panic!("{said}");
            };
            assert_eq!(error.kind, kind, "{said}");
        }
        let full = "rsync: [receiver] write failed on \"x\": No space left on device (28)";
        let Fate::BrokenOff(error) = fate(Some(11), full, "pool/a") else {
            panic!();
        };
        assert!(matches!(error.kind, Local(_)), "{error:?}");
        assert!(matches!(fate(None, "", "pool/a"), Fate::BrokenOff(_)));
    }
}
