//! Exported trees, on a real file system.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use fleet_store::*;
use fleet_types::RepoPath;

use crate::common::*;

pub fn tree(dir: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for file in fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if name == ".mirrorfleet-export" {
            continue;
        }
        if file.is_dir() {
            found.extend(
                tree(&file)
                    .into_iter()
                    .map(|(path, content)| (format!("{name}/{path}"), content)),
            );
        } else {
            found.push((name, fs::read_to_string(&file).unwrap()));
        }
    }
    found.sort();
    found
}

pub fn listed(files: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut files: Vec<_> = files
        .iter()
        .map(|(path, content)| ((*path).to_owned(), (*content).to_owned()))
        .collect();
    files.sort();
    files
}

#[test]
fn an_export_follows_the_snapshot_and_the_second_one_does_only_what_changed() {
    for mode in [ExportMode::Auto, ExportMode::Link, ExportMode::Copy] {
        let (dir, dest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let writer = writer(dir.path());
        let options = ExportOptions {
            mode,
            roots_last: vec![RepoPath::new("dists/x/Release").unwrap()],
            ..ExportOptions::default()
        };
        // `f` becomes a directory and `d` a file.
        let first = [
            ("dists/x/Release", "1"),
            ("pool/a", "a"),
            ("pool/deep/er/b", "b"),
            ("f", "f"),
            ("d/e/g", "g"),
        ];
        publish(&writer, 1, &first);
        let report = writer.export(dest.path(), &options).unwrap();
        assert_eq!(
            (report.written, report.unchanged, report.removed),
            (5, 0, 0)
        );
        assert_eq!(tree(dest.path()), listed(&first));
        let second = [
            ("dists/x/Release", "2"),
            ("pool/a", "a"),
            ("f/h", "f"),
            ("d", "d"),
        ];
        publish(&writer, 2, &second);
        let report = writer.export(dest.path(), &options).unwrap();
        assert_eq!((report.written, report.unchanged), (3, 1), "{mode:?}");
        assert_eq!(tree(dest.path()), listed(&second));
        assert!(
            !dest.path().join("pool/deep").exists(),
            "an empty directory stays behind"
        );
        fs::remove_file(dest.path().join("pool/a")).unwrap();
        let report = writer.export(dest.path(), &options).unwrap();
        assert_eq!(
            (report.written, report.unchanged, report.removed),
            (1, 3, 0)
        );
        let exported = fs::metadata(dest.path().join("pool/a")).unwrap();
        match mode {
            ExportMode::Link => assert_eq!(
                exported.ino(),
                fs::metadata(writer.blob_path(&sha256(b"a"))).unwrap().ino()
            ),
            ExportMode::Copy => {
                assert_eq!((exported.nlink(), exported.mtime()), (1, 1_000_000_000))
            }
            _ => {}
        }
    }
}

#[test]
fn others_tell_by_its_time_that_a_file_has_changed_also_where_the_rest_are_links() {
    let (dir, dest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let writer = writer(dir.path());
    let content = [("Release", "r"), ("pool/a", "a")];
    let put = |(_, content): &(&str, &str)| writer.staging().put_bytes(content.as_bytes()).unwrap();
    writer
        .staging()
        .commit_batch(content.iter().map(put).collect())
        .unwrap();
    let mut builder = writer.index_builder(None);
    for (path, content) in content {
        let entry = fleet_store::Entry {
            mutable: path == "Release",
            ..entry(content)
        };
        builder.push(&RepoPath::new(path).unwrap(), &entry).unwrap();
    }
    let id = builder.finish(meta(1)).unwrap().id;
    writer.publish(&id, 1).unwrap();
    let options = ExportOptions {
        mode: ExportMode::Link,
        ..ExportOptions::default()
    };
    writer.export(dest.path(), &options).unwrap();
    let about = |path: &str| fs::metadata(dest.path().join(path)).unwrap();
    let release = about("Release");
    assert_eq!((release.nlink(), release.mtime()), (1, 1_000_000_000));
    assert_eq!(about("pool/a").nlink(), 2);
    let names: Vec<_> = fs::read_dir(dest.path()).unwrap().collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn an_export_touches_nothing_that_is_not_its_own() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let writer = writer(dir.path());
    publish(&writer, 1, &[("etc/passwd", "ours"), ("x", "x")]);
    let options = ExportOptions {
        mode: ExportMode::Copy,
        ..ExportOptions::default()
    };
    fs::write(outside.path().join("passwd"), "theirs").unwrap();
    let (_, text) = text_of(writer.export(outside.path(), &options));
    assert!(
        text.contains("neither empty nor an earlier export"),
        "{text}"
    );
    for inside in [dir.path().to_owned(), dir.path().join("state/tree")] {
        assert!(
            text_of(writer.export(&inside, &options))
                .1
                .contains("inside each other")
        );
    }
    let dest = tempfile::tempdir().unwrap();
    writer.export(dest.path(), &options).unwrap();
    // Someone puts links in the way.
    fs::remove_dir_all(dest.path().join("etc")).unwrap();
    std::os::unix::fs::symlink(outside.path(), dest.path().join("etc")).unwrap();
    fs::remove_file(dest.path().join("x")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("passwd"), dest.path().join("x")).unwrap();
    writer.export(dest.path(), &options).unwrap();
    assert_eq!(
        fs::read_to_string(outside.path().join("passwd")).unwrap(),
        "theirs"
    );
    assert_eq!(
        tree(dest.path()),
        listed(&[("etc/passwd", "ours"), ("x", "x")])
    );
    let other = tempfile::tempdir().unwrap();
    let stranger = Writer::open(
        other.path(),
        &Identity {
            mirror: "other".into(),
            ..identity()
        },
    )
    .unwrap();
    publish(&stranger, 1, &[("x", "x")]);
    assert!(
        text_of(stranger.export(dest.path(), &options))
            .1
            .contains("another mirror")
    );
}

#[test]
fn links_and_what_comes_afterwards_follow_the_snapshot_and_leave_with_it() {
    let (dir, dest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let writer = writer(dir.path());
    let show = |links: &[(&str, &str)], created, files: &[(&str, &str)], afterwards: &[&str]| {
        let id = prepare_linked(&writer, created, files, links).unwrap();
        writer.publish(&id, created).unwrap();
        let file = |path: &&str| Afterwards {
            path: RepoPath::new(path).unwrap(),
            content: b"ours".to_vec(),
            mtime: 5,
        };
        let options = ExportOptions {
            afterwards: afterwards.iter().map(file).collect(),
            ..ExportOptions::default()
        };
        writer.export(dest.path(), &options).unwrap();
        assert!(writer.scrub(&mut |_| {}).unwrap().is_clean());
        id
    };
    let link = |path: &str| {
        fs::read_link(dest.path().join(path)).map(|to| to.to_string_lossy().into_owned())
    };
    let files = [("dists/trixie/Release", "t"), ("dists/old/Release", "o")];
    let trace = "project/trace/us";
    let first = show(&[("dists/stable", "dists/old")], 1, &files, &[trace]);
    assert_eq!(link("dists/stable").unwrap(), "old");
    let mut listed_first = vec![("dists/stable/Release", "o"), (trace, "ours")];
    listed_first.extend(files);
    assert_eq!(tree(dest.path()), listed(&listed_first));
    let times = fs::metadata(dest.path().join(trace)).unwrap();
    assert_eq!(times.mtime(), 5);

    // Moved on: the same files with another link are another snapshot.
    let moved = show(&[("dists/stable", "dists/trixie")], 2, &files, &[trace]);
    assert_ne!(first, moved);
    assert_eq!(link("dists/stable").unwrap(), "trixie");

    // A directory in the place of the link, and the other way round.
    let real = [("dists/stable/Release", "s"), ("dists/trixie/Release", "t")];
    show(&[("dists/stable", "dists/trixie")], 3, &real, &[]);
    assert!(link("dists/stable").is_err());
    assert_eq!(tree(dest.path()), listed(&real));
    show(&[("dists/stable", "dists/trixie")], 4, &files, &[]);
    assert_eq!(link("dists/stable").unwrap(), "trixie");

    // Content of the snapshot wins over what comes afterwards; a link that is gone leaves what a person made of it.
    fs::remove_file(dest.path().join("dists/stable")).unwrap();
    fs::write(dest.path().join("dists/stable"), "a person's").unwrap();
    let with_trace = [("dists/trixie/Release", "t"), (trace, "theirs")];
    show(&[], 5, &with_trace, &[trace]);
    let mut kept = with_trace.to_vec();
    kept.push(("dists/stable", "a person's"));
    assert_eq!(tree(dest.path()), listed(&kept));
}

#[test]
fn a_link_out_of_the_tree_is_none() {
    let (dir, dest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let writer = writer(dir.path());
    let links = [
        ("../out", "dists/x"),
        ("dists/y", "../../etc"),
        ("/abs", "dists/x"),
    ];
    let id = prepare_linked(&writer, 1, &[("dists/x/Release", "x")], &links).unwrap();
    writer.publish(&id, 1).unwrap();
    let tree_dir = dest.path().join("in");
    writer.export(&tree_dir, &ExportOptions::default()).unwrap();
    assert_eq!(tree(&tree_dir), listed(&[("dists/x/Release", "x")]));
    assert_eq!(fs::read_dir(dest.path()).unwrap().count(), 1);
}

#[test]
fn while_the_tree_changes_a_file_says_so_and_the_indices_come_after_what_they_name() {
    let (dir, dest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let writer = writer(dir.path());
    let name = format!("Archive-Update-in-Progress-{}", identity().mirror);
    let options = ExportOptions {
        mode: ExportMode::Copy,
        roots_last: vec![RepoPath::new("dists/x/Release").unwrap()],
        in_progress: RepoPath::new(&name).ok(),
        ..ExportOptions::default()
    };
    publish(&writer, 1, &[("dists/x/Release", "1"), ("pool/a", "a")]);
    writer.export(dest.path(), &options).unwrap();
    assert!(!dest.path().join(&name).exists());
    // One that was killed has left it, as a link to somewhere else.
    let outside = tempfile::tempdir().unwrap();
    let theirs = outside.path().join("theirs");
    fs::write(&theirs, "theirs").unwrap();
    std::os::unix::fs::symlink(&theirs, dest.path().join(&name)).unwrap();
    publish(
        &writer,
        2,
        &[("dists/x/Release", "2"), ("pool/b", "b"), ("pool/c", "c")],
    );
    // An export that fails in the middle: the payload cannot be written.
    fs::create_dir_all(dest.path().join("pool/c/theirs")).unwrap();
    assert!(writer.export(dest.path(), &options).is_err());
    assert!(fs::symlink_metadata(dest.path().join(&name)).is_err());
    assert_eq!(fs::read_to_string(&theirs).unwrap(), "theirs");
    let at = |path: &str| fs::read_to_string(dest.path().join(path)).ok();
    assert_eq!(
        at("dists/x/Release").as_deref(),
        Some("1"),
        "the index is the old one"
    );
    assert_eq!(
        at("pool/a").as_deref(),
        Some("a"),
        "and what it names is there"
    );
    fs::remove_dir_all(dest.path().join("pool/c")).unwrap();
    writer.export(dest.path(), &options).unwrap();
    let second = [("dists/x/Release", "2"), ("pool/b", "b"), ("pool/c", "c")];
    assert_eq!(tree(dest.path()), listed(&second));
}

/// What happens in some directories, in order: the names that appear and go.
fn watched(dirs: &[&Path], work: impl FnOnce()) -> Vec<String> {
    use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
    let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
    for dir in dirs {
        let what = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
        inotify::add_watch(&watch, *dir, what).unwrap();
    }
    work();
    let mut buffer = [const { std::mem::MaybeUninit::uninit() }; 64 << 10];
    let (mut reader, mut seen) = (inotify::Reader::new(&watch, &mut buffer), Vec::new());
    while let Ok(event) = reader.next() {
        let name = event.file_name().unwrap_or_default().to_string_lossy();
        let sign = if event.events().contains(ReadFlags::DELETE) {
            '-'
        } else {
            '+'
        };
        if !name.starts_with(".mirrorfleet-new") {
            seen.push(format!("{sign}{name}"));
        }
    }
    seen
}

#[test]
fn the_tree_changes_in_the_order_that_mirrors_of_it_rely_on() {
    let (dir, dest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let writer = writer(dir.path());
    let options = ExportOptions {
        mode: ExportMode::Copy,
        roots_last: ["Release.gpg", "Release", "InRelease"]
            .map(|name| RepoPath::new(&format!("dists/x/{name}")).unwrap())
            .into(),
        in_progress: RepoPath::new("Archive-Update-in-Progress-debian").ok(),
        ..ExportOptions::default()
    };
    let roots = [
        "dists/x/InRelease",
        "dists/x/Release",
        "dists/x/Release.gpg",
    ];
    let suite = |number| roots.map(|root| (root, number));
    let first = [&suite("1")[..], &[("pool/a", "a"), ("pool/b", "b")]].concat();
    publish(&writer, 1, &first);
    writer.export(dest.path(), &options).unwrap();
    let second = [&suite("2")[..], &[("pool/b", "b"), ("pool/z", "z")]].concat();
    publish(&writer, 2, &second);
    let (suite, pool) = (dest.path().join("dists/x"), dest.path().join("pool"));
    let seen = watched(&[dest.path(), &suite, &pool], || {
        writer.export(dest.path(), &options).unwrap();
    });
    let order = [
        "+Archive-Update-in-Progress-debian",
        "+z",
        "+Release.gpg",
        "+Release",
        "+InRelease",
        "-a",
        "-Archive-Update-in-Progress-debian",
    ];
    assert_eq!(seen, order, "and nothing else is touched");
}
