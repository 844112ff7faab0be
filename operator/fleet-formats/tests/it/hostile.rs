//! Whatever bytes arrive: no panic, no unbounded memory, no path that escapes.

use std::io::Read;

use fleet_api::mirror::{DebianContent, DebianInclude, DebianPackages};
use fleet_formats::deb822::Reader;
use fleet_formats::debian::Debian;
use fleet_formats::decompress::{Whole, reader};
use fleet_formats::openpgp::{Keyring, verify_cleartext, verify_detached};
use fleet_formats::seam::{
    Allowances, Compression, Format, IndexGroup, Item, RootContent, Trust, VerifyContext,
};
use fleet_types::RepoPath;
use proptest::prelude::*;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// The definition, over the whole text at once.
fn naive(text: &[u8]) -> Option<Vec<Fields>> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let mut stanzas: Vec<Option<Fields>> = vec![None];
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    // One character for itself at the end of a file marks it.
    let is_mark = |line: &[u8]| line.len() == 1 && !matches!(line, b"\r" | b":");
    match lines.as_slice() {
        [before @ .., last]
            if is_mark(last) && before.last().is_none_or(|it| bare(it).is_empty()) =>
        {
            lines.pop();
        }
        _ => {}
    }
    for line in lines.into_iter().map(bare) {
        if line.is_empty() {
            stanzas.push(None);
            continue;
        }
        let stanza = stanzas.last_mut()?.get_or_insert_default();
        if matches!(line[0], b' ' | b'\t') {
            if let Some((_, value)) = stanza.last_mut() {
                value.push(b'\n');
                value.extend(line);
            }
        } else {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = line[..colon].trim_ascii_end();
            stanza.push((name.to_vec(), line[colon + 1..].to_vec()));
        }
    }
    let stanzas: Vec<Fields> = stanzas.into_iter().flatten().collect();
    stanzas
        .iter()
        .all(|stanza| !stanza.is_empty())
        .then_some(stanzas)
}

/// Carriage returns at either end of a line mean nothing.
fn bare(mut line: &[u8]) -> &[u8] {
    while let Some(rest) = line.strip_prefix(b"\r") {
        line = rest;
    }
    while let Some(rest) = line.strip_suffix(b"\r") {
        line = rest;
    }
    line
}

/// Gives few bytes at a time, so that every boundary falls everywhere.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.1.min(buffer.len());
        self.0.read(&mut buffer[..count])
    }
}

fn streamed(text: &[u8], step: usize) -> Option<Vec<Fields>> {
    let mut reader = Reader::new(Trickle(text, step));
    let mut stanzas = Vec::new();
    while let Some(stanza) = reader.next_stanza().ok()? {
        // Values are raw: carriage returns inside them are the one thing that the definition takes out.
        let plain = |value: &[u8]| {
            value
                .split(|b| *b == b'\n')
                .map(bare)
                .collect::<Vec<_>>()
                .join(&b'\n')
        };
        stanzas.push(
            stanza
                .fields()
                .map(|(name, value)| (name.to_vec(), plain(value)))
                .collect(),
        );
    }
    Some(stanzas)
}

fn control_text() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        "[A-Za-z-]{1,6}: ?[a-z :#]{0,8}",
        "[ \t][a-z.]{0,8}",
        Just(String::new()),
        Just("# comment".to_owned()),
        "[a-z:]{0,5}"
    ];
    prop::collection::vec(
        (
            line,
            prop_oneof![9 => Just("\n"), 1 => Just("\r\n"), 1 => Just("\r\r\n")],
        ),
        0..30,
    )
    .prop_map(|lines| {
        lines
            .into_iter()
            .flat_map(|(line, end)| (line + end).into_bytes())
            .collect()
    })
}

