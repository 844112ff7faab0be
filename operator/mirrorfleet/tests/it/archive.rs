//! The whole way over a signed archive: sync, refuse, serve, export, verify, choose.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::serving::Serving;
use crate::support::{World, command, files, wait_for};

const DEB: &str = "pool/main/h/hello/hello_1.0_amd64.deb";

fn serve(world: &World) -> Serving {
    Serving::of(&world.data())
}

#[test]
fn a_first_sync_publishes_and_a_second_finds_nothing_new() {
    let world = World::new();
    let first = world.once().expect(0).json();
    assert_eq!(
        (first["result"].as_str(), first["reason"].as_str()),
        (Some("Published"), Some("Published"))
    );
    assert_eq!(first["suites"][0]["suite"], "trixie");
    assert!(
        first["filesFetched"].as_u64().unwrap() >= 1
            && first["snapshot"].as_str().unwrap().len() == 64
    );
    let second = world.once().expect(0).json();
    assert_eq!(
        (second["result"].as_str(), second["filesFetched"].as_u64()),
        (Some("Unchanged"), Some(0))
    );
    assert_eq!(first["snapshot"], second["snapshot"]);
}

#[test]
fn what_is_served_and_exported_is_what_the_archive_has() {
    let world = World::new();
    world.once().expect(0);
    let original = fs::read(world.archive().join(DEB)).unwrap();
    let serving = serve(&world);
    assert_eq!(
        serving.get(&format!("/debian/{DEB}")),
        (200, original.clone())
    );
    assert_eq!(
        serving.get("/debian/dists/trixie/InRelease").1,
        fs::read(world.archive().join("dists/trixie/InRelease")).unwrap()
    );
    assert_eq!(serving.get("/debian/pool/none.deb").0, 404);
    assert_eq!(serving.terminate(), 0);

    let tree = world.path("tree");
    world
        .call(&["export", "debian", tree.to_str().unwrap(), "--copy"])
        .expect(0);
    assert_eq!(fs::read(tree.join(DEB)).unwrap(), original);
    let again = world
        .call(&["export", "debian", tree.to_str().unwrap(), "--copy"])
        .expect(0);
    assert!(again.stdout.contains(" 0 files written"), "{again}");
}

#[test]
fn a_tampered_archive_is_exit_3_and_the_old_snapshot_stays_served() {
    let world = World::new();
    let good = world.once().expect(0).json();
    world.add_package("world", "2.0");
    world.publish();
    let release = world.archive().join("dists/trixie/InRelease");
    let text = fs::read_to_string(&release).unwrap();
    fs::write(&release, text.replacen("Suite: trixie", "Suite: trixiE", 1)).unwrap();
    let bad = world.once().expect(3).json();
    assert_eq!(
        (bad["result"].as_str(), bad["reason"].as_str()),
        (Some("Failed"), Some("SignatureBad"))
    );
    assert_eq!(bad["snapshot"], good["snapshot"]);
    let serving = serve(&world);
    assert_eq!(serving.get(&format!("/debian/{DEB}")).0, 200);
    assert_eq!(
        serving
            .get("/debian/pool/main/w/world/world_2.0_amd64.deb")
            .0,
        404
    );

    world.publish();
    assert_eq!(
        world.once().expect(0).json()["reason"],
        "Published",
        "the next good upstream heals without a person"
    );
}

/// Changes the manifests: more lines below the Mirror's `spec`.
fn declare(world: &World, lines: &str) {
    world.write_manifests(&format!("file://{}/", world.archive().display()));
    let manifests = fs::read_to_string(world.manifests()).unwrap();
    fs::write(world.manifests(), manifests + lines).unwrap();
}

