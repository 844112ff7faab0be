//! What clients of a region are configured with, ready to copy: the one place that knows how a slice is written down for apt
//! and for pacman.

use std::collections::BTreeMap;

use fleet_api::mirror::{ArchContent, Block, Content, DebianContent};
use fleet_api::upstream::{Signatures, UpstreamSpec};
use fleet_api::{Mirror, Upstream};
use fleet_types::documents::ListForm;
use kube_core::ResourceExt;
use serde::Serialize;

use crate::{lists, names};

/// A file of a client's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientFile {
    /// Where it belongs.
    pub path: String,
    pub text: String,
    /// What there is to know beside it; empty where there is nothing.
    pub note: String,
}

/// The files for clients of the region at `url`. An Upstream that nobody can read is taken for one that signs.
pub fn client_files(mirror: &Mirror, upstream: Option<&Upstream>, url: &str) -> Vec<ClientFile> {
    let url = format!("{}/", url.trim_end_matches('/'));
    let name = mirror.metadata.name.as_deref().unwrap_or_default();
    let upstream = upstream.map(|upstream| &upstream.spec);
    match mirror.spec.content.block() {
        Some(Block::Debian(debian)) => {
            let expired = |suite: &str| mirror.spec.verification.allows_expired(suite);
            vec![sources(name, debian, &expired, upstream, &url)]
        }
        Some(Block::Arch(arch)) => servers(name, arch, upstream, &[url]),
        Some(Block::Npm(_)) => npm(&url),
        None => Vec::new(),
    }
}

/// What npm and its relatives are told. The second line is for lock files that name the host of another registry than the public
/// one; without it npm asks that host.
fn npm(url: &str) -> Vec<ClientFile> {
    let yarn = match url.starts_with("http://") {
        true => format!("npmRegistryServer: {url:?}\nunsafeHttpWhitelist: [\"*\"]\n"),
        false => format!("npmRegistryServer: {url:?}\n"),
    };
    vec![
        ClientFile {
            path: "~/.npmrc".to_owned(),
            text: format!("registry={url}\nreplace-registry-host=always\n"),
            note: "For npm, pnpm, Yarn 1 and Bun.".to_owned(),
        },
        ClientFile {
            path: "~/.yarnrc.yml".to_owned(),
            text: yarn,
            note: "For Yarn 4.".to_owned(),
        },
    ]
}

/// The files for clients that go over to another region where one does not answer; none where there is one region, or it is
/// not known yet where they are.
pub fn files_of_all(mirror: &Mirror, upstream: Option<&Upstream>) -> Vec<ClientFile> {
    let Some(list) = list_url(mirror) else {
        return Vec::new();
    };
    let name = mirror.metadata.name.as_deref().unwrap_or_default();
    let upstream = upstream.map(|upstream| &upstream.spec);
    match mirror.spec.content.block() {
        Some(Block::Debian(debian)) => {
            let expired = |suite: &str| mirror.spec.verification.allows_expired(suite);
            let url = format!("mirror+{list}");
            let file = sources(name, debian, &expired, upstream, &url);
            let note = format!("{FETCHED_BY_APT} {}", file.note);
            vec![ClientFile { note, ..file }]
        }
        Some(Block::Arch(arch)) => {
            let mut files = servers(name, arch, upstream, &listed_urls(mirror));
            for file in &mut files {
                file.note = format!("{} {}", fetched_by_hand(arch, &list, file), file.note);
                file.note.truncate(file.note.trim_end().len());
            }
            files
        }
        // Its clients know one address.
        Some(Block::Npm(_)) | None => Vec::new(),
    }
}

/// What there is to know of a list for apt.
const FETCHED_BY_APT: &str = "apt asks for the list each time, and goes over to the next region where one does not answer. Any region gives it: \
    best is a name of yours that leads to all of them.";

/// pacman reads a list from the disk.
fn fetched_by_hand(arch: &ArchContent, list: &str, file: &ClientFile) -> String {
    match arch.layout.paths.first() {
        Some(own) if file.path == CONF => {
            format!(
                "As it is now, the nearest region first: {list}/{}.",
                own.repo
            )
        }
        _ => format!(
            "As it is now, the nearest region first: curl -fo {} {list}",
            file.path
        ),
    }
}

/// Where clients get the list of the regions; none where there is one region, or it is not known yet where they are.
pub fn list_url(mirror: &Mirror) -> Option<String> {
    let spec = &mirror.spec;
    if spec.regions.len() < 2 || spec.fills_itself() {
        return None;
    }
    let regions = &mirror.status.as_ref()?.regions;
    let known = |name: &str| regions.iter().find(|known| known.name == *name);
    let known =
        lists::reachable(spec).filter_map(|(_, region)| Some((region, known(&region.name)?)));
    let mut known: Vec<_> = known.collect();
    known.sort_by_key(|(region, known)| !lists::is_reached(spec, region, known));
    let url = known.first()?.1.url.as_ref()?;
    let path = mirror.serving_path();
    let base = url.strip_suffix(&format!("{path}/"))?;
    let base = match lists::is_public(spec) || !spec.is_together() {
        true => base.to_owned(),
        false => {
            let (scheme, _) = base.split_once("://")?;
            let service = names::mirror_name(&mirror.name_any());
            format!("{scheme}://{service}.{}.svc/", mirror.namespace()?)
        }
    };
    Some(format!("{base}.mirrorfleet/mirrorlist/{path}"))
}