fn debian() -> Debian {
    let include = DebianInclude {
        sources: true,
        contents: true,
        dep11: true,
        installer: true,
        pdiffs: true,
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Debian::new(DebianContent {
        suites: words(&["s"]),
        components: words(&["main"]),
        architectures: words(&["amd64"]),
        include,
        aliases: vec![],
        release_names: vec![],
        packages: DebianPackages::default(),
    })
    .unwrap()
}

fn verify(text: &[u8]) {
    let root = RootContent::new(RepoPath::new("dists/s/Release").unwrap(), text.to_vec());
    let trust = Trust::nothing_is_judged();
    let context = VerifyContext {
        now: i64::MAX,
        trust: &trust,
        accepted: None,
        allowances: Allowances::NONE,
        settled: true,
    };
    let _ = debian().verify("s", &[root], &context);
}

fn read_all(text: &[u8]) {
    for kind in 0..6 {
        let stem = RepoPath::new("dists/s/main/binary-amd64/Packages").unwrap();
        let group = IndexGroup {
            stem,
            lists_payload: true,
            required: true,
            files: vec![],
            uncompressed: None,
            kind,
        };
        let _ = debian().read_index(&group, &mut &text[..], &mut |item| {
            let paths = match item {
                Item::File(payload) => vec![payload.path],
                Item::Unusable(entry) => {
                    assert!(entry.name.chars().count() <= 800 && entry.why.chars().count() <= 1600);
                    entry.paths
                }
            };
            let mut parts = paths.iter().flat_map(|path| path.as_str().split('/'));
            assert!(!parts.any(|part| part == ".." || part.is_empty()));
            std::ops::ControlFlow::Continue(())
        });
    }
}

proptest! {
    #[test]
    fn the_streaming_reader_agrees_with_the_definition(text in control_text(), step in 1usize..40) {
        prop_assert_eq!(streamed(&text, step), naive(&text));
    }

    #[test]
    fn no_parser_panics_on_anything(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        verify(&bytes);
        read_all(&bytes);
        for compression in [Compression::Gzip, Compression::Xz, Compression::Bzip2, Compression::Zstd, Compression::Lzma, Compression::Lz4] {
            let _ = reader(compression, bytes.as_slice(), 1 << 20, Whole::ByDigest).read_to_end(&mut Vec::new());
        }
    }

    /// Good stanzas with anything between them: each is listed, but after a line without a colon the next one is not.
    #[test]
    fn what_is_bad_costs_nothing_beside_it(
        between in prop::collection::vec("(Package: bad\n|Size: [0-9x]{0,3}\n|Filename: [./a-z]{0,6}\n|[a-z]{1,4} ?:[a-z]{0,3}\n| [a-z:]{0,4}\n|\rX: y\r\r\n|[a-z]{1,5}\n){1,6}", 1..8),
    ) {
        let digest = "a".repeat(64);
        let mut text = String::new();
        let mut expected = Vec::new();
        let mut swallowed = false;
        for (number, bad) in between.iter().enumerate() {
            let good = format!("Package: good{number}\nFilename: good{number}\nSize: 1\nSHA256: {digest}\n\n");
            if !std::mem::take(&mut swallowed) {
                expected.push(format!("good{number}"));
            }
            // apt refuses what has no name.
            let bad = format!("Package: bad{number}\nPackage: twice\n{bad}\n");
            let last_colon = bad.rfind(':').unwrap_or(0);
            swallowed = bad[last_colon..].lines().skip(1).any(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
            text = text + &good + &bad;
        }
        let end = "Package: end\nFilename: end\nSize: 1\nSHA256: ".to_owned() + &digest;
        if !swallowed {
            expected.push("end".to_owned());
        }
        text += &end;
        let stem = RepoPath::new("dists/s/main/binary-amd64/Packages").unwrap();
        let group = IndexGroup { stem, lists_payload: true, required: true, files: vec![], uncompressed: None, kind: 1 };
        let mut found = Vec::new();
        let mut bad = 0;
        let entries = debian().read_index(&group, &mut text.as_bytes(), &mut |item| {
            match item {
                Item::File(payload) => found.push(payload.path.to_string()),
                Item::Unusable(_) => bad += 1,
            }
            std::ops::ControlFlow::Continue(())
        });
        prop_assert_eq!(&found, &expected, "{}", text);
        prop_assert_eq!(entries.unwrap(), (found.len() + bad) as u64);
    }

    #[test]
    fn no_parser_panics_on_nearly_right_text(
        text in "(Suite: s\n|Date: Sat, 07 Jun 2025 10:12:13 UTC\n|SHA256:\n| [0-9a-f]{64} [0-9]{1,20} [a-z./-]{1,40}\n|Filename: [./a-z]{1,20}\n|Size: [0-9]{1,22}\n|[0-9a-f]{64}  [./a-z]{1,20}\n|Directory: [./a-z]{0,9}\n|Checksums-Sha256:\n|SHA256-Download:\n|\n){0,20}"
    ) {
        verify(text.as_bytes());
        read_all(text.as_bytes());
    }

    #[test]
    fn no_path_escapes(text in "[./a-z\\\\\0]{0,40}") {
        if let Ok(path) = RepoPath::new(&text) {
            prop_assert!(!path.as_str().starts_with('/'));
            prop_assert!(!path.as_str().split('/').any(|part| part == ".." || part == "." || part.is_empty()));
        }
    }

    #[test]
    fn damaged_keys_and_signatures_never_panic(at in 0usize..400, value in any::<u8>(), cut in 0usize..400) {
        let keyring = Keyring::parse(KEY).unwrap();
        let mut bytes = KEY.to_vec();
        let place = at % bytes.len();
        bytes[place] = value;
        bytes.truncate(bytes.len() - cut % bytes.len());
        if let Ok(damaged) = Keyring::parse(&bytes) {
            let _ = damaged.keys(1_700_000_000);
        }
        let _ = verify_detached(b"text", &bytes, &keyring, 1_700_000_000);
        let armoured = [b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\ntext\n-----BEGIN PGP SIGNATURE-----\n\n", bytes.as_slice()].concat();
        let _ = verify_cleartext(&armoured, &keyring, 1_700_000_000);
    }
}

/// `gpg --quick-generate-key test@example.org ed25519 sign never`, exported.
const KEY: &[u8] = include_bytes!("../data/test-key.gpg");
