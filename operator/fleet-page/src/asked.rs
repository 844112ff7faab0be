//! What of the list somebody asks for: an address's query as plain values, and the addresses of other parts.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::board::Fleet;
use crate::row::{Mood, Row};

/// So many Mirrors are on a page: with all that may be said of each it stays below 100 kB.
pub const PAGE: usize = 20;
/// Longer than any name.
const LONGEST_WORD: usize = 100;

/// Everything but what needs no escape in an address.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A part of the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Those whose name, namespace or Upstream has these letters.
    pub word: String,
    /// Only those.
    pub only: Option<Only>,
    /// From 1.
    pub page: usize,
}

/// What some have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only {
    Of(Mood),
    /// A sync runs.
    Running,
}

impl Only {
    pub const fn word(self) -> &'static str {
        match self {
            Only::Of(mood) => mood.word(),
            Only::Running => "syncing",
        }
    }

    fn parse(word: &str) -> Option<Only> {
        let moods = Mood::ALL.into_iter().map(Only::Of);
        let mut all = moods.chain([Only::Running]);
        all.find(|only| only.word() == word)
    }
}

/// The rows that are shown, and how many there are in all.
pub struct Part {
    /// Places in the fleet's rows.
    pub places: Vec<usize>,
    pub found: usize,
    pub pages: usize,
    pub page: usize,
}

impl Asked {
    /// By a query; what it does not know or cannot read is as if it were not there.
    pub fn parse(query: &str) -> Asked {
        let mut asked = Asked {
            page: 1,
            ..Asked::default()
        };
        for (name, value) in parameters(query) {
            match name {
                "q" => asked.word = value.trim().chars().take(LONGEST_WORD).collect(),
                "only" => asked.only = Only::parse(&value),
                "page" => asked.page = value.parse().unwrap_or(1).max(1),
                _ => {}
            }
        }
        asked
    }

    /// The same as a query, with its `?`; nothing where all is asked for.
    pub fn query(&self) -> String {
        let mut pairs = Vec::new();
        if !self.word.is_empty() {
            pairs.push(format!("q={}", escaped(&self.word)));
        }
        if let Some(only) = self.only {
            pairs.push(format!("only={}", only.word()));
        }
        if self.page > 1 {
            pairs.push(format!("page={}", self.page));
        }
        match pairs.is_empty() {
            true => String::new(),
            false => format!("?{}", pairs.join("&")),
        }
    }

    pub fn with_page(&self, page: usize) -> Asked {
        Asked {
            page,
            ..self.clone()
        }
    }

    pub fn with_only(&self, only: Option<Only>) -> Asked {
        Asked {
            only,
            page: 1,
            ..self.clone()
        }
    }

    /// What of the fleet is shown. Where letters are looked for names are read, of all; else only what is shown.
    pub fn part(&self, fleet: &Fleet) -> Part {
        let all = match self.only {
            None => 0..fleet.rows.len(),
            Some(Only::Running) => return self.among(fleet, fleet.running.iter().copied()),
            Some(Only::Of(mood)) => {
                let before = Mood::ALL.iter().take_while(|other| **other != mood);
                let begin: usize = before.map(|other| fleet.count(*other)).sum();
                begin..begin + fleet.count(mood)
            }
        };
        self.among(fleet, all)
    }

    fn among(&self, fleet: &Fleet, places: impl ExactSizeIterator<Item = usize>) -> Part {
        if self.word.is_empty() {
            let (found, places) = (places.len(), places);
            let (page, pages) = self.page_of(found);
            let places = places.skip((page - 1) * PAGE).take(PAGE).collect();
            return Part {
                places,
                found,
                pages,
                page,
            };
        }
        let word = self.word.to_lowercase();
        let fits = |place: &usize| {
            let row = fleet.rows.get(*place);
            row.is_some_and(|row| has_letters(row, &word))
        };
        let found: Vec<usize> = places.filter(fits).collect();
        let (page, pages) = self.page_of(found.len());
        let shown = found.iter().copied().skip((page - 1) * PAGE).take(PAGE);
        Part {
            places: shown.collect(),
            found: found.len(),
            pages,
            page,
        }
    }

    /// Which page that is, of how many: the last where there are fewer than was asked for.
    fn page_of(&self, found: usize) -> (usize, usize) {
        let pages = found.div_ceil(PAGE).max(1);
        (self.page.clamp(1, pages), pages)
    }
}

/// What a query asks for, by name.
fn parameters(query: &str) -> impl Iterator<Item = (&str, String)> {
    query.split('&').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = value.replace('+', " ");
        let value = percent_decode_str(&value).decode_utf8_lossy();
        (name, value.into_owned())
    })
}

/// The first value of that name in a query; none where it is empty or not there.
pub fn parameter(query: &str, name: &str) -> Option<String> {
    let mut all = parameters(query);
    let (_, value) = all.find(|(known, _)| *known == name)?;
    (!value.is_empty()).then_some(value)
}

fn has_letters(row: &Row, word: &str) -> bool {
    let told = &row.summary;
    [&told.mirror, &told.namespace, &told.upstream]
        .into_iter()
        .any(|name| name.to_lowercase().contains(word))
}

/// A word as a part of an address.
pub fn escaped(word: &str) -> String {
    utf8_percent_encode(word, ESCAPED).to_string()
}

/// In the place of a namespace where there is none, as without a cluster; no namespace is called so.
const NO_NAMESPACE: &str = "-";

/// The address of a Mirror's page, below that of the list.
pub fn mirror_path(namespace: &str, name: &str) -> String {
    let namespace = match namespace {
        "" => NO_NAMESPACE,
        namespace => namespace,
    };
    format!("mirrors/{}/{}", escaped(namespace), escaped(name))
}

/// Namespace and name by such an address; none where it is another one.
pub fn mirror_at(path: &str) -> Option<(String, String)> {
    let (namespace, name) = path.strip_prefix("mirrors/")?.split_once('/')?;
    let decoded = |part| Some(percent_decode_str(part).decode_utf8().ok()?.into_owned());
    let namespace = match namespace {
        NO_NAMESPACE => String::new(),
        namespace => decoded(namespace)?,
    };
    Some((namespace, decoded(name)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_was_written() {
        for (namespace, name) in [
            ("mirrors", "debian"),
            ("", "debian"),
            ("a/b", "x.json"),
            ("%", "-"),
        ] {
            let path = mirror_path(namespace, name);
            assert_eq!(
                mirror_at(&path),
                Some((namespace.to_owned(), name.to_owned())),
                "{path}"
            );
        }
        assert_eq!(mirror_at("mirrors/a"), None);
    }

    #[test]
    fn a_query_is_read_as_it_was_written() {
        for query in [
            "",
            "?q=a%20b",
            "?only=trouble",
            "?q=x&only=syncing&page=3",
            "?page=2",
        ] {
            let asked = Asked::parse(query.trim_start_matches('?'));
            assert_eq!(asked.query(), query);
        }
        for odd in ["page=0", "page=x", "only=all", "=&=&&", "other=1", "q=%20"] {
            assert_eq!(Asked::parse(odd), Asked::parse(""), "{odd}");
        }
        assert_eq!(Asked::parse("q=a+b%26").word, "a b&");
    }
}
