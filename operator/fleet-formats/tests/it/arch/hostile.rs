//! What is refused as a whole, as pacman refuses it; what costs one package; and that nothing of it is fatal.

use std::io::Read;
use std::ops::ControlFlow;

use fleet_formats::seam::{Format, Item};
use fleet_types::{Reason, RepoPath};
use proptest::prelude::*;
use serde_json::json;

use super::archive::*;

fn refused(database: &[u8]) -> (Reason, String) {
    let refused = items(&core(), database).expect_err("this must be refused");
    (refused.reason, refused.message)
}

#[test]
fn what_pacman_refuses_as_a_whole_is_refused_with_a_reason() {
    use Reason::{IndexMalformed, TooLarge, UnsafePath};
    let good = package("a", "");
    let named = |file_name: &str| {
        described(
            "a-1-1",
            &desc("a", "").replace("a-1-1-any.pkg.tar.zst", file_name),
        )
    };
    let unchecked = {
        let mut bytes = archive(std::slice::from_ref(&good));
        bytes[0] ^= 1;
        bytes
    };
    let mut no_number = member("a-1-1/desc", b'0', b"");
    no_number[124..136].copy_from_slice(b"zzzzzzzzzzz\0");
    let mut header: [u8; 512] = no_number[..512].try_into().unwrap();
    signed(&mut header);
    let mut huge: [u8; 512] = member("a-1-1/desc", b'0', b"")[..512].try_into().unwrap();
    huge[124..136].copy_from_slice(&[
        0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    ]);
    signed(&mut huge);
    let table: Vec<(Vec<u8>, Reason, &str)> = vec![
        (archive(&[named("../../x.pkg")]), UnsafePath, "illegal"),
        (archive(&[named("dir/x.pkg")]), UnsafePath, "illegal"),
        (archive(&[named(".x.pkg")]), UnsafePath, "illegal"),
        (
            archive(&[good.clone(), described("a-2-1", &desc("a", ""))]),
            IndexMalformed,
            "twice",
        ),
        (
            archive(&[good.clone(), package("b", ""), good.clone()]),
            IndexMalformed,
            "twice",
        ),
        (
            archive(&[member("README", b'0', b"x")]),
            IndexMalformed,
            "not a file in the directory",
        ),
        (
            archive(&[described("./a-1-1", &desc("a", ""))]),
            IndexMalformed,
            "not a file in",
        ),
        (
            archive(&[described("/a-1-1", &desc("a", ""))]),
            IndexMalformed,
            "not a file in",
        ),
        (
            archive(&[described("a-1-1/b-1-1", &desc("a", ""))]),
            IndexMalformed,
            "not a file in",
        ),
        (
            archive(&[described("..", &desc("a", ""))]),
            IndexMalformed,
            "NAME-VERSION-RELEASE",
        ),
        (
            archive(&[described("a-1", &desc("a", ""))]),
            IndexMalformed,
            "NAME-VERSION-RELEASE",
        ),
        (
            archive(&[described("-1-1", &desc("a", ""))]),
            IndexMalformed,
            "NAME-VERSION-RELEASE",
        ),
        (
            archive(&[member("a-1-1/desc", b'2', b"")]),
            IndexMalformed,
            "a link or a device",
        ),
        (
            archive(&[member("a-1-1/desc", b'1', b"")]),
            IndexMalformed,
            "a link or a device",
        ),
        (
            archive(&[member("a-1-1/desc", b'3', b"")]),
            IndexMalformed,
            "a link or a device",
        ),
        (
            archive(&[member("a-1-1/desc", b'1', b"content")]),
            IndexMalformed,
            "do not agree",
        ),
        (
            archive(&[member("a-1-1/desc", b'S', b"")]),
            IndexMalformed,
            "not every reader knows",
        ),
        (
            archive(&[
                member("x", b'x', b"27 GNU.sparse.realsize=100\n"),
                good.clone(),
            ]),
            IndexMalformed,
            "do not agree",
        ),
        (
            archive(&[member("x", b'x', b"99 path=b\n"), good.clone()]),
            IndexMalformed,
            "extended header",
        ),
        (
            archive(&[member("x", b'x', b"-1 path=b\n"), good.clone()]),
            IndexMalformed,
            "extended header",
        ),
        (
            archive(&[member("g", b'g', b"10 path=b\n"), good.clone()]),
            IndexMalformed,
            "extended header",
        ),
        (
            archive(&[member("x", b'x', b"10 path=b\n")]),
            IndexMalformed,
            "where a member should follow",
        ),
        (
            archive(&[member("x", b'x', &[b'1'; 100_000])]),
            TooLarge,
            "100000 bytes",
        ),
        (
            archive(&[sized("a-1-1/desc", b'0', 17 << 20, b"")]),
            TooLarge,
            "bytes",
        ),
        (huge.to_vec(), TooLarge, "bytes"),
        (archive(&[header.to_vec()]), IndexMalformed, "no number"),
        (
            archive(&[member("a\u{fffd}", b'0', b"")]),
            IndexMalformed,
            "not a file in",
        ),
        (unchecked, IndexMalformed, "checksum"),
        (good[..700].to_vec(), IndexMalformed, "cut off"),
        (good[..good.len() - 512].to_vec(), IndexMalformed, "cut off"),
    ];
    for (database, reason, text) in table {
        let (found, message) = refused(&database);
        assert_eq!(found, reason, "{text}: {message}");
        assert!(message.contains(text), "{text:?} is not in {message:?}");
    }
}