#[test]
fn new_bytes_under_a_known_name_wait_for_a_word_in_the_manifest() {
    let world = World::new();
    world.once().expect(0);
    let original = fs::read(world.archive().join(DEB)).unwrap();
    // Built again, and not the same.
    let tree = world.path("build/hello-1.0/usr/share/doc/hello");
    fs::write(tree.join("more"), "rebuilt").unwrap();
    world.add_package("hello", "1.0");
    world.publish();
    let refused = world.once().expect(3).json();
    assert_eq!(refused["reason"], "ContentMutated");
    let message = refused["message"].as_str().unwrap();
    let mut digests = message.split(|c: char| !c.is_ascii_hexdigit());
    let new = digests.rfind(|word| word.len() == 64).unwrap();

    let other = "0".repeat(64);
    for (digest, code) in [(other.as_str(), 3), (new, 0)] {
        declare(
            &world,
            &format!(
                "  verification:\n    allowMutations: [{{path: {DEB}, sha256: \"{digest}\"}}]\n"
            ),
        );
        world.once().expect(code);
    }
    fs::write(world.archive().join(DEB), &original).unwrap();
    world.publish();
    world.once().expect(3);
    declare(&world, "  verification: {mutation: Allow}\n");
    world.once().expect(0);
    let serving = serve(&world);
    assert_eq!(serving.get(&format!("/debian/{DEB}")), (200, original));
    assert_eq!(serving.terminate(), 0);
}

#[test]
fn a_package_that_a_rule_leaves_out_is_a_404_that_says_so() {
    let world = World::new();
    world.add_package("nginx", "1.0");
    world.publish();
    let rules = "      packages: {exclude: [{name: 'hel*'}, {source: hello}]}\n";
    let manifests = fs::read_to_string(world.manifests()).unwrap();
    let block = "debian: {suites: [trixie], components: [main], architectures: [amd64]}\n";
    let with_rules = format!(
        "debian:\n      suites: [trixie]\n      components: [main]\n      architectures: [amd64]\n{rules}"
    );
    assert!(manifests.contains(block));
    fs::write(world.manifests(), manifests.replace(block, &with_rules)).unwrap();
    world.once().expect(0);
    let serving = serve(&world);
    let (code, words) = serving.get(&format!("/debian/{DEB}"));
    let words = String::from_utf8(words).unwrap();
    assert_eq!(code, 404);
    assert!(
        words.contains("excluded by this mirror's manifest"),
        "{words}"
    );
    assert_eq!(serving.get("/debian/pool/main/x").0, 404);
    let kept = "pool/main/n/nginx/nginx_1.0_amd64.deb";
    assert_eq!(serving.get(&format!("/debian/{kept}")).0, 200);
    let index = "dists/trixie/main/binary-amd64/Packages.gz";
    assert_eq!(
        serving.get(&format!("/debian/{index}")).1,
        fs::read(world.archive().join(index)).unwrap()
    );
    assert_eq!(serving.terminate(), 0);
}

#[test]
fn an_upstream_that_is_gone_is_exit_2_and_the_old_snapshot_stays_served() {
    let world = World::new();
    let good = world.once().expect(0).json();
    fs::rename(world.archive(), world.path("elsewhere")).unwrap();
    let gone = world.once().expect(2).json();
    assert_eq!(gone["snapshot"], good["snapshot"]);
    assert_eq!(serve(&world).get(&format!("/debian/{DEB}")).0, 200);
}

fn blob_of(world: &World, content: &[u8]) -> std::path::PathBuf {
    files(&world.data().join("debian/blobs"))
        .into_iter()
        .find(|file| fs::read(file).unwrap() == content)
        .expect("the blob is there")
}

#[test]
fn a_damaged_blob_is_found_by_verify_and_mended_by_the_next_sync() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    world.once().expect(0);
    let clean = world.call(&["verify"]).expect(0);
    assert!(clean.stdout.contains("debian: clean"), "{clean}");
    let blob = blob_of(&world, &fs::read(world.archive().join(DEB)).unwrap());
    let mut bytes = fs::read(&blob).unwrap();
    bytes[20] ^= 1;
    fs::set_permissions(&blob, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&blob, bytes).unwrap();
    let damaged = world.call(&["verify", "--mirror", "debian"]).expect(4);
    assert!(
        damaged.stdout.contains("DAMAGED")
            && damaged.stdout.contains(DEB)
            && damaged.stdout.contains("the next sync"),
        "{damaged}"
    );
    world.once().expect(0);
    let mended = world.call(&["verify"]).expect(0);
    assert!(mended.stdout.contains("debian: clean"), "{mended}");
}

