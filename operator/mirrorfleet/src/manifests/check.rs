//! What an API server and the planner would refuse, asked where there is no API server.
//!
//! Each function answers with all problems that it sees, as sentences that begin with the path of a field.

mod debian;

use std::collections::BTreeSet;

use fleet_api::mirror::{Block, MirrorSpec, Region, Shrink};
use fleet_api::upstream::{Signatures, UpstreamSpec};
use fleet_plan::schedule::Schedule;
use fleet_types::shown_url;
use globset::Glob;
use url::Url;

const MAX_REGIONS: usize = 32;
const MAX_SNAPSHOTS: u32 = 32;
const LEAST_PROBE_SECONDS: u64 = 60;

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

/// A name that becomes part of the names of Services: `^[a-z]([-a-z0-9]*[a-z0-9])?$`.
fn service_name(field: &str, name: &str, problems: &mut Vec<String>) {
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !begins || name.len() > 63 || name.contains('.') || object_name(name).is_err() {
        problems.push(format!(
            "{field} {name:?} must begin with a lower-case letter, hold only lower-case letters, digits and `-`, not end with `-`, and have at most 63 characters"
        ));
    }
}

/// Problems of an Upstream.
pub fn upstream(spec: &UpstreamSpec) -> Vec<String> {
    let mut problems = Vec::new();
    repository_url(
        "spec.authority.url",
        &spec.authority.url,
        false,
        &mut problems,
    );
    let mut names = BTreeSet::new();
    for (index, endpoint) in spec.endpoints.iter().enumerate() {
        repository_url(
            &format!("spec.endpoints[{index}].url"),
            &endpoint.url,
            true,
            &mut problems,
        );
        if endpoint.name.is_empty() || !names.insert(&endpoint.name) {
            problems.push(format!(
                "spec.endpoints[{index}].name {:?} must be there and be unique",
                endpoint.name
            ));
        }
    }
    if spec.probe.interval.as_secs() < LEAST_PROBE_SECONDS {
        problems.push(format!(
            "spec.probe.interval {} is shorter than 1m",
            spec.probe.interval
        ));
    }
    if spec.trust.keyring_ref.is_none() && spec.trust.signatures == Signatures::Required {
        problems.push(
            "spec.trust.keyringRef is missing: name the Secret or ConfigMap that holds the archive's public keys, or spell out `signatures: None`"
                .to_owned(),
        );
    }
    if spec.trust.min_good_signatures == 0 {
        problems.push("spec.trust.minGoodSignatures must be at least 1; write `signatures: None` to look at none".to_owned());
    }
    if spec.trust.all_signatures_good && spec.trust.signatures == Signatures::None {
        problems.push("spec.trust.allSignaturesGood asks for what `signatures: None` does not look at; leave one of them out".to_owned());
    }
    if let Some(proxy) = &spec.access.proxy_url
        && (!matches!(proxy.scheme(), "http" | "https") || !proxy.has_host())
    {
        problems.push(format!(
            "spec.access.proxyUrl must be an http or https URL, not {}",
            shown_url(proxy.as_str())
        ));
    }
    if spec.politeness.max_connections == 0 {
        problems.push("spec.politeness.maxConnections must be at least 1".to_owned());
    }
    if spec
        .politeness
        .bandwidth
        .as_ref()
        .is_some_and(|bandwidth| bandwidth.bytes() == 0)
    {
        problems.push(
            "spec.politeness.bandwidth 0 would never fetch anything; leave it out for no limit"
                .to_owned(),
        );
    }
    problems
}

