//! What npm is configured to read: an `.npmrc` (npmrc(5)). The registry of everything, those of scopes, and their logins.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleet_api::upstream::UpstreamType;
use fleet_types::shown_url;
use url::Url;

use super::address::{address, released_to};
use super::manifest::{
    Access, Address, Content, Document, GuardBlock, MirrorDocument, NpmBlock, TrustBlock,
    UpstreamDocument,
};
use super::names::Names;
use crate::failure::Failure;

/// The one region of a first manifest.
const REGION: &str = "main";

/// One registry that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    pub url: Url,
    /// Whose packages come from it; none: all others.
    pub scopes: Vec<String>,
    pub login: Option<Login>,
}

#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    Token(String),
    Password { username: String, password: String },
}

/// Nothing of it is for messages.
impl std::fmt::Debug for Login {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Login(..)")
    }
}

/// Whether a file is one of npm's: by its name.
pub fn is_of_npm(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name == ".npmrc" || name == "npmrc")
}

/// The registries of a file, the one of everything first.
pub fn read(path: &Path, notes: &mut Vec<String>) -> Result<Vec<Used>, Failure> {
    let shown = format!("--from {}", path.display());
    let bytes = fs::read(path)
        .map_err(|error| Failure::invalid(format!("{shown}: cannot be read: {error}")))?;
    let used = parse(&String::from_utf8_lossy(&bytes), &shown, notes);
    match used.is_empty() {
        true => Err(Failure::invalid(format!(
            "{shown} names no registry; add the line `registry=URL` of the one that is used"
        ))),
        false => Ok(used),
    }
}

fn parse(text: &str, place: &str, notes: &mut Vec<String>) -> Vec<Used> {
    let mut settings = BTreeMap::new();
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with([';', '#']))
    {
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let value = value.trim().trim_matches('"');
        if value.contains("${") {
            notes.push(format!(
                "{place}: {} is left out, since it comes from the environment",
                key.trim()
            ));
            continue;
        }
        settings.insert(key.trim().to_owned(), value.to_owned());
    }
    let mut used: Vec<Used> = Vec::new();
    let of_everything = settings.get("registry").map(|url| (None, url));
    let of_scopes = settings
        .iter()
        .filter_map(|(key, url)| Some((Some(key.strip_suffix(":registry")?), url)));
    for (scope, url) in of_everything.into_iter().chain(of_scopes) {
        let (url, of_address) = match address(url) {
            Ok((url, login)) if matches!(url.scheme(), "http" | "https") => (url, login),
            _ => {
                notes.push(format!(
                    "{place}: a registry is left out, since its address is no http or https URL"
                ));
                continue;
            }
        };
        let of_address = of_address.map(|login| Login::Password {
            username: login.username,
            password: login.password,
        });
        let scope = scope.map(str::to_owned);
        match used.iter_mut().find(|known| known.url == url) {
            // The registry of everything has its scopes as well.
            Some(known) => known
                .scopes
                .extend(scope.filter(|_| !known.scopes.is_empty())),
            None => used.push(Used {
                login: login(&settings, &url).or(of_address),
                scopes: scope.into_iter().collect(),
                url,
            }),
        }
    }
    used
}

/// By npm's rule: the entry for the longest part of the address.
fn login(settings: &BTreeMap<String, String>, url: &Url) -> Option<Login> {
    let mut part = format!(
        "//{}{}",
        url.authority().rsplit('@').next()?,
        url.path().trim_end_matches('/')
    );
    loop {
        let get = |key: &str| {
            settings
                .get(&format!("{part}/:{key}"))
                .or_else(|| settings.get(&format!("{part}:{key}")))
        };
        let decoded = |text: &String| String::from_utf8(STANDARD.decode(text).ok()?).ok();
        let of_auth = || {
            let (username, password) = decoded(get("_auth")?)?
                .split_once(':')
                .map(|(a, b)| (a.to_owned(), b.to_owned()))?;
            Some(Login::Password { username, password })
        };
        let of_both = || {
            Some(Login::Password {
                username: get("username")?.clone(),
                password: decoded(get("_password")?)?,
            })
        };
        let found = get("_authToken").map(|token| Login::Token(token.clone()));
        if let Some(login) = found.or_else(of_auth).or_else(of_both) {
            return Some(login);
        }
        let cut = part.rfind('/').filter(|at| *at > 1)?;
        part.truncate(cut);
    }
}

