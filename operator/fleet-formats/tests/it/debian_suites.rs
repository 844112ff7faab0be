//! Suites: each obligation of their verification, and which indices belong to a slice.

use fleet_formats::debian::{Alias, Debian, DebianSlice, Include, PackageRules};
use fleet_formats::openpgp::Keyring;
use fleet_formats::seam::{
    Format, Rejected, RootContent, SignaturePolicy, Trust, UnitIndex, VerifyContext,
};
use fleet_types::{Reason, RepoPath, UnitRevision};

use crate::gpg::{DAY, Gpg, MADE_AT};

/// 2025-06-07T10:12:13Z, the Date of [`RELEASE`].
const DATE: i64 = 1_749_291_133;
const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const MD5: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// A Release with these files, each of 7 bytes.
fn release(head: &str, files: &[&str]) -> String {
    let lines = |digest: &str| {
        files
            .iter()
            .map(|name| format!(" {digest} 7 {name}\n"))
            .collect::<String>()
    };
    format!("{head}MD5Sum:\n{}SHA256:\n{}", lines(MD5), lines(A))
}

const HEAD: &str = "Suite: stable\nCodename: trixie\nDate: Sat, 07 Jun 2025 10:12:13 UTC\n\
    Valid-Until: Sat, 14 Jun 2025 10:12:13 UTC\nAcquire-By-Hash: yes\nArchitectures: all amd64 arm64\nComponents: main contrib\n";

const FILES: [&str; 28] = [
    "main/binary-amd64/Packages",
    "main/binary-amd64/Packages.gz",
    "main/binary-amd64/Packages.xz",
    "main/binary-amd64/Release",
    "main/binary-amd64/Packages.diff/Index",
    "main/binary-arm64/Packages.xz",
    "main/binary-all/Packages.xz",
    "main/i18n/Translation-en.bz2",
    "main/i18n/Translation-en.diff/Index",
    "main/Contents-amd64.gz",
    "main/Contents-all.gz",
    "main/Contents-all.diff/Index",
    "Contents-amd64.diff/Index",
    "main/Contents-source.gz",
    "main/Contents-udeb-amd64.gz",
    "Contents-amd64.gz",
    "main/source/Sources.xz",
    "main/source/Release",
    "main/dep11/Components-amd64.yml.gz",
    "main/dep11/icons-48x48.tar.gz",
    "main/dep11/CID-Index-amd64.json.gz",
    "main/debian-installer/binary-amd64/Packages.xz",
    "main/installer-amd64/current/images/SHA256SUMS",
    "main/installer-amd64/20250101/images/SHA256SUMS",
    "main/cnf/Commands-amd64.xz",
    "contrib/binary-amd64/Packages.xz",
    "non-free/binary-amd64/Packages.xz",
    "main/binary-amd64/Contents.old",
];

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn slice(suite: &str, include: Include) -> DebianSlice {
    DebianSlice {
        suites: strings(&[suite]),
        components: strings(&["main"]),
        architectures: strings(&["amd64"]),
        include,
        aliases: vec![],
        packages: PackageRules::default(),
    }
}

fn root(path: &str, bytes: impl Into<Vec<u8>>) -> RootContent {
    RootContent {
        path: RepoPath::new(path).unwrap(),
        bytes: bytes.into(),
    }
}

fn unsigned() -> Trust {
    Trust {
        keyring: None,
        signatures: SignaturePolicy::None,
        min_good_signatures: 1,
        all_signatures_good: false,
        max_index_age: None,
    }
}

fn context(trust: &Trust) -> VerifyContext<'_> {
    VerifyContext {
        now: DATE + DAY,
        trust,
        high_water: None,
        allow_rollback: false,
        settled: false,
    }
}

fn verify(
    slice: DebianSlice,
    roots: &[RootContent],
    context: &VerifyContext<'_>,
) -> Result<UnitIndex, Rejected> {
    let unit = slice.suites[0].clone();
    Debian::new(slice)?
        .verify(&unit, roots, context)
        .map(|verified| verified.into_inner())
}

fn verify_text(suite: &str, text: &str) -> Result<UnitIndex, Rejected> {
    let path = if suite.ends_with('/') {
        "Release".to_owned()
    } else {
        format!("dists/{suite}/Release")
    };
    verify(
        slice(suite, Include::default()),
        &[root(&path, text)],
        &context(&unsigned()),
    )
}

