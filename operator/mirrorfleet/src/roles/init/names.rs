//! Names for what is written: from the archive's host alone, since the rest of a URL can be a secret.

use std::collections::BTreeSet;

use url::Url;

/// Hands out names that Kubernetes allows and that people recognise, each once.
#[derive(Default)]
pub struct Names(BTreeSet<String>);

/// Room for suffixes in the 63 characters that Kubernetes allows.
const MAX_NAME: usize = 40;

impl Names {
    /// For example `deb-example-org` for `http://deb.example.org/debian/`, and `deb-example-org-2` for the next of that
    /// host.
    pub fn for_url(&mut self, url: &Url) -> String {
        let base = dns_label(url.host_str().unwrap_or("local"));
        let mut name = base.clone();
        let mut number = 1;
        while !self.0.insert(name.clone()) {
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

    use super::*;

    #[test]
    fn names_come_from_the_host_and_are_unique() {
        let mut names = Names::default();
        let mut name = |url: &str| names.for_url(&Url::parse(url).unwrap());
        assert_eq!(name("http://deb.example.org/debian/"), "deb-example-org");
        assert_eq!(
            name("http://deb.example.org/debian-security/"),
            "deb-example-org-2"
        );
        assert_eq!(name("http://DEB.example.org:8080/"), "deb-example-org-3");
        assert_eq!(
            name("https://u:p@packages.example.org/token/apt/"),
            "packages-example-org"
        );
        assert_eq!(name("file:///srv/9/"), "local");
        assert_eq!(name("http://127.0.0.1/"), "mirror-127-0-0-1");
        assert_eq!(name("http://[::1]/"), "mirror-1");
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