/// The copies to which the list leads, in the order of their regions.
fn listed_urls(mirror: &Mirror) -> Vec<String> {
    let Some(status) = &mirror.status else {
        return Vec::new();
    };
    let listed = lists::chosen(&mirror.spec, status).into_iter();
    let url = |name: &str| {
        let mut known = status.regions.iter();
        known.find(|known| known.name == name)?.url.clone()
    };
    listed.filter_map(|(_, region)| url(&region.name)).collect()
}

/// How a region stands in each list that there is of a slice: of the whole under the empty name, and of each repository of
/// pacman's that lies in a folder of its own.
pub fn list_forms(content: &Content) -> BTreeMap<String, ListForm> {
    let pacman = |folder: &str| ListForm::Pacman {
        folder: folder.to_owned(),
    };
    match content.block() {
        Some(Block::Debian(_)) => [(String::new(), ListForm::Apt)].into(),
        Some(Block::Arch(arch)) => {
            let own = arch.layout.paths.iter();
            let own = own.map(|own| (own.repo.clone(), pacman(&own.path)));
            own.chain([(String::new(), pacman(&arch.layout.path))])
                .collect()
        }
        Some(Block::Npm(_)) | None => BTreeMap::new(),
    }
}

/// Suites that are written down in one stanza.
#[derive(Clone, Copy, PartialEq)]
struct Manner {
    flat: bool,
    expired: bool,
}

fn sources(
    name: &str,
    debian: &DebianContent,
    expired: &dyn Fn(&str) -> bool,
    upstream: Option<&UpstreamSpec>,
    url: &str,
) -> ClientFile {
    let manner = |suite: &str| Manner {
        flat: suite.ends_with('/'),
        expired: expired(suite),
    };
    let mut manners: Vec<Manner> = Vec::new();
    for suite in &debian.suites {
        if !manners.contains(&manner(suite)) {
            manners.push(manner(suite));
        }
    }
    let (trust, note) = trust(upstream);
    let stanzas: Vec<String> = (manners.into_iter())
        .map(|of| {
            let suites = debian.suites.iter().filter(|suite| manner(suite) == of);
            let suites: Vec<&str> = suites.map(String::as_str).collect();
            stanza(debian, of, &suites, url, &trust)
        })
        .collect();
    ClientFile {
        path: format!("/etc/apt/sources.list.d/{name}.sources"),
        text: stanzas.join("\n"),
        note,
    }
}

fn stanza(debian: &DebianContent, of: Manner, suites: &[&str], url: &str, trust: &str) -> String {
    let of_machines = |word: &&str| !matches!(*word, "all" | "source");
    let declared = || debian.architectures.iter().map(String::as_str);
    let architectures: Vec<&str> = declared().filter(of_machines).collect();
    let sources = debian.include.sources || declared().any(|word| word == "source");
    let packages = !declared().all(|word| word == "source") || of.flat;
    let types = match (packages, sources) {
        (true, true) => "deb deb-src",
        (false, _) => "deb-src",
        (true, false) => "deb",
    };
    let mut text = format!(
        "Types: {types}\nURIs: {url}\nSuites: {}\n",
        suites.join(" ")
    );
    if !of.flat {
        text.push_str(&format!("Components: {}\n", debian.components.join(" ")));
    }
    if !architectures.is_empty() && packages {
        text.push_str(&format!("Architectures: {}\n", architectures.join(" ")));
    }
    if of.expired {
        text.push_str("Check-Valid-Until: no\n");
    }
    text.push_str(trust);
    text
}

/// By what apt believes it: the line, and what it needs. A mirror hands on what the upstream signed, so clients believe the
/// upstream's keys.
fn trust(upstream: Option<&UpstreamSpec>) -> (String, String) {
    let trust = upstream.map(|spec| &spec.trust);
    let unsigned = trust.is_some_and(|trust| trust.signatures == Signatures::None);
    if unsigned {
        return (
            "Trusted: yes\n".to_owned(),
            "The Upstream is copied without looking at signatures, so apt has to be told to do the same.".to_owned(),
        );
    }
    let keyring = trust.and_then(|trust| trust.keyring_ref.as_ref());
    let name = keyring.map_or("keyring", |keyring| keyring.name.as_str());
    let held = keyring.map_or(String::new(), |keyring| {
        format!(
            " ({:?} {}, key {})",
            keyring.kind, keyring.name, keyring.key
        )
    });
    (
        format!("Signed-By: /etc/apt/keyrings/{name}.gpg\n"),
        format!(
            "Signed-By is the file in which the client has the upstream's keys: those that the Upstream names{held}, or a keyring of the distribution such as /usr/share/keyrings/debian-archive-keyring.gpg."
        ),
    )
}