fn stems(index: &UnitIndex) -> Vec<&str> {
    index
        .groups
        .iter()
        .map(|group| group.stem.as_str().trim_start_matches("dists/stable/"))
        .collect()
}

#[test]
fn the_slice_decides_which_indices_are_copied() {
    let text = release(HEAD, &FILES);
    let with = |include| {
        let roots = [root("dists/stable/Release", text.clone())];
        verify(slice("stable", include), &roots, &context(&unsigned())).unwrap()
    };
    let base = [
        "main/binary-all/Packages",
        "main/binary-amd64/Packages",
        "main/binary-amd64/Release",
        "main/cnf/Commands-amd64",
        "main/i18n/Translation-en",
    ];
    assert_eq!(stems(&with(Include::default())), base);
    let extra = |include| {
        let index = with(include);
        stems(&index)
            .into_iter()
            .filter(|stem| !base.contains(stem))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let none = Include::default();
    assert_eq!(
        extra(Include {
            sources: true,
            ..none
        }),
        ["main/source/Release", "main/source/Sources"]
    );
    assert_eq!(
        extra(Include {
            contents: true,
            ..none
        }),
        ["Contents-amd64", "main/Contents-all", "main/Contents-amd64"]
    );
    assert_eq!(
        extra(Include {
            dep11: true,
            ..none
        }),
        [
            "main/dep11/CID-Index-amd64.json",
            "main/dep11/Components-amd64.yml",
            "main/dep11/icons-48x48.tar"
        ]
    );
    assert_eq!(
        extra(Include {
            installer: true,
            ..none
        }),
        [
            "main/debian-installer/binary-amd64/Packages",
            "main/installer-amd64/current/images/SHA256SUMS"
        ]
    );
    assert_eq!(
        extra(Include {
            pdiffs: true,
            ..none
        }),
        [
            "main/binary-amd64/Packages.diff/Index",
            "main/i18n/Translation-en.diff/Index"
        ]
    );
    let differences = extra(Include {
        contents: true,
        pdiffs: true,
        ..none
    });
    for index in ["Contents-amd64.diff/Index", "main/Contents-all.diff/Index"] {
        assert!(
            differences.iter().any(|name| name == index),
            "{differences:?}"
        );
    }
}

#[test]
fn a_group_says_how_clients_and_we_fetch_it() {
    let index = verify_text("stable", &release(HEAD, &FILES)).unwrap();
    let group = index
        .groups
        .iter()
        .find(|group| group.stem.as_str().ends_with("amd64/Packages"))
        .unwrap();
    assert!(group.required && group.lists_payload);
    assert_eq!(group.uncompressed.unwrap().size, 7);
    let names: Vec<_> = group
        .files
        .iter()
        .map(|file| file.path.file_name())
        .collect();
    assert_eq!(
        names,
        ["Packages.xz", "Packages.gz", "Packages"],
        "best compression first"
    );
    let sha256 = format!("dists/stable/main/binary-amd64/by-hash/SHA256/{A}");
    let md5 = format!("dists/stable/main/binary-amd64/by-hash/MD5Sum/{MD5}");
    let paths = |list: &[RepoPath]| list.iter().map(RepoPath::to_string).collect::<Vec<_>>();
    assert_eq!(
        paths(&group.files[0].sources),
        [
            sha256.clone(),
            "dists/stable/main/binary-amd64/Packages.xz".to_owned()
        ]
    );
    assert_eq!(paths(&group.files[0].aliases), [md5, sha256]);
    let without = verify_text(
        "stable",
        &release(&HEAD.replace("By-Hash: yes", "By-Hash: no"), &FILES),
    )
    .unwrap();
    assert!(
        without
            .groups
            .iter()
            .flat_map(|group| &group.files)
            .all(|file| file.sources == [file.path.clone()])
    );
    assert_eq!(index.revision.valid_until, Some(DATE + 7 * DAY));
    assert_eq!(
        (index.revision.unit.as_str(), index.revision.date),
        ("stable", DATE)
    );
}

#[test]
fn a_suite_must_introduce_itself_by_the_declared_name() {
    let named = |suite: &str, own: &str, codename: &str| {
        let head = HEAD
            .replace("Suite: stable", &format!("Suite: {own}"))
            .replace("trixie", codename);
        verify_text(suite, &release(&head, &FILES))
            .map(drop)
            .map_err(|rejected| rejected.reason)
    };
    let mismatch = Err(Reason::SuiteMismatch);
    assert_eq!(named("stable", "stable", "trixie"), Ok(()));
    assert_eq!(named("trixie", "stable", "trixie"), Ok(()));
    assert_eq!(
        named(
            "bookworm-security",
            "oldstable-security",
            "bookworm-security"
        ),
        Ok(())
    );
    assert_eq!(named("bookworm/updates", "oldstable", "bookworm"), Ok(()));
    assert_eq!(named("noble", "noble", "noble"), Ok(()));
    assert_eq!(named("sid", "stable", "trixie"), mismatch);
    assert_eq!(
        named("stable", "stable-updates", "trixie-updates"),
        mismatch
    );
    assert_eq!(
        named("noble", "noble-updates", "noble"),
        mismatch,
        "a pocket shares its code name"
    );
    let flat = |suite: &str, head: &str| {
        verify_text(suite, &release(head, &["Packages"]))
            .map(drop)
            .map_err(|bad| bad.reason)
    };
    let nameless = "Date: Sat, 07 Jun 2025 10:12:13 UTC\n";
    assert_eq!(
        (
            flat("./", nameless),
            flat("./", HEAD),
            flat("tools/", nameless)
        ),
        (Ok(()), Ok(()), Ok(()))
    );
    assert_eq!(flat("tools/", HEAD), mismatch);
    assert_eq!(
        verify_text("stable", &release(nameless, &FILES))
            .unwrap_err()
            .reason,
        Reason::SuiteMismatch
    );
}

#[test]
fn time_only_moves_forward() {
    let text = release(HEAD, &FILES);
    let trust = unsigned();
    let roots = [root("dists/stable/Release", text.clone())];
    let check = |context: &VerifyContext<'_>| {
        verify(slice("stable", Include::default()), &roots, context)
            .map(|index| index.revision)
            .map_err(|bad| bad.reason)
    };
    let known = check(&context(&trust)).unwrap();
    let at = |now| {
        check(&VerifyContext {
            now,
            ..context(&trust)
        })
    };
    assert!(at(DATE - 10).is_ok() && at(DATE + 7 * DAY).is_ok());
    assert_eq!(at(DATE - 11), Err(Reason::IndexFromFuture));
    assert_eq!(at(DATE + 7 * DAY + 1), Err(Reason::IndexExpired));

    let against = |high: &UnitRevision, allow_rollback| {
        check(&VerifyContext {
            high_water: Some(high),
            allow_rollback,
            ..context(&trust)
        })
        .map(drop)
    };
    let newer = UnitRevision {
        date: DATE + 1,
        ..known.clone()
    };
    let other = UnitRevision {
        digest: fleet_types::Sha256([1; 32]),
        ..known.clone()
    };
    let older = UnitRevision {
        date: DATE - 1,
        ..other.clone()
    };
    assert_eq!(against(&known, false), Ok(()));
    assert_eq!(against(&older, false), Ok(()));
    assert_eq!(against(&newer, false), Err(Reason::RollbackDetected));
    assert_eq!(against(&newer, true), Ok(()));
    assert_eq!(against(&other, false), Err(Reason::Equivocation));

    let aged = Trust {
        max_index_age: Some(DAY),
        ..unsigned()
    };
    let head = HEAD.replace("Valid-Until", "X-Valid-Until");
    let roots = [root("dists/stable/Release", release(&head, &FILES))];
    let late = VerifyContext {
        now: DATE + DAY + 1,
        ..context(&aged)
    };
    let expired = verify(slice("stable", Include::default()), &roots, &late).unwrap_err();
    assert_eq!(expired.reason, Reason::IndexExpired);
}

