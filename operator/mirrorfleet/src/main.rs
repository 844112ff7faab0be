//! The one program. `main` is an enum and one `match`; each role is one module of [`roles`] that turns flags into the
//! options of a library and calls it.

mod arguments;
mod failure;
mod manifests;
mod memory;
mod program;
mod progress;
#[cfg(test)]
mod reference;
mod report;
mod resolve;
mod roles;
mod runtime;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use fleet_types::{Outcome, Reason};

use failure::Failure;
use program::Called;
use roles::cluster;
use runtime::LogArguments;

/// Deploys fleets of software mirrors
///
/// `local` mirrors on one machine, `controller` on Kubernetes; both read the same manifests. The other commands are
/// what these two are made of, by hand.
#[derive(Debug, Parser)]
#[command(name = "mirrorfleet", version, propagate_version = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    log: LogArguments,
    #[command(subcommand)]
    role: Role,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  every mirror is verified and current
  1  usage or manifest error, a missing keyring among them
  2  an upstream is unreachable or behind its authority
  3  refused by verification
  4  storage: full, read-only, corrupt or busy
In 2 to 4, what was served before still is. With several mirrors or suites the worst wins, in the order 1, 4, 3, 2, 0.
`status` and `why` exit with 0 once they could tell, and by this table with --check. What the API server refuses is 1, one
that cannot be asked is 2.";

#[derive(Debug, Subcommand)]
enum Role {
    Init(roles::init::Arguments),
    Local(roles::local::Arguments),
    Sync(Box<roles::sync::Arguments>),
    Serve(roles::serve::Arguments),
    Fill(roles::fill::Arguments),
    Plan(roles::plan::Arguments),
    Prewarm(roles::prewarm::Arguments),
    Probe(roles::probe::Arguments),
    Verify(roles::verify::Arguments),
    Audit(Box<roles::audit::Arguments>),
    Export(roles::export::Arguments),
    Snapshots(roles::snapshots::Arguments),
    Status(cluster::status::Arguments),
    Why(cluster::why::Arguments),
    SyncNow(cluster::act::SyncNow),
    Pin(cluster::act::Pin),
    Unpin(cluster::act::Unpin),
    Skip(cluster::act::Skip),
    Unskip(cluster::act::Unskip),
    Suspend(cluster::act::Suspend),
    Resume(cluster::act::Resume),
    Logs(cluster::logs::Arguments),
    Events(cluster::events::Arguments),
    Controller(Box<roles::controller::Arguments>),
    Push(roles::push::Arguments),
    Crds(roles::crds::Arguments),
    Completions(roles::completions::Arguments),
}

fn main() -> ExitCode {
    fleet_sync::install_crypto_provider();
    let called = Called::now();
    let command = || called.command(Cli::command());
    if called == Called::Completer {
        let words = std::env::args_os().skip(1).collect();
        return exit(roles::completions::answer_kubectl(command(), words).map(|()| Outcome::Good));
    }
    roles::completions::answer(command);
    let read = command().try_get_matches();
    let cli = match read.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        // clap would exit with 2, which means something else here.
        Err(error) => {
            let wrong = error.use_stderr();
            // Nobody can be told when standard error is closed.
            let _ = error.print();
            return ExitCode::from(if wrong {
                Reason::InvalidSpec.outcome().exit_code()
            } else {
                0
            });
        }
    };
    exit(run(cli))
}

fn exit(result: Result<Outcome, Failure>) -> ExitCode {
    match result {
        Ok(outcome) => ExitCode::from(outcome.exit_code()),
        Err(failure) => {
            eprintln!("{}: {failure}", Called::now().as_str());
            ExitCode::from(failure.reason.outcome().exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<Outcome, Failure> {
    let log = &cli.log;
    match cli.role {
        Role::Init(arguments) => roles::init::run(arguments, log).map(|()| Outcome::Good),
        Role::Local(arguments) => roles::local::run(arguments, log),
        Role::Sync(arguments) => roles::sync::run(*arguments, log),
        Role::Serve(arguments) => roles::serve::run(arguments, log).map(|()| Outcome::Good),
        Role::Fill(arguments) => roles::fill::run(arguments, log).map(|()| Outcome::Good),
        Role::Plan(arguments) => roles::plan::run(arguments, log),
        Role::Prewarm(arguments) => roles::prewarm::run(arguments, log).map(|()| Outcome::Good),
        Role::Probe(arguments) => roles::probe::run(arguments, log),
        Role::Verify(arguments) => roles::verify::run(arguments, log),
        Role::Audit(arguments) => roles::audit::run(*arguments, log),
        Role::Export(arguments) => roles::export::run(arguments, log).map(|()| Outcome::Good),
        Role::Snapshots(arguments) => roles::snapshots::run(arguments, log).map(|()| Outcome::Good),
        Role::Status(arguments) => cluster::status::run(arguments, log),
        Role::Why(arguments) => cluster::why::run(arguments, log),
        Role::SyncNow(arguments) => cluster::act::sync_now(arguments, log),
        Role::Pin(arguments) => cluster::act::pin(arguments, log),
        Role::Unpin(arguments) => cluster::act::unpin(arguments, log),
        Role::Skip(arguments) => cluster::act::skip(arguments, log),
        Role::Unskip(arguments) => cluster::act::unskip(arguments, log),
        Role::Suspend(arguments) => cluster::act::suspend(arguments, log),
        Role::Resume(arguments) => cluster::act::resume(arguments, log),
        Role::Logs(arguments) => cluster::logs::run(arguments, log),
        Role::Events(arguments) => cluster::events::run(arguments, log),
        Role::Controller(arguments) => {
            roles::controller::run(*arguments, log).map(|()| Outcome::Good)
        }
        Role::Push(arguments) => roles::push::run(arguments, log).map(|()| Outcome::Good),
        Role::Crds(arguments) => roles::crds::run(arguments).map(|()| Outcome::Good),
        Role::Completions(arguments) => roles::completions::run(arguments).map(|()| Outcome::Good),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
