use std::fs;

use super::*;

const UPSTREAM: &str = "apiVersion: mirrorfleet.dev/v1alpha1\nkind: Upstream\nmetadata: {name: debian}\nspec:\n  type: Debian\n  authority: {url: https://example.org/debian/}\n  trust: {keyringRef: {name: keys, key: a.gpg}}\n";
const MIRROR: &str = "apiVersion: mirrorfleet.dev/v1alpha1\nkind: Mirror\nmetadata: {name: debian}\nspec:\n  upstreamRef: {name: debian}\n  content:\n    debian: {suites: [trixie], components: [main], architectures: [amd64]}\n";
const SECRET: &str =
    "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {a.gpg: x}\n";

fn load(texts: &[&str]) -> Result<Manifests, String> {
    let folder = tempfile::tempdir().unwrap();
    for (index, text) in texts.iter().enumerate() {
        fs::write(folder.path().join(format!("{index}.yaml")), text).unwrap();
    }
    Manifests::load(&[folder.path().to_owned()]).map_err(|failure| failure.message)
}

fn refusal(texts: &[&str]) -> String {
    load(texts)
        .err()
        .expect("the manifest should have been refused")
}

#[test]
fn files_and_documents_make_one_world() {
    let manifests = load(&[&format!("{UPSTREAM}---\n{MIRROR}"), SECRET]).unwrap();
    assert!(manifests.mirror("debian").is_ok());
    assert!(manifests.upstream("", "debian").is_some());
    assert_eq!(
        manifests
            .values(RefKind::Secret, "anywhere", "keys")
            .unwrap()["a.gpg"],
        b"x"
    );
    assert!(manifests.values(RefKind::ConfigMap, "", "keys").is_none());
}

#[test]
fn an_unknown_field_is_named_with_its_path_file_and_document() {
    let text = format!(
        "{UPSTREAM}---\n{}",
        MIRROR.replace("content:", "sync: {shedule: x}\n  content:")
    );
    let message = refusal(&[&text]);
    assert!(message.contains("spec.sync.shedule"), "{message}");
    assert!(message.contains("0.yaml, document 2 (line 8)"), "{message}");
}

#[test]
fn the_role_of_a_region_which_a_version_before_knew_is_told_to_be_no_more() {
    let with_role = MIRROR.replace(
        "content:",
        "regions: [{name: eu}, {name: us, role: Hub}]\n  content:",
    );
    let message = refusal(&[&format!("{UPSTREAM}---\n{with_role}")]);
    for words in ["spec.regions.1.role", "remove it", "`follows`"] {
        assert!(message.contains(words), "{message}");
    }
    let without = with_role.replace(", role: Hub", "");
    load(&[&format!("{UPSTREAM}---\n{without}"), SECRET]).unwrap();
}

#[test]
fn an_unknown_field_inside_a_kubernetes_type_is_named_too() {
    let message = refusal(&[&MIRROR.replace(
        "metadata: {name: debian}",
        "metadata: {name: debian, lables: {a: b}}",
    )]);
    assert!(message.contains("metadata.lables"), "{message}");
}

#[test]
fn a_wrong_value_shows_its_line() {
    let message = refusal(&[&format!(
        "---\n{UPSTREAM}---\n{}",
        MIRROR.replace("[trixie]", "trixie")
    )]);
    assert!(
        message.contains("at line 16,"),
        "the line of the wrong value should be shown: {message}"
    );
}

#[test]
fn a_proxy_may_be_left_empty() {
    for empty in ["", "null", "~"] {
        let text = format!("{UPSTREAM}  access: {{proxyUrl: {empty}}}\n---\n{MIRROR}");
        load(&[&text, SECRET]).unwrap();
    }
}

#[test]
fn what_cannot_be_read_is_not_repeated() {
    let secret = SECRET.replace("{a.gpg: x}", "{password: hunter2, token: [x]}");
    let cut = SECRET.replace("{a.gpg: x}", "{password: hunter2, token: [x");
    let url = "https://me:hunter2@example.org:99999/";
    let authority = UPSTREAM.replace("https://example.org/debian/", url);
    let proxy = format!("{UPSTREAM}  access: {{proxyUrl: \"{url}\"}}\n");
    for text in [secret, cut, authority, proxy] {
        let message = refusal(&[&text]);
        assert!(
            message.contains("line ") && !message.contains("hunter2"),
            "{message}"
        );
    }
}

#[test]
fn other_kinds_and_versions_are_named() {
    let message = refusal(&["apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n"]);
    assert!(
        message.contains("\"Deployment\"") && message.contains("Upstream and Mirror"),
        "{message}"
    );
    let message = refusal(&[&MIRROR.replace("v1alpha1", "v9")]);
    assert!(
        message.contains("mirrorfleet.dev/v9") && message.contains("v1alpha1"),
        "{message}"
    );
    assert!(refusal(&["a: 1\n"]).contains("`kind`"));
}

#[test]
fn one_object_twice_names_both_places() {
    let message = refusal(&[&format!("{MIRROR}---\n{MIRROR}")]);
    assert!(
        message.contains("document 2") && message.contains("document 1"),
        "{message}"
    );
}

#[test]
fn a_list_is_read_like_its_items() {
    let item = |text: &str| {
        let indented: Vec<_> = text.lines().map(|line| format!("  {line}")).collect();
        format!("- {}\n", indented.join("\n").trim_start())
    };
    let list = format!(
        "apiVersion: v1\nkind: List\nmetadata: {{}}\nitems:\n{}{}",
        item(UPSTREAM),
        item(MIRROR)
    );
    assert!(load(&[&list]).is_ok_and(|manifests| manifests.upstreams.len() == 1));
    let message = refusal(&[&list.replace("suites", "siutes")]);
    assert!(message.contains("items[1]"), "{message}");
}

#[test]
fn names_that_kubernetes_refuses_are_refused() {
    for name in ["Debian", "a_b", "", "-a", "..", "a/b"] {
        let message =
            refusal(&[&MIRROR.replace("name: debian}\nspec", &format!("name: {name:?}}}\nspec"))]);
        assert!(message.contains("metadata.name"), "{message}");
    }
}

#[test]
fn no_mirror_is_an_error_that_says_where_to_get_one() {
    assert!(refusal(&[UPSTREAM]).contains("mirrorfleet init"));
    assert!(Manifests::load(&["/does/not/exist.yaml".into()]).is_err());
}