#[test]
fn what_is_declared_must_be_offered_with_strong_digests() {
    let reason = |text: &str| verify_text("stable", text).unwrap_err();
    let refused = reason(&release(&HEAD.replace("main contrib", "contrib"), &FILES));
    assert_eq!(refused.reason, Reason::NotOffered);
    assert!(refused.message.contains("contrib"), "{refused}");
    assert_eq!(
        reason(&release(&HEAD.replace("amd64 ", ""), &FILES)).reason,
        Reason::NotOffered
    );
    assert_eq!(
        reason(&release(HEAD, &FILES[3..])).reason,
        Reason::NotOffered
    );
    let weak = release(HEAD, &FILES);
    let weak = weak.split_once("SHA256:").unwrap().0;
    assert_eq!(reason(weak).reason, Reason::WeakHash);
    let prefixed = HEAD.replace("main contrib", "updates/main");
    assert!(verify_text("stable", &release(&prefixed, &FILES)).is_ok());
    assert_eq!(
        reason(&release(HEAD, &["../main/binary-amd64/Packages"])).reason,
        Reason::UnsafePath
    );
    let twice = format!(
        "{} {A} 8 main/binary-amd64/Packages\n",
        release(HEAD, &FILES)
    );
    assert_eq!(reason(&twice).reason, Reason::PathConflict);
    for broken in [
        "",
        "no field",
        "Suite: stable\n",
        &HEAD.replace("Sat, 07", "Sat, 77"),
        &format!("{HEAD}\nSuite: x\n"),
    ] {
        assert_eq!(reason(broken).reason, Reason::IndexMalformed, "{broken}");
    }
}

