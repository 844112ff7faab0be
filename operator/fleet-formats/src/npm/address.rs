//! What a request to a registry asks for: a path in, a value out.
//!
//! Clients write one name in several ways: `@s/p`, `@s%2fp`, `@s%2Fp`, and before a tarball either of them.

use percent_encoding::percent_decode_str;

use super::name::{PackageName, is_part};

/// Which form of a packument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// `application/json`: everything, with the time of each version.
    Full,
    /// `application/vnd.npm.install-v1+json`: what an installer needs.
    Abbreviated,
}

impl Form {
    pub const ALL: [Form; 2] = [Form::Full, Form::Abbreviated];

    pub const fn content_type(self) -> &'static str {
        match self {
            Form::Full => "application/json",
            Form::Abbreviated => "application/vnd.npm.install-v1+json",
        }
    }

    /// What an `Accept` header asks for: the abbreviated form only where it is named and not less wanted than the full one
    /// (RFC 9110 section 12.5.1).
    pub fn wanted(accept: Option<&str>) -> Form {
        let quality = |form: Form| {
            let mut ranges = accept.unwrap_or_default().split(',').filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let is_it = parts.next()?.eq_ignore_ascii_case(form.content_type());
                let weight = parts.find_map(|part| part.strip_prefix("q="));
                is_it.then(|| weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0)))
            });
            ranges.next().unwrap_or(0.0_f32)
        };
        let abbreviated = quality(Form::Abbreviated);
        match abbreviated > 0.0 && abbreviated >= quality(Form::Full) {
            true => Form::Abbreviated,
            false => Form::Full,
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `/`
    Top,
    /// `/<name>`
    Packument(PackageName),
    /// `/<name>/<version or tag>`
    Version(PackageName, String),
    /// `/<name>/-/<file>`
    Tarball(PackageName, String),
    /// `/-/package/<name>/dist-tags`
    Tags(PackageName),
    /// `/-/ping`
    Ping,
    /// `/-/whoami`
    WhoAmI,
    /// `/-/v1/search`
    Search,
    /// `/-/npm/v1/keys`
    Keys,
    /// `/-/npm/v1/attestations/<name>@<version>`
    Attestations(PackageName, String),
    /// `/-/npm/v1/security/advisories/bulk`
    Advisories,
    /// Another route below `/-/`: accounts, organisations, tokens, hooks.
    Unsupported,
}

/// Why a path means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    #[error("this is no address of a registry: a percent escape in it is none")]
    Escape,
    #[error("this is no address of a registry: {0}")]
    Name(#[from] super::BadName),
    #[error("this is no address of a registry: nothing of a package is found there")]
    Nowhere,
}

impl Address {
    /// Reads a path as it was sent, from the slash after the registry's own path on, without the query.
    pub fn read(path: &str) -> Result<Address, BadAddress> {
        let mut parts = Vec::new();
        for sent in path.split('/').filter(|part| !part.is_empty()) {
            parts.push(decode(sent)?);
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            [] => Ok(Address::Top),
            ["-", route @ ..] if !route.is_empty() => own(route),
            parts => {
                let leading = leading_name(parts).and_then(|(name, rest)| of_package(name, rest));
                leading.or_else(|error| trailing_tarball(parts).ok_or(error))
            }
        }
    }
}

/// Decoded once: a name that was escaped twice is another name, which no package has.
fn decode(sent: &str) -> Result<String, BadAddress> {
    let bytes = sent.as_bytes();
    let is_whole = |at: usize| {
        let digits = bytes.get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let mut escapes = memchr::memchr_iter(b'%', bytes);
    if !escapes.all(is_whole) {
        return Err(BadAddress::Escape);
    }
    let decoded = percent_decode_str(sent).decode_utf8();
    Ok(decoded.map_err(|_| BadAddress::Escape)?.into_owned())
}

fn own(route: &[&str]) -> Result<Address, BadAddress> {
    Ok(match route {
        ["ping"] => Address::Ping,
        ["whoami"] => Address::WhoAmI,
        ["v1", "search"] => Address::Search,
        ["npm", "v1", "keys"] => Address::Keys,
        ["npm", "v1", "security", "advisories", "bulk"] => Address::Advisories,
        ["npm", "v1", "attestations", package @ ..] if !package.is_empty() => {
            let package = package.join("/");
            let (name, version) = package.rsplit_once('@').ok_or(BadAddress::Nowhere)?;
            Address::Attestations(PackageName::new(name)?, word(version)?)
        }
        ["package", package @ .., "dist-tags"] if !package.is_empty() => {
            Address::Tags(PackageName::new(&package.join("/"))?)
        }
        _ => Address::Unsupported,
    })
}

/// The name that a path begins with: in one part or in two.
fn leading_name<'a, 'b>(parts: &'b [&'a str]) -> Result<(PackageName, &'b [&'a str]), BadAddress> {
    match parts {
        [scope, bare, rest @ ..] if scope.starts_with('@') && !scope.contains('/') => {
            Ok((PackageName::new(&format!("{scope}/{bare}"))?, rest))
        }
        [name, rest @ ..] => Ok((PackageName::new(name)?, rest)),
        [] => Err(BadAddress::Nowhere),
    }
}

fn of_package(name: PackageName, rest: &[&str]) -> Result<Address, BadAddress> {
    match rest {
        [] => Ok(Address::Packument(name)),
        ["-", file @ ..] if !file.is_empty() => {
            // Publishing clients write the scope a second time, before the file's name.
            let file = file.join("/");
            let scope = name.as_str().strip_suffix(name.bare()).unwrap_or_default();
            let file = file.strip_prefix(scope).unwrap_or(&file);
            Ok(Address::Tarball(name, word(file)?))
        }
        [version] => Ok(Address::Version(name, word(version)?)),
        _ => Err(BadAddress::Nowhere),
    }
}

