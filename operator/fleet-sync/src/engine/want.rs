//! What a snapshot is to hold, path by path: the records of the want-list, and what several units say about one path.

use fleet_store::{Entry, EntryState, NO_DIGEST, Record};
use fleet_types::{Digest, Expected, RepoPath, Sha256};

/// What one unit says about one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Want {
    pub path: RepoPath,
    pub unit: u16,
    pub state: WantState,
    pub size: u64,
    /// False where the index gives digests only: `size` is then the most that it may have.
    pub exact: bool,
    /// At least one of the two is given, but of what is [`WantState::Unusable`] and of what is `over` another file.
    pub sha256: Option<Sha256>,
    pub sha512: Option<[u8; 64]>,
    pub mutable: bool,
    pub guarded: bool,
    /// Listed by an index that is left out where this cannot be had.
    pub optional: bool,
    /// What to say in Last-Modified where the upstream says nothing better.
    pub mtime: i64,
    /// The file that it must be a good signature over.
    pub over: Option<Box<Signed>>,
}

/// A file that another one signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signed {
    pub path: RepoPath,
    pub sha256: Sha256,
}

/// How the content of a path comes to be there. Where several units want a path, the first of these counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum WantState {
    /// A root or an index: it is in the store.
    Stored,
    /// Payload: in the store, or to be fetched.
    Payload,
    /// Payload that is fetched when somebody asks for it: whether it is in the store makes no difference.
    OnDemand,
    /// As it is in the base.
    Carried,
    Absent,
    /// A rule leaves it out: what the index says about it is not judged.
    Excluded,
    /// Its entry in the index says too little: nobody lists it, and a client learns why it is not there.
    Unusable,
}

impl WantState {
    /// Whether there is to be no content, whatever the upstream has.
    pub fn is_left_out(self) -> bool {
        matches!(self, WantState::Excluded | WantState::Unusable)
    }
}

/// What all units together say about one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub want: Want,
    /// The units for which it is in `want`'s state, ascending: what one leaves out is no matter of that unit, nor what it
    /// can do without.
    pub units: Vec<u16>,
    /// All units that list it, wanted or excluded, ascending.
    pub listing: Vec<u16>,
}

/// Two units, or one unit twice, that say different things about one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disagreement {
    pub path: RepoPath,
    pub first: u16,
    pub second: u16,
    pub digests: (String, String),
    /// One of the two is of an index that can be left out.
    pub optional: bool,
}

impl Want {
    /// Payload of `content` many bytes with a digest that says so, for tests.
    #[cfg(test)]
    pub fn payload(path: &str, unit: u16, content: u8) -> Want {
        Want {
            path: RepoPath::new(path).unwrap(),
            unit,
            state: WantState::Payload,
            size: u64::from(content),
            exact: true,
            sha256: Some(Sha256([content; 32])),
            sha512: None,
            mutable: false,
            guarded: true,
            optional: false,
            mtime: 0,
            over: None,
        }
    }

    pub fn set_digest(&mut self, digest: Digest) {
        match digest {
            Digest::Sha256(digest) => self.sha256 = Some(digest),
            Digest::Sha512(digest) => self.sha512 = Some(digest),
            Digest::Md5(_) | Digest::Sha1(_) => {}
        }
    }

    /// What a fetched body must be.
    pub fn expected(&self) -> Option<Expected> {
        let digest = self
            .sha256
            .map(Digest::Sha256)
            .or(self.sha512.map(Digest::Sha512))?;
        Some(Expected {
            size: self.size,
            digest,
        })
    }

    /// The size as far as it is known before the content is there.
    pub fn known_size(&self) -> u64 {
        if self.exact { self.size } else { 0 }
    }

    pub fn digest_text(&self) -> String {
        match (&self.over, self.expected()) {
            (Some(signed), _) => format!("a signature over {:?}", signed.sha256),
            (None, Some(expected)) => format!("{:?}", expected.digest),
            (None, None) => "no digest".to_owned(),
        }
    }

    /// Whether an entry of a snapshot is about the same content; none where the two have no digest in common.
    pub fn same_content(&self, entry: &Entry) -> Option<bool> {
        if self.exact && self.size != entry.size {
            return Some(false);
        }
        let by_sha256 = self
            .sha256
            .filter(|_| entry.digest != NO_DIGEST)
            .map(|digest| digest == entry.digest);
        let by_sha512 = self
            .sha512
            .zip(entry.sha512)
            .map(|(ours, theirs)| ours == theirs);
        match (by_sha256, by_sha512) {
            (Some(a), Some(b)) => Some(a && b),
            (a, b) => a.or(b),
        }
    }

    /// The entry for this path with content that is known.
    pub fn entry(&self, state: EntryState, digest: Option<Sha256>, mtime: i64) -> Entry {
        Entry {
            state,
            digest: digest.or(self.sha256).unwrap_or(NO_DIGEST),
            size: self.size,
            mtime,
            mutable: self.mutable,
            guarded: self.guarded,
            sha512: self.sha512,
        }
    }

    /// The unit, where it cannot do without it.
    fn needing(&self) -> Vec<u16> {
        match self.optional && self.state == WantState::Payload {
            true => Vec::new(),
            false => vec![self.unit],
        }
    }

