//! One path of one mirror: what it stands for in the snapshots that are kept, and the answer with its conditions.

use std::sync::Arc;

use bytes::Bytes;
use fleet_store::{Child, Entry, EntryState, Snapshot, SnapshotId};
use fleet_telemetry::OnDemand;
use fleet_types::counted;
use http::header::USER_AGENT;
use http::{Method, StatusCode};

use crate::answer::{Answer, Caching, Content};
use crate::asked::{Asked, NeedsDisk, NotNow};
use crate::beside::{self, OwnFiles};
use crate::blobs::Blob;
use crate::catalog::OURS;
use crate::conditional::{Validators, decide};
use crate::content_type::content_type;
use crate::listing::{Directory, Line, directory_page};
use crate::mirror::ServedMirror;
use crate::path::{Candidate, encode};
use crate::transaction;
use crate::view::{View, served_in};

/// One path of one mirror.
pub struct Lookup<'a> {
    pub asked: Asked<'a>,
    pub mirror: &'a ServedMirror,
    /// The whole path.
    pub full: &'a Candidate<'a>,
    /// What remains of it below the serving path.
    pub rest: &'a Candidate<'a>,
    /// The kept snapshot that the request names, instead of `current`.
    pub fixed: Option<SnapshotId>,
}

/// What a path stands for.
enum Target {
    /// With the snapshot that was to be looked in, where that has it; others may have it too.
    File(Entry, Option<SnapshotId>),
    /// In the snapshot; the path there is another than the one asked for where that leads through a link.
    Directory(Arc<Snapshot>, String),
    /// A file that the mirror publishes about itself.
    Ours(Bytes, i64),
    /// The upstream lists it, and the manifest leaves it out.
    Excluded,
    /// The upstream lists it in a way that nothing can be copied by.
    Unusable,
    Nothing,
    /// There is no snapshot to look in: the mirror's first sync has not happened.
    NoSnapshot,
    UnknownSnapshot,
}

