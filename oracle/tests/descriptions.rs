//! Descriptions as they are and as they should not be, read by us and by Arch Linux's own library.

use mirrorfleet_oracle::{database_of, ours, theirs};
use proptest::prelude::*;

const SHA256: &str = "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c";

/// The sections of a whole description, in repo-add's order; some may be absent.
fn sections(name: &str, version: &str) -> Vec<(&'static str, String)> {
    let file_name = format!("{name}-{version}-any.pkg.tar.zst");
    [
        ("FILENAME", file_name.as_str()),
        ("NAME", name),
        ("BASE", name),
        ("VERSION", version),
        ("DESC", "what it is"),
        ("GROUPS", "base\ngnome"),
        ("CSIZE", "4634"),
        ("ISIZE", "9000"),
        ("SHA256SUM", SHA256),
        ("URL", "https://example.org/"),
        ("LICENSE", "GPL-3.0-or-later"),
        ("ARCH", "any"),
        ("BUILDDATE", "1729181726"),
        ("PACKAGER", "Foobar McFooface <foobar@mcfooface.org>"),
        ("DEPENDS", "glibc\nbash>=5"),
    ]
    .map(|(title, value)| (title, value.to_owned()))
    .to_vec()
}

fn text(sections: &[(&str, String)]) -> String {
    let section = |(title, value): &(&str, String)| format!("%{title}%\n{value}\n\n");
    sections.iter().map(section).collect()
}