    fn agrees_with(&self, other: &Want) -> bool {
        let differ = |a: Option<&[u8]>, b: Option<&[u8]>| a.zip(b).is_some_and(|(a, b)| a != b);
        (self.size == other.size || !self.exact || !other.exact)
            && self.over == other.over
            && !differ(
                self.sha256.as_ref().map(|d| d.0.as_slice()),
                other.sha256.as_ref().map(|d| d.0.as_slice()),
            )
            && !differ(
                self.sha512.as_ref().map(<[u8; 64]>::as_slice),
                other.sha512.as_ref().map(<[u8; 64]>::as_slice),
            )
    }
}

impl Wanted {
    pub fn new(want: Want) -> Wanted {
        let listing = if want.state == WantState::Unusable {
            Vec::new()
        } else {
            vec![want.unit]
        };
        Wanted {
            units: want.needing(),
            want,
            listing,
        }
    }

    /// Adds what another unit says about the same path.
    pub fn add(&mut self, other: Want) -> Result<(), Disagreement> {
        if other.state != WantState::Unusable {
            add_unit(&mut self.listing, other.unit);
        }
        match (self.want.state.is_left_out(), other.state.is_left_out()) {
            (false, true) => return Ok(()),
            (true, left_out) if !left_out || other.state < self.want.state => {
                self.units = other.needing();
                self.want = other;
                return Ok(());
            }
            (true, _) => {
                add_unit(&mut self.units, other.unit);
                return Ok(());
            }
            (false, false) => {}
        }
        if !self.want.agrees_with(&other) {
            return Err(Disagreement {
                path: other.path.clone(),
                first: self.want.unit,
                second: other.unit,
                digests: (self.want.digest_text(), other.digest_text()),
                optional: self.want.optional || other.optional,
            });
        }
        for unit in other.needing() {
            add_unit(&mut self.units, unit);
        }
        self.want.optional &= other.optional;
        if other.exact && !self.want.exact {
            (self.want.size, self.want.exact) = (other.size, true);
        }
        self.want.sha256 = self.want.sha256.or(other.sha256);
        self.want.sha512 = self.want.sha512.or(other.sha512);
        self.want.guarded |= other.guarded;
        self.want.mutable |= other.mutable;
        self.want.mtime = self.want.mtime.min(other.mtime);
        self.want.state = self.want.state.min(other.state);
        Ok(())
    }
}

/// Units come in ascending order.
fn add_unit(units: &mut Vec<u16>, unit: u16) {
    if units.last() != Some(&unit) {
        units.push(unit);
    }
}

impl Record for Want {
    /// A NUL ends the path, so that records have the order of their paths.
    fn write_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.path.as_str().as_bytes());
        out.push(0);
        out.extend_from_slice(&self.unit.to_be_bytes());
    }

    fn write_value(&self, out: &mut Vec<u8>) {
        let flags = u8::from(self.mutable)
            | u8::from(self.guarded) << 1
            | u8::from(self.sha256.is_some()) << 2
            | u8::from(self.sha512.is_some()) << 3
            | u8::from(self.exact) << 4
            | u8::from(self.optional) << 5
            | u8::from(self.over.is_some()) << 6;
        out.extend_from_slice(&[self.state as u8, flags]);
        out.extend_from_slice(&self.size.to_le_bytes());
        out.extend_from_slice(&self.mtime.to_le_bytes());
        out.extend_from_slice(self.sha256.as_ref().map_or(&[][..], |digest| &digest.0));
        out.extend_from_slice(self.sha512.as_ref().map_or(&[][..], |digest| digest));
        if let Some(signed) = &self.over {
            out.extend_from_slice(&signed.sha256.0);
            out.extend_from_slice(signed.path.as_str().as_bytes());
        }
    }

    fn read(key: &[u8], value: &[u8]) -> Option<Self> {
        let (path, unit) = key.split_at_checked(key.len().checked_sub(3)?)?;
        let [0, high, low] = unit else { return None };
        let (&[state, flags], rest) = value.split_first_chunk::<2>()?;
        let (size, rest) = rest.split_first_chunk::<8>()?;
        let (mtime, rest) = rest.split_first_chunk::<8>()?;
        let (sha256, rest) = if flags & 4 != 0 {
            rest.split_first_chunk::<32>()
                .map(|(d, rest)| (Some(Sha256(*d)), rest))?
        } else {
            (None, rest)
        };
        let (sha512, rest) = if flags & 8 != 0 {
            rest.split_first_chunk::<64>()
                .map(|(d, rest)| (Some(*d), rest))?
        } else {
            (None, rest)
        };
        let over = if flags & 64 != 0 {
            let (sha256, path) = rest.split_first_chunk::<32>()?;
            Some(Box::new(Signed {
                path: RepoPath::new(std::str::from_utf8(path).ok()?).ok()?,
                sha256: Sha256(*sha256),
            }))
        } else {
            None
        };
        Some(Want {
            path: RepoPath::new(std::str::from_utf8(path).ok()?).ok()?,
            unit: u16::from_be_bytes([*high, *low]),
            state: WantState::read(state)?,
            size: u64::from_le_bytes(*size),
            sha256,
            sha512,
            mutable: flags & 1 != 0,
            guarded: flags & 2 != 0,
            exact: flags & 16 != 0,
            optional: flags & 32 != 0,
            mtime: i64::from_le_bytes(*mtime),
            over,
        })
    }
}

impl WantState {
    fn read(number: u8) -> Option<WantState> {
        use WantState::*;
        [
            Stored, Payload, OnDemand, Carried, Absent, Excluded, Unusable,
        ]
        .into_iter()
        .find(|state| *state as u8 == number)
    }
}
