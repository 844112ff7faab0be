//! pacman's repositories as manifests: one Upstream and one Mirror for all repositories of the same servers.

use fleet_api::names::{is_architecture, is_layout, is_repo};
use fleet_types::shown_url;
use url::Url;

use super::address::address;
use super::manifest::{
    Address, ArchBlock, ArchInclude, ArchLayout, ArchPath, Content, Document, EndpointAddress,
    KeyReference, MirrorDocument, TrustBlock, UpstreamDocument, WebOfTrustBlock,
};
use super::names::Names;
use super::pacman::{Configuration, Repository};
use super::pacman_keys::PacmanKeyring;
use super::sig_level::{Asked, SigLevel};

/// What a repository has where its manifest does not say otherwise.
const LAYOUT: &str = "$repo/os/$arch";
/// Of the servers of a mirrorlist; more would only be asked in vain.
const MAX_SERVERS: usize = 4;
const REGION: &str = "main";
/// The Secret with the machine's keyrings.
const KEYRING: &str = "pacman-keyring";

/// Repositories with the same servers.
struct Group {
    servers: Vec<Url>,
    /// With their folders below each server.
    repositories: Vec<(String, String)>,
    level: SigLevel,
    places: Vec<String>,
}

/// The documents of what a pacman.conf or a mirrorlist says, each with a comment.
pub fn documents(
    configuration: &Configuration,
    names: &mut Names,
    notes: &mut Vec<String>,
) -> Vec<(String, Document)> {
    let mut groups: Vec<Group> = Vec::new();
    for repository in &configuration.repositories {
        match located(repository, notes) {
            Ok((servers, folder)) => add(&mut groups, repository, servers, folder),
            Err(problem) => notes.push(format!(
                "{}: [{}] is left out: {problem}",
                repository.place, repository.name
            )),
        }
    }
    let architecture = &configuration.architecture;
    if !is_architecture(architecture) {
        notes.push(format!(
            "Architecture = {architecture} is none; write architectures into the Mirror"
        ));
    }
    let keyrings = configuration.keyrings.as_slice();
    let mut documents = Vec::new();
    let is_judged = |group: &Group| group.trust(keyrings).keyring_ref.is_some();
    if groups.iter().any(is_judged) {
        documents.push((
            "The keyrings of this machine's pacman, with their lists of masters and of revoked keys.".to_owned(),
            keyring_document(keyrings),
        ));
    }
    for group in &groups {
        if group.level.trusts_all {
            notes.push(format!(
                "{}: TrustAll believes every key; nothing is judged for it here",
                group.places.join(", ")
            ));
        }
        documents.extend(group.documents(architecture, keyrings, names));
    }
    documents
}

fn add(groups: &mut Vec<Group>, repository: &Repository, servers: Vec<Url>, folder: String) {
    let same = |group: &&mut Group| group.servers == servers && group.level == repository.level;
    let entry = (repository.name.clone(), folder);
    match groups.iter_mut().find(same) {
        Some(group) => group.repositories.push(entry),
        None => groups.push(Group {
            servers,
            repositories: vec![entry],
            level: repository.level,
            places: vec![repository.place.clone()],
        }),
    }
}

/// The servers of a repository, and its folder below each of them. Errors say why it cannot be mirrored.
fn located(repository: &Repository, notes: &mut Vec<String>) -> Result<(Vec<Url>, String), String> {
    if !is_repo(&repository.name) {
        return Err("its name cannot be a part of a path".to_owned());
    }
    let mut servers: Vec<Url> = Vec::new();
    let mut folder = None;
    for server in &repository.servers {
        let (base, own) = split(server);
        let (url, login) = match address(&base) {
            Ok(located) => located,
            Err(problem) => {
                notes.push(format!(
                    "{}: a server is left out: {problem}",
                    repository.place
                ));
                continue;
            }
        };
        if login.is_some() {
            notes.push(format!(
                "{}: the login for {} is not written; see access.credentialsRef",
                repository.place,
                shown_url(url.as_str())
            ));
        }
        if !is_layout(&own) {
            notes.push(format!(
                "{}: {} is left out: its folder cannot be told",
                repository.place,
                shown_url(url.as_str())
            ));
        } else if folder.get_or_insert_with(|| own.clone()) != &own {
            notes.push(format!(
                "{}: {} is left out: it has another layout than the first server",
                repository.place,
                shown_url(url.as_str())
            ));
        } else if !servers.contains(&url) {
            servers.push(url);
        }
    }
    if servers.len() > MAX_SERVERS {
        notes.push(format!(
            "{}: the first {MAX_SERVERS} of {} servers are taken",
            repository.place,
            servers.len()
        ));
        servers.truncate(MAX_SERVERS);
    }
    let folder = folder.filter(|_| !servers.is_empty());
    folder
        .map(|folder| (servers, folder))
        .ok_or_else(|| "it has no server that can be mirrored".to_owned())
}

