//! From indices to the want-list: every path that the next snapshot is to hold, sorted on disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_formats::seam::{
    Format, IndexFile, IndexGroup, Item, Payload, Promise, SignaturePolicy, UnitIndex, Unusable,
    Verified,
};
use fleet_store::{EntryState, RunSorter, Sorted};
use fleet_types::{Reason, RepoPath, Sha256, UnitRevision};

use super::given::Given;
use super::indices::Advance;
use super::lost::LostFiles;
use super::memory::OmittedIndex;
use super::presence::{Presence, has_form};
use super::reading::read_group;
use super::root::Root;
use super::run::Ground;
use super::want::{Signed, Want, WantState};
use crate::{LeftOut, Problem};

/// What becomes of a unit in the next snapshot.
pub(super) enum Stance {
    Advance(Arc<Advance>),
    /// Refused; as it is in the base.
    Carry,
    /// Refused, and the base does not have it.
    LeaveOut,
}

/// What a whole plan is made from.
pub(super) struct Gathered {
    pub wants: Sorted<Want>,
    /// By unit.
    pub left_out: BTreeMap<String, LeftOut>,
    /// By unit, the indices that are left out because of what they list.
    pub omitted: Vec<(u16, OmittedIndex)>,
}

/// Collects the wants of one unit after the other.
pub(super) struct Gather<'a> {
    pub(super) ground: &'a Ground,
    sorter: RunSorter<Want>,
    /// Of units that advance, the entries of their indices that cannot be used.
    left_out: BTreeMap<String, LeftOut>,
    /// What cannot be had: the indices that list it are left out where they can be.
    lost: &'a LostFiles,
    omitted: Vec<(u16, OmittedIndex)>,
    /// Content that indices hold themselves.
    given: Given,
}

/// What all that one index of a unit lists has in common.
#[derive(Clone, Copy)]
pub(super) struct Listing {
    pub unit: u16,
    pub state: WantState,
    pub date: i64,
    pub optional: bool,
}

impl Listing {
    /// Of a group of a state that is new: whatever comes into a snapshot, a verified state lists it.
    fn new(unit: u16, date: i64, group: &IndexGroup) -> Listing {
        Listing {
            unit,
            state: WantState::Payload,
            date,
            optional: !group.required,
        }
    }

    /// Of the base: it adds nothing to what is there.
    pub fn carried(unit: u16) -> Listing {
        Listing {
            unit,
            state: WantState::Carried,
            date: 0,
            optional: false,
        }
    }
}

