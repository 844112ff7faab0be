//! Many entries of sources to few archives: what is asked of each.

use std::collections::{BTreeMap, BTreeSet};

use fleet_api::names;
use fleet_types::shown_url;
use url::Url;

use super::address::{Login, address};
use super::auth::{self, AuthFile};
use super::options::More;
use super::source::Source;

/// One archive, believed in one way: an Upstream and a Mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Without credentials, with a `/` at the end.
    pub url: Url,
    pub login: Option<Login>,
    pub trust: Trust,
    /// Where it was read.
    pub places: Vec<String>,
    suites: Vec<(String, Wanted)>,
}

/// Whom its signatures must be by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    Keys(Vec<u8>),
    /// `trusted=yes`: they are not looked at.
    Anybody,
}

/// What is asked of one suite: of each component, the architectures and `source`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Wanted {
    components: Vec<String>,
    architectures: Vec<String>,
    /// With `source` for source packages; the component of a flat repository is empty.
    pairs: BTreeSet<(String, String)>,
    expired: bool,
    more: More,
}

const SOURCE: &str = "source";

/// What of an archive one Mirror copies: all of `components` and `architectures` of all `suites`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slice {
    pub suites: Vec<String>,
    pub components: Vec<String>,
    pub architectures: Vec<String>,
    pub sources: bool,
    pub more: More,
    /// The suites of which expired states are taken.
    pub expired: Vec<String>,
    /// What it copies although no entry asks for it: of each suite, `component/architecture`.
    pub unasked: BTreeMap<String, Vec<String>>,
}

/// Archives in the order in which they were met.
#[derive(Default)]
pub struct Archives(pub Vec<Archive>);

/// What counts for all entries.
pub struct Context<'a> {
    /// Debian's names of the machine's architectures, the native one first.
    pub architectures: &'a [String],
    pub logins: &'a [AuthFile],
}

impl Archives {
    /// Adds what one entry asks for; what cannot be mirrored becomes notes.
    pub fn add(
        &mut self,
        source: &Source,
        trust: &Trust,
        context: &Context<'_>,
        notes: &mut Vec<String>,
    ) {
        let native = context.architectures.first().map_or("", String::as_str);
        let wanted = Named::of(source, context.architectures, native, notes);
        if wanted.suites.is_empty() {
            return;
        }
        for uri in &source.uris {
            match address(&uri.replace("$(ARCH)", native)) {
                Ok((url, login)) => {
                    let login = login.or_else(|| auth::login_for(context.logins, &url, notes));
                    let archive = self.archive(url, login, trust);
                    archive.places.push(source.place.clone());
                    archive.want(source, &wanted);
                }
                Err(problem) => notes.push(format!("{}: left out: {problem}", source.place)),
            }
        }
    }