#[test]
fn a_compressed_database_that_is_cut_off_or_swells_is_refused() {
    let plain = archive(&[package("a", "")]);
    let packed = zstd::encode_all(&plain[..], 1).unwrap();
    assert_eq!(
        refused(&packed[..packed.len() - 3]).0,
        Reason::IndexMalformed
    );
    let bomb = [
        plain[..plain.len() - 1024].to_vec(),
        member("a-1-1/wonders", b'0', &vec![0; 64 << 20]),
    ]
    .concat();
    let bomb = zstd::encode_all(&bomb[..], 3).unwrap();
    assert_eq!(refused(&bomb).0, Reason::TooLarge);
}

#[test]
fn what_is_wrong_with_one_package_costs_that_one() {
    let text = desc("a", "");
    let without = |section: &str| text.replace(&format!("%{section}%"), "%OTHER%");
    let table = [
        (without("FILENAME"), "no FILENAME"),
        (without("NAME"), "no NAME"),
        (without("VERSION"), "no VERSION"),
        (without("CSIZE"), "no CSIZE"),
        (without("SHA256SUM"), "WeakHash: no SHA256SUM"),
        (text.replace("1234", "-1"), "CSIZE"),
        (text.replace("1234", "1e3"), "CSIZE"),
        (text.replace("1234", "99999999999999999999"), "CSIZE"),
        (text.replace("1234", "1000000000000000"), "CSIZE"),
        (text.replace(SHA256, "abc"), "hexadecimal"),
        (text.replace(SHA256, &"z".repeat(64)), "hexadecimal"),
        (
            text.replace("%NAME%\na\n", "%NAME%\nb\n"),
            "its desc is that of b 1-1",
        ),
        (
            text.replace("%VERSION%\n1-1\n", "%VERSION%\n2-1\n"),
            "its desc is that of a 2-1",
        ),
        (format!("{text}%NAME%\na\n\n"), "NAME stands twice"),
        (
            text.replace("%NAME%\na\n", "%NAME%\na\nb\n"),
            "several lines",
        ),
        (
            text.replace("what it is", "%FILENAME%\nevil.pkg"),
            "FILENAME begins inside of DESC",
        ),
        (text.replace("what it is", "what\0it is"), "NUL"),
        (
            text.replace("a-1-1-any.pkg.tar.zst", "a\\b.pkg"),
            "UnsafePath",
        ),
        (
            text.replace("a-1-1-any.pkg.tar.zst", &"a".repeat(300)),
            "UnsafePath",
        ),
        (format!("{text}%PGPSIG%\n!!!\n\n"), "PGPSIG"),
        (
            format!("{text}%PGPSIG%\n{}\n\n", "A".repeat(40_000)),
            "PGPSIG",
        ),
        (text.replace('\n', "\r\n"), "no NAME"),
    ];
    for (text, why) in table {
        let database = archive(&[described("a-1-1", &text), package("b", "")]);
        let listed = items(&core(), &database).unwrap();
        let [Item::Unusable(entry), Item::File(_), Item::File(_)] = &listed[..] else {
            panic!("{why}: {listed:?}");
        };
        assert_eq!(entry.name, "a-1-1");
        assert!(entry.why.contains(why), "{why:?} is not in {:?}", entry.why);
    }
    // pacman takes it from there too.
    let hidden = member("a-1-1/depends", b'0', b"%FILENAME%\nevil.pkg\n\n");
    let database = archive(&[package("a", ""), hidden]);
    let listed = items(&core(), &database).unwrap();
    assert!(
        matches!(&listed[..], [Item::Unusable(entry)] if entry.why.contains("depends")),
        "{listed:?}"
    );
    // What a rule leaves out is not judged, where it is clear what it is.
    let rules = json!({
        "repos": ["core"], "architectures": ["x86_64"], "packages": {"exclude": [{"name": "a"}]}
    });
    let database = archive(&[described("a-1-1", &without("CSIZE")), package("b", "")]);
    assert_eq!(items(&arch(rules).unwrap(), &database).unwrap().len(), 2);
}

