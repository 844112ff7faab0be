//! Many entries of sources to few archives: what is asked of each, and by which name it goes.

use std::collections::{BTreeMap, BTreeSet};

use url::Url;

use super::address::address;
use super::source::Source;

/// One archive with one keyring: an Upstream, and a Mirror for each slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Without credentials, with a `/` at the end.
    pub url: Url,
    pub login: Option<(String, String)>,
    pub keyring: Vec<u8>,
    /// Where it was read.
    pub places: Vec<String>,
    suites: Vec<(String, Wanted)>,
}

/// What is asked of one suite.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    components: Vec<String>,
    architectures: Vec<String>,
    sources: bool,
}

/// Suites of which the same is asked; they share a Mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub suites: Vec<String>,
    pub components: Vec<String>,
    pub architectures: Vec<String>,
    pub sources: bool,
}

/// Archives in the order in which they were met.
#[derive(Default)]
pub struct Archives(pub Vec<Archive>);

impl Archives {
    /// Adds what one entry asks for; URIs that cannot be mirrored become notes.
    pub fn add(&mut self, source: &Source, keyring: &[u8], native: &str, notes: &mut Vec<String>) {
        for uri in &source.uris {
            match address(&uri.replace("$(ARCH)", native)) {
                Ok((url, login)) => {
                    let archive = self.archive(url, login, keyring);
                    archive.places.push(source.place.clone());
                    archive.want(source, native);
                }
                Err(problem) => notes.push(format!("{}: {problem}; left out", source.place)),
            }
        }
    }

    fn archive(
        &mut self,
        url: Url,
        login: Option<(String, String)>,
        keyring: &[u8],
    ) -> &mut Archive {
        let same = |archive: &Archive| {
            archive.url == url && archive.keyring == keyring && archive.login == login
        };
        let index = self.0.iter().position(same).unwrap_or_else(|| {
            self.0.push(Archive {
                url,
                login,
                keyring: keyring.to_owned(),
                places: Vec::new(),
                suites: Vec::new(),
            });
            self.0.len() - 1
        });
        &mut self.0[index]
    }

    /// Keeps only these suites; answers with those that nobody has.
    pub fn select(&mut self, suites: &[String]) -> Vec<String> {
        let mut missing: BTreeSet<_> = suites.iter().cloned().collect();
        for archive in &mut self.0 {
            archive.suites.retain(|(suite, _)| {
                missing.remove(suite);
                suites.contains(suite)
            });
        }
        self.0.retain(|archive| !archive.suites.is_empty());
        missing.into_iter().collect()
    }

    /// All suites, sorted.
    pub fn suites(&self) -> BTreeSet<&str> {
        self.0
            .iter()
            .flat_map(|archive| archive.suites.iter().map(|(suite, _)| suite.as_str()))
            .collect()
    }
}

impl Archive {
    fn want(&mut self, source: &Source, native: &str) {
        let architectures = if source.architectures.is_empty() {
            vec![native.to_owned()]
        } else {
            source.architectures.clone()
        };
        for suite in &source.suites {
            let suite = match suite.replace("$(ARCH)", native).as_str() {
                // Two ways to write "the top of the archive".
                "/" => "./".to_owned(),
                suite => suite.to_owned(),
            };
            let index = self
                .suites
                .iter()
                .position(|(known, _)| *known == suite)
                .unwrap_or_else(|| {
                    self.suites.push((suite, Wanted::default()));
                    self.suites.len() - 1
                });
            let wanted = &mut self.suites[index].1;
            extend(&mut wanted.components, &source.components);
            extend(&mut wanted.architectures, &architectures);
            wanted.sources |= source.sources;
        }
    }

    /// Suites of which the same is asked, together; in declared order.
    pub fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for (
            suite,
            Wanted {
                components,
                architectures,
                sources,
            },
        ) in &self.suites
        {
            let same = |group: &&mut Group| {
                group.components == *components
                    && group.architectures == *architectures
                    && group.sources == *sources
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.suites.push(suite.clone()),
                None => groups.push(Group {
                    suites: vec![suite.clone()],
                    components: components.clone(),
                    architectures: architectures.clone(),
                    sources: *sources,
                }),
            }
        }
        groups
    }
}

fn extend(list: &mut Vec<String>, more: &[String]) {
    for value in more {
        if !list.contains(value) {
            list.push(value.clone());
        }
    }
}

/// Hands out names that Kubernetes allows and that people recognise, each once.
#[derive(Default)]
pub struct Names(BTreeMap<String, u32>);

/// Folders that many archives have; the host tells them apart.
const COMMON_FOLDERS: [&str; 10] = [
    "apt",
    "deb",
    "repo",
    "repos",
    "repository",
    "linux",
    "stable",
    "packages",
    "download",
    "public",
];
/// Room for suffixes in the 63 characters that Kubernetes allows.
const MAX_NAME: usize = 40;

impl Names {
    /// For example `debian-security` for `http://deb.example.org/debian-security/`.
    pub fn for_url(&mut self, url: &Url) -> String {
        let path = url.path().trim_matches('/');
        let host = url.host_str().unwrap_or("local");
        let telling = !path.is_empty() && !COMMON_FOLDERS.contains(&path);
        let base = if telling {
            dns_label(path)
        } else {
            dns_label(&format!("{host}-{path}"))
        };
        self.unique(&base)
    }