impl Lookup<'_> {
    pub fn answer(&self) -> Result<Answer, NotNow> {
        let view = match self.asked.may_block {
            true => self.mirror.view(),
            false => self.mirror.view_at_hand(self.asked.at).ok_or(NeedsDisk)?,
        };
        let is_damaged = view.is_damaged();
        if let Some(answer) = self.open(&view).filter(|_| !is_damaged) {
            return Ok(answer);
        }
        let mut target = self.resolve(&view);
        if is_damaged {
            // What was not found may be what can no longer be read.
            self.asked.disk()?;
            target = self.resolve(&self.mirror.fresh_view());
        }
        if matches!(
            target,
            Target::Nothing | Target::Excluded | Target::Unusable | Target::UnknownSnapshot
        ) {
            self.asked.disk()?;
            // Perhaps a snapshot was prepared since.
            target = self.resolve(&self.mirror.wider_view(&view));
        }
        Ok(match target {
            Target::File(entry, of) => match self.transaction(&view, &entry, of)? {
                Some(answer) => answer,
                None => self.file(entry, of, true)?,
            },
            Target::Directory(snapshot, path) => {
                self.asked.disk()?;
                self.directory(&snapshot, &path)
            }
            Target::Ours(content, modified) => self.ours(content, modified),
            Target::Nothing => Answer::text(StatusCode::NOT_FOUND, "not in this mirror"),
            Target::Excluded => Answer::text(
                StatusCode::NOT_FOUND,
                "excluded by this mirror's manifest; the upstream has it",
            ),
            Target::Unusable => Answer::text(
                StatusCode::NOT_FOUND,
                "left out: its entry in the upstream's index cannot be used; the sync's report says why",
            ),
            Target::UnknownSnapshot => {
                Answer::text(StatusCode::NOT_FOUND, "this snapshot is not kept here")
            }
            Target::NoSnapshot => Answer::unavailable(match self.mirror.problem() {
                Some(problem) => format!("this mirror cannot be served: {problem}"),
                None => "this mirror waits for its first sync".to_owned(),
            }),
        })
    }

    /// The file that is asked for, if there is one. Blocks on the disk.
    pub fn entry(&self) -> Option<Entry> {
        match self.resolve(&self.mirror.view()) {
            Target::File(entry, _) => Some(entry),
            _ => None,
        }
    }

    /// A file whose name never gets other content, where it is open: nearly all requests of a busy mirror.
    fn open(&self, view: &View) -> Option<Answer> {
        if self.rest.directory {
            return None;
        }
        let of = self.first(view)?.id();
        let (entry, blob) = self
            .mirror
            .blobs
            .known(&self.rest.path, &of, self.asked.at)?;
        self.count(&entry, OnDemand::Stored);
        Some(self.found(entry, Some(of), blob))
    }

    /// The snapshot to look in.
    fn first<'v>(&self, view: &'v View) -> Option<&'v Arc<Snapshot>> {
        match &self.fixed {
            Some(id) => view.snapshot(id),
            None => view.current.as_ref(),
        }
    }

    fn resolve(&self, view: &View) -> Target {
        let Some(first) = self.first(view) else {
            // Where the current snapshot is damaged the others still hold what never changes.
            let elsewhere = || match self.rest.directory {
                true => None,
                false => view.find_elsewhere(&self.rest.path),
            };
            return match self.fixed {
                Some(_) => Target::UnknownSnapshot,
                None => elsewhere().map_or(Target::NoSnapshot, |entry| Target::File(entry, None)),
            };
        };
        // No path is a file and a directory of one snapshot, and most requests are for files.
        match served_in(first, &self.rest.path) {
            Some(entry) if !self.rest.directory => return Target::File(entry, Some(first.id())),
            Some(_) => return Target::Nothing,
            None => {}
        }
        let path = first.behind_links(&self.rest.path);
        if path.is_empty() || first.is_dir(&path) || beside::leads_to_link(first, &path) {
            return Target::Directory(first.clone(), path.into_owned());
        }
        match view.find_elsewhere(&self.rest.path) {
            Some(entry) if !self.rest.directory => Target::File(entry, None),
            None => match left_out(first, &path) {
                Some(target) => target,
                None => self.resolve_ours(first, &path),
            },
            _ => self.resolve_ours(first, &path),
        }
    }

    /// Our own files are no part of a snapshot, and content of one wins.
    fn resolve_ours(&self, first: &Arc<Snapshot>, path: &str) -> Target {
        // Where answering must not wait for the disk, nothing is found here, and the caller asks again where it may.
        let own = match self.fixed {
            None if self.asked.may_block => OwnFiles::of(self.mirror, &first.id()),
            _ => None,
        };
        let Some(own) = own else {
            return Target::Nothing;
        };
        match own.get(path).filter(|_| !self.rest.directory) {
            Some(content) => Target::Ours(content, own.modified()),
            None if own.lie_below(path) => Target::Directory(first.clone(), path.to_owned()),
            None => Target::Nothing,
        }
    }

    /// Whether the answer depends on who asks; if so, the redirect into the current snapshot for those that it helps.
    fn transaction(
        &self,
        view: &View,
        entry: &Entry,
        of: Option<SnapshotId>,
    ) -> Result<Option<Answer>, NotNow> {
        let begins = self.fixed.is_none() && entry.mutable;
        let Some(current) = view.current.as_ref().filter(|_| begins) else {
            return Ok(None);
        };
        let opens = self.mirror.begins_transaction(current, &self.rest.path);
        let is_signed = self.mirror.keeps_pairs() && self.has_signature(current);
        if !opens && !is_signed {
            return Ok(None);
        }
        let proxies = self.mirror.lists().proxies();
        let front = self.asked.front(&proxies);
        let place = || {
            let (at, below) = (encode(self.mirror.serving_path()), encode(&self.rest.path));
            let at = if at.is_empty() { at } else { format!("/{at}") };
            format!("/{OURS}/s{at}/{}/{below}", current.id())
        };
        if is_signed && transaction::is_pacman(self.asked.headers) {
            let place = front.prefix.clone() + &place();
            return Ok(Some(Answer::elsewhere(place).varying(USER_AGENT)));
        }
        let plain = self.file(*entry, of, true)?;
        let unchanged = plain.status == StatusCode::NOT_MODIFIED;
        let site = match opens && !unchanged && transaction::is_apt(self.asked.headers) {
            true => transaction::other_site(self.asked.way, self.asked.headers, &front),
            false => None,
        };
        let elsewhere = site.map(|site| Answer::elsewhere(site + &place()));
        let answer = elsewhere.unwrap_or(plain);
        Ok(Some(answer.varying(USER_AGENT)))
    }

    /// Whether the file that is asked for has a signature beside it.
    fn has_signature(&self, current: &Snapshot) -> bool {
        let signature = current.get(&format!("{}.sig", self.rest.path));
        signature.is_some_and(|signature| signature.state == EntryState::Present)
    }

    fn ours(&self, content: Bytes, modified: i64) -> Answer {
        let validators = Validators::of_text(modified, content.len());
        let decision = decide(self.asked.method, self.asked.headers, &validators);
        Answer::file(
            Content::Bytes(content),
            &validators,
            || "text/plain; charset=utf-8",
            Caching::Revalidate,
            decision,
        )
    }

    /// Sends the blob of an entry. It was there when the snapshot was made; if it is gone by now, the snapshot was
    /// collected, and the path is resolved once more.
    fn file(
        &self,
        entry: Entry,
        of: Option<SnapshotId>,
        may_retry: bool,
    ) -> Result<Answer, NotNow> {
        let (blobs, path) = (&self.mirror.blobs, &self.rest.path);
        if let Some(blob) = blobs.at_hand(path, &entry, of) {
            self.count(&entry, OnDemand::Stored);
            return Ok(self.found(entry, of, blob));
        }
        self.asked.disk()?;
        if entry.state == EntryState::NotYetFetched {
            return self.on_demand(entry, of);
        }
        Ok(match blobs.open(path, &entry, of) {
            Ok(Some(blob)) if blob.size == entry.size => self.found(entry, of, blob),
            Ok(Some(blob)) => self.damaged(
                &entry,
                &format!(
                    "has {} instead of {}",
                    counted(blob.size, "byte"),
                    entry.size
                ),
            ),
            Ok(None) if may_retry => match self.resolve(&self.mirror.fresh_view()) {
                Target::File(entry, of) => self.file(entry, of, false)?,
                _ => Answer::text(StatusCode::NOT_FOUND, "no longer in this mirror"),
            },
            Ok(None) => self.damaged(&entry, "is missing"),
            Err(error) => self.damaged(&entry, &error),
        })
    }

    pub(super) fn found(&self, entry: Entry, of: Option<SnapshotId>, blob: Arc<Blob>) -> Answer {
        let validators = blob.validators(self.mirror.modified(&entry, of));
        let caching = self.caching(&entry);
        let decision = decide(self.asked.method, self.asked.headers, &validators);
        let content = Content::File {
            blob,
            range: 0..entry.size,
        };
        Answer::file(
            content,
            &validators,
            || content_type(&self.rest.path),
            caching,
            decision,
        )
    }

    /// What a snapshot has under a name never changes, but for the date that pacman compares, where somebody goes back to it.
    pub(super) fn caching(&self, entry: &Entry) -> Caching {
        let changes = self.fixed.is_none() || transaction::is_pacman(self.asked.headers);
        match entry.mutable && changes {
            true => Caching::Revalidate,
            false => Caching::Forever,
        }
    }

    /// Never a short body: a client must be able to tell a damaged mirror from a damaged file.
    fn damaged(&self, entry: &Entry, problem: &str) -> Answer {
        if self.mirror.suspect(&self.rest.path, entry) {
            tracing::error!(
                mirror = self.mirror.name(),
                path = &*self.rest.path,
                blob = %entry.digest,
                "a blob cannot be served, it {problem}; the next sync fetches it again"
            );
        }
        Answer::unavailable("this file is damaged in the mirror; another mirror has it")
    }

    /// `path` is the directory's own in the snapshot.
    fn directory(&self, snapshot: &Snapshot, path: &str) -> Answer {
        let proxies = self.mirror.lists().proxies();
        let prefix = self.asked.front(&proxies).prefix;
        if !self.full.directory {
            return Answer::moved(&(prefix + &self.full.directory_location()));
        }
        if !self.mirror.identity().directory_listing {
            return Answer::text(
                StatusCode::FORBIDDEN,
                "directory listings are switched off for this mirror",
            );
        }
        if self.asked.method == Method::HEAD {
            return Answer::page_head();
        }
        let (mut lines, mut files) = (Vec::new(), Vec::new());
        for child in snapshot.children(path) {
            match child {
                Child::Directory { name } => lines.push(Line::Directory { name }),
                Child::File { name, entry } if entry.state.is_offered() => {
                    files.push(Line::File {
                        name,
                        size: entry.size,
                        modified: self.mirror.modified(&entry, Some(snapshot.id())),
                    });
                }
                Child::File { .. } => {}
            }
        }
        if snapshot.is_damaged() {
            return Answer::unavailable(
                "the index of this mirror is damaged; ask again".to_owned(),
            );
        }
        let own = match self.fixed {
            Some(_) => None,
            None => OwnFiles::of(self.mirror, &snapshot.id()),
        };
        beside::add_lines(&mut lines, &mut files, snapshot, own.as_ref(), path);
        lines.append(&mut files);
        let title = match self.full.path.is_empty() {
            true => "/".to_owned(),
            false => format!("/{}/", self.full.path),
        };
        Answer::page(directory_page(&Directory {
            title: &title,
            snapshot: &snapshot.id().to_string(),
            status: &(prefix + &self.mirror.status_path()),
            lines: &lines,
        }))
    }
}

fn left_out(snapshot: &Snapshot, path: &str) -> Option<Target> {
    let entry = snapshot.get(path)?;
    match entry.state {
        EntryState::Excluded if entry.is_unusable() => Some(Target::Unusable),
        EntryState::Excluded => Some(Target::Excluded),
        _ => None,
    }
}
