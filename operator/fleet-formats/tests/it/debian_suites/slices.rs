//! Which indices belong to a slice, and how they are fetched.

use super::*;

#[test]
fn the_slice_decides_which_indices_are_copied() {
    let text = release(HEAD, &FILES);
    let with = |include| {
        let roots = [root("dists/stable/Release", text.clone())];
        verify(
            slice("stable", include),
            &roots,
            &context(&Trust::nothing_is_judged()),
        )
        .unwrap()
    };
    let base = [
        "main/binary-all/Packages",
        "main/binary-amd64/Packages",
        "main/binary-amd64/Release",
        "main/cnf/Commands-amd64",
        "main/i18n/Translation-en",
    ];
    assert_eq!(stems(&with(DebianInclude::default())), base);
    let extra = |include| {
        let index = with(include);
        stems(&index)
            .into_iter()
            .filter(|stem| !base.contains(stem))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let none = DebianInclude::default();
    assert_eq!(
        extra(DebianInclude {
            sources: true,
            ..none
        }),
        ["main/source/Release", "main/source/Sources"]
    );
    assert_eq!(
        extra(DebianInclude {
            contents: true,
            ..none
        }),
        ["Contents-amd64", "main/Contents-all", "main/Contents-amd64"]
    );
    assert_eq!(
        extra(DebianInclude {
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
        extra(DebianInclude {
            installer: true,
            ..none
        }),
        [
            "main/debian-installer/binary-amd64/Packages",
            "main/installer-amd64/current/images/SHA256SUMS"
        ]
    );
    assert_eq!(
        extra(DebianInclude {
            pdiffs: true,
            ..none
        }),
        [
            "main/binary-amd64/Packages.diff/Index",
            "main/i18n/Translation-en.diff/Index"
        ]
    );
    let differences = extra(DebianInclude {
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
    let aliases = group.files[0].aliases.iter();
    let aliases: Vec<_> = aliases
        .map(|alias| (alias.path.as_str(), alias.mutable))
        .collect();
    assert_eq!(aliases, [(md5.as_str(), false), (sha256.as_str(), false)]);
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
    let plan = Debian::new(slice("tools/", DebianInclude::default()))
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
    let ok = slice("stable", DebianInclude::default());
    let refused = |slice: DebianContent| Debian::new(slice).unwrap_err().reason;
    for slice in [
        DebianContent {
            suites: vec![],
            ..ok.clone()
        },
        DebianContent {
            suites: strings(&["../x"]),
            ..ok.clone()
        },
        DebianContent {
            suites: strings(&["a", "a"]),
            ..ok.clone()
        },
        DebianContent {
            components: vec![],
            ..ok.clone()
        },
        DebianContent {
            architectures: vec![],
            ..ok.clone()
        },
        DebianContent {
            architectures: strings(&["a/b"]),
            ..ok.clone()
        },
    ] {
        assert_eq!(refused(slice), Reason::InvalidSpec);
    }
    assert!(
        Debian::new(DebianContent {
            suites: strings(&["./"]),
            components: vec![],
            architectures: vec![],
            ..ok
        })
        .is_ok()
    );
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
        let index = verify(
            slice("./", include),
            &roots,
            &context(&Trust::nothing_is_judged()),
        )
        .unwrap();
        stems(&index)
            .iter()
            .map(|stem| (*stem).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(stems(DebianInclude::default()), ["Packages"]);
    let include = DebianInclude {
        contents: true,
        pdiffs: true,
        ..DebianInclude::default()
    };
    assert_eq!(
        stems(include),
        ["Contents-amd64", "Packages", "Packages.diff/Index"]
    );
}