#[test]
fn flat_repositories_have_their_indices_beside_the_release() {
    let text = release(
        "Date: Sat, 07 Jun 2025 10:12:13 UTC\n",
        &["Packages", "Packages.gz", "Sources.gz", "other"],
    );
    let index = verify_text("./", &text).unwrap();
    let stems: Vec<_> = index
        .groups
        .iter()
        .map(|group| group.stem.as_str())
        .collect();
    assert_eq!(stems, ["Packages"]);
    let plan = Debian::new(slice("tools/", Include::default()))
        .unwrap()
        .roots("tools/")
        .unwrap();
    let paths: Vec<_> = plan
        .probes
        .iter()
        .chain(&plan.companions)
        .map(|file| file.path.as_str())
        .collect();
    assert_eq!(
        paths,
        [
            "tools/InRelease",
            "tools/Release",
            "tools/Release",
            "tools/Release.gpg"
        ]
    );
}

#[test]
fn a_declared_slice_is_checked() {
    let ok = slice("stable", Include::default());
    let refused = |slice: DebianSlice| Debian::new(slice).unwrap_err().reason;
    for slice in [
        DebianSlice {
            suites: vec![],
            ..ok.clone()
        },
        DebianSlice {
            suites: strings(&["../x"]),
            ..ok.clone()
        },
        DebianSlice {
            suites: strings(&["a", "a"]),
            ..ok.clone()
        },
        DebianSlice {
            components: vec![],
            ..ok.clone()
        },
        DebianSlice {
            architectures: vec![],
            ..ok.clone()
        },
        DebianSlice {
            architectures: strings(&["source"]),
            ..ok.clone()
        },
        DebianSlice {
            architectures: strings(&["a/b"]),
            ..ok.clone()
        },
    ] {
        assert_eq!(refused(slice), Reason::InvalidSpec);
    }
    assert!(
        Debian::new(DebianSlice {
            suites: strings(&["./"]),
            components: vec![],
            architectures: vec![],
            ..ok
        })
        .is_ok()
    );
}

fn signed(keyring: Keyring, min_good_signatures: u32) -> Trust {
    Trust {
        keyring: Some(keyring),
        signatures: SignaturePolicy::Required,
        min_good_signatures,
        all_signatures_good: false,
        max_index_age: None,
    }
}

