//! What databases list, and in which forms they come.

use std::io::Write;

use fleet_formats::seam::{
    Alias, Allowances, Compression, Format, Item, Payload, Promise, SignaturePolicy, Trust,
    VerifyContext,
};
use fleet_types::{Reason, RepoPath};
use serde_json::json;

use super::archive::*;

/// All are files; with their paths.
fn files(items: &[Item]) -> Vec<(&str, &Payload)> {
    let files = items.iter().map(|item| match item {
        Item::File(payload) => (payload.path.as_str(), payload),
        Item::Unusable(entry) => panic!("{entry:?}"),
    });
    files.collect()
}

#[test]
fn a_package_comes_with_its_signature_and_under_its_name_in_the_pool() {
    let database = archive(&[package("a", ""), package("b", "%PGPSIG%\nc2lnbmF0dXJl\n\n")]);
    let format = arch(json!({
        "repos": ["core"], "architectures": ["x86_64"], "layout": {"pool": "pool/packages"}
    }));
    let listed = items(&format.unwrap(), &database).unwrap();
    let listed = files(&listed);
    let paths: Vec<&str> = listed.iter().map(|(path, _)| *path).collect();
    assert_eq!(
        paths,
        [
            "core/os/x86_64/a-1-1-any.pkg.tar.zst",
            "core/os/x86_64/a-1-1-any.pkg.tar.zst.sig",
            "core/os/x86_64/b-1-1-any.pkg.tar.zst",
            "core/os/x86_64/b-1-1-any.pkg.tar.zst.sig",
        ]
    );
    let [package, signature, signed, given] = listed[..] else {
        panic!()
    };
    let Promise::Digest {
        expected,
        exact: true,
    } = &package.1.promise
    else {
        panic!()
    };
    assert_eq!(
        (expected.size, expected.digest.to_string().as_str()),
        (1234, SHA256)
    );
    let in_pool = |name: &str| {
        vec![Alias {
            path: RepoPath::new(name).unwrap(),
            mutable: false,
        }]
    };
    assert_eq!(
        package.1.aliases,
        in_pool("pool/packages/a-1-1-any.pkg.tar.zst")
    );
    let Promise::SignatureOver {
        path,
        max_bytes: 16_384,
        ..
    } = &signature.1.promise
    else {
        panic!()
    };
    assert_eq!(path, &package.1.path);
    assert_eq!(
        signature.1.aliases,
        in_pool("pool/packages/a-1-1-any.pkg.tar.zst.sig")
    );
    let over = (signed.1.path.clone(), SHA256.parse().unwrap());
    assert_eq!(
        given.1.promise,
        Promise::Given {
            content: b"signature".to_vec(),
            over: Some(over),
        }
    );
}

#[test]
fn signatures_are_left_out_where_nobody_signs_but_for_those_that_are_there() {
    let database = archive(&[package("a", ""), package("b", "%PGPSIG%\nc2lnbmF0dXJl\n\n")]);
    let format = arch(json!({
        "repos": ["core"], "architectures": ["x86_64"], "include": {"signatures": false}
    }));
    let listed = items(&format.unwrap(), &database).unwrap();
    let paths: Vec<&str> = files(&listed).iter().map(|(path, _)| *path).collect();
    assert_eq!(paths.len(), 3, "{paths:?}");
    assert!(!paths.contains(&"core/os/x86_64/a-1-1-any.pkg.tar.zst.sig"));
}

#[test]
fn a_database_is_what_its_first_bytes_say() {
    let plain = archive(&[package("a", "")]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&plain).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&plain).unwrap();
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(&plain).unwrap();
    let forms = [
        (plain.clone(), Compression::None, ".tar"),
        (gzip.finish().unwrap(), Compression::Gzip, ".tar.gz"),
        (bzip2.finish().unwrap(), Compression::Bzip2, ".tar.bz2"),
        (xz.finish().unwrap(), Compression::Xz, ".tar.xz"),
        (
            zstd::encode_all(&plain[..], 1).unwrap(),
            Compression::Zstd,
            ".tar.zst",
        ),
        (lz4.finish().unwrap(), Compression::Lz4, ".tar.lz4"),
    ];
    for (bytes, compression, suffix) in forms {
        let index = core().read(UNIT, &[root(DATABASE, &bytes)]).unwrap();
        let file = &index.groups[0].files[0];
        assert_eq!(file.compression, compression);
        let name = RepoPath::new(&format!("{DATABASE}{suffix}")).unwrap();
        assert_eq!(
            file.aliases,
            [Alias {
                path: name,
                mutable: true
            }]
        );
        assert_eq!(items(&core(), &bytes).unwrap().len(), 2, "{suffix}");
    }
    // A repository from which everything was taken.
    assert_eq!(items(&core(), &[0; 10240]).unwrap(), []);
    for (bytes, what) in [
        (&b""[..], "no bytes"),
        (b"LZIP\x01", "lzip"),
        (b"LRZI", "lrzip"),
        (&[0x1f, 0x9d, 0x90], "compress"),
        (&[0x89, b'L', b'Z', b'O', 0], "lzop"),
        (b"<html><title>Not Found</title>", "no repository database"),
    ] {
        let refused = items(&core(), bytes).unwrap_err();
        assert_eq!(refused.reason, Reason::IndexMalformed);
        assert!(refused.message.contains(what), "{refused}");
        assert!(refused.message.contains("gzip, zstd, xz"), "{refused}");
    }
}

