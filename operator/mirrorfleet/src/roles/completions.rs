//! `mirrorfleet completions`, and what the scripts that it prints ask for.

use std::ffi::OsString;

use clap::Command;
use clap_complete::Shell;
use clap_complete::engine;
use clap_complete::env::{CompleteEnv, Shells};

use crate::failure::Failure;
use crate::report::print;

/// The variable by which the scripts say that they want candidates.
const VARIABLE: &str = "MIRRORFLEET_COMPLETE";
/// After the candidates, cobra wants to hear that it shall not offer files (ShellCompDirectiveNoFileComp).
const NO_FILES: &str = ":4";

/// Prints completions for a shell, for commands, flags, and names of Mirrors, regions and snapshots
///
/// For example `source <(mirrorfleet completions bash)` in ~/.bashrc. kubectl completes `kubectl mirrorfleet` by a
/// program kubectl_complete-mirrorfleet on the path: a link to this one.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let name = arguments.shell.to_string();
    let shells = Shells::builtins();
    let completer = shells
        .completer(&name)
        .ok_or_else(|| Failure::invalid(format!("there are no completions for {name}")))?;
    let mut script = Vec::new();
    let own = "mirrorfleet";
    completer
        .write_registration(VARIABLE, own, own, own, &mut script)
        .map_err(|error| Failure::output("the script", error))?;
    print(&String::from_utf8_lossy(&script))
}

/// Answers a script; the process ends then. Otherwise nothing happens.
pub fn answer(command: impl Fn() -> Command) {
    CompleteEnv::with_factory(command).var(VARIABLE).complete();
}

/// Answers kubectl, which calls `kubectl_complete-mirrorfleet WORD...`: a candidate a line, and a directive.
pub fn answer_kubectl(mut command: Command, words: Vec<OsString>) -> Result<(), Failure> {
    let mut line = vec![OsString::from("kubectl-mirrorfleet")];
    line.extend(words);
    let last = line.len() - 1;
    let folder = std::env::current_dir().ok();
    let found = engine::complete(&mut command, line, last, folder.as_deref());
    let found = found.map_err(|error| Failure::invalid(error.to_string()))?;
    let mut text = String::new();
    for candidate in found.iter().filter(|candidate| !candidate.is_hide_set()) {
        text.push_str(&candidate.get_value().to_string_lossy());
        if let Some(help) = candidate.get_help() {
            let help = help.to_string();
            text.push_str(&format!("\t{}", help.lines().next().unwrap_or_default()));
        }
        text.push('\n');
    }
    print(&format!("{text}{NO_FILES}\n"))
}