#[test]
fn signatures_and_the_pair_of_release_files() {
    let gpg = Gpg::new();
    let key = gpg.key("archive@example.org", "ed25519", MADE_AT, "never");
    let text = release(HEAD, &FILES);
    let in_release = root(
        "dists/stable/InRelease",
        gpg.clearsign(MADE_AT, &[&key], &[], text.as_bytes()),
    );
    let plain = root("dists/stable/Release", text.clone());
    let detached = root(
        "dists/stable/Release.gpg",
        gpg.detached(MADE_AT, &[&key], &["--armor"], text.as_bytes()),
    );
    let check_in = |roots: &[&RootContent], context: &VerifyContext<'_>| {
        let roots: Vec<_> = roots.iter().map(|root| (*root).clone()).collect();
        verify(slice("stable", Include::default()), &roots, context)
    };
    let check = |roots: &[&RootContent], trust: &Trust| check_in(roots, &context(trust));
    let required = signed(gpg.keyring(&[]), 1);
    let all = check(&[&in_release, &plain, &detached], &required).unwrap();
    assert_eq!(
        (all.roots.len(), all.signed_by.as_slice()),
        (3, &[key.clone()][..])
    );
    let pair = check(&[&plain, &detached], &required).unwrap();
    let single = check(&[&in_release], &required).unwrap();
    assert!(
        pair.revision == all.revision && single.revision == all.revision,
        "one state, however it is signed"
    );
    assert_eq!((pair.roots.len(), single.roots.len()), (2, 1));

    let reason = |roots: &[&RootContent], trust: &Trust| check(roots, trust).unwrap_err().reason;
    let other = root("dists/stable/Release", text.replace("contrib", "nothing"));
    assert_eq!(
        reason(&[&in_release, &other], &required),
        Reason::ReleasePairMismatch
    );
    assert_eq!(
        reason(&[&other, &detached], &required),
        Reason::SignatureBad
    );
    let forged = root(
        "dists/stable/Release.gpg",
        gpg.detached(MADE_AT, &[&key], &[], b"else"),
    );
    let misfit = [&in_release, &plain, &forged];
    assert_eq!(reason(&misfit, &required), Reason::ReleasePairMismatch);
    let settled = VerifyContext {
        settled: true,
        ..context(&required)
    };
    let without = check_in(&misfit, &settled).unwrap();
    assert_eq!((without.roots.len(), without.notes.len()), (2, 1));
    assert_eq!(
        check_in(&[&in_release, &other], &settled)
            .unwrap_err()
            .reason,
        Reason::ReleasePairMismatch
    );
    assert_eq!(reason(&[&plain], &required), Reason::SignatureMissing);
    assert_eq!(reason(&[], &required), Reason::UpstreamIncomplete);
    assert_eq!(
        reason(&[&in_release], &signed(gpg.keyring(&[]), 2)),
        Reason::TooFewSignatures
    );
    let no_keyring = Trust {
        keyring: None,
        ..required.clone()
    };
    assert_eq!(reason(&[&in_release], &no_keyring), Reason::KeyringNotFound);

    let optional = Trust {
        signatures: SignaturePolicy::Optional,
        ..required
    };
    assert!(check(&[&plain], &optional).unwrap().signed_by.is_empty());
    assert_eq!(
        reason(&[&other, &detached], &optional),
        Reason::SignatureBad
    );
    let ignored = Trust {
        signatures: SignaturePolicy::None,
        ..optional
    };
    assert!(check(&[&other, &forged], &ignored).is_ok());
    assert_eq!(
        check(&[&in_release], &ignored).unwrap().revision,
        all.revision
    );
}

fn aliases(pairs: &[(&str, &str)]) -> Vec<Alias> {
    let alias = |(name, suite): &(&str, &str)| Alias {
        name: (*name).to_owned(),
        suite: (*suite).to_owned(),
    };
    pairs.iter().map(alias).collect()
}

#[test]
fn an_alias_holds_as_long_as_the_suite_bears_the_name() {
    let links = |head: &str, alias: &str| {
        let slice = DebianSlice {
            aliases: aliases(&[(alias, "trixie")]),
            ..slice("trixie", Include::default())
        };
        let roots = [root("dists/trixie/Release", release(head, &FILES))];
        let index = verify(slice, &roots, &context(&unsigned())).unwrap();
        let links: Vec<_> = index
            .links
            .iter()
            .map(|(link, target)| format!("{link} {target}"))
            .collect();
        (links, index.notes.concat())
    };
    let (held, notes) = links(HEAD, "stable");
    assert_eq!(
        (held, notes.as_str()),
        (vec!["dists/stable dists/trixie".to_owned()], "")
    );
    assert_eq!(
        links(HEAD, "stable/updates").0,
        ["dists/stable/updates dists/trixie"]
    );
    let moved_on = HEAD.replace("Suite: stable", "Suite: oldstable");
    let (gone, notes) = links(&moved_on, "stable");
    assert!(gone.is_empty());
    assert!(
        notes.contains("alias stable") && notes.contains("oldstable"),
        "{notes}"
    );
}

