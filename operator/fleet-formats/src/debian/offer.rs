//! What a Release offers, read from what it lists, beside what is declared. The lines `Components` and `Architectures`
//! describe; where they say less or other than the list, the list counts.

use std::collections::BTreeSet;

use super::release::Release;
use super::roles::split_suffix;
use super::slice::{Slice, Suite};
use crate::seam::Lack;

/// Words that a message repeats.
const SHOWN: usize = 12;

/// What there is in a suite.
pub(super) struct Offer<'a> {
    suite: &'a str,
    flat: bool,
    /// The directories that hold indices, of the list.
    listed_components: BTreeSet<&'a str>,
    /// The line `Components`; a component may stand in it with folders before its name (`updates/main`).
    announced_components: &'a [String],
    listed_architectures: BTreeSet<&'a str>,
    announced_architectures: &'a [String],
    packages: bool,
    sources: bool,
    asks_for_all: bool,
}

impl<'a> Offer<'a> {
    pub fn of(release: &'a Release, suite: &Suite<'a>) -> Offer<'a> {
        let mut offer = Offer {
            suite: suite.name,
            flat: suite.is_flat(),
            listed_components: BTreeSet::new(),
            announced_components: &release.components,
            listed_architectures: BTreeSet::new(),
            announced_architectures: &release.architectures,
            packages: false,
            sources: false,
            asks_for_all: release.asks_for_all(),
        };
        for name in release.files.keys().chain(release.unusable.keys()) {
            offer.add(split_suffix(name).0);
        }
        offer
    }

    fn add(&mut self, stem: &'a str) {
        if self.flat {
            self.packages |= stem == "Packages";
            self.sources |= stem == "Sources";
            return;
        }
        let Some((directory, index)) = stem.rsplit_once('/') else {
            return;
        };
        let Some((component, folder)) = directory.rsplit_once('/') else {
            return;
        };
        let component = component
            .strip_suffix("/debian-installer")
            .unwrap_or(component);
        match (folder.strip_prefix("binary-"), index) {
            (Some(architecture), "Packages") => {
                self.packages = true;
                self.listed_architectures.insert(architecture);
                self.listed_components.insert(component);
            }
            (None, "Sources") if folder == "source" => {
                self.sources = true;
                self.listed_components.insert(component);
            }
            _ => {}
        }
    }

    /// The directories that a declared component may mean; none where there is nothing of that name.
    fn directories(&self, declared: &'a str) -> Vec<&'a str> {
        let of_name = |offered: &&String| {
            *offered == declared
                || offered
                    .strip_suffix(declared)
                    .is_some_and(|prefix| prefix.ends_with('/'))
        };
        let announced = self.announced_components.iter().filter(of_name);
        let mut found: Vec<&str> = announced.map(String::as_str).collect();
        let listed = self.listed_components.contains(declared);
        if (listed || !found.is_empty()) && !found.contains(&declared) {
            found.push(declared);
        }
        found
    }

    fn has_architecture(&self, declared: &str) -> bool {
        self.listed_architectures.contains(declared)
            || self
                .announced_architectures
                .iter()
                .any(|name| name == declared)
            || self.is_for_all()
    }

    /// Whether all that there is are packages for every architecture, which clients of each ask for.
    fn is_for_all(&self) -> bool {
        let named = self.listed_architectures.iter().copied();
        let announced = self.announced_architectures.iter().map(String::as_str);
        self.asks_for_all
            && self.listed_architectures.len() == 1
            && named.chain(announced).all(|name| name == "all")
    }

    fn lack(&self, what: &str, declared: &str, offered: BTreeSet<&str>) -> Lack {
        let mut words: Vec<&str> = offered.iter().copied().take(SHOWN).collect();
        if offered.len() > SHOWN {
            words.push("...");
        }
        let offers = match words.is_empty() {
            true => "its Release lists none".to_owned(),
            false => format!("it offers {}", words.join(", ")),
        };
        let remedy = match (what, self.packages, self.sources) {
            ("architecture", false, true) => {
                "; for its sources alone leave architectures out and set include.sources"
            }
            _ => "",
        };
        Lack {
            word: format!("{what} {declared}"),
            message: format!(
                "suite {} has no {what} {declared}; {offers}{remedy}",
                self.suite
            ),
        }
    }
}