/// A tarball below a path that is none of ours. npm puts the registry's address before the whole path of an address in a lock
/// file, and that path may begin with another registry's own.
fn trailing_tarball(parts: &[&str]) -> Option<Address> {
    let (name, file) = match parts {
        [.., scope, bare, "-", file] if scope.starts_with('@') && !bare.contains('/') => {
            (PackageName::new(&format!("{scope}/{bare}")), file)
        }
        [_, .., name, "-", file] => (PackageName::new(name), file),
        _ => return None,
    };
    Some(Address::Tarball(name.ok()?, word(file).ok()?))
}

/// A version, a tag or a file: never a way to somewhere else. Versions may have a `+`.
fn word(text: &str) -> Result<String, BadAddress> {
    match text.len() <= 512 && is_part(&text.replace('+', "-")) {
        true => Ok(text.to_owned()),
        false => Err(BadAddress::Nowhere),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> PackageName {
        PackageName::new(text).unwrap()
    }

    #[test]
    fn every_spelling_of_a_name_is_the_same_package() {
        let scoped = Address::Packument(name("@s/p"));
        for path in ["/@s/p", "/@s%2fp", "/@s%2Fp", "/%40s%2fp", "//@s/p/"] {
            assert_eq!(Address::read(path), Ok(scoped.clone()), "{path}");
        }
        let tarball = Address::Tarball(name("@s/p"), "p-1.0.0+a.tgz".into());
        for path in [
            "/@s/p/-/p-1.0.0+a.tgz",
            "/@s%2fp/-/p-1.0.0%2ba.tgz",
            "/@s%2Fp/-/@s/p-1.0.0+a.tgz",
            "/@s/p/-/@s%2fp-1.0.0+a.tgz",
            "/repository/npm-all/@s/p/-/p-1.0.0+a.tgz",
            "/api/npm/x/@s%2fp/-/p-1.0.0+a.tgz",
        ] {
            assert_eq!(Address::read(path), Ok(tarball.clone()), "{path}");
        }
        let plain = Address::Tarball(name("p"), "p-1.0.0.tgz".into());
        assert_eq!(Address::read("/repository/p/-/p-1.0.0.tgz"), Ok(plain));
        assert_eq!(Address::read("/p"), Ok(Address::Packument(name("p"))));
        assert_eq!(
            Address::read("/p/1.0.0"),
            Ok(Address::Version(name("p"), "1.0.0".into()))
        );
        assert_eq!(Address::read("/-"), Ok(Address::Packument(name("-"))));
    }

    #[test]
    fn routes_of_the_registry_itself() {
        for (path, address) in [
            ("/", Address::Top),
            ("/-/ping", Address::Ping),
            ("/-/ping?write=true", Address::Unsupported),
            ("/-/v1/search", Address::Search),
            ("/-/npm/v1/keys", Address::Keys),
            ("/-/npm/v1/security/advisories/bulk", Address::Advisories),
            ("/-/package/@s%2fp/dist-tags", Address::Tags(name("@s/p"))),
            ("/-/package/p/dist-tags", Address::Tags(name("p"))),
            (
                "/-/npm/v1/attestations/@s%2fp@1.0.0",
                Address::Attestations(name("@s/p"), "1.0.0".into()),
            ),
            (
                "/-/npm/v1/attestations/@s/p@1.0.0",
                Address::Attestations(name("@s/p"), "1.0.0".into()),
            ),
            ("/-/user/org.couchdb.user:me", Address::Unsupported),
        ] {
            assert_eq!(Address::read(path), Ok(address), "{path}");
        }
    }

    #[test]
    fn nothing_leads_elsewhere() {
        for path in [
            "/..",
            "/%2e%2e",
            "/a/-/..",
            "/a/-/%2e%2e%2fb",
            "/a/-/x/y.tgz",
            "/@s%2f..%2fp",
            "/a%2fb",
            "/@s%252fp",
            "/a%zz",
            "/a%2",
            "/p/-/a%00.tgz",
            "/a/b/c",
            "/%ff",
            "/@s",
        ] {
            assert!(Address::read(path).is_err(), "{path}");
        }
    }

    #[test]
    fn the_form_is_the_one_that_is_wanted_more() {
        for (accept, form) in [
            (None, Form::Full),
            (Some("*/*"), Form::Full),
            (Some("application/json"), Form::Full),
            (
                Some("application/vnd.npm.install-v1+json"),
                Form::Abbreviated,
            ),
            (
                Some("application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*"),
                Form::Abbreviated,
            ),
            (
                Some("application/json; q=1.0, application/vnd.npm.install-v1+json;q=0.5"),
                Form::Full,
            ),
            (Some("application/vnd.npm.install-v1+json;q=0"), Form::Full),
        ] {
            assert_eq!(Form::wanted(accept), form, "{accept:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_plain(path in "(/|%2[eEfF]|@|-|[a-z.]{1,3}|%[0-9a-f]{2}|\\PC){0,12}") {
            match Address::read(&path) {
                Ok(Address::Tarball(name, word) | Address::Version(name, word) | Address::Attestations(name, word)) => {
                    prop_assert!(PackageName::new(name.as_str()).is_ok());
                    prop_assert!(!word.contains('/') && !word.starts_with('.'));
                }
                Ok(Address::Packument(name) | Address::Tags(name)) => prop_assert!(PackageName::new(name.as_str()).is_ok()),
                _ => {}
            }
        }
    }
}