/// What comes before the first part with a word to fill in, and the rest.
fn split(server: &str) -> (String, String) {
    let server = server.trim_end_matches('/');
    let Some(variable) = server.find('$') else {
        return (server.to_owned(), ".".to_owned());
    };
    let cut = server[..variable].rfind('/').map_or(0, |slash| slash + 1);
    (server[..cut].to_owned(), server[cut..].to_owned())
}

impl Group {
    /// Whom to believe, by the keyrings of the machine; nobody where there are none, or no key counts.
    fn trust(&self, keyrings: &[PacmanKeyring]) -> TrustBlock {
        let refs = keyrings.iter().map(|keyring| KeyReference {
            kind: "Secret".to_owned(),
            name: KEYRING.to_owned(),
            key: format!("{}.gpg", keyring.name),
        });
        let mut refs: Vec<KeyReference> = refs.collect();
        if refs.is_empty() || self.level.is_unsigned() || self.level.trusts_all {
            return TrustBlock::nobody();
        }
        let first = refs.remove(0);
        let package = keyrings.iter().find(|keyring| keyring.masters_only);
        TrustBlock {
            signatures: (self.level.packages == Asked::Optional).then(|| "Optional".to_owned()),
            keyring_ref: Some(first),
            additional_keyring_refs: refs,
            databases: match self.level.databases {
                Asked::Required => Some("Required".to_owned()),
                Asked::Never => Some("None".to_owned()),
                Asked::Optional => None,
            },
            web_of_trust: package.map(|keyring| WebOfTrustBlock {
                keyring_package: format!("{}-keyring", keyring.name),
            }),
        }
    }

    fn documents(
        &self,
        architecture: &str,
        keyrings: &[PacmanKeyring],
        names: &mut Names,
    ) -> Vec<(String, Document)> {
        let Some(first) = self.servers.first() else {
            return Vec::new();
        };
        let name = names.for_url(first);
        let trust = self.trust(keyrings);
        let mut comment = format!("Read from {}.", self.places.join(", "));
        comment.push_str(match (&trust.keyring_ref, &trust.web_of_trust) {
            (None, _) => {
                "\nSignatures beside packages are copied for clients, who judge them; nothing is judged here."
            }
            (Some(_), None) => "\nPackages are judged by the keyrings of this machine's pacman.",
            (Some(_), Some(_)) => {
                "\nPackages are judged by the masters of the keyring; packagers' keys come with the package named below, which must be copied."
            }
        });
        if first.scheme() == "file" {
            comment.push_str("\nOnly `mirrorfleet local` reads file URLs; a cluster refuses them.");
        }
        let endpoints = self
            .servers
            .iter()
            .enumerate()
            .filter(|_| self.servers.len() > 1);
        let upstream = UpstreamDocument {
            upstream_type: "Arch".to_owned(),
            authority: Address {
                url: first.to_string(),
            },
            endpoints: endpoints
                .map(|(number, url)| EndpointAddress {
                    name: format!("server-{}", number + 1),
                    url: url.to_string(),
                    priority: number,
                })
                .collect(),
            trust,
            access: None,
        };
        let mirror = MirrorDocument {
            upstream_ref: name.as_str().into(),
            mode: None,
            guard: None,
            content: Content::Arch {
                arch: self.block(architecture),
            },
            verification: None,
            regions: vec![REGION.into()],
        };
        let served = self.repositories.first().map_or("", |(_, folder)| folder);
        let served = format!(
            "Served under /{name}/: `Server = http://HOST/{name}/{}` in a pacman.conf.",
            served.trim_start_matches('.')
        );
        vec![
            (comment, Document::upstream(&name, upstream)),
            (served, Document::mirror(&name, mirror)),
        ]
    }

