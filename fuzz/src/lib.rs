//! What several targets share.

pub mod store;

use std::io::Read;

use fleet_api::mirror::{DebianContent, DebianInclude, DebianPackages};
use fleet_formats::debian::Debian;
use fleet_formats::openpgp::Keyring;
use fleet_formats::seam::{Allowances, Format, IndexGroup, Item, Promise, Trust, VerifyContext};
use fleet_types::RepoPath;

/// No format lists a larger file: 1 TiB.
const MAX_SIZE: u64 = 1 << 40;

/// Between the making of the signatures in `data/` and the end of time.
pub const NOW: i64 = 4_000_000_000;

/// What `data/InRelease` and `data/Release.gpg` are signed by. The private half is gone, so nobody signs anything else.
pub fn keyring() -> Keyring {
    Keyring::parse(include_bytes!("../data/keyring.gpg")).expect("the keyring of the tests")
}

/// A slice that wants everything, so that all of a Release is looked at.
pub fn debian(suite: &str) -> Debian {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Debian::new(DebianContent {
        suites: words(&[suite]),
        components: words(if suite.ends_with('/') { &[] } else { &["main"] }),
        architectures: words(&["amd64"]),
        include: DebianInclude {
            sources: true,
            contents: true,
            dep11: true,
            installer: true,
            pdiffs: true,
        },
        aliases: Vec::new(),
        release_names: Vec::new(),
        packages: DebianPackages::default(),
    })
    .expect("the slice of the tests")
}

pub fn context(trust: &Trust) -> VerifyContext<'_> {
    VerifyContext {
        now: NOW,
        trust,
        accepted: None,
        allowances: Allowances::NONE,
        settled: true,
    }
}

/// Whatever an upstream says: below the repository, printable, and the same when it is read again.
pub fn assert_safe(path: &RepoPath) {
    let text = path.as_str();
    assert!(text.len() <= RepoPath::MAX_BYTES);
    assert!(!text.chars().any(|c| c.is_control() || c == '\\'));
    for part in text.split('/') {
        assert!(!matches!(part, "" | "." | "..") && part.len() <= RepoPath::MAX_PART_BYTES);
    }
    assert_eq!(RepoPath::new(text).as_ref(), Ok(path));
}

/// Reads an index of one kind (as `IndexGroup::kind` numbers them) twice: as a whole, and in drops of `step` bytes.
pub fn read_index(kind: u16, content: &[u8]) {
    let whole = payload_of(kind, &mut &content[..]);
    let step = usize::from(content.first().copied().unwrap_or(0) % 64) + 1;
    let dripping = payload_of(kind, &mut Drip(content, step));
    assert_eq!(whole, dripping, "where the reads end must not matter");
    let Ok(items) = whole else { return };
    for item in &items {
        match item {
            Item::File(file) => {
                assert_safe(&file.path);
                assert!(
                    matches!(&file.promise, Promise::Digest { expected, .. } if expected.size <= MAX_SIZE)
                );
            }
            Item::Unusable(entry) => {
                entry.paths.iter().for_each(assert_safe);
                // Control characters are written out.
                assert!(entry.name.len() + entry.why.len() <= 10 * 240);
            }
        }
    }
}

fn payload_of(kind: u16, content: &mut dyn Read) -> Result<Vec<Item>, String> {
    let group = IndexGroup {
        stem: RepoPath::new("dists/s/main/binary-amd64/Index").expect("a path"),
        lists_payload: true,
        required: true,
        files: vec![],
        uncompressed: None,
        kind,
    };
    let mut found = Vec::new();
    let read = debian("s").read_index(&group, content, &mut |item| {
        found.push(item);
        std::ops::ControlFlow::Continue(())
    });
    read.map(|_| found).map_err(|rejected| rejected.to_string())
}

/// Gives few bytes at a time, so that every boundary falls everywhere.
pub struct Drip<'a>(pub &'a [u8], pub usize);

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.1.min(buffer.len());
        self.0.read(&mut buffer[..count])
    }
}
