//! Under which name the program was started: as itself, or by kubectl, which takes `kubectl-mirrorfleet` on the path for
//! its command `kubectl mirrorfleet`.

use std::path::Path;

use clap::Command;

/// The names of the files that kubectl looks for: to run, and to complete what is typed.
const PLUGIN_FILE: &str = "kubectl-mirrorfleet";
const COMPLETER_FILE: &str = "kubectl_complete-mirrorfleet";

/// What about a cluster is done by people, and so is `kubectl mirrorfleet`. The others are there and not listed.
pub const OF_THE_PLUGIN: [&str; 13] = [
    "status",
    "why",
    "sync-now",
    "pin",
    "unpin",
    "skip",
    "unskip",
    "suspend",
    "resume",
    "logs",
    "events",
    "crds",
    "completions",
];

/// How a person writes the program's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Called {
    Itself,
    Plugin,
    /// kubectl asks what may come next.
    Completer,
}

impl Called {
    pub fn by(argument: Option<&std::ffi::OsStr>) -> Called {
        let file = argument.and_then(|name| Path::new(name).file_stem());
        match file.and_then(std::ffi::OsStr::to_str) {
            Some(PLUGIN_FILE) => Called::Plugin,
            Some(COMPLETER_FILE) => Called::Completer,
            _ => Called::Itself,
        }
    }

    pub fn now() -> Called {
        Called::by(std::env::args_os().next().as_deref())
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Called::Itself => "mirrorfleet",
            Called::Plugin | Called::Completer => "kubectl mirrorfleet",
        }
    }

    /// The command line as it is shown to who called it so.
    pub fn command(self, command: Command) -> Command {
        match self {
            Called::Itself => command,
            Called::Plugin | Called::Completer => {
                command.bin_name(self.as_str()).mut_subcommands(|role| {
                    let hidden = !OF_THE_PLUGIN.contains(&role.get_name());
                    role.hide(hidden)
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn kubectl_calls_a_file_with_its_own_name_in_front() {
        for (name, called) in [
            ("mirrorfleet", Called::Itself),
            ("/usr/local/bin/mirrorfleet", Called::Itself),
            ("kubectl-mirrorfleet", Called::Plugin),
            ("/home/a/.krew/bin/kubectl-mirrorfleet", Called::Plugin),
            ("kubectl-mirrorfleet.exe", Called::Plugin),
            ("/usr/bin/kubectl_complete-mirrorfleet", Called::Completer),
        ] {
            assert_eq!(Called::by(Some(OsStr::new(name))), called, "{name}");
        }
        assert_eq!(Called::by(None), Called::Itself);
    }
}
