//! Lies in the indices that a Release covers, and indices that are made to hurt.

use fleet_store::EntryState;
use fleet_types::Reason;

use crate::support::archive::{Package, Release, stanza};
use crate::support::forge::{INDEX, Say, compressed};
use crate::support::trial::{PUBLISHED, SUITE, Trial};
use crate::support::{sync, told};

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn named(name: &[u8]) -> Vec<u8> {
    let tail = format!("\nSize: 1\nSHA256: {A}\n\n");
    [b"Package: odd\nFilename: ", name, tail.as_bytes()].concat()
}

/// Each costs its package: the suite goes on without it, and the report says which and why.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_must_not_become_paths_are_left_out() {
    let mut trial = Trial::new().await;
    let long = ["x/", &"a".repeat(4096)].concat();
    let deep = "a/".repeat(2048) + "b";
    let names: [(&str, &str, &[u8]); 10] = [
        ("upwards", "UnsafePath", b"../../etc/passwd"),
        ("upwards inside", "UnsafePath", b"/pool//../../x"),
        ("a backslash", "UnsafePath", b"pool\\..\\x"),
        ("a NUL", "UnsafePath", b"pool/a\0b"),
        ("a line feed", "UnsafePath", b"pool/a\n b"),
        ("a terminal command", "UnsafePath", b"pool/\x1b[2J"),
        ("4 KiB", "UnsafePath", long.as_bytes()),
        ("2,048 directories", "UnsafePath", deep.as_bytes()),
        ("a directory", "UnsafePath", b"pool/"),
        ("not UTF-8", "UTF-8", b"pool/\xff\xfe"),
    ];
    let paths = trial.paths();
    for (case, word, name) in names {
        trial.publish_beside(&named(name));
        let report = sync(&trial.options).await;
        assert_eq!(told(&report), PUBLISHED, "{case}: {report:?}");
        let suite = &report.units[0];
        let left_out = suite.left_out.as_ref().unwrap();
        assert_eq!(left_out.entries, 1, "{case}");
        for text in [&suite.message, &left_out.sample[0]] {
            assert!(
                text.contains("odd") && text.contains(word),
                "{case}: {text}"
            );
            assert!(
                text.len() < 400 && !text.contains(char::is_control),
                "{case}: {text}"
            );
        }
        assert_eq!(trial.paths(), paths, "{case}");
    }
    trial.heals("all of them").await;
}

