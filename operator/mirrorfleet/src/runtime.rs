//! What every role needs of the process: log, runtime, signals, the time.

use std::future::Future;

use fleet_telemetry::{LogFormat, LogOptions, init_logging};
use fleet_types::Reason;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::failure::Failure;
use crate::memory;
use crate::progress::Display;

/// Flags of the log, the same for all roles.
#[derive(Debug, clap::Args)]
pub struct LogArguments {
    /// How log lines on standard error look
    #[arg(
        long,
        global = true,
        help_heading = "Log",
        value_enum,
        default_value = "text",
        env = "MIRRORFLEET_LOG_FORMAT",
        hide_env_values = true
    )]
    log_format: Format,
    /// What to log, for example `debug` or `info,fleet_sync=debug` [default: info for serve, controller and local, else warn]
    #[arg(
        long = "log",
        global = true,
        help_heading = "Log",
        value_name = "FILTER",
        env = "MIRRORFLEET_LOG",
        hide_env_values = true
    )]
    filter: Option<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// A role that works and ends, or one that runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    Quiet,
    Daemon,
}

impl LogArguments {
    /// Sets the log up, so that its lines do not tear what `display` shows.
    pub fn init(&self, verbosity: Verbosity, display: &Display) -> Result<(), Failure> {
        let default = match verbosity {
            // What the API server refuses is told by whoever asked it.
            Verbosity::Quiet => "warn,kube_client=off",
            Verbosity::Daemon => "info",
        };
        let writer = display
            .log_writer()
            .map(|writer| BoxMakeWriter::new(move || writer.clone()));
        let options = LogOptions {
            format: match self.log_format {
                Format::Text => LogFormat::Text,
                Format::Json => LogFormat::Json,
            },
            filter: self.filter.clone().unwrap_or_else(|| default.to_owned()),
            writer,
        };
        init_logging(options).map_err(|error| Failure::invalid(error.to_string()))
    }
}

/// Runs a role's future to its end; the token is cancelled by SIGINT and SIGTERM.
pub fn block_on<F, T>(role: impl FnOnce(CancellationToken) -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    run_on(Builder::new_multi_thread(), role)
}

/// The same for a role that is one run: its network is on this thread, which so need not be woken by another for each
/// packet that arrives. What computes, or waits for a disk, has threads of its own.
pub fn block_on_one<F, T>(role: impl FnOnce(CancellationToken) -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    memory::keep_small();
    run_on(Builder::new_current_thread(), role)
}

/// The same for a role whose tasks are many and short: where there is one processor for them they all run on this thread,
/// which costs less than handing them to another one.
pub fn block_on_few<F, T>(role: impl FnOnce(CancellationToken) -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let threads = match std::thread::available_parallelism() {
        Ok(processors) if processors.get() == 1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    run_on(threads, role)
}

fn run_on<F, T>(
    mut threads: Builder,
    role: impl FnOnce(CancellationToken) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let runtime = threads
        .enable_all()
        .build()
        .map_err(|error| system(&error))?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate()).map_err(|error| system(&error))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| system(&error))?;
        let cancel = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            cancel.cancel();
        });
        role(stop).await
    })
}

/// The operating system refused something that every program needs.
pub fn system(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        Reason::StorageFailed,
        format!("the operating system refused: {error}"),
    )
}

/// Seconds since 1970-01-01T00:00:00Z.
pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// A listener, and its address on standard output or error.
pub async fn bind(
    flag: &str,
    address: std::net::SocketAddr,
) -> Result<tokio::net::TcpListener, Failure> {
    let listener = tokio::net::TcpListener::bind(address).await;
    listener.map_err(|error| Failure::invalid(format!("{flag} {address}: cannot listen there: {error}; choose another address, or port 0 for any")))
}
