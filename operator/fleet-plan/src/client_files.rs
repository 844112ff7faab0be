//! What clients of a region are configured with, ready to copy: the one place that knows how a slice is written down for apt
//! and for pacman.

use fleet_api::mirror::{ArchContent, Block, DebianContent};
use fleet_api::upstream::{Signatures, UpstreamSpec};
use fleet_api::{Mirror, Upstream};
use serde::Serialize;

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
        Some(Block::Arch(arch)) => servers(name, arch, upstream, &url),
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

/// pacman's servers: a mirrorlist for the repositories of the one layout, a section for each that has another folder.
fn servers(
    name: &str,
    arch: &ArchContent,
    upstream: Option<&UpstreamSpec>,
    url: &str,
) -> Vec<ClientFile> {
    let server = |path: &str| match path {
        "." => format!("Server = {}\n", url.trim_end_matches('/')),
        path => format!("Server = {url}{path}\n"),
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
            path: "/etc/pacman.conf".to_owned(),
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
