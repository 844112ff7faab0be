//! A Release file, alone and as the payload of an `InRelease`, of a suite and of a flat repository.
#![no_main]

use fleet_formats::seam::{Format, RootContent, Trust, UnitIndex};
use fleet_types::RepoPath;
use mirrorfleet_fuzz::{assert_safe, context, debian};

libfuzzer_sys::fuzz_target!(|content: &[u8]| {
    let bare = verify("stable", "dists/stable/Release", content);
    let framed = [
        b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n".as_slice(),
        content.strip_suffix(b"\n").unwrap_or(content),
        b"\n-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n",
    ]
    .concat();
    let inside = verify("stable", "dists/stable/InRelease", &framed);
    if let (Some(bare), Some(inside)) = (bare, inside) {
        let is_escaped = content
            .split(|byte| *byte == b'\n')
            .any(|line| line.starts_with(b"-"));
        assert!(
            is_escaped || bare.revision == inside.revision,
            "one state, however it is signed"
        );
    }
    verify("./", "Release", content);
});

fn verify(suite: &str, path: &str, content: &[u8]) -> Option<UnitIndex> {
    let root = RootContent::new(RepoPath::new(path).expect("a path"), content.to_vec());
    let trust = Trust::nothing_is_judged();
    let verified = debian(suite)
        .verify(suite, &[root], &context(&trust))
        .ok()?;
    let index = UnitIndex::clone(&verified);
    assert!(index.signed_by.is_empty());
    for group in &index.groups {
        assert_safe(&group.stem);
        assert!(!group.files.is_empty());
        for file in &group.files {
            assert_safe(&file.path);
            file.sources
                .iter()
                .chain(file.aliases.iter().map(|alias| &alias.path))
                .for_each(assert_safe);
            assert!(!file.sources.is_empty() && file.expected.size <= 1 << 40);
        }
    }
    Some(index)
}