/// One declared component with its directories.
struct Component<'a> {
    name: &'a str,
    directories: Vec<&'a str>,
}

/// What is declared, as far as the offer goes.
pub(super) struct Declared<'a> {
    slice: &'a Slice,
    offer: &'a Offer<'a>,
    asks_for_all: bool,
    components: Vec<Component<'a>>,
}

impl<'a> Declared<'a> {
    pub fn of(
        slice: &'a Slice,
        suite: &Suite<'_>,
        release: &Release,
        offer: &'a Offer<'a>,
    ) -> Declared<'a> {
        let names = if suite.is_flat() {
            &[][..]
        } else {
            &slice.components[..]
        };
        let component = |name: &'a String| Component {
            name,
            directories: offer.directories(name),
        };
        Declared {
            slice,
            offer,
            asks_for_all: release.asks_for_all(),
            components: names.iter().map(component).collect(),
        }
    }

    /// The directories of the components.
    pub fn directories(&self) -> impl Iterator<Item = &'a str> {
        self.components
            .iter()
            .flat_map(|component| component.directories.iter().copied())
    }

    /// The architectures that ask for an index of their own: beside another, `all` is often part of the other's.
    fn architectures(&self) -> impl Iterator<Item = &'a str> {
        let all = &self.slice.architectures;
        all.iter()
            .map(String::as_str)
            .filter(|name| *name != "all" || all.len() == 1)
    }

    /// The declared words that nothing in the suite answers to.
    pub fn lacks(&self) -> Vec<Lack> {
        let offer = self.offer;
        let mut lacks = Vec::new();
        let no_sources = self.slice.include.sources && !offer.sources;
        if offer.flat {
            let sources_alone = self.slice.include.sources && offer.sources;
            if !offer.packages && !sources_alone {
                let found = if offer.sources { &["Sources"][..] } else { &[] };
                lacks.push(offer.lack("index", "Packages", found.iter().copied().collect()));
            }
        } else {
            let announced = offer.announced_components.iter().map(String::as_str);
            let components: BTreeSet<&str> = offer
                .listed_components
                .iter()
                .copied()
                .chain(announced)
                .collect();
            let missing = self.components.iter();
            let missing = missing.filter(|component| component.directories.is_empty());
            lacks.extend(
                missing.map(|found| offer.lack("component", found.name, components.clone())),
            );
            let announced = offer.announced_architectures.iter().map(String::as_str);
            let architectures: BTreeSet<&str> = offer
                .listed_architectures
                .iter()
                .copied()
                .chain(announced)
                .collect();
            let missing = self
                .architectures()
                .filter(|name| !offer.has_architecture(name));
            lacks.extend(
                missing.map(|name| offer.lack("architecture", name, architectures.clone())),
            );
        }
        if no_sources {
            lacks.push(offer.lack("index", "Sources", BTreeSet::new()));
        }
        lacks
    }

    /// What is offered, and not together: one sentence, or none. `lists` tells of a stem.
    pub fn holes(&self, lists: &dyn Fn(&str) -> bool) -> Vec<String> {
        let mut holes = Vec::new();
        for component in self
            .components
            .iter()
            .filter(|component| !component.directories.is_empty())
        {
            let has = |index: &str| {
                let mut directories = component.directories.iter();
                directories.any(|directory| lists(&format!("{directory}/{index}")))
            };
            let all = self.asks_for_all && has("binary-all/Packages");
            let offered = self
                .architectures()
                .filter(|name| self.offer.has_architecture(name));
            let lacking = offered.filter(|name| !all && !has(&format!("binary-{name}/Packages")));
            holes.extend(lacking.map(|name| format!("{}/{name}", component.name)));
            if self.slice.include.sources && self.offer.sources && !has("source/Sources") {
                holes.push(format!("{}/source", component.name));
            }
        }
        if holes.is_empty() {
            return Vec::new();
        }
        vec![format!(
            "the Release lists no index of {}: what is declared and not listed is left out",
            holes.join(", ")
        )]
    }
}
