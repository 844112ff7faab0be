//! Names inside a repository, as indices and requests give them.
#![no_main]

use fleet_types::RepoPath;
use mirrorfleet_fuzz::assert_safe;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(path) = RepoPath::new(text) else {
        return;
    };
    assert_safe(&path);
    let rebuilt = match path.parent() {
        Some(parent) => RepoPath::new(parent).and_then(|parent| parent.join(path.file_name())),
        None => RepoPath::new(path.file_name()),
    };
    assert_eq!(rebuilt, Ok(path));
});
