//! The headers of an answer: few, nearly all of them once, so that a list of them costs less than a map.

use http::{HeaderMap, HeaderName, HeaderValue};

/// In the order in which they were first set.
#[derive(Debug, Default)]
pub struct Headers(Vec<(HeaderName, HeaderValue)>);

impl Headers {
    pub fn with_capacity(count: usize) -> Headers {
        Headers(Vec::with_capacity(count))
    }

    /// For one that is not there yet, or of which there may be several.
    pub fn push(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.push((name, value));
    }

    /// In place of the former value, if there is one.
    pub fn set(&mut self, name: HeaderName, value: HeaderValue) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, former)) => *former = value,
            None => self.0.push((name, value)),
        }
    }

    pub fn remove(&mut self, name: &HeaderName) {
        self.0.retain(|(known, _)| known != name);
    }

    pub fn iter(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.0.iter()
    }
}

impl From<Headers> for HeaderMap {
    fn from(headers: Headers) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(headers.0.len() + 1);
        map.extend(headers.0);
        map
    }
}
