//! Everything that a page leads to is there.

use std::collections::{BTreeSet, VecDeque};

use http::StatusCode;

use crate::fleet::{Sketch, board, get, text};

/// The addresses in a page: of links, of what it loads, of its forms.
fn addresses(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for attribute in ["href=\"", "src=\"", "action=\""] {
        let values = page.split(attribute).skip(1);
        found.extend(values.filter_map(|rest| Some(rest.split('"').next()?.replace("&amp;", "&"))));
    }
    found
}

/// An address as seen from a page.
fn resolve(page: &str, address: &str) -> String {
    let address = address.split('#').next().unwrap_or_default();
    let path = page.split('?').next().unwrap_or_default();
    if address.is_empty() {
        return page.to_owned();
    }
    if let Some(query) = address.strip_prefix('?') {
        return format!("{path}?{query}");
    }
    let mut folders: Vec<&str> = path.split('/').collect();
    folders.pop();
    let (address, query) = address.split_once('?').unwrap_or((address, ""));
    for part in address.split('/') {
        match part {
            "." => {}
            ".." if folders.len() > 1 => drop(folders.pop()),
            ".." => {}
            part => folders.push(part),
        }
    }
    let mut whole = folders.join("/");
    if address.ends_with('.') || address.is_empty() {
        whole.push('/');
    }
    match query {
        "" => whole,
        query => format!("{whole}?{query}"),
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut fleet: Vec<Sketch> = (0..30)
        .map(|number| Sketch::well(&format!("m{number}")))
        .collect();
    fleet.push(Sketch::failed("late.json", "x"));
    fleet.push(Sketch {
        regions: (0..40).map(|number| format!("r{number}")).collect(),
        running: true,
        ..Sketch::well("wide")
    });
    let (board, _) = board(&fleet, false);
    let mut known = BTreeSet::from(["/".to_owned()]);
    let mut queue = VecDeque::from(["/".to_owned()]);
    while let Some(path) = queue.pop_front() {
        let answer = get(&board, &path);
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        if answer.headers()["content-type"] != "text/html; charset=utf-8" {
            continue;
        }
        for address in addresses(text(&answer)) {
            assert!(!address.contains("://"), "{path} leads out: {address}");
            let there = resolve(&path, &address).replace("//", "/");
            if known.insert(there.clone()) {
                queue.push_back(there);
            }
        }
    }
    for wanted in [
        "/mirrors/mirrors/late.json",
        "/mirrors/mirrors/late.json.json",
        "/?page=2",
        "/index.json",
        "/assets/icon.svg",
    ] {
        assert!(known.contains(wanted), "{wanted}: {known:?}");
    }
    assert!(
        known
            .iter()
            .any(|path| path.starts_with("/mirrors/mirrors/wide?page=3")),
        "{known:?}"
    );
}
