//! A database of pacman's repositories: tar, descriptions, and what they list. The first byte says whether it comes as it is
//! or is looked at by its magic.
#![no_main]

use std::io::Read;
use std::ops::ControlFlow;

use fleet_formats::arch::Arch;
use fleet_formats::decompress::{Whole, reader};
use fleet_formats::seam::{Format, Item, Promise, RootContent};
use fleet_types::RepoPath;
use mirrorfleet_fuzz::{Drip, assert_safe};

const LIMIT: u64 = 1 << 20;
const DATABASE: &str = "core/os/x86_64/core.db";

libfuzzer_sys::fuzz_target!(|content: &[u8]| {
    let Some((first, content)) = content.split_first() else {
        return;
    };
    if first % 2 == 0 {
        let whole = listed(&mut &content[..]);
        let dripping = listed(&mut Drip(content, usize::from(first % 64) + 1));
        assert_eq!(whole, dripping, "where the reads end must not matter");
        return;
    }
    let path = RepoPath::new(DATABASE).expect("a path");
    let root = RootContent::new(path, content.to_vec());
    if let Ok(index) = arch().read("core/x86_64", &[root]) {
        let compression = index.groups[0].files[0].compression;
        let _ = listed(&mut reader(compression, content, LIMIT, Whole::ByItself));
    }
});

fn arch() -> Arch {
    let content = serde_json::json!({
        "repos": ["core"], "architectures": ["x86_64"], "layout": {"pool": "pool/packages"},
        "packages": {"exclude": [{"name": "x*", "base": "y"}]}
    });
    Arch::new(&serde_json::from_value(content).expect("a block")).expect("the slice of the tests")
}

fn listed(content: &mut dyn Read) -> Result<Vec<Item>, String> {
    let empty = RootContent::new(RepoPath::new(DATABASE).expect("a path"), vec![0; 1024]);
    let index = arch()
        .read("core/x86_64", &[empty])
        .expect("an archive without members");
    let mut found = Vec::new();
    let read = arch().read_index(&index.groups[0], content, &mut |item| {
        found.push(item);
        ControlFlow::Continue(())
    });
    for item in &found {
        match item {
            Item::File(file) => {
                assert_safe(&file.path);
                file.aliases
                    .iter()
                    .for_each(|alias| assert_safe(&alias.path));
                match &file.promise {
                    Promise::Digest { expected, .. } => assert!(expected.size <= 64 << 30),
                    Promise::SignatureOver { max_bytes, .. } => assert!(*max_bytes <= 16_384),
                    Promise::Given { content, .. } => assert!(content.len() <= 16_384),
                }
            }
            Item::Unusable(entry) => {
                entry.paths.iter().for_each(assert_safe);
                assert!(entry.name.len() + entry.why.len() <= 10 * 240);
            }
        }
    }
    read.map(|_| found).map_err(|rejected| rejected.to_string())
}