#[test]
fn a_store_that_another_process_writes_is_exit_4() {
    let world = World::new();
    world.once().expect(0);
    let lock = fs::File::options()
        .read(true)
        .write(true)
        .open(world.data().join("debian/lock"))
        .unwrap();
    lock.try_lock().unwrap();
    world.add_package("world", "2.0");
    world.publish();
    let busy = world.once().expect(4);
    assert_eq!(busy.json()["reason"], "StoreBusy", "{busy}");
    drop(lock);
    world.once().expect(0);
}

#[test]
fn snapshots_are_listed_pinned_and_rolled_back() {
    let world = World::new();
    let first = world.once().expect(0).json()["snapshot"]
        .as_str()
        .unwrap()
        .to_owned();
    world.add_package("world", "2.0");
    world.publish();
    let second = world.once().expect(0).json()["snapshot"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_ne!(first, second);
    let current = || {
        let list = world.call(&["snapshots", "debian", "-o", "json"]).expect(0);
        let rows: Vec<serde_json::Value> = list
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(rows.len(), 2, "{list}");
        rows.iter().find(|row| row["current"] == true).unwrap()["snapshot"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(current(), second);
    world
        .call(&["snapshots", "debian", "rollback", &first[..12]])
        .expect(0);
    assert_eq!(current(), first);
    assert_eq!(
        world.once().expect(0).json()["snapshot"],
        first.as_str(),
        "rolled back until something newer is there"
    );
    world
        .call(&["snapshots", "debian", "pin", &second])
        .expect(0);
    assert_eq!(current(), second);
    world.call(&["snapshots", "debian", "unpin"]).expect(0);
    let index = world.data().join("debian/snapshots").join(&first);
    let mut bytes = std::fs::read(&index).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::remove_file(&index).unwrap();
    std::fs::write(&index, bytes).unwrap();
    for choice in ["rollback", "pin"] {
        let damaged = world.call(&["snapshots", "debian", choice, &first]);
        assert!(damaged.expect(4).stderr.contains("damaged"));
        assert_eq!(current(), second, "what is served stays");
    }
    let unknown = world
        .call(&["snapshots", "debian", "pin", "00000000"])
        .expect(1);
    assert!(
        unknown.stderr.contains("mirrorfleet snapshots"),
        "{unknown}"
    );
    assert!(
        world
            .call(&["snapshots", "debian"])
            .expect(0)
            .stdout
            .contains("served")
    );
}

#[test]
fn a_plan_and_a_dry_run_change_nothing() {
    let world = World::new();
    let manifests = world.manifests();
    let arguments = ["-f", manifests.to_str().unwrap(), "-o", "json"];
    let plan = world
        .call(&[&["plan"], &arguments[..]].concat())
        .expect(0)
        .json();
    assert!(plan["fetch"]["files"].as_u64().unwrap() >= 1, "{plan}");
    let dry = world
        .call(&[&["sync", "--mirror", "debian", "--dry-run"], &arguments[..]].concat())
        .expect(0)
        .json();
    assert_eq!(dry["fetch"]["files"], plan["fetch"]["files"]);
    assert!(!world.data().join("debian/current").exists());
}

#[test]
fn sync_is_one_run_and_leaves_its_report_where_a_job_is_told_to() {
    let world = World::new();
    let (manifests, message) = (world.manifests(), world.path("termination-log"));
    let sync = |more: &[&str]| {
        let base = [
            "sync",
            "-f",
            manifests.to_str().unwrap(),
            "--mirror",
            "debian",
            "-o",
            "json",
            "--termination-message",
            message.to_str().unwrap(),
        ];
        world.call(&[&base[..], more].concat())
    };
    sync(&["--refs", world.path("refs").to_str().unwrap()]).expect(1);
    let told: serde_json::Value = serde_json::from_slice(&fs::read(&message).unwrap()).unwrap();
    assert!(
        told["message"].as_str().unwrap().contains("file"),
        "file URLs do not exist in a cluster: {told}"
    );
    let run = sync(&[
        "--metrics-listen",
        "127.0.0.1:0",
        "--region",
        "eu-1",
        "--namespace",
        "mirrors",
        "--high-water",
        "[]",
    ])
    .expect(0);
    let told: serde_json::Value = serde_json::from_slice(&fs::read(&message).unwrap()).unwrap();
    assert_eq!(
        (told["reason"].as_str(), told["snapshot"].as_str()),
        (Some("Published"), run.json()["snapshot"].as_str())
    );
}

#[test]
fn local_syncs_serves_and_reads_its_manifests_again() {
    let world = World::new();
    let (data, manifests) = (world.data(), world.manifests());
    let arguments = [
        "local",
        "-f",
        manifests.to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
    ];
    let serving = Serving::start(&arguments);
    wait_for("the first snapshot", || {
        (serving.get(&format!("/debian/{DEB}")).0 == 200).then_some(())
    });
    world.add_package("world", "2.0");
    world.publish();
    let text = fs::read_to_string(world.manifests()).unwrap();
    fs::write(world.manifests(), text + "  snapshots: {keep: 5}\n").unwrap();
    assert!(
        Command::new("kill")
            .arg("-HUP")
            .arg(serving.id().to_string())
            .status()
            .unwrap()
            .success()
    );
    wait_for("the second snapshot", || {
        (serving
            .get("/debian/pool/main/w/world/world_2.0_amd64.deb")
            .0
            == 200)
            .then_some(())
    });
    assert_eq!(serving.terminate(), 0);
    assert!(Path::new(&data).join("debian/store.json").is_file());
}

#[test]
fn rsync_endpoints_say_what_they_need_where_the_program_is_missing() {
    let world = World::new();
    let text = fs::read_to_string(world.manifests()).unwrap();
    let endpoints =
        "  type: Debian\n  endpoints: [{name: a, url: 'rsync://127.0.0.1:1/debian/'}]\n";
    let text = text.replace("  type: Debian\n", endpoints);
    fs::write(world.manifests(), text).unwrap();
    let (manifests, data) = (world.manifests(), world.data());
    let once = |path: Option<&str>| {
        let mut command = command(&[
            "local".as_ref(),
            "--once".as_ref(),
            "-f".as_ref(),
            manifests.as_os_str(),
            "--data".as_ref(),
            data.as_os_str(),
        ]);
        if let Some(path) = path {
            command.env("PATH", path);
        }
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (code, said) = once(Some("/nonexistent"));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("rsync is not installed"), "{said}");
    let (code, said) = once(None);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("Connection refused"), "{said}");
}

#[test]
fn where_all_blobs_were_lost_the_advice_leads_to_health_though_an_older_snapshot_stays_with_holes()
{
    let world = World::new();
    world.once().expect(0);
    world.add_package("world", "2.0");
    world.publish();
    world.once().expect(0);
    fs::remove_dir_all(world.data().join("debian/blobs")).unwrap();
    let damaged = world.call(&["verify"]).expect(4);
    assert!(damaged.stdout.contains("the next sync"), "{damaged}");
    world.once().expect(0);
    for _ in 0..2 {
        let mended = world.call(&["verify"]).expect(0);
        assert!(
            mended.stdout.contains("debian: clean") && mended.stdout.contains("do not roll back"),
            "{mended}"
        );
        world.once().expect(0);
    }
}
