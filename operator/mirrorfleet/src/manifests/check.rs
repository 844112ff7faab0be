//! What an API server and the planner would refuse, asked where there is no API server.
//!
//! Each function answers with all problems that it sees, as sentences that begin with the path of a field. What the
//! definitions of the kinds say is asked of them; here stands what no schema can say.

mod debian;
mod npm;
mod schema;

use fleet_api::mirror::{Block, MirrorSpec};
use fleet_api::upstream::UpstreamSpec;
use fleet_formats::arch::Arch;
use fleet_plan::Networks;
use fleet_plan::schedule::Schedule;
use globset::Glob;
use serde::Serialize;
use serde_json::{Value, json};
use url::Url;

/// A name that every Kubernetes object may have (RFC 1123 subdomain).
pub fn object_name(name: &str) -> Result<(), String> {
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
            && edge(bytes.first())
            && edge(bytes.last())
    };
    if name.is_empty() {
        return Err("is missing".to_owned());
    }
    if name.len() > 253 || !name.split('.').all(label) {
        return Err(format!(
            "{name:?} must consist of lower-case letters, digits, `-` and `.`, and begin and end with a letter or digit"
        ));
    }
    Ok(())
}

/// Problems of an Upstream.
pub fn upstream(name: &str, spec: &UpstreamSpec) -> Vec<String> {
    let mut object = object(name, spec);
    let urls = std::iter::once("/spec/authority/url".to_owned())
        .chain((0..spec.endpoints.len()).map(|index| format!("/spec/endpoints/{index}/url")));
    for pointer in urls {
        if let Some(url) = object.pointer_mut(&pointer) {
            take_folder_for_url(url);
        }
    }
    schema::UPSTREAM.problems(&object)
}

fn object(name: &str, spec: &impl Serialize) -> Value {
    json!({"metadata": {"name": name}, "spec": spec})
}

/// A folder of this machine is a repository too where there is no cluster, which the definitions are written for.
fn take_folder_for_url(url: &mut Value) {
    let folder = url
        .as_str()
        .and_then(|text| Url::parse(text).ok()?.to_file_path().ok());
    if folder.is_some() {
        *url = json!("http://localhost/");
    }
}

/// Problems of a Mirror on its own.
pub fn mirror(name: &str, spec: &MirrorSpec) -> Vec<String> {
    let mut problems = schema::MIRROR.problems(&object(name, spec));
    problems.extend(Schedule::new(&spec.sync, "").err());
    problems.extend(Networks::of(spec).err());
    for (index, pattern) in spec.content.exclude.iter().enumerate() {
        glob(
            &format!("spec.content.exclude[{index}]"),
            pattern,
            &mut problems,
        );
    }
    match spec.content.block() {
        Some(Block::Debian(debian)) => debian::content(debian, &mut problems),
        Some(Block::Arch(arch)) if problems.is_empty() => {
            let refused = Arch::new(arch).err();
            problems.extend(refused.map(|refused| format!("spec.content.{}", refused.message)));
        }
        Some(Block::Arch(_)) => {}
        Some(Block::Npm(npm)) => npm::content(npm, spec.guard.as_ref(), &mut problems),
        // The definition asks for one.
        None => {}
    }
    problems
}

fn glob(field: &str, pattern: &str, problems: &mut Vec<String>) {
    if let Err(error) = Glob::new(pattern) {
        problems.push(format!(
            "{field} {pattern:?} is not a glob: {}",
            error.kind()
        ));
    }
}

#[cfg(test)]
mod tests;
