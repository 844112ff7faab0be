//! The checksums of Arch Linux's installation images: which release they are of, and which files it has.
#![no_main]

use std::ops::ControlFlow;

use fleet_formats::arch::Arch;
use fleet_formats::seam::{Format, Item, Promise, RootContent, Trust};
use fleet_types::RepoPath;
use mirrorfleet_fuzz::{Drip, assert_safe, context};

libfuzzer_sys::fuzz_target!(|content: &[u8]| {
    let root =
        |path: &str| RootContent::new(RepoPath::new(path).expect("a path"), content.to_vec());
    let trust = Trust::nothing_is_judged();
    let roots = [
        root("iso/latest/sha256sums.txt"),
        root("iso/latest/b2sums.txt"),
    ];
    let _ = arch().unit_index("iso", &roots, Some(&context(&trust)));
    let Ok(index) = arch().read("iso", &roots[..1]) else {
        return;
    };
    for file in index.groups.iter().flat_map(|group| &group.files) {
        assert_safe(&file.path);
        file.aliases
            .iter()
            .for_each(|alias| assert_safe(&alias.path));
    }
    let mut found = Vec::new();
    let mut content = Drip(content, content.len() % 64 + 1);
    let read = arch().read_index(&index.groups[0], &mut content, &mut |item| {
        found.push(item);
        ControlFlow::Continue(())
    });
    // What is a release is one that can be copied.
    assert_eq!(read.map(|entries| 2 * entries), Ok(found.len() as u64));
    for item in found {
        let Item::File(file) = item else {
            unreachable!("one that cannot be used refuses the whole")
        };
        assert_safe(&file.path);
        assert!(file.path.as_str().starts_with("iso/"));
        file.aliases
            .iter()
            .for_each(|alias| assert_safe(&alias.path));
        match file.promise {
            Promise::Digest { expected, exact } => assert!(!exact && expected.size <= 16 << 30),
            Promise::SignatureOver { max_bytes, .. } => assert!(max_bytes <= 16_384),
            Promise::Given { .. } => unreachable!("checksums hold no files"),
        }
    }
});

fn arch() -> Arch {
    let content = serde_json::json!({"repos": ["core"], "architectures": ["x86_64"], "include": {"iso": true}});
    Arch::new(&serde_json::from_value(content).expect("a block")).expect("the slice of the tests")
}