/// What looks dangerous and is none: these are served under exactly these names.
#[tokio::test(flavor = "multi_thread")]
async fn odd_names_are_kept_as_they_are() {
    let mut trial = Trial::new().await;
    let names = [
        "pool/...",
        "pool/..a./b..",
        "pool/%2e%2e/x",
        "pool/a?b#c",
        "pool/~ &'$(x)`",
    ];
    let mut index = trial.good_stanzas();
    for name in names {
        let package = trial.world.archive.package_at(name, "odd", name.as_bytes());
        index.push_str(&stanza(&package, false));
    }
    trial.publish_index(index.as_bytes());
    let report = sync(&trial.options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    for name in names {
        assert_eq!(trial.world.served(name), name.as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn contradictions_are_refused_and_repetitions_are_not() {
    let mut trial = Trial::new().await;
    let packages = trial.world.packages.clone();
    let again = stanza(&packages[0], false);
    trial.publish_beside(again.repeat(3).as_bytes());
    let report = sync(&trial.options).await;
    assert_eq!(told(&report), PUBLISHED, "one file thrice: {report:?}");
    let mut trial = trial.remembering().await;

    let fresh = trial.world.archive.package("delta", b"delta 1");
    let other = Package {
        sha256: A.to_owned(),
        ..fresh.clone()
    };
    let below = trial
        .world
        .archive
        .package_at("pool/main/y/yps.d/inside.deb", "yps", b"inside");
    let file = Package {
        path: "pool/main/y/yps.d".to_owned(),
        ..fresh.clone()
    };
    let root = Package {
        path: "dists/stable/InRelease".to_owned(),
        ..fresh.clone()
    };
    let index = Package {
        path: Trial::index_path(),
        ..fresh.clone()
    };
    let cases = [
        (
            "two contents",
            vec![&fresh, &other],
            "two different contents",
        ),
        (
            "a file as a directory",
            vec![&below, &file],
            "needs a directory",
        ),
        (
            "a package in the Release's place",
            vec![&root],
            "two different contents",
        ),
        (
            "a package in the index's place",
            vec![&index],
            "two different contents",
        ),
    ];
    for (case, packages, word) in cases {
        let more: String = packages
            .iter()
            .map(|package| stanza(package, false))
            .collect();
        trial.publish_beside(more.as_bytes());
        let last = &packages[0].path;
        trial
            .is_refused(case, Reason::PathConflict, &[word, last])
            .await;
    }
    trial.heals("all of them").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_and_digests_that_do_not_fit_are_refused() {
    let mut trial = Trial::new().await;
    let fresh = trial.world.archive.package("delta", &[9; 200_000]);
    let lies = [
        (
            "one byte less",
            Package {
                size: 199_999,
                ..fresh.clone()
            },
            "promises",
        ),
        (
            "one byte more",
            Package {
                size: 200_001,
                ..fresh.clone()
            },
            "promises",
        ),
        (
            "another digest",
            Package {
                sha256: A.to_owned(),
                ..fresh.clone()
            },
            A,
        ),
        (
            "a digest of SHA-512 only",
            Package {
                sha512: A.repeat(2),
                ..fresh.clone()
            },
            A,
        ),
    ];
    for (number, (case, package, word)) in lies.iter().enumerate() {
        trial.publish_beside(stanza(package, number == 3).as_bytes());
        trial
            .is_refused(case, Reason::DigestMismatch, &["delta_1_amd64.deb", word])
            .await;
    }
    let mutated = trial.world.archive.package("alpha", b"alpha X");
    let rest: String = trial.world.packages[1..]
        .iter()
        .map(|package| stanza(package, false))
        .collect();
    trial.publish_index((stanza(&mutated, false) + &rest).as_bytes());
    let words = [mutated.path.as_str(), "allowMutations: [{path"];
    trial
        .is_refused("a mutation", Reason::ContentMutated, &words)
        .await;
    trial.world.archive.package("alpha", b"alpha 1");
    trial.heals("all of them").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_not_what_its_release_says_is_refused() {
    let mut trial = Trial::new().await;
    for (number, case) in ["another content", "cut off", "longer"].iter().enumerate() {
        let delta = trial
            .world
            .archive
            .package(&format!("delta{number}"), b"delta");
        trial.publish_beside(stanza(&delta, false).as_bytes());
        let mut content = trial.world.archive.read(&Trial::index_path());
        match number {
            0 => content[40] ^= 1,
            1 => drop(content.pop()),
            _ => content.push(b'x'),
        }
        trial.liar.lie(&Trial::index_path(), Say::body(&content));
        trial
            .is_refused(case, Reason::DigestMismatch, &[&Trial::index_path()])
            .await;
        trial.heals(case).await;
    }
}

/// Signed and delivered as listed, and still no index.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_cannot_be_read_is_refused() {
    let mut trial = Trial::new().await;
    let xz = trial.good_index().into_values().next().unwrap();
    let listed = |content: &[u8]| [(format!("{INDEX}.xz"), content.to_vec())].into();
    let huge_field = format!("Package: x\n{}", " more\n".repeat(1 << 20));
    let mut damaged = xz.clone();
    damaged[30] ^= 0x55;
    let cases = [
        ("no xz", Reason::IndexMalformed, listed(b"hello")),
        (
            "half an xz",
            Reason::IndexMalformed,
            listed(&xz[..xz.len() / 2]),
        ),
        ("a damaged xz", Reason::IndexMalformed, listed(&damaged)),
        (
            "no stanzas",
            Reason::IndexMalformed,
            compressed("xz", "xz", b"hello\n"),
        ),
        (
            "a stanza of 6 MiB, for which apt refuses the index",
            Reason::TooLarge,
            compressed("xz", "xz", huge_field.as_bytes()),
        ),
        (
            "stanzas of nothing",
            Reason::IndexMalformed,
            compressed("xz", "xz", "Package: x\n\n".repeat(80_000).as_bytes()),
        ),
    ];
    for (case, reason, listed) in cases {
        let release = trial.newer();
        trial
            .world
            .archive
            .forge(SUITE, &listed, &release, |text| text);
        trial.is_refused(case, reason, &[INDEX]).await;
    }
    trial.heals("all of them").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_empty_lines_are_nothing() {
    let mut trial = Trial::new().await;
    let blank = "\n".repeat(1_000_000);
    let good = trial.good_stanzas();
    let index = [good.as_str(), &blank, &good, &blank].concat();
    let release = trial.newer();
    // Listed uncompressed too, or a ratio like this would be taken for a bomb.
    let mut listed = compressed("xz", "xz", index.as_bytes());
    listed.insert(INDEX.to_owned(), index.into_bytes());
    trial
        .world
        .archive
        .forge(SUITE, &listed, &release, |text| text);
    let report = sync(&trial.options).await;
    assert_eq!(told(&report), PUBLISHED, "{report:?}");
    let path = &trial.world.packages[0].path;
    assert_eq!(trial.world.state_of(path), Some(EntryState::Present));
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_bombs_end_at_their_bound() {
    let mut trial = Trial::new().await;
    // Empty lines: as zeros they would be one stanza, and end at that bound.
    let bomb = vec![b'\n'; 64 << 20];
    for (program, suffix) in [("xz", "xz"), ("bzip2", "bz2"), ("gzip", "gz")] {
        let mut listed = compressed(program, suffix, &bomb);
        if suffix == "gz" {
            // gzip reaches no ratio that alone gives a bomb away: the Release lists less than what comes.
            listed.insert(INDEX.to_owned(), b"\n".to_vec());
        }
        let release: Release = trial.newer();
        trial
            .world
            .archive
            .forge(SUITE, &listed, &release, |text| text);
        // Else the plain form would be read.
        trial
            .liar
            .lie(&format!("dists/{SUITE}/{INDEX}"), not_found());
        let words = [INDEX, "decompresses to more than"];
        trial.is_refused(program, Reason::TooLarge, &words).await;
        trial.liar.heal();
        drop(std::fs::remove_file(
            trial.world.archive.path(&format!("dists/{SUITE}/{INDEX}")),
        ));
    }
    trial.heals("all of them").await;
}

fn not_found() -> Say {
    Say::text("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}
