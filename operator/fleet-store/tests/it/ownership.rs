//! Who may write to a store, and what may become one.

use std::fs;

use fleet_store::*;
use fleet_types::Reason;

use crate::common::*;

#[test]
fn one_writer_at_a_time_and_only_of_the_same_mirror() {
    let dir = tempfile::tempdir().unwrap();
    let first = writer(dir.path());
    assert_eq!(
        text_of(Writer::open(dir.path(), &identity())).0,
        Reason::StoreBusy
    );
    Store::open(dir.path()).unwrap();
    publish(&first, 1, &[("x", "1")]);
    drop(first);
    for other in [
        Identity {
            authority: "https://example.org/other/".into(),
            ..identity()
        },
        Identity {
            upstream_type: "Arch".into(),
            ..identity()
        },
        Identity {
            mirror: "other".into(),
            ..identity()
        },
    ] {
        assert_eq!(
            text_of(Writer::open(dir.path(), &other)).0,
            Reason::StoreMismatch
        );
    }
    let moved = Identity {
        serving_path: "elsewhere".into(),
        ..identity()
    };
    drop(Writer::open(dir.path(), &moved).unwrap());
    assert_eq!(Store::open(dir.path()).unwrap().identity(), &moved);
    assert_eq!(
        Writer::open_existing(dir.path()).unwrap().identity(),
        &moved
    );
}

/// Whoever corrects the address of a first run that came to nothing need not empty its volume.
#[test]
fn a_store_that_never_served_becomes_what_the_manifest_says() {
    let dir = tempfile::tempdir().unwrap();
    let mistyped = Identity {
        authority: "https://exmaple.org/debian/".into(),
        ..identity()
    };
    drop(Writer::open(dir.path(), &mistyped).unwrap());
    let writer = writer(dir.path());
    assert_eq!(writer.identity(), &identity());
    publish(&writer, 1, &[("x", "1")]);
    drop(writer);
    let (reason, text) = text_of(Writer::open(dir.path(), &mistyped));
    assert_eq!(reason, Reason::StoreMismatch);
    assert!(text.contains("take another directory"), "{text}");
    // What the message names.
    drop(Writer::open(&dir.path().join("another"), &mistyped).unwrap());
    std::fs::remove_dir_all(dir.path().join("another")).unwrap();
    for damaged in ["current", "snapshots"] {
        let path = dir.path().join(damaged);
        drop(fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path)));
        assert_eq!(
            text_of(Writer::open(dir.path(), &mistyped)).0,
            Reason::StoreMismatch
        );
    }
}

#[test]
fn a_directory_with_other_things_in_it_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), "years of work").unwrap();
    let (reason, text) = text_of(Writer::open(dir.path(), &identity()));
    assert_eq!(reason, Reason::StoreMismatch);
    assert!(text.contains("thesis.tex"), "{text}");
    assert!(Store::open(dir.path()).err().unwrap().is_absent());
    assert!(Writer::open_existing(dir.path()).err().unwrap().is_absent());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_store_of_an_earlier_version_says_nothing_of_clients_and_opens() {
    let dir = tempfile::tempdir().unwrap();
    let id = publish(&writer(dir.path()), 1, &[("a", "a")]);
    let file = dir.path().join("store.json");
    let mut text: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert!(text.as_object_mut().unwrap().remove("clients").is_some());
    std::fs::write(&file, text.to_string()).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.identity().clients, Clients::default());
    assert_eq!(store.current().unwrap(), Some(id));
}