/// pacman's own configuration.
const CONF: &str = "/etc/pacman.conf";

/// pacman's servers: a mirrorlist for the repositories of the one layout, a section for each that has another folder.
fn servers(
    name: &str,
    arch: &ArchContent,
    upstream: Option<&UpstreamSpec>,
    urls: &[String],
) -> Vec<ClientFile> {
    let server = |path: &str| -> String {
        let form = ListForm::Pacman {
            folder: path.to_owned(),
        };
        let ranked = (1..).zip(urls);
        ranked.map(|(rank, url)| form.line(url, rank)).collect()
    };
    let own = |repo: &&String| arch.layout.paths.iter().any(|path| path.repo == **repo);
    let shared: Vec<&str> = (arch.repos.iter())
        .filter(|repo| !own(repo))
        .map(String::as_str)
        .collect();
    let unsigned = upstream.is_some_and(|spec| spec.trust.signatures == Signatures::None);
    let note = match unsigned {
        true => " The Upstream is copied without looking at signatures.",
        false => "",
    };
    let mut files = Vec::new();
    if !shared.is_empty() {
        files.push(ClientFile {
            path: format!("/etc/pacman.d/{name}-mirrorlist"),
            text: server(&arch.layout.path),
            note: format!(
                "For the sections {} of /etc/pacman.conf: Include = /etc/pacman.d/{name}-mirrorlist.{note}",
                shared.join(", ")
            ),
        });
    }
    let sections: Vec<String> = (arch.layout.paths.iter())
        .map(|path| format!("[{}]\n{}", path.repo, server(&path.path)))
        .collect();
    if !sections.is_empty() {
        files.push(ClientFile {
            path: CONF.to_owned(),
            text: sections.join("\n"),
            note: note.trim().to_owned(),
        });
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(content: serde_json::Value, verification: serde_json::Value) -> Vec<ClientFile> {
        let mirror: Mirror = serde_json::from_value(serde_json::json!({
            "apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Mirror", "metadata": {"name": "m"},
            "spec": {
                "upstreamRef": {"name": "u"}, "content": content, "storage": {"size": "1Gi"},
                "verification": verification, "regions": [{"name": "eu"}],
            },
        }))
        .unwrap();
        client_files(&mirror, None, "https://eu.example.org/m")
    }

    #[test]
    fn suites_that_are_written_alike_share_a_stanza() {
        let content = serde_json::json!({"debian": {
            "suites": ["trixie", "buster", "trixie-updates", "./"], "components": ["main", "contrib"],
            "architectures": ["amd64", "all", "source"],
        }});
        let expired = serde_json::json!({"expired": [{"unit": "buster", "rule": "Allow"}]});
        let told = files(content, expired);
        let wanted = "\
Types: deb deb-src
URIs: https://eu.example.org/m/
Suites: trixie trixie-updates
Components: main contrib
Architectures: amd64
Signed-By: /etc/apt/keyrings/keyring.gpg

Types: deb deb-src
URIs: https://eu.example.org/m/
Suites: buster
Components: main contrib
Architectures: amd64
Check-Valid-Until: no
Signed-By: /etc/apt/keyrings/keyring.gpg

Types: deb deb-src
URIs: https://eu.example.org/m/
Suites: ./
Architectures: amd64
Signed-By: /etc/apt/keyrings/keyring.gpg
";
        assert_eq!(told[0].text, wanted);
        assert_eq!(told[0].path, "/etc/apt/sources.list.d/m.sources");
    }

    #[test]
    fn sources_alone_are_no_packages() {
        let content = serde_json::json!({"debian": {
            "suites": ["trixie"], "components": ["main"], "architectures": [], "include": {"sources": true},
        }});
        let told = files(content, serde_json::json!({}));
        assert!(
            told[0].text.starts_with("Types: deb-src\n"),
            "{}",
            told[0].text
        );
        assert!(!told[0].text.contains("Architectures"), "{}", told[0].text);
    }

    #[test]
    fn a_repository_with_a_folder_of_its_own_has_a_section_of_its_own() {
        let content = serde_json::json!({"arch": {
            "repos": ["core", "extra", "custom"], "architectures": ["x86_64"],
            "layout": {"paths": [{"repo": "custom", "path": "."}]},
        }});
        let told = files(content, serde_json::json!({}));
        let texts: Vec<&str> = told.iter().map(|file| file.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "Server = https://eu.example.org/m/$repo/os/$arch\n",
                "[custom]\nServer = https://eu.example.org/m\n"
            ]
        );
        assert!(told[0].note.contains("core, extra"), "{}", told[0].note);
    }
}