/// An Upstream and a Mirror for each, and a Secret where there is a login.
pub fn documents(path: &Path, used: &[Used], names: &mut Names) -> Vec<(String, Document)> {
    let mut documents = Vec::new();
    for registry in used {
        let name = names.for_url(&registry.url);
        let login = registry.login.as_ref().map(|login| {
            let login_name = format!("{name}-login");
            let comment = "Given to the hosts that it names, and to no other.".to_owned();
            documents.push((comment, secret(&login_name, login, &registry.url)));
            login_name
        });
        let spec = UpstreamDocument {
            upstream_type: UpstreamType::Npm.as_str().to_owned(),
            authority: Address {
                url: registry.url.to_string(),
            },
            endpoints: Vec::new(),
            trust: TrustBlock::default(),
            access: login.map(|login| Access {
                credentials_ref: Some(login.as_str().into()),
                proxy_url: None,
            }),
        };
        let comment = format!("Read from {}.", path.display());
        documents.push((comment, Document::upstream(&name, spec)));
        let shown = shown_url(registry.url.as_str());
        let comment = format!("What {shown} has, served under /{name}/ and filled on demand.");
        let spec = mirror(&name, registry, used);
        documents.push((comment, Document::mirror(&name, spec)));
    }
    documents
}

fn secret(name: &str, login: &Login, url: &Url) -> Document {
    let hosts = released_to(url);
    match login {
        Login::Token(token) => Document::token_secret(name, token, &hosts),
        Login::Password { username, password } => {
            Document::login_secret(name, username, password, &hosts)
        }
    }
}

/// What clients ask elsewhere must not be looked for here.
fn mirror(name: &str, registry: &Used, used: &[Used]) -> MirrorDocument {
    let patterns = |scopes: &[String]| -> Vec<String> {
        scopes.iter().map(|scope| format!("{scope}/*")).collect()
    };
    let others = used.iter().flat_map(|other| patterns(&other.scopes));
    let elsewhere: Vec<String> = others.filter(|_| registry.scopes.is_empty()).collect();
    MirrorDocument {
        upstream_ref: name.into(),
        mode: Some("PullThrough".to_owned()),
        content: Content::Npm {
            npm: NpmBlock {
                allow: patterns(&registry.scopes),
            },
        },
        guard: (!elsewhere.is_empty()).then_some(GuardBlock {
            reserved: elsewhere,
        }),
        verification: None,
        regions: vec![REGION.into()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
; a comment
registry = https://registry.example.org/npm/
@corp:registry=https://corp.example.org/api/npm/
@more:registry=https://corp.example.org/api/npm/
@same:registry=https://registry.example.org/npm/
//registry.example.org/:_authToken=t0k3n
//corp.example.org/api/npm/:_auth=bWU6c2VjcmV0
@env:registry=${WHERE}
@file:registry=file:///etc
fund=false
";

    #[test]
    fn registries_scopes_and_logins_are_read_as_npm_reads_them() {
        let mut notes = Vec::new();
        let used = parse(TEXT, "x", &mut notes);
        assert_eq!(used.len(), 2, "{used:?}");
        assert_eq!(
            (used[0].url.as_str(), used[0].scopes.len()),
            ("https://registry.example.org/npm/", 0)
        );
        assert_eq!(used[0].login, Some(Login::Token("t0k3n".into())));
        assert_eq!(used[1].scopes, ["@corp", "@more"]);
        assert_eq!(
            used[1].login,
            Some(Login::Password {
                username: "me".into(),
                password: "secret".into()
            })
        );
        assert_eq!(notes.len(), 2, "{notes:?}");
    }

    #[test]
    fn scopes_of_other_registries_are_reserved_where_everything_else_comes_from() {
        let used = parse(TEXT, "x", &mut Vec::new());
        let documents = documents(Path::new("/home/me/.npmrc"), &used, &mut Names::default());
        let all: Vec<String> = documents
            .iter()
            .map(|(_, document)| serde_json::to_string(document).unwrap())
            .collect();
        assert_eq!(all.len(), 6);
        assert!(
            all[2].contains(r#""guard":{"reserved":["@corp/*","@more/*"]}"#),
            "{}",
            all[2]
        );
        assert!(
            all[5].contains(r#""npm":{"allow":["@corp/*","@more/*"]}"#),
            "{}",
            all[5]
        );
        assert!(
            all[0].contains("t0k3n") && all[0].contains("registry.example.org"),
            "{}",
            all[0]
        );
    }
}