/// The authority is probed over http, so rsync is for endpoints only.
fn repository_url(field: &str, url: &Url, is_endpoint: bool, problems: &mut Vec<String>) {
    let shape = match url.scheme() {
        "rsync" if is_endpoint => url.has_host() && !url.path().trim_matches('/').is_empty(),
        "http" | "https" => url.has_host(),
        "file" => url.to_file_path().is_ok(),
        _ => false,
    };
    if !shape {
        problems.push(format!(
            "{field} {} must be an http, https{} or file URL of the folder that holds the repository",
            shown_url(url.as_str()),
            if is_endpoint {
                ", rsync (with a module)"
            } else {
                ""
            }
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        problems.push(format!("{field} holds credentials; put them into a Secret and name it in spec.access.credentialsRef"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        problems.push(format!(
            "{field} {} must have neither a query nor a fragment",
            shown_url(url.as_str())
        ));
    }
}

/// Problems of a Mirror on its own.
pub fn mirror(name: &str, spec: &MirrorSpec) -> Vec<String> {
    let mut problems = Vec::new();
    service_name("metadata.name", name, &mut problems);
    content(spec, &mut problems);
    sync(spec, &mut problems);
    if !(1..=MAX_SNAPSHOTS).contains(&spec.snapshots.keep) {
        problems.push(format!(
            "spec.snapshots.keep {} must be between 1 and {MAX_SNAPSHOTS}",
            spec.snapshots.keep
        ));
    }
    let pinned = &spec.snapshots.pinned;
    if !pinned.is_empty() && (pinned.len() < 8 || !is_hexadecimal(pinned)) {
        problems.push(format!(
            "spec.snapshots.pinned {pinned:?} must be an id that `mirrorfleet snapshots` prints, or its first 8 or more digits"
        ));
    }
    for (index, allowed) in spec.verification.allow_mutations.iter().enumerate() {
        if allowed.sha256.len() != 64 || !is_hexadecimal(&allowed.sha256) {
            problems.push(format!(
                "spec.verification.allowMutations[{index}].sha256 must have 64 hexadecimal digits"
            ));
        }
    }
    let units = spec.content.units();
    for (index, allowed) in spec.verification.allowed.iter().enumerate() {
        let field = format!("spec.verification.allowed[{index}]");
        if allowed.digest.len() != 64 || !is_hexadecimal(&allowed.digest) {
            problems.push(format!(
                "{field}.digest must be the one that a refusal names, 64 hexadecimal digits"
            ));
        }
        if allowed.reasons.is_empty() {
            problems.push(format!(
                "{field}.reasons is empty; name what the refusal names"
            ));
        }
        declared(
            &format!("{field}.unit"),
            &allowed.unit,
            &units,
            &mut problems,
        );
    }
    for (index, expired) in spec.verification.expired.iter().enumerate() {
        let field = format!("spec.verification.expired[{index}].unit");
        declared(&field, &expired.unit, &units, &mut problems);
    }
    shrink(&spec.verification.shrink, &mut problems);
    regions(&spec.regions, &mut problems);
    serving_path(&spec.serving.path, &mut problems);
    trace_name(&spec.serving.trace_name, &mut problems);
    problems
}

fn declared(field: &str, unit: &str, units: &[String], problems: &mut Vec<String>) {
    if !units.iter().any(|declared| declared == unit) {
        problems.push(format!(
            "{field} {unit:?} is none of the declared suites; write it as it stands there"
        ));
    }
}

fn shrink(shrink: &Shrink, problems: &mut Vec<String>) {
    if !(1..=100).contains(&shrink.max_percent) {
        problems.push(format!(
            "spec.verification.shrink.maxPercent {} must be between 1 and 100; 100 allows any part to go",
            shrink.max_percent
        ));
    }
    for (index, digest) in shrink.allowed.iter().enumerate() {
        if digest.len() != 64 || !is_hexadecimal(digest) {
            problems.push(format!(
                "spec.verification.shrink.allowed[{index}] must be the digest that a refusal names, 64 hexadecimal digits"
            ));
        }
    }
}

fn sync(spec: &MirrorSpec, problems: &mut Vec<String>) {
    problems.extend(Schedule::new(&spec.sync, "").err());
    for (field, duration) in [
        ("timeout", spec.sync.timeout),
        ("stallTimeout", spec.sync.stall_timeout),
    ] {
        if duration.as_secs() == 0 {
            problems.push(format!("spec.sync.{field} must be longer than 0s"));
        }
    }
    if spec.sync.retries.backoff.as_secs() == 0 {
        problems.push("spec.sync.retries.backoff must be at least 1s".to_owned());
    }
}

fn content(spec: &MirrorSpec, problems: &mut Vec<String>) {
    match spec.content.block() {
        None => problems.push(
            "spec.content has no block; write `debian:` with suites, components and architectures"
                .to_owned(),
        ),
        Some(Block::Debian(debian)) => debian::content(debian, problems),
    }
    for (index, pattern) in spec.content.exclude.iter().enumerate() {
        if let Err(error) = Glob::new(pattern) {
            problems.push(format!(
                "spec.content.exclude[{index}] {pattern:?} is not a glob: {}",
                error.kind()
            ));
        }
    }
}

fn regions(regions: &[Region], problems: &mut Vec<String>) {
    if regions.len() > MAX_REGIONS {
        problems.push(format!(
            "spec.regions has {} entries; at most {MAX_REGIONS} are possible",
            regions.len()
        ));
    }
    let mut seen = BTreeSet::new();
    for (index, region) in regions.iter().enumerate() {
        service_name(
            &format!("spec.regions[{index}].name"),
            &region.name,
            problems,
        );
        if !seen.insert(&region.name) {
            problems.push(format!(
                "spec.regions[{index}].name {:?} is there twice",
                region.name
            ));
        }
    }
}

/// Whether a Mirror can be served under this path.
pub fn is_serving_path(path: &str) -> bool {
    let plain = |part: &str| {
        part.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b))
    };
    path.len() <= 128
        && path
            .split('/')
            .all(|part| part.starts_with(|c: char| c.is_ascii_alphanumeric()) && plain(part))
}

fn serving_path(path: &str, problems: &mut Vec<String>) {
    if !path.is_empty() && !is_serving_path(path) {
        problems.push(format!(
            "spec.serving.path {path:?} must consist of letters, digits, `-`, `_`, `.` and `~`, with single `/` between parts; a part begins with a letter or digit"
        ));
    }
}

/// `^[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?$`
fn trace_name(name: &str, problems: &mut Vec<String>) {
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    let plain = bytes
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || b"-.".contains(b));
    if name.len() > 253 || !plain || !edge(bytes.first()) || !edge(bytes.last()) {
        problems.push(format!(
            "spec.serving.traceName {name:?}: write it as a host name, for example mirror.example.org"
        ));
    }
}

fn is_hexadecimal(text: &str) -> bool {
    text.len() <= 64
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests;
