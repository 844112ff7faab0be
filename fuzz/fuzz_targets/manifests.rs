//! Manifests as `-f` reads them.
#![no_main]
#![allow(dead_code)] // parts of the program

#[path = "../../operator/mirrorfleet/src/failure.rs"]
mod failure;
#[path = "../../operator/mirrorfleet/src/manifests/mod.rs"]
mod manifests;

use std::path::PathBuf;
use std::sync::LazyLock;

use fleet_types::Reason;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let name = format!("mirrorfleet-fuzz-manifest-{}.yaml", std::process::id());
    std::env::temp_dir().join(name)
});

libfuzzer_sys::fuzz_target!(|content: &[u8]| {
    std::fs::write(&*FILE, content).expect("a temporary file");
    match manifests::Manifests::load(std::slice::from_ref(&*FILE)) {
        Err(failure) => assert_eq!(failure.reason, Reason::InvalidSpec),
        Ok(manifests) => {
            for (name, mirror) in &manifests.mirrors {
                assert!(manifests::check::object_name(&name.name).is_ok());
                manifests::check::mirror(&name.name, &mirror.spec);
            }
            for (name, upstream) in &manifests.upstreams {
                manifests::check::upstream(&name.name, &upstream.spec);
            }
        }
    }
    // Left over only where this process is killed.
    std::fs::remove_file(&*FILE).expect("the temporary file");
});