impl<'a> Gather<'a> {
    pub fn new(ground: &'a Ground, lost: &'a LostFiles) -> Gather<'a> {
        Gather {
            ground,
            sorter: RunSorter::new(&ground.stock.shelves.spill_dir()),
            left_out: BTreeMap::new(),
            lost,
            omitted: Vec::new(),
            given: Given::default(),
        }
    }

    pub fn finish(mut self) -> Result<Gathered, Problem> {
        self.given.keep(self.ground)?;
        Ok(Gathered {
            wants: self.sorter.finish()?,
            left_out: self.left_out,
            omitted: self.omitted,
        })
    }

    pub fn unit(&mut self, unit: u16, name: &str, stance: &Stance) -> Result<(), Problem> {
        match stance {
            Stance::Advance(advance) => self.advance(unit, name, advance),
            Stance::Carry => self.carry(unit, name),
            Stance::LeaveOut => Ok(()),
        }
    }

    fn advance(&mut self, unit: u16, name: &str, advance: &Advance) -> Result<(), Problem> {
        let index = &advance.listed.index;
        // What has no date of the upstream's is of now: clients that compare dates would take nothing that is older.
        let date = match index.revision.date {
            UnitRevision::NO_DATE => self.ground.rules.now,
            date => date,
        };
        let mut left_out = LeftOut::default();
        for root in &advance.listed.roots {
            self.root(unit, root, index, date)?;
        }
        for (group, files) in index.groups.iter().zip(&advance.presence) {
            if !has_form(files) && !files.contains(&Presence::Absent) {
                // Left out by the manifest: there is nothing to serve and nothing to ask for.
                continue;
            }
            let omitted = self.why_omitted(group, files)?;
            for (file, presence) in group.files.iter().zip(files) {
                let presence = if omitted.is_some() && *presence != Presence::Excluded {
                    &Presence::Absent
                } else {
                    presence
                };
                self.index_file(unit, file, presence, date)?;
            }
            if let Some(omitted) = omitted {
                self.omitted.push((unit, omitted));
            } else if group.lists_payload {
                let format = self.ground.rules.options.format.as_ref();
                let listing = Listing::new(unit, date, group);
                left_out += self.payload(listing, group, files, format)?;
            }
        }
        if left_out.entries > 0 {
            self.left_out.insert(name.to_owned(), left_out);
        }
        Ok(())
    }

    fn root(
        &mut self,
        unit: u16,
        root: &Root,
        index: &Verified<UnitIndex>,
        date: i64,
    ) -> Result<(), Problem> {
        let Some((path, digest)) = index
            .roots
            .iter()
            .find(|(path, digest)| *path == root.content.path && *digest == root.content.sha256)
        else {
            // Fetched, and not part of what was verified.
            return Ok(());
        };
        let mut want = self.want(unit, path.clone(), WantState::Stored, root.content.size);
        want.sha256 = Some(*digest);
        want.mutable = true;
        want.mtime = root.modified.unwrap_or(date);
        self.push(&want)
    }

    /// An index file under its own name and under its immutable ones.
    fn index_file(
        &mut self,
        unit: u16,
        file: &IndexFile,
        presence: &Presence,
        date: i64,
    ) -> Result<(), Problem> {
        let state = match presence {
            Presence::Here { .. } => WantState::Stored,
            Presence::Absent => WantState::Absent,
            Presence::Excluded => WantState::Excluded,
        };
        let mut want = self.want(unit, file.path.clone(), state, file.expected.size);
        want.set_digest(file.expected.digest);
        want.mutable = file.mutable;
        want.mtime = date;
        if let Presence::Here { digest, modified } = presence {
            want.sha256 = Some(*digest);
            want.mtime = modified.unwrap_or(date);
        }
        self.push(&want)?;
        for alias in &file.aliases {
            (want.path, want.mutable) = (alias.path.clone(), alias.mutable);
            self.push(&want)?;
        }
        Ok(())
    }

    /// An index that clients can do without is left out as a whole where something that it lists cannot be had: they
    /// take another way then, rather than to fail in the middle of this one.
    fn why_omitted(
        &self,
        group: &IndexGroup,
        files: &[Presence],
    ) -> Result<Option<OmittedIndex>, Problem> {
        if group.required || !group.lists_payload {
            return Ok(None);
        }
        let omitted = |why: String, missing| OmittedIndex {
            stem: group.stem.to_string(),
            why,
            missing,
        };
        let mut lost = None;
        let mut unusable = LeftOut::default();
        let format = self.ground.rules.options.format.as_ref();
        let read = read_group(self.ground, true, group, files, format, &mut |item| {
            match item {
                Item::File(payload) => lost = lost.or(self.lost.get(&payload.path)),
                Item::Unusable(entry) => unusable.add(&entry.name, &entry.why),
            }
            Ok(())
        });
        match read {
            Err(problem) if problem.ends_the_run() || problem.reason == Reason::StoreCorrupt => {
                Err(problem)
            }
            Err(problem) => Ok(Some(omitted(problem.message, None))),
            Ok(Some((path, entries))) if unusable.is_too_much(entries) => {
                Ok(Some(omitted(unusable.refused(&path, entries), None)))
            }
            Ok(_) => Ok(lost.map(|lost| omitted(lost.why.clone(), lost.missing.clone()))),
        }
    }

    /// Takes what the best form of an index lists that is here. The result is what of it cannot be used.
    pub(super) fn payload(
        &mut self,
        listing: Listing,
        group: &IndexGroup,
        files: &[Presence],
        format: &dyn Format,
    ) -> Result<LeftOut, Problem> {
        let (ground, is_new) = (self.ground, listing.state != WantState::Carried);
        let mut left_out = LeftOut::default();
        let read = read_group(
            ground,
            is_new,
            group,
            files,
            format,
            &mut |item| match item {
                Item::File(payload) => self.listed_payload(listing, payload),
                Item::Unusable(entry) => self.unusable(listing, &entry, &mut left_out),
            },
        )?;
        match read {
            // Judged when it was accepted.
            _ if !is_new => Ok(LeftOut::default()),
            Some((path, entries)) if left_out.is_too_much(entries) => Err(Problem::new(
                Reason::IndexMalformed,
                left_out.refused(&path, entries),
            )),
            _ => Ok(left_out),
        }
    }

    fn listed_payload(&mut self, listing: Listing, payload: Payload) -> Result<(), Problem> {
        self.ground.watch.stop.check()?;
        let signed = match &payload.promise {
            Promise::SignatureOver { path, signed, .. } => Some((path, signed)),
            Promise::Given { over, .. } => over.as_ref().map(|(path, signed)| (path, signed)),
            Promise::Digest { .. } => None,
        };
        let excluded = !payload.wanted
            || self.excludes(listing, &payload.path)
            || signed.is_some_and(|(path, _)| self.excludes(listing, path));
        let is_unsigned =
            || signed.is_some_and(|(path, content)| self.is_unsigned(&payload.path, path, content));
        let state = match excluded {
            true => WantState::Excluded,
            false if listing.state == WantState::Payload && is_unsigned() => WantState::Absent,
            false => listing.state,
        };
        let mut want = self.want(listing.unit, payload.path, state, 0);
        want.guarded = payload.guarded;
        want.optional = listing.optional;
        want.mtime = listing.date;
        match payload.promise {
            Promise::Digest { expected, exact } => {
                (want.size, want.exact) = (expected.size, exact);
                want.set_digest(expected.digest);
                let can_wait = exact && want.sha256.is_some() && want.state == WantState::Payload;
                if can_wait && self.ground.rules.is_on_demand(&want.path) {
                    want.state = WantState::OnDemand;
                }
            }
            Promise::SignatureOver {
                path,
                signed: sha256,
                max_bytes,
            } => {
                (want.size, want.exact) = (max_bytes, false);
                want.over = Some(Box::new(Signed { path, sha256 }));
            }
            Promise::Given { content, over } => {
                want.size = content.len() as u64;
                want.over = over.map(|(path, sha256)| Box::new(Signed { path, sha256 }));
                want.sha256 = Some(self.given.add(self.ground, content, state)?);
            }
        }
        self.push(&want)?;
        let state = want.state;
        for alias in payload.aliases {
            want.state = match self.excludes(listing, &alias.path) {
                true => WantState::Excluded,
                false => state,
            };
            (want.path, want.mutable) = (alias.path, alias.mutable);
            // What a name stands for that moves on is other content each time.
            want.guarded = payload.guarded && !alias.mutable;
            self.push(&want)?;
        }
        Ok(())
    }

    /// Whether the upstream is known to have no signature there, and need not: in this run, or when the very content that it
    /// would be over was copied.
    fn is_unsigned(&self, path: &RepoPath, signed: &RepoPath, content: &Sha256) -> bool {
        let (rules, stock) = (&self.ground.rules, &self.ground.stock);
        let was_unsigned = || {
            let entry = stock.entry(path);
            entry.is_some_and(|entry| entry.state == EntryState::AbsentUpstream)
                && stock
                    .entry(signed)
                    .is_some_and(|entry| entry.digest == *content)
        };
        rules.options.trust.signatures == SignaturePolicy::Optional
            && (self.lost.get(path).is_some_and(|lost| lost.is_optional) || was_unsigned())
    }

    fn excludes(&self, listing: Listing, path: &RepoPath) -> bool {
        listing.state == WantState::Payload && self.ground.rules.exclude.is_match(path.as_str())
    }

    /// An entry all of whose paths a rule leaves out is not judged.
    fn unusable(
        &mut self,
        listing: Listing,
        entry: &Unusable,
        left_out: &mut LeftOut,
    ) -> Result<(), Problem> {
        self.ground.watch.stop.check()?;
        let mut paths = entry.paths.iter().peekable();
        if paths.peek().is_some() && entry.paths.iter().all(|path| self.excludes(listing, path)) {
            return Ok(());
        }
        left_out.add(&entry.name, &entry.why);
        for path in paths {
            let mut want = self.want(listing.unit, path.clone(), WantState::Unusable, 0);
            want.exact = false;
            self.push(&want)?;
        }
        Ok(())
    }

    pub(super) fn want(&self, unit: u16, path: RepoPath, state: WantState, size: u64) -> Want {
        Want {
            path,
            unit,
            state,
            size,
            exact: true,
            sha256: None,
            sha512: None,
            mutable: false,
            guarded: false,
            optional: false,
            mtime: 0,
            over: None,
        }
    }

    pub(super) fn push(&mut self, want: &Want) -> Result<(), Problem> {
        Ok(self.sorter.push(want)?)
    }
}