#[test]
fn more_packages_than_anybody_has_are_too_many() {
    let mut members = Vec::new();
    for number in 0..=400_000u32 {
        members.extend_from_slice(&member(&format!("p{number}-1-1/x"), b'0', b""));
    }
    let sample = archive(&[package("a", "")]);
    let index = core().read(UNIT, &[root(DATABASE, &sample)]).unwrap();
    let count = |mut members: &[u8]| {
        core().read_index(&index.groups[0], &mut members, &mut |_| {
            ControlFlow::Continue(())
        })
    };
    assert_eq!(count(&members[..400_000 * 512]).unwrap(), 400_000);
    assert_eq!(count(&members).unwrap_err().reason, Reason::TooLarge);
}

/// Gives few bytes at a time.
struct Drip<'a>(&'a [u8]);

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min(7);
        self.0.read(&mut buffer[..count])
    }
}

/// Whatever it is: what is listed lies in the repository, and where reads end does not matter.
fn is_read_safely(database: &[u8]) -> Result<(), TestCaseError> {
    let sample = archive(&[package("a", "")]);
    let index = core().read(UNIT, &[root(DATABASE, &sample)]).unwrap();
    let read = |content: &mut dyn Read| {
        let mut found = Vec::new();
        let count = core().read_index(&index.groups[0], content, &mut |item| {
            found.push(item);
            ControlFlow::Continue(())
        });
        count.map(|_| found).map_err(|refused| refused.message)
    };
    let whole = read(&mut &database[..]);
    prop_assert_eq!(&whole, &read(&mut Drip(database)));
    for item in whole.iter().flatten() {
        match item {
            Item::File(payload) => {
                let text = payload.path.as_str();
                prop_assert!(text.starts_with("core/os/x86_64/"));
                prop_assert_eq!(RepoPath::new(text), Ok(payload.path.clone()));
            }
            Item::Unusable(entry) => {
                prop_assert!(!entry.why.contains(char::is_control));
                prop_assert!(!entry.name.contains(char::is_control));
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn nothing_of_a_database_is_fatal(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        is_read_safely(&bytes)?;
        let _ = items(&core(), &bytes);
    }

    #[test]
    fn nor_of_one_that_was_good(
        changes in proptest::collection::vec((0usize..6144, any::<u8>()), 1..8),
        cut in 0usize..6144,
    ) {
        let mut bytes = archive(&[package("a", ""), member("a-1-1/files", b'0', b"%FILES%\nusr/\n"), package("b", "")]);
        for (at, byte) in changes {
            if let Some(changed) = bytes.get_mut(at) {
                *changed = byte;
            }
        }
        is_read_safely(&bytes)?;
        bytes.truncate(cut);
        is_read_safely(&bytes)?;
    }

    #[test]
    fn nor_of_descriptions(text in "(%(FILENAME|NAME|VERSION|CSIZE|SHA256SUM|PGPSIG|GROUPS|X)%\n|[a-z./0-9%-]{0,12}\n|\n|\r|\0){0,40}") {
        is_read_safely(&archive(&[described("a-1-1", &text), package("b", "")]))?;
    }
}