/// What is done to one section of which something is needed.
#[derive(Debug, Clone)]
enum Change {
    Nothing,
    Without(&'static str),
    Twice(&'static str),
    Says(&'static str, &'static str),
    Moved(usize, usize),
}

/// Needed by both, and what is wrong with each in turn.
const NEEDED: [&str; 5] = ["FILENAME", "NAME", "VERSION", "CSIZE", "SHA256SUM"];

fn changes() -> impl Strategy<Value = Change> {
    let needed = || prop::sample::select(&NEEDED[..]);
    prop_oneof![
        Just(Change::Nothing),
        needed().prop_map(Change::Without),
        needed().prop_map(Change::Twice),
        prop::sample::select(vec![
            ("CSIZE", ""),
            ("CSIZE", "-1"),
            ("CSIZE", "0x10"),
            ("CSIZE", "12 34"),
            ("CSIZE", "99999999999999999999999"),
            ("CSIZE", "many"),
            ("SHA256SUM", ""),
            ("SHA256SUM", "d3b07384d113edec49eaa6238ad5ff00"),
            (
                "SHA256SUM",
                "zzbb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c"
            ),
            ("FILENAME", ""),
            ("FILENAME", "dir/tool-1-1-any.pkg.tar.zst"),
            ("FILENAME", "../tool-1-1-any.pkg.tar.zst"),
            ("FILENAME", ".tool-1-1-any.pkg.tar.zst"),
            ("VERSION", ""),
            ("NAME", ""),
        ])
        .prop_map(|(title, value)| Change::Says(title, value)),
        (0..15usize, 0..15usize).prop_map(|(from, to)| Change::Moved(from, to)),
    ]
}

fn changed(mut all: Vec<(&'static str, String)>, change: &Change) -> Vec<(&'static str, String)> {
    match change {
        Change::Nothing => {}
        Change::Without(title) => all.retain(|(other, _)| other != title),
        Change::Twice(title) => {
            let again = all.iter().find(|(other, _)| other == title).cloned();
            all.extend(again);
        }
        Change::Says(title, value) => {
            let section = all.iter_mut().find(|(other, _)| other == title);
            section
                .into_iter()
                .for_each(|(_, text)| *text = (*value).to_owned());
        }
        Change::Moved(from, to) => {
            let section = all.remove(from % all.len());
            all.insert(to % (all.len() + 1), section);
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Whatever the library reads, we read, and to the same fields; what is wrong with a section of which something is needed is
    /// wrong for both.
    #[test]
    fn what_is_read_is_the_same_and_so_is_what_is_not(
        name in "[a-z0-9@_][a-z0-9@._+-]{0,12}",
        version in "([0-9]{1,2}:)?[a-z0-9._]{1,8}-[0-9]{1,2}(\\.[0-9])?",
        change in changes(),
    ) {
        let description = text(&changed(sections(&name, &version), &change));
        let database = database_of(&format!("{name}-{version}"), &description);
        let theirs = theirs(&description);
        match (ours(&database), theirs) {
            (Ok((packages, left_out)), Ok(package)) => {
                prop_assert_eq!(&packages[..], &[package][..], "left out: {:?}", left_out);
            }
            (Ok((packages, _)), Err(why)) => {
                // A name or a version that only the library finds odd is copied as pacman copies it.
                let is_odd = matches!(change, Change::Nothing | Change::Moved(..));
                prop_assert!(packages.is_empty() || is_odd, "we read {:?}, they say {}", packages, why);
            }
            (Err(_), Err(_)) => {}
            (Err(why), Ok(package)) => prop_assert!(false, "they read {:?}, we say {}", package, why),
        }
    }
}

#[test]
fn a_whole_description_of_either_version_is_read_by_both() {
    let second = sections("example-meta", "1.0.0-1");
    let mut first = second.clone();
    first.insert(8, ("MD5SUM", "d3b07384d113edec49eaa6238ad5ff00".to_owned()));
    first.insert(10, ("PGPSIG", SIGNATURE.to_owned()));
    for (sections, has_signature) in [(second, false), (first, true)] {
        let description = text(&sections);
        let package = theirs(&description).unwrap();
        assert_eq!(package.has_signature, has_signature);
        let (packages, left_out) =
            ours(&database_of("example-meta-1.0.0-1", &description)).unwrap();
        assert_eq!((packages, left_out), (vec![package], vec![]));
    }
}

/// From the documentation of alpm-repo-desc.
const SIGNATURE: &str = "iHUEABYKAB0WIQRizHP4hOUpV7L92IObeih9mi7GCAUCaBZuVAAKCRCbeih9mi7GCIlMAP9ws/jU4f580ZRQlTQKvUiLbAZOdcB7mQQj83hD1Nc/GwD/WIHhO1/OQkpMERejUrLo3AgVmY3b4/uGhx9XufWEbgE=";

#[test]
fn databases_of_repo_add_are_read_by_both() {
    use std::fs;
    use std::process::Command;

    let dir = tempfile::tempdir().unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        let output = command
            .current_dir(dir.path())
            .args(arguments)
            .env("LC_ALL", "C")
            .output();
        let output = output.unwrap_or_else(|error| {
            panic!("this test needs {program} (Debian: makepkg, libarchive-tools): {error}")
        });
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    };
    let mut files = Vec::new();
    for (name, version) in [
        ("glibc", "2.38-7"),
        ("c++utils", "1:0.1.r5.gabc-1"),
        ("with-signature", "1-1"),
    ] {
        let info = format!(
            "pkgname = {name}\npkgbase = {name}\npkgver = {version}\npkgdesc = f\u{fc}r alle\nurl = https://example.org\n\
             builddate = 1700000000\npackager = Somebody <somebody@example.org>\nsize = 1\narch = any\nlicense = GPL\n\
             group = base\ndepend = glibc\noptdepend = bash: for scripts\n"
        );
        fs::write(dir.path().join(".PKGINFO"), info).unwrap();
        let file = format!("{name}-{version}-any.pkg.tar.zst");
        run("bsdtar", &["--zstd", "-cf", &file, ".PKGINFO"]);
        files.push(file);
    }
    // What repo-add takes for the package's signature.
    fs::write(dir.path().join("signature"), SIGNATURE).unwrap();
    let signature = run("base64", &["--decode", "signature"]);
    fs::write(dir.path().join(format!("{}.sig", files[2])), signature).unwrap();
    for suffix in ["gz", "zst", "xz"] {
        let database = format!("core-{suffix}.db.tar.{suffix}");
        let mut arguments = vec!["-q", database.as_str()];
        arguments.extend(files.iter().map(String::as_str));
        run("repo-add", &arguments);
        let (mut packages, left_out) =
            ours(&fs::read(dir.path().join(&database)).unwrap()).unwrap();
        assert_eq!(left_out, [""; 0]);
        let listed = String::from_utf8(run("bsdtar", &["-tf", &database])).unwrap();
        let descriptions = listed.lines().filter(|member| member.ends_with("/desc"));
        let mut found: Vec<_> = descriptions
            .map(|member| String::from_utf8(run("bsdtar", &["-xOf", &database, member])).unwrap())
            .map(|description| {
                theirs(&description).unwrap_or_else(|why| panic!("{description}\n{why}"))
            })
            .collect();
        for list in [&mut packages, &mut found] {
            list.sort_by(|a, b| a.file_name.cmp(&b.file_name));
        }
        assert_eq!(packages, found, "{suffix}");
        assert_eq!(packages.len(), files.len());
    }
}
