//! A real apt, which does without by-hash.

use std::fs;
use std::process::{Command, Stdio};

use super::World;

/// apt in a root of its own.
pub struct Apt<'a> {
    world: &'a World,
    root: &'static str,
}

impl Apt<'_> {
    pub fn new<'a>(world: &'a World, site: &str, suite: &str) -> Apt<'a> {
        let root = "apt";
        for folder in ["lists/partial", "archives/partial", "download"] {
            fs::create_dir_all(world.path(root).join(folder)).unwrap();
        }
        let apt = Apt { world, root };
        fs::write(apt.path("status"), "").unwrap();
        apt.source(site, suite);
        apt
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.world.path(self.root).join(name)
    }

    fn source(&self, site: &str, suite: &str) {
        let keyring = self.world.path("keyring.asc");
        let line = format!(
            "deb [signed-by={}] {site} {suite} main\n",
            keyring.display()
        );
        fs::write(self.path("sources.list"), line).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("apt-get");
        for (name, value) in [
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::State::lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", ""),
        ] {
            command.arg(format!("-o{name}={}", self.path(value).display()));
        }
        command
            .args([
                "-oDir::Etc::sourceparts=-",
                "-oAPT::Architecture=amd64",
                "-oAPT::Sandbox::User=root",
                "-oAcquire::By-Hash=no",
                "-oAcquire::Languages=none",
                "-oAcquire::Retries=0",
                // Indices this small are cheaper as a whole.
                "-oAcquire::PDiffs::SizeLimit=0",
            ])
            .args(arguments)
            .current_dir(self.path("download"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        command
    }

    /// Whether it was satisfied, and all that it said.
    pub fn run(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.command(arguments).output().unwrap();
        (output.status.success(), said(&output))
    }

    #[track_caller]
    pub fn updates_quietly(&self) -> String {
        let (fine, text) = self.run(&["update", "--error-on=any"]);
        assert!(fine && !text.contains("W:"), "{text}");
        text
    }
}

pub fn said(output: &std::process::Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
