//! One run of the program rsync.

use std::ffi::OsString;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use fleet_types::{Problem, Reason};
use futures::FutureExt;
use futures::future::BoxFuture;
use rustix::process::{Pid, Resource, Rlimit, Signal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio_util::sync::CancellationToken;

use super::remote::Remote;
use crate::{FailureKind, FetchError};

/// What it says beyond this is read and forgotten.
const MOST_WORDS: usize = 1 << 20;

/// What is to be fetched.
pub(super) struct Order<'a> {
    pub names: Vec<&'a str>,
    /// A file that is to be written, or with a slash at its end a directory.
    pub target: OsString,
    /// No file larger than this is fetched.
    pub largest: u64,
    /// Continue after what is there.
    pub append: bool,
    pub stall: Duration,
    /// Bytes a second.
    pub bandwidth: Option<u64>,
}

/// How it ended, and what it said.
pub(super) struct Ended {
    /// None: by a signal.
    pub code: Option<i32>,
    /// Of the daemon as well as of our side: to be read with care.
    pub said: String,
}

/// Dropping it ends the program.
pub(super) struct Running {
    /// None once it has ended.
    run: Option<BoxFuture<'static, std::io::Result<Ended>>>,
    kill: CancellationToken,
}

impl Running {
    /// How it ended; none where it goes on for longer than this.
    pub async fn within(&mut self, time: Duration) -> Option<std::io::Result<Ended>> {
        let run = self.run.as_mut()?;
        let ended = tokio::time::timeout(time, run).await.ok()?;
        self.run = None;
        Some(ended)
    }

    /// Ends it, where it still runs: after this nothing is written any more.
    pub async fn end(mut self) {
        self.kill.cancel();
        if let Some(run) = self.run.take() {
            // What it came to is known already.
            let _ = run.await;
        }
    }
}

pub(super) fn start(remote: &Remote, order: &Order<'_>) -> Result<Running, FetchError> {
    let mut child = command(remote, order)
        .spawn()
        .map_err(|e| cannot_start(remote, &e))?;
    let list = list(&order.names);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut group = Group(child);
    group.bound(order.largest);
    let kill = CancellationToken::new();
    let killed = kill.clone();
    let run = async move {
        // Both of its processes hold the pipes: when these are closed, neither of the two is left.
        let (fed, out, err, status) = tokio::join!(
            feed(stdin, list),
            words(stdout),
            words(stderr),
            group.wait(killed)
        );
        // One that ends before it has read its list says why.
        drop(fed);
        Ok(Ended {
            code: status?.code(),
            said: out + &err,
        })
    };
    Ok(Running {
        run: Some(run.boxed()),
        kill,
    })
}

fn command(remote: &Remote, order: &Order<'_>) -> Command {
    let mut command = Command::new("rsync");
    let seconds = order.stall.as_secs() + u64::from(order.stall.subsec_nanos() > 0);
    command.args(ALWAYS).args([
        format!("--timeout={}", seconds.max(1)),
        format!("--contimeout={}", seconds.clamp(1, 30)),
        format!("--max-size={}", order.largest.max(1)),
    ]);
    if let Some(bandwidth) = order.bandwidth {
        // In KiB; none would be no limit.
        command.arg(format!("--bwlimit={}", (bandwidth >> 10).max(1)));
    }
    let directory = order.target.as_encoded_bytes().ends_with(b"/");
    match (directory, order.append) {
        (true, _) => &mut command,
        // What was there before it is not looked at: the whole is hashed on our side.
        (false, true) => command.args(["--no-relative", "--append"]),
        (false, false) => command.args(["--no-relative", "--inplace", "--whole-file"]),
    };
    command.arg("--").arg(remote.source()).arg(&order.target);
    // Nothing of ours that rsync would obey: RSYNC_CONNECT_PROG, HOME with its .popt, ...
    command.env_clear().env("LC_ALL", "C");
    let path = std::env::var_os("PATH");
    command.env(
        "PATH",
        path.unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()),
    );
    let proxy = remote.proxy().map(OsString::from);
    if let Some(proxy) = proxy.or_else(|| std::env::var_os("RSYNC_PROXY")) {
        command.env("RSYNC_PROXY", proxy);
    }
    // Where nobody else reads them, as everybody could in the list of processes. Without a password it would ask for
    // one at the terminal.
    let (user, password) = remote.login().unwrap_or(("nobody", ""));
    command.env("USER", user).env("RSYNC_PASSWORD", password);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // It has a child of its own, which would go on writing.
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// Links are followed by the daemon, as a web server does, and never made here.
const ALWAYS: [&str; 18] = [
    "--files-from=-",
    "--from0",
    "--protect-args",
    "--no-implied-dirs",
    "--no-inc-recursive",
    "--copy-links",
    "--no-devices",
    "--no-specials",
    "--no-owner",
    "--no-group",
    "--times",
    "--modify-window=-1",
    "--perms",
    "--chmod=D0700,F0600",
    "--no-motd",
    "--no-human-readable",
    "--8-bit-output",
    "--info=skip1",
];

/// The `./` keeps a name from being read as anything else, such as a comment.
fn list(names: &[&str]) -> Vec<u8> {
    names
        .iter()
        .flat_map(|name| [b"./", name.as_bytes(), b"\0"])
        .flatten()
        .copied()
        .collect()
}

async fn feed(stdin: Option<ChildStdin>, list: Vec<u8>) -> std::io::Result<()> {
    match stdin {
        Some(mut stdin) => stdin.write_all(&list).await,
        None => Ok(()),
    }
}

async fn words(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut pipe) = pipe else {
        return String::new();
    };
    let (mut kept, mut block) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = pipe.read(&mut block).await {
        let room = MOST_WORDS.saturating_sub(kept.len());
        kept.extend_from_slice(block.get(..read.min(room)).unwrap_or_default());
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// The program and what it has started.
struct Group(Child);

impl Group {
    fn pid(&self) -> Option<Pid> {
        // None once it was waited for: the number can be somebody else's then.
        self.0
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
    }

    /// A daemon that announces little and sends much meets this limit of its receiver.
    fn bound(&self, largest: u64) {
        let limit = largest.saturating_add(1 << 20);
        let limit = Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        };
        // It can have ended already.
        let _ = rustix::process::prlimit(self.pid(), Resource::Fsize, limit);
    }

    async fn wait(&mut self, killed: CancellationToken) -> std::io::Result<ExitStatus> {
        tokio::select! {
            status = self.0.wait() => return status,
            () = killed.cancelled() => {}
        }
        self.kill();
        self.0.wait().await
    }

    fn kill(&self) {
        if let Some(pid) = self.pid() {
            // It can have ended in this instant.
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

fn cannot_start(remote: &Remote, error: &std::io::Error) -> FetchError {
    let shown = remote.shown();
    let problem = if error.kind() == std::io::ErrorKind::NotFound {
        Problem::new(
            Reason::InvalidSpec,
            format!(
                "{shown}: the program rsync is not installed, and rsync:// endpoints need it: install it (in a cluster: run the chart's own image, or one that is built with WITH_RSYNC=1), or name an http or https endpoint"
            ),
        )
    } else {
        let text = format!("{shown}: the program rsync cannot be started: {error}");
        Problem::new(Reason::StorageFailed, text)
    };
    FetchError::new(FailureKind::Local(problem.clone()), problem.message)
}
