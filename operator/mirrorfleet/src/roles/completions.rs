//! `mirrorfleet completions`.

use clap::Command;
use clap_complete::Shell;

use crate::failure::Failure;
use crate::report::print;

/// Prints completions for a shell
///
/// For example `mirrorfleet completions bash > /etc/bash_completion.d/mirrorfleet`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(arguments: Arguments, mut command: Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "mirrorfleet", &mut script);
    print(&String::from_utf8_lossy(&script))
}