    fn block(&self, architecture: &str) -> ArchBlock {
        let path = self
            .repositories
            .first()
            .map_or(LAYOUT, |(_, folder)| folder);
        let others = self
            .repositories
            .iter()
            .filter(|(_, folder)| folder != path);
        let layout = ArchLayout {
            path: (path != LAYOUT).then(|| path.to_owned()),
            paths: others
                .map(|(repo, path)| ArchPath {
                    repo: repo.clone(),
                    path: path.clone(),
                })
                .collect(),
        };
        ArchBlock {
            repos: self
                .repositories
                .iter()
                .map(|(name, _)| name.clone())
                .collect(),
            architectures: vec![architecture.to_owned()],
            layout: (layout != ArchLayout::default()).then_some(layout),
            include: self
                .level
                .is_unsigned()
                .then_some(ArchInclude { signatures: false }),
        }
    }
}

fn keyring_document(keyrings: &[PacmanKeyring]) -> Document {
    let keys = keyrings
        .iter()
        .map(|keyring| (format!("{}.gpg", keyring.name), keyring.keys.as_slice()));
    let lists = keyrings.iter().flat_map(|keyring| {
        let lists = [("trusted", &keyring.trusted), ("revoked", &keyring.revoked)];
        lists.into_iter().filter_map(|(list, text)| {
            let text = text.clone()?;
            Some((format!("{}-{list}", keyring.name), text))
        })
    });
    Document::keyrings_secret(KEYRING, keys, lists)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(name: &str, servers: &[&str]) -> Repository {
        Repository {
            name: name.to_owned(),
            servers: servers.iter().map(|server| (*server).to_owned()).collect(),
            level: SigLevel::default(),
            place: "pacman.conf:1".to_owned(),
        }
    }

    #[test]
    fn an_address_is_a_server_and_a_layout() {
        for (server, base, layout) in [
            (
                "https://a.example.org/arch/$repo/os/$arch",
                "https://a.example.org/arch/",
                "$repo/os/$arch",
            ),
            (
                "https://a.example.org/stable/$repo/$arch/",
                "https://a.example.org/stable/",
                "$repo/$arch",
            ),
            (
                "https://a.example.org/repo/$arch_v3/$repo",
                "https://a.example.org/repo/",
                "$arch_v3/$repo",
            ),
            (
                "https://a.example.org/x86_64",
                "https://a.example.org/x86_64",
                ".",
            ),
            ("file:///srv/own", "file:///srv/own", "."),
        ] {
            assert_eq!(split(server), (base.to_owned(), layout.to_owned()));
        }
    }

    #[test]
    fn repositories_of_the_same_servers_are_one_mirror() {
        let arch = [
            "https://a.example.org/$repo/os/$arch",
            "https://b.example.org/arch/$repo/os/$arch",
        ];
        let configuration = Configuration {
            repositories: vec![
                repository("core", &arch),
                repository("extra", &arch),
                repository("own", &["https://c.example.org/own"]),
                repository("no/name", &arch),
                repository("none", &["ftp://d.example.org/$repo"]),
            ],
            architecture: "x86_64".to_owned(),
            keyrings: Vec::new(),
        };
        let mut notes = Vec::new();
        let written = documents(&configuration, &mut Names::default(), &mut notes);
        let names: Vec<_> = written
            .iter()
            .map(|(_, document)| document.name())
            .collect();
        assert_eq!(
            names,
            [
                "a-example-org",
                "a-example-org",
                "c-example-org",
                "c-example-org"
            ]
        );
        assert_eq!(
            notes
                .iter()
                .filter(|note| note.contains("is left out"))
                .count(),
            3,
            "{notes:?}"
        );
    }
}