#[test]
fn aliases_are_names_of_their_own() {
    let checked = |pairs: &[(&str, &str)]| {
        let slice = DebianSlice {
            suites: strings(&["trixie", "trixie/updates", "tools/"]),
            aliases: aliases(pairs),
            ..slice("trixie", Include::default())
        };
        Debian::new(slice)
            .map(drop)
            .map_err(|rejected| rejected.reason)
    };
    let good = [
        ("stable", "trixie"),
        ("testing", "trixie"),
        ("stable-updates", "trixie/updates"),
    ];
    assert_eq!(checked(&good), Ok(()));
    for bad in [
        [("trixie", "trixie/updates")].as_slice(),
        &[("trixie/x", "trixie")],
        &[("stable", "sid")],
        &[("stable", "tools/")],
        &[("stable/", "trixie")],
        &[("../x", "trixie")],
        &[("stable", "trixie"), ("stable", "trixie")],
        &[("stable", "trixie"), ("stable", "trixie/updates")],
        &[("stable", "trixie"), ("stable/updates", "trixie/updates")],
    ] {
        assert_eq!(checked(bad), Err(Reason::InvalidSpec), "{bad:?}");
    }
}

#[test]
fn a_suite_says_whether_its_names_stay_and_a_slice_what_a_trace_tells() {
    let by_hash = |head: &str| {
        verify_text("stable", &release(head, &FILES))
            .unwrap()
            .fixed_names
    };
    assert!(by_hash(HEAD));
    assert!(!by_hash(&HEAD.replace("Acquire-By-Hash: yes\n", "")));
    let include = Include {
        sources: true,
        ..Include::default()
    };
    let format = Debian::new(slice("stable", include)).unwrap();
    let fields = format.trace().unwrap();
    let said: Vec<_> = fields
        .iter()
        .map(|(field, value)| format!("{field}: {value}"))
        .collect();
    assert_eq!(
        said,
        [
            "Suites: stable",
            "Architectures: all amd64 source",
            "Architectures-Configuration: INCLUDE amd64 source"
        ]
    );
    let mark = format.update_mark("mirror.example.org").unwrap();
    assert_eq!(
        mark.path.as_str(),
        "Archive-Update-in-Progress-mirror.example.org"
    );
    assert!(format.update_mark("../x").is_none());
}

#[test]
fn a_flat_repository_may_have_contents_and_differences() {
    let files = [
        "Packages.gz",
        "Packages.diff/Index",
        "Contents-amd64.gz",
        "en.xz",
    ];
    let stems = |include| {
        let roots = [root(
            "Release",
            release("Date: Sat, 07 Jun 2025 10:12:13 UTC\n", &files),
        )];
        let index = verify(slice("./", include), &roots, &context(&unsigned())).unwrap();
        stems(&index)
            .iter()
            .map(|stem| (*stem).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(stems(Include::default()), ["Packages"]);
    let include = Include {
        contents: true,
        pdiffs: true,
        ..Include::default()
    };
    assert_eq!(
        stems(include),
        ["Contents-amd64", "Packages", "Packages.diff/Index"]
    );
}

#[test]
fn during_a_key_rollover_one_good_signature_is_enough_unless_all_are_asked_for() {
    let gpg = Gpg::new();
    let old = gpg.key("old@example.org", "ed25519", MADE_AT, "never");
    let new = gpg.key("new@example.org", "ed25519", MADE_AT, "never");
    let text = release(HEAD, &FILES);
    let both = gpg.clearsign(MADE_AT, &[&old, &new], &[], text.as_bytes());
    let one = gpg.clearsign(MADE_AT, &[&old], &[], text.as_bytes());
    let check = |bytes: &[u8], trust: &Trust| {
        let roots = [root("dists/stable/InRelease", bytes)];
        verify(slice("stable", Include::default()), &roots, &context(trust))
            .map(|index| index.signed_by.len())
            .map_err(|rejected| (rejected.reason, rejected.message))
    };
    let any = |names: &[&str]| signed(gpg.keyring(names), 1);
    let all = |names: &[&str]| Trust {
        all_signatures_good: true,
        ..any(names)
    };
    for names in [&[old.as_str()][..], &[new.as_str()]] {
        assert_eq!(check(&both, &any(names)), Ok(1));
        let (reason, message) = check(&both, &all(names)).unwrap_err();
        assert_eq!(reason, Reason::KeyUnknown);
        assert!(message.contains("trust.allSignaturesGood"), "{message}");
    }
    assert_eq!(check(&both, &all(&[])), Ok(2));
    assert_eq!(check(&one, &all(&[])), Ok(1), "all that there are");
    gpg.revoke(&old);
    assert_eq!(check(&both, &any(&[])), Ok(1));
    assert_eq!(
        check(&both, &all(&[])).unwrap_err().0,
        Reason::KeyRevoked,
        "the reason is the one of the signature"
    );
}
