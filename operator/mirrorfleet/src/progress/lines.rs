//! Plain lines where no terminal is: one a phase, and one every few seconds while bytes arrive.

use std::io::{self, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fleet_sync::{Phase, Progress};
use fleet_types::{counted, lock};
use indicatif::{HumanBytes, HumanDuration};

use super::doing;

const BETWEEN_LINES: Duration = Duration::from_secs(5);

/// Writes lines that begin with the Mirror's name.
pub struct Lines {
    mirror: String,
    state: Mutex<State>,
}

struct State {
    phase: Option<Phase>,
    planned: Option<Planned>,
    last_line: Instant,
}

/// What was planned, and what of it has come.
struct Planned {
    files: u64,
    bytes: u64,
    files_done: u64,
    bytes_done: u64,
    since: Instant,
}

impl Planned {
    fn describe(&self, now: Instant) -> String {
        let elapsed = now.duration_since(self.since).as_secs_f64().max(0.001);
        let rate = self.bytes_done as f64 / elapsed;
        let left = self.bytes.saturating_sub(self.bytes_done);
        let mut text = format!(
            "{} of {}, {} of {}, {}/s",
            self.files_done,
            counted(self.files, "file"),
            HumanBytes(self.bytes_done),
            HumanBytes(self.bytes),
            HumanBytes(rate as u64)
        );
        if left > 0 && rate >= 1.0 {
            let seconds = Duration::try_from_secs_f64(left as f64 / rate).unwrap_or(Duration::MAX);
            text.push_str(&format!(", about {} left", HumanDuration(seconds)));
        }
        text
    }
}

impl Lines {
    pub fn new(mirror: &str) -> Lines {
        let state = State {
            phase: None,
            planned: None,
            last_line: Instant::now(),
        };
        Lines {
            mirror: mirror.to_owned(),
            state: Mutex::new(state),
        }
    }

    fn change(&self, change: impl FnOnce(&mut State, Instant) -> Option<String>) {
        let mut state = lock(&self.state);
        let now = Instant::now();
        if let Some(text) = change(&mut state, now) {
            state.last_line = now;
            self.say(&text);
        }
    }

    fn say(&self, text: &str) {
        // Progress is a courtesy: nobody is told when nobody reads it.
        let _ = writeln!(io::stderr(), "{}: {text}", self.mirror);
    }
}

impl Progress for Lines {
    fn phase(&self, phase: Phase) {
        self.change(|state, _| {
            (state.phase.replace(phase) != Some(phase)).then(|| doing(phase).to_owned())
        });
    }

    fn planned(&self, files: u64, bytes: u64) {
        self.change(|state, now| {
            state.planned = Some(Planned {
                files,
                bytes,
                files_done: 0,
                bytes_done: 0,
                since: now,
            });
            let files = counted(files, "file");
            Some(format!("{files} to fetch, {}", HumanBytes(bytes)))
        });
    }

    fn received(&self, bytes: u64) {
        self.change(|state, now| {
            let due = now.duration_since(state.last_line) >= BETWEEN_LINES;
            let planned = state.planned.as_mut()?;
            planned.bytes_done = planned.bytes_done.saturating_add(bytes);
            due.then(|| planned.describe(now))
        });
    }

    fn file_done(&self) {
        self.change(|state, now| {
            let planned = state.planned.as_mut()?;
            planned.files_done += 1;
            (planned.files_done == planned.files).then(|| planned.describe(now))
        });
    }

    fn note(&self, text: &str) {
        self.say(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_files_bytes_rate_and_what_is_left() {
        let since = Instant::now();
        let planned = Planned {
            files: 40,
            bytes: 30 << 20,
            files_done: 10,
            bytes_done: 10 << 20,
            since,
        };
        let text = planned.describe(since + Duration::from_secs(10));
        assert_eq!(
            text,
            "10 of 40 files, 10.00 MiB of 30.00 MiB, 1.00 MiB/s, about 20 seconds left"
        );
        let done = Planned {
            files_done: 40,
            bytes_done: 30 << 20,
            ..planned
        };
        assert!(
            !done
                .describe(since + Duration::from_secs(30))
                .contains("left")
        );
    }
}
