//! Request in, answer out: routing, resolution and conditions. Synchronous; it may wait for the disk, so it runs on
//! threads that may block.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use fleet_store::{Child, Entry, EntryState, Snapshot, SnapshotId};
use http::header::USER_AGENT;
use http::{HeaderMap, Method, StatusCode};

use crate::answer::{Answer, Caching, Content, Counted};
use crate::beside;
use crate::catalog::{Catalog, OURS};
use crate::conditional::{Decision, Validators, decide};
use crate::content_type::content_type;
use crate::listing::{Directory, Line, MirrorLine, directory_page, mirrors_page};
use crate::mirror::{ServedMirror, View};
use crate::path::{Candidate, RequestPath, encode};
use crate::status::{self, MirrorStatus};
use crate::trace;
use crate::transaction::{self, Way};

/// The part of a request that answers depend on.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub method: &'a Method,
    /// The path as it was sent, without query.
    pub path: &'a str,
    pub headers: &'a HeaderMap,
    pub way: Way<'a>,
}

/// Answers one request.
pub fn answer(catalog: &Catalog, asked: Asked<'_>) -> Counted {
    let outside = |answer| Counted {
        answer,
        traffic: catalog.outside.clone(),
    };
    if asked.method != Method::GET && asked.method != Method::HEAD {
        return outside(Answer::method_not_allowed());
    }
    let path = match RequestPath::parse(asked.path) {
        Ok(path) => path,
        Err(error) => return outside(Answer::text(StatusCode::BAD_REQUEST, error.to_string())),
    };
    let mut missed = None;
    for candidate in path.candidates() {
        let counted = route(catalog, asked, candidate);
        if counted.answer.status != StatusCode::NOT_FOUND {
            return counted;
        }
        missed.get_or_insert(counted);
    }
    missed.unwrap_or_else(|| outside(Answer::text(StatusCode::NOT_FOUND, "not found")))
}

/// The documents under `/.mirrorfleet/status`; none for another path.
pub fn status_answer(catalog: &Catalog, path: &str) -> Option<Answer> {
    let path = RequestPath::parse(path).ok()?.decoded?;
    let rest = path.below(OURS)?.below("status")?;
    if rest.path.is_empty() {
        let all: Vec<MirrorStatus> = catalog
            .served()
            .iter()
            .map(|mirror| MirrorStatus::read(mirror))
            .collect();
        return Some(status::answer(&all));
    }
    let served = catalog.served();
    Some(
        match served.iter().find(|mirror| mirror.name() == rest.path) {
            Some(mirror) => status::answer(&MirrorStatus::read(mirror)),
            None => Answer::text(
                StatusCode::NOT_FOUND,
                "no mirror of this name is served here",
            ),
        },
    )
}

fn route(catalog: &Catalog, asked: Asked<'_>, full: &Candidate) -> Counted {
    if let Some(rest) = full.below(OURS) {
        return ours(catalog, asked, full, &rest);
    }
    match catalog.find(full) {
        Some((mirror, rest)) => {
            let lookup = Lookup {
                asked,
                mirror: &mirror,
                full,
                rest: &rest,
                fixed: None,
            };
            Counted {
                answer: lookup.answer(),
                traffic: mirror.traffic.clone(),
            }
        }
        None => {
            let answer = match full.path.is_empty() {
                true => front_page(catalog),
                false => Answer::text(
                    StatusCode::NOT_FOUND,
                    "no mirror is served under this path; / lists those that are",
                ),
            };
            Counted {
                answer,
                traffic: catalog.outside.clone(),
            }
        }
    }
}

fn ours(catalog: &Catalog, asked: Asked<'_>, full: &Candidate, rest: &Candidate) -> Counted {
    let outside = |answer| Counted {
        answer,
        traffic: catalog.outside.clone(),
    };
    if let Some(answer) = status_answer(catalog, asked.path) {
        return outside(answer);
    }
    let kept = rest.below("s").and_then(|below| {
        let (id, below) = below.split_first()?;
        Some((id.parse::<SnapshotId>().ok()?, catalog.find(&below)?))
    });
    match kept {
        Some((id, (mirror, rest))) => {
            let lookup = Lookup {
                asked,
                mirror: &mirror,
                full,
                rest: &rest,
                fixed: Some(id),
            };
            Counted {
                answer: lookup.answer(),
                traffic: mirror.traffic.clone(),
            }
        }
        None => outside(Answer::text(
            StatusCode::NOT_FOUND,
            "here are status/ and s/<snapshot>/<mirror's path>/",
        )),
    }
}

