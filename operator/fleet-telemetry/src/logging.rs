//! The log: one line an event on standard error, so that standard output stays free for results.

use std::io::{self, IsTerminal};

use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// A line for people; in colour on a terminal.
    #[default]
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// What to log, how and whereto.
#[derive(Default)]
pub struct LogOptions {
    pub format: LogFormat,
    /// Directives as in `info,fleet_sync=debug`; used where the environment variable `RUST_LOG` is not set. Empty
    /// means `info`.
    pub filter: String,
    /// Where lines go instead of standard error, for example around a progress bar.
    pub writer: Option<BoxMakeWriter>,
}

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error(
        "the log filter {filter:?} cannot be understood: {reason}; write for example `info,fleet_sync=debug`"
    )]
    Filter { filter: String, reason: String },
    #[error("the log was already set up: {0}")]
    AlreadySet(String),
}

/// Sets the log up for the whole process, once.
pub fn init_logging(options: LogOptions) -> Result<(), LoggingError> {
    let filter = filter(&options.filter, std::env::var("RUST_LOG").ok())?;
    let terminal = options.writer.is_none() && io::stderr().is_terminal();
    let writer = options
        .writer
        .unwrap_or_else(|| BoxMakeWriter::new(io::stderr));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match options.format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        // A person at a terminal knows what time it is; a file does not.
        LogFormat::Text if terminal => lines.with_target(false).without_time().boxed(),
        LogFormat::Text => lines.with_ansi(false).boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(|error| LoggingError::AlreadySet(error.to_string()))
}

fn filter(configured: &str, environment: Option<String>) -> Result<EnvFilter, LoggingError> {
    let text = environment
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| configured.to_owned());
    let text = if text.is_empty() {
        "info".to_owned()
    } else {
        text
    };
    // What the library of signatures says of packets is for its authors; what is wrong with one stands in our messages.
    EnvFilter::try_new(format!("pgp=off,{text}")).map_err(|error| LoggingError::Filter {
        filter: text,
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_wins_over_the_flag_and_info_is_the_default() {
        assert_eq!(filter("", None).unwrap().to_string(), "pgp=off,info");
        assert_eq!(filter("warn", None).unwrap().to_string(), "pgp=off,warn");
        assert_eq!(
            filter("warn", Some("debug".into())).unwrap().to_string(),
            "pgp=off,debug"
        );
        assert_eq!(
            filter("warn", Some(String::new())).unwrap().to_string(),
            "pgp=off,warn"
        );
    }

    #[test]
    fn a_filter_that_makes_no_sense_is_named() {
        let error = filter("fleet_sync=loud", None).unwrap_err().to_string();
        assert!(error.contains("fleet_sync=loud"), "{error}");
    }
}