#[test]
fn sections_and_members_that_nobody_knows_are_skipped() {
    let more = "%XDATA%\npkgtype=pkg\nfuture=1\n\n\n%WONDERS%\nof tomorrow\n\n%FILES%\nusr/\n\n";
    let listed = |record: &[u8]| {
        let database = archive(&[
            member("pax_global_header", b'g', record),
            package("a", more),
            member("a-1-1/deltas", b'0', b"%DELTAS%\nnone\n\n"),
            member("a-1-1/wonders", b'0', &[0; 9000]),
            member("a-1-1/link", b'2', b""),
            package("b", ""),
        ]);
        items(&core(), &database)
    };
    let cut = listed(b"12 comment=x");
    assert!(cut.is_err(), "a record of PAX ends in a line feed");
    assert_eq!(listed(b"13 comment=x\n").unwrap().len(), 4);
}

#[test]
fn long_names_come_in_the_ways_of_pax_and_of_gnu() {
    let name = "n".repeat(150);
    let long = format!("{name}-1-1/desc");
    let record = format!("path={long}\n");
    // The length counts itself.
    let record = format!("{} {record}", record.len() + 4);
    let mut gnu = long.clone().into_bytes();
    gnu.push(0);
    let mut prefixed: [u8; 512] = member("desc", b'0', desc(&name, "").as_bytes())[..512]
        .try_into()
        .unwrap();
    let directory = format!("{name}-1-1");
    prefixed[345..345 + directory.len()].copy_from_slice(directory.as_bytes());
    signed(&mut prefixed);
    let text = desc(&name, "");
    let body = member("cut", b'0', text.as_bytes());
    for extended in [
        [member("x", b'x', record.as_bytes()), body.clone()].concat(),
        [member("././@LongLink", b'L', &gnu), body.clone()].concat(),
        [prefixed.to_vec(), body[512..].to_vec()].concat(),
    ] {
        let listed = items(&core(), &archive(&[extended])).unwrap();
        let path = files(&listed)[0].0;
        assert_eq!(path, format!("core/os/x86_64/{name}-1-1-any.pkg.tar.zst"));
    }
}

#[test]
fn lists_of_files_that_are_of_another_state_are_read_again_and_then_told_of() {
    let trust = Trust {
        keyring: None,
        signatures: SignaturePolicy::None,
        min_good_signatures: 0,
        all_signatures_good: false,
        max_index_age: None,
        indices: SignaturePolicy::None,
        web: None,
        keyring_package: None,
    };
    let context = |settled| VerifyContext {
        now: 1_700_000_000,
        trust: &trust,
        accepted: None,
        allowances: Allowances::NONE,
        settled,
    };
    let database = archive(&[package("a", ""), package("b", "")]);
    let files = |packages: &[Vec<u8>]| root("core/os/x86_64/core.files", &archive(packages));
    let list = member("b-1-1/files", b'0', b"%FILES%\nusr/\nusr/%NAME%\n\n");
    let verified = |files, settled| {
        core().verify(UNIT, &[root(DATABASE, &database), files], &context(settled))
    };
    let fitting = files(&[package("b", ""), list, package("a", "")]);
    let index = verified(fitting, false).unwrap();
    assert_eq!(
        (index.roots.len(), index.groups.len(), index.notes.len()),
        (2, 2, 0)
    );
    let lacking = files(&[package("a", "")]);
    let refused = verified(lacking.clone(), false).unwrap_err();
    assert!(
        refused.unsettled && refused.message.contains("different packages"),
        "{refused}"
    );
    let index = verified(lacking, true).unwrap();
    assert!(index.notes[0].contains("pacman -F"), "{:?}", index.notes);
    let damaged = root("core/os/x86_64/core.files", b"no tar");
    assert_eq!(
        verified(damaged, true).unwrap_err().reason,
        Reason::IndexMalformed
    );
}

#[test]
fn where_signatures_are_to_be_judged_and_no_key_is_named_nothing_is_believed() {
    for signatures in [SignaturePolicy::Required, SignaturePolicy::Optional] {
        let trust = Trust {
            keyring: None,
            signatures,
            min_good_signatures: 1,
            all_signatures_good: false,
            max_index_age: None,
            indices: SignaturePolicy::None,
            web: None,
            keyring_package: None,
        };
        let context = VerifyContext {
            now: 1_700_000_000,
            trust: &trust,
            accepted: None,
            allowances: Allowances::NONE,
            settled: true,
        };
        let roots = [root(DATABASE, &archive(&[package("a", "")]))];
        let refused = core().verify(UNIT, &roots, &context).unwrap_err();
        assert_eq!(refused.reason, Reason::KeyringNotFound);
        let judged = core().check_signature(&mut &b""[..], b"", &trust, 0);
        assert_eq!(judged.unwrap_err().reason, Reason::KeyringNotFound);
    }
}