    fn archive(&mut self, url: Url, login: Option<Login>, trust: &Trust) -> &mut Archive {
        let same = |archive: &Archive| {
            archive.url == url && archive.trust == *trust && archive.login == login
        };
        let index = self.0.iter().position(same).unwrap_or_else(|| {
            self.0.push(Archive {
                url,
                login,
                trust: trust.clone(),
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

    /// One address that ends up as several, since its entries are believed differently.
    pub fn split_addresses(&self) -> BTreeSet<String> {
        let twice = self.0.iter().enumerate().filter(|(index, archive)| {
            let mut before = self.0.iter().take(*index);
            before.any(|other| other.url == archive.url)
        });
        twice
            .map(|(_, archive)| shown_url(archive.url.as_str()))
            .collect()
    }
}

/// The names of an entry that a manifest can say.
struct Named {
    suites: Vec<String>,
    components: Vec<String>,
    architectures: Vec<String>,
}

impl Named {
    fn of(source: &Source, machine: &[String], native: &str, notes: &mut Vec<String>) -> Named {
        let mut known = |kind: &str, list: Vec<String>, is_one: fn(&str) -> bool| {
            let (known, odd): (Vec<_>, Vec<_>) = list.into_iter().partition(|name| is_one(name));
            let place = &source.place;
            notes.extend(odd.iter().map(|name| {
                format!("{place}: {kind} {name:?} is left out: no manifest can name it")
            }));
            known
        };
        let suites = source.suites.iter();
        let suites = suites.map(|suite| plain_suite(&suite.replace("$(ARCH)", native)));
        Named {
            suites: known("suite", suites.collect(), names::is_suite),
            components: known("component", source.components.clone(), names::is_index_name),
            architectures: known(
                "architecture",
                source.architectures.of(machine),
                names::is_architecture,
            ),
        }
    }
}

/// Flat repositories can be written in several ways.
fn plain_suite(suite: &str) -> String {
    let Some(folder) = suite.strip_suffix('/') else {
        return suite.to_owned();
    };
    let parts = folder.split('/').filter(|part| !matches!(*part, "" | "."));
    match parts.collect::<Vec<_>>().join("/") {
        folder if folder.is_empty() => "./".to_owned(),
        folder => format!("{folder}/"),
    }
}

impl Archive {
    fn want(&mut self, source: &Source, named: &Named) {
        for suite in &named.suites {
            let known = self.suites.iter().position(|(known, _)| known == suite);
            let index = known.unwrap_or_else(|| {
                self.suites.push((suite.clone(), Wanted::default()));
                self.suites.len() - 1
            });
            let wanted = &mut self.suites[index].1;
            let flat = [String::new()];
            let components = match suite.ends_with('/') {
                true => flat.as_slice(),
                false => named.components.as_slice(),
            };
            let packages = source.packages.then_some(named.architectures.as_slice());
            let packages = packages.unwrap_or_default();
            for component in components {
                let kinds = packages.iter().map(String::as_str);
                let kinds = kinds.chain(source.sources.then_some(SOURCE));
                let pairs = kinds.map(|kind| (component.clone(), kind.to_owned()));
                wanted.pairs.extend(pairs);
            }
            extend(&mut wanted.components, &named.components);
            extend(&mut wanted.architectures, packages);
            wanted.expired |= source.expired;
            wanted.more = wanted.more.or(source.more);
        }
    }

    /// What one Mirror copies, so that all suites have one address.
    pub fn slice(&self) -> Slice {
        let mut slice = Slice::default();
        for (suite, wanted) in &self.suites {
            slice.suites.push(suite.clone());
            extend(&mut slice.components, &wanted.components);
            extend(&mut slice.architectures, &wanted.architectures);
            slice.sources |= wanted.pairs.iter().any(|(_, kind)| kind == SOURCE);
            slice.more = slice.more.or(wanted.more);
            slice.expired.extend(wanted.expired.then(|| suite.clone()));
        }
        slice.unasked = self.unasked(&slice);
        slice
    }

    fn unasked(&self, slice: &Slice) -> BTreeMap<String, Vec<String>> {
        let mut unasked = BTreeMap::new();
        let kinds: Vec<_> = (slice.architectures.iter().map(String::as_str))
            .chain(slice.sources.then_some(SOURCE))
            .collect();
        for (suite, wanted) in &self.suites {
            // A flat repository is copied as it is.
            let components = slice.components.iter().filter(|_| !suite.ends_with('/'));
            let pairs = components.flat_map(|component| {
                let pair = |kind: &&str| (component.clone(), (*kind).to_owned());
                kinds.iter().map(pair).collect::<Vec<_>>()
            });
            let more = pairs.filter(|pair| !wanted.pairs.contains(pair));
            let more: Vec<_> = more.map(|(of, kind)| format!("{of}/{kind}")).collect();
            if !more.is_empty() {
                unasked.insert(suite.clone(), more);
            }
        }
        unasked
    }
}

fn extend(list: &mut Vec<String>, more: &[String]) {
    for value in more {
        if !list.contains(value) {
            list.push(value.clone());
        }
    }
}

#[cfg(test)]
mod tests;