fn front_page(catalog: &Catalog) -> Answer {
    let lines: Vec<MirrorLine> = catalog
        .served()
        .iter()
        .map(|mirror| {
            let view = mirror.view();
            MirrorLine {
                name: mirror.name().to_owned(),
                serving_path: mirror.serving_path().to_owned(),
                snapshot: view
                    .current
                    .as_ref()
                    .map(|current| current.id().to_string()),
                published: view.published,
            }
        })
        .collect();
    Answer::page(mirrors_page(&lines))
}

/// One path of one mirror.
struct Lookup<'a> {
    asked: Asked<'a>,
    mirror: &'a ServedMirror,
    /// The whole path.
    full: &'a Candidate,
    /// What remains of it below the serving path.
    rest: &'a Candidate,
    /// The kept snapshot that the request names, instead of `current`.
    fixed: Option<SnapshotId>,
}

/// What a path stands for.
enum Target {
    File(Entry),
    /// In the snapshot; the path there is another than the one asked for where that leads through a link.
    Directory(Arc<Snapshot>, String),
    /// A trace file.
    Ours(Bytes, i64),
    Nothing,
    /// There is no snapshot to look in: the mirror's first sync has not happened.
    NoSnapshot,
    UnknownSnapshot,
}

impl Lookup<'_> {
    fn answer(&self) -> Answer {
        let view = self.mirror.view();
        let mut target = self.resolve(&view);
        if matches!(target, Target::Nothing | Target::UnknownSnapshot) {
            // Perhaps a snapshot was prepared since.
            target = self.resolve(&self.mirror.wider_view(&view));
        }
        match target {
            Target::File(entry) => {
                let answer = self.transaction(&view, &entry);
                answer.unwrap_or_else(|| self.file(entry, true))
            }
            Target::Directory(snapshot, path) => self.directory(&snapshot, &path),
            Target::Ours(content, modified) => self.ours(content, modified),
            Target::Nothing => Answer::text(StatusCode::NOT_FOUND, "not in this mirror"),
            Target::UnknownSnapshot => {
                Answer::text(StatusCode::NOT_FOUND, "this snapshot is not kept here")
            }
            Target::NoSnapshot => Answer::unavailable(match self.mirror.problem() {
                Some(problem) => format!("this mirror cannot be served: {problem}"),
                None => "this mirror waits for its first sync".to_owned(),
            }),
        }
    }

    fn resolve(&self, view: &View) -> Target {
        let first = match &self.fixed {
            Some(id) => view.snapshot(id).ok_or(Target::UnknownSnapshot),
            None => view.current.as_ref().ok_or(Target::NoSnapshot),
        };
        let first = match first {
            Ok(first) => first,
            Err(target) => return target,
        };
        let path = first.behind_links(&self.rest.path);
        if path.is_empty() || first.is_dir(&path) || beside::leads_to_link(first, &path) {
            return Target::Directory(first.clone(), path.into_owned());
        }
        match view.find(first, &self.rest.path) {
            Some(entry) if !self.rest.directory => Target::File(entry),
            _ => self.resolve_ours(first, &path),
        }
    }

    /// Our own files are no part of a snapshot, and content of one wins.
    fn resolve_ours(&self, first: &Arc<Snapshot>, path: &str) -> Target {
        let traces = match self.fixed {
            Some(_) => None,
            None => beside::traces_for(self.mirror, path),
        };
        let Some(traces) = traces else {
            return Target::Nothing;
        };
        let name = path
            .strip_prefix(trace::DIRECTORY)
            .and_then(|rest| rest.strip_prefix('/'));
        match name {
            None => Target::Directory(first.clone(), path.to_owned()),
            Some(name) => match traces.get(name).filter(|_| !self.rest.directory) {
                Some(content) => Target::Ours(content.clone(), traces.modified),
                None => Target::Nothing,
            },
        }
    }

    /// Whether the answer depends on who asks; if so, the redirect into the current snapshot for those that it helps.
    fn transaction(&self, view: &View, entry: &Entry) -> Option<Answer> {
        let begins = self.fixed.is_none() && entry.mutable;
        let current = view.current.as_ref().filter(|_| begins)?;
        if !self.mirror.begins_transaction(current, &self.rest.path) {
            return None;
        }
        let unchanged = decide(
            self.asked.method,
            self.asked.headers,
            &Validators::of(entry),
        ) == Decision::NotModified;
        let site = match !unchanged && transaction::is_apt(self.asked.headers) {
            true => transaction::other_site(self.asked.way, self.asked.headers),
            false => None,
        };
        let elsewhere = site.map(|site| {
            let path = encode(&self.full.path);
            Answer::elsewhere(&format!("{site}/{OURS}/s/{}/{path}", current.id()))
        });
        let answer = elsewhere.unwrap_or_else(|| self.file(*entry, true));
        Some(answer.varying(USER_AGENT))
    }

    fn ours(&self, content: Bytes, modified: i64) -> Answer {
        let validators = Validators {
            etag: format!("\"{modified:x}-{:x}\"", content.len()),
            modified,
            size: content.len() as u64,
        };
        let decision = decide(self.asked.method, self.asked.headers, &validators);
        Answer::file(
            Content::Bytes(content),
            &validators,
            "text/plain; charset=utf-8",
            Caching::Revalidate,
            decision,
        )
    }

    /// Sends the blob of an entry. It was there when the snapshot was made; if it is gone by now, the snapshot was
    /// collected, and the path is resolved once more.
    fn file(&self, entry: Entry, may_retry: bool) -> Answer {
        let file = match self.mirror.store().open_blob(&entry.digest) {
            Ok(Some(file)) => file,
            Ok(None) if may_retry => {
                return match self.resolve(&self.mirror.fresh_view()) {
                    Target::File(entry) => self.file(entry, false),
                    _ => Answer::text(StatusCode::NOT_FOUND, "no longer in this mirror"),
                };
            }
            Ok(None) => return self.damaged(&entry, "is missing"),
            Err(error) => return self.damaged(&entry, &error.to_string()),
        };
        match file.metadata() {
            Ok(metadata) if metadata.len() == entry.size => self.found(entry, file),
            Ok(metadata) => self.damaged(
                &entry,
                &format!("has {} bytes instead of {}", metadata.len(), entry.size),
            ),
            Err(error) => self.damaged(&entry, &error.to_string()),
        }
    }

    fn found(&self, entry: Entry, file: File) -> Answer {
        let validators = Validators::of(&entry);
        let caching = match entry.mutable && self.fixed.is_none() {
            true => Caching::Revalidate,
            false => Caching::Forever,
        };
        let decision = decide(self.asked.method, self.asked.headers, &validators);
        let content = Content::File {
            file,
            range: 0..entry.size,
        };
        Answer::file(
            content,
            &validators,
            content_type(&self.rest.path),
            caching,
            decision,
        )
    }

    /// Never a short body: a client must be able to tell a damaged mirror from a damaged file.
    fn damaged(&self, entry: &Entry, problem: &str) -> Answer {
        tracing::error!(
            mirror = self.mirror.name(),
            path = self.rest.path,
            blob = %entry.digest,
            "a blob cannot be served, it {problem}; run `mirrorfleet verify`, then sync again"
        );
        Answer::unavailable("this file is damaged in the mirror; another mirror has it")
    }

    /// `path` is the directory's own in the snapshot.
    fn directory(&self, snapshot: &Snapshot, path: &str) -> Answer {
        if !self.full.directory {
            return Answer::moved(&self.full.directory_location());
        }
        if !self.mirror.identity().directory_listing {
            return Answer::text(
                StatusCode::FORBIDDEN,
                "directory listings are switched off for this mirror",
            );
        }
        let (mut lines, mut files) = (Vec::new(), Vec::new());
        for child in snapshot.children(path) {
            match child {
                Child::Directory { name } => lines.push(Line::Directory { name }),
                Child::File { name, entry } if entry.state == EntryState::Present => {
                    files.push(Line::File {
                        name,
                        size: entry.size,
                        modified: entry.mtime,
                    });
                }
                Child::File { .. } => {}
            }
        }
        let traces = match self.fixed {
            Some(_) => None,
            None => beside::traces_for(self.mirror, path),
        };
        beside::add_lines(&mut lines, &mut files, snapshot, traces.as_ref(), path);
        lines.append(&mut files);
        let title = match self.full.path.is_empty() {
            true => "/".to_owned(),
            false => format!("/{}/", self.full.path),
        };
        Answer::page(directory_page(&Directory {
            title: &title,
            snapshot: &snapshot.id().to_string(),
            status: &self.mirror.status_path(),
            lines: &lines,
        }))
    }
}
