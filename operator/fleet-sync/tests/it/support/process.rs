//! Starting other programs beside runs.
//!
//! Between fork and exec a child shares every descriptor of this process, and with it the flock of whatever store is
//! open at that instant; all our descriptors are close-on-exec, but a run whose predecessor ended in that instant would
//! find its store busy, where that was closed and not unlocked. So a program starts only while no store of this process
//! is held. The one program that a worker starts is rsync, and a writer unlocks its store when it is done.

use std::process::{Child, Command, Output, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use fleet_types::lock;
static HELD: Mutex<usize> = Mutex::new(0);
static RELEASED: Condvar = Condvar::new();

fn held() -> MutexGuard<'static, usize> {
    lock(&HELD)
}

/// While it lives, a store may be held and no program is started. Never waits for one that is waiting to be started.
pub struct Holding(());

pub fn hold() -> Holding {
    *held() += 1;
    Holding(())
}

impl Drop for Holding {
    fn drop(&mut self) {
        *held() -= 1;
        RELEASED.notify_all();
    }
}

pub fn spawn(command: &mut Command) -> Child {
    let mut held = held();
    while *held > 0 {
        held = RELEASED.wait(held).unwrap_or_else(PoisonError::into_inner);
    }
    command
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

/// Runs to a good end.
pub fn run(command: &mut Command) {
    let status = spawn(command.stdin(Stdio::null())).wait().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// What it prints; it must end well.
pub fn output(command: &mut Command) -> Vec<u8> {
    let output = outcome(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// How it ends, and what it prints.
pub fn outcome(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    spawn(command).wait_with_output().unwrap()
}