    /// `base`, or `base-2` and so on where that is taken.
    pub fn unique(&mut self, base: &str) -> String {
        let mut name = base.to_owned();
        let mut number = 1;
        while self.0.insert(name.clone(), number).is_some() {
            number += 1;
            name = format!("{base}-{number}");
        }
        name
    }
}

fn dns_label(text: &str) -> String {
    let mut label = String::new();
    for character in text.chars().flat_map(char::to_lowercase) {
        match character {
            'a'..='z' | '0'..='9' => label.push(character),
            _ if !label.is_empty() && !label.ends_with('-') => label.push('-'),
            _ => {}
        }
    }
    if !label.starts_with(|c: char| c.is_ascii_lowercase()) {
        label.insert_str(0, "mirror-");
    }
    label.truncate(MAX_NAME);
    label.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::source::SignedBy;
    use super::*;

    fn source(uri: &str, suites: &[&str], components: &[&str]) -> Source {
        let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Source {
            place: "a.list:1".into(),
            uris: vec![uri.into()],
            suites: strings(suites),
            components: strings(components),
            architectures: Vec::new(),
            packages: true,
            sources: false,
            signed_by: SignedBy::Default,
        }
    }

    fn archives(sources: &[Source]) -> (Archives, Vec<String>) {
        let (mut archives, mut notes) = (Archives::default(), Vec::new());
        for source in sources {
            archives.add(source, b"key", "amd64", &mut notes);
        }
        (archives, notes)
    }

    #[test]
    fn one_archive_per_address_and_one_group_per_slice() {
        let (archives, _) = archives(&[
            source(
                "http://example.org/debian",
                &["trixie", "trixie-updates"],
                &["main"],
            ),
            source("http://example.org/debian/", &["trixie"], &["main"]),
            source(
                "http://example.org/debian",
                &["trixie-backports"],
                &["main", "contrib"],
            ),
        ]);
        assert_eq!(archives.0.len(), 1);
        assert_eq!(archives.0[0].url.as_str(), "http://example.org/debian/");
        let groups = archives.0[0].groups();
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].suites, ["trixie", "trixie-updates"]);
        assert_eq!(groups[1].components, ["main", "contrib"]);
        assert_eq!(groups[0].architectures, ["amd64"]);
    }

    #[test]
    fn deb_and_deb_src_of_one_suite_are_one() {
        let mut with_sources = source("http://example.org/debian", &["trixie"], &["main"]);
        (with_sources.packages, with_sources.sources) = (false, true);
        let (archives, _) = archives(&[
            source("http://example.org/debian", &["trixie"], &["main"]),
            with_sources,
        ]);
        let groups = archives.0[0].groups();
        assert_eq!(groups.len(), 1);
        assert!(groups[0].sources);
    }

    #[test]
    fn what_cannot_be_mirrored_is_left_out_with_a_note() {
        for uri in [
            "cdrom:[Debian 13]/",
            "mirror+http://example.org/list",
            "tor+http://example.org/d",
            "ftp://example.org/d",
            "ssh:x",
        ] {
            let (archives, notes) = archives(&[source(uri, &["s"], &["main"])]);
            assert!(
                archives.0.is_empty() && notes.len() == 1,
                "{uri}: {notes:?}"
            );
        }
    }

    #[test]
    fn a_login_leaves_the_url() {
        let (archives, _) = archives(&[source(
            "https://me:p%40ss@example.org/debian",
            &["s"],
            &["main"],
        )]);
        assert_eq!(archives.0[0].url.as_str(), "https://example.org/debian/");
        assert_eq!(archives.0[0].login, Some(("me".into(), "p@ss".into())));
    }

    #[test]
    fn only_the_chosen_suites_stay() {
        let (mut archives, _) = archives(&[
            source(
                "http://example.org/debian",
                &["trixie", "trixie-updates"],
                &["main"],
            ),
            source(
                "http://example.org/security",
                &["trixie-security"],
                &["main"],
            ),
        ]);
        let missing = archives.select(&["trixie-updates".into(), "sid".into()]);
        assert_eq!(missing, ["sid"]);
        assert_eq!(
            archives.suites().into_iter().collect::<Vec<_>>(),
            ["trixie-updates"]
        );
        assert_eq!(archives.0.len(), 1);
    }

    #[test]
    fn names_come_from_the_path_and_are_unique() {
        let mut names = Names::default();
        let mut name = |url: &str| names.for_url(&Url::parse(url).unwrap());
        assert_eq!(
            name("http://example.org/debian-security/"),
            "debian-security"
        );
        assert_eq!(
            name("http://other.example.org/debian-security/"),
            "debian-security-2"
        );
        assert_eq!(name("https://deb.example.org/node_20.x/"), "node-20-x");
        assert_eq!(
            name("https://packages.example.org/apt/"),
            "packages-example-org-apt"
        );
        assert_eq!(name("https://example.org/"), "example-org");
        assert_eq!(name("file:///srv/9/"), "srv-9");
    }

    proptest! {
        #[test]
        fn every_name_is_one_that_kubernetes_allows(text in "\\PC{0,80}") {
            let label = dns_label(&text);
            prop_assert!(label.len() <= MAX_NAME && label.starts_with(|c: char| c.is_ascii_lowercase()));
            prop_assert!(crate::manifests::check::object_name(&label).is_ok(), "{}", label);
        }
    }
}
