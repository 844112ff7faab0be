//! Where a repository format meets the sync engine.
//!
//! The engine knows how to fetch, bound, store, merge and publish; a [`Format`] knows which files say what a
//! repository holds, whether they can be believed, and what they list. An upstream's state is told in three layers:
//!
//! 1. **roots**: few small files per unit that carry or are covered by the signature (Debian: `InRelease`);
//! 2. **indices**: the files that a verified root lists with size and digest (Debian: `Packages.xz`);
//! 3. **payload**: what the indices list, again with size and digest (Debian: the packages), or by another [`Promise`]: a
//!    signature over a package, or bytes that the index itself holds.
//!
//! A root may be an index as well: its unit lists it by the digest that it has, and it is not fetched twice.
//!
//! Adding a format means one module that implements [`Format`], one content block in the Mirror resource and one line
//! where the manifest is turned into a format.

mod listed;
mod refusal;
mod root;
mod state_files;
mod trust;

use std::borrow::Borrow;
use std::io::Read;
use std::ops::{ControlFlow, Deref};

use fleet_types::{Reason, Relation, RepoPath, Sha256, UnitRevision};

pub use self::listed::{
    Alias, Compression, IndexFile, IndexGroup, Item, Lack, Link, Payload, Promise, UnitIndex,
    Unusable,
};
pub use self::refusal::Rejected;
pub use self::root::{Reread, RootContent, RootFile, RootPlan};
pub use self::state_files::{Clock, StateFiles, Told, UpstreamWord};
pub use self::trust::{
    Allowances, AllowedState, SignaturePolicy, Trust, VerifyContext, let_through,
};

/// A repository format with its declared slice (for Debian: suites, components, architectures, include switches).
pub trait Format: Send + Sync {
    /// The parts that are signed, refused and carried forward on their own, in declared order (Debian: suites).
    fn units(&self) -> Vec<String>;

    /// Which files to ask for to learn the state of a unit.
    fn roots(&self, unit: &str) -> Result<RootPlan, Rejected>;

    /// Which files to ask for besides, given the roots that there are, because nothing signed lists them and nothing
    /// signed need: for each the names that it may have, of which the first that exists is taken. They go to
    /// [`Format::verify`] with the roots, which lists them by what they are. Only for [`SignaturePolicy::None`].
    fn unlisted(&self, unit: &str, roots: &[RootContent]) -> Result<Vec<Vec<RootFile>>, Rejected> {
        let _ = (unit, roots);
        Ok(Vec::new())
    }

    /// What it knows of files about the upstream as a whole and about the copy itself.
    fn state_files(&self) -> &dyn StateFiles {
        &state_files::Nothing
    }

    /// Folders of this state in which links may stand for files: each with the folder that has the same files under the same
    /// names (Arch: `core/os/x86_64`, `pool/packages`). For trees that others copy.
    fn twin_folders(&self, revision: &[UnitRevision]) -> Vec<(String, String)> {
        let _ = revision;
        Vec::new()
    }

    /// How state `a` of a unit stands to its state `b`.
    fn compare(&self, a: &UnitRevision, b: &UnitRevision) -> Relation {
        a.compare(b)
    }

    /// What the roots of a unit list. With a context, only where they can be believed: every obligation of a verification
    /// (signature, rollback, freeze, unit, pair) is discharged here. Without one, what they say of it, whoever made them
    /// and however old they are.
    fn unit_index(
        &self,
        unit: &str,
        roots: &[RootContent],
        context: Option<&VerifyContext<'_>>,
    ) -> Result<UnitIndex, Rejected>;

    /// For what was verified when it was stored, and for those who only want to know what somebody says. Nothing new is
    /// published from it.
    fn read(&self, unit: &str, roots: &[RootContent]) -> Result<UnitIndex, Rejected> {
        self.unit_index(unit, roots, None)
    }

    /// Decides whether the roots of a unit can be believed, and what they list.
    fn verify(
        &self,
        unit: &str,
        roots: &[RootContent],
        context: &VerifyContext<'_>,
    ) -> Result<Verified<UnitIndex>, Rejected> {
        self.unit_index(unit, roots, Some(context)).map(Verified)
    }

    /// Whether a state that is believed may come after the one that is served, by what both hold; what people should know
    /// of it. Asked once for each new state. Errors hold the unit; `RollbackDetected` a person can let through.
    fn judge_change(&self, unit: &str, change: &Change<'_>) -> Result<Vec<String>, Rejected> {
        let _ = (unit, change);
        Ok(Vec::new())
    }

    /// Where the signature over this payload is that [`Format::check_signature`] judges; none where nothing signs it by itself.
    fn signature_of(&self, payload: &RepoPath) -> Option<RepoPath> {
        let _ = payload;
        None
    }

    /// Whether `signature` is one over `content`, by enough of those whom `trust` names; the keys that made it, as
    /// [`Format::check_signers`] knows them. Only called for what is promised as a signature. `now` in seconds since
    /// 1970-01-01T00:00:00Z.
    fn check_signature(
        &self,
        content: &mut dyn Read,
        signature: &[u8],
        trust: &Trust,
        now: i64,
    ) -> Result<Vec<String>, Rejected> {
        let _ = (content, signature, trust, now);
        let message = "signatures over single files are not known of this format";
        Err(Rejected::new(Reason::SignatureBad, message))
    }

    /// Whether a signature still counts of which [`Format::check_signature`] found earlier that `signers` made it; perhaps
    /// they were believed by other keys then.
    fn check_signers(
        &self,
        signature: &[u8],
        signers: &[String],
        trust: &Trust,
        now: i64,
    ) -> Result<(), Rejected> {
        let _ = (signature, signers, trust, now);
        let message = "signatures over single files are not known of this format";
        Err(Rejected::new(Reason::SignatureBad, message))
    }

    /// Whether a payload brings keys with it by which others are judged.
    fn holds_keys(&self, payload: &RepoPath, trust: &Trust) -> bool {
        let _ = (payload, trust);
        false
    }

    /// `trust` with what such payloads hold: candidates, which count by what `trust` says of them, and what takes trust away.
    fn with_keys(
        &self,
        payloads: &mut [Box<dyn Read + Send>],
        trust: &Trust,
    ) -> Result<Trust, Rejected> {
        let _ = payloads;
        Ok(trust.clone())
    }

    /// Decides whether a signature counts for a file: `content` and `signature` are the bytes that `claim` names. With it,
    /// who made it.
    fn endorse(
        &self,
        claim: Endorsement,
        content: &mut dyn Read,
        signature: &[u8],
        trust: &Trust,
        now: i64,
    ) -> Result<(Verified<Endorsement>, Vec<String>), Rejected> {
        let signers = self.check_signature(content, signature, trust, now)?;
        Ok((Verified(claim), signers))
    }

    /// As [`Format::endorse`], of a signature that these keys are known to have made over the file.
    fn endorse_again(
        &self,
        claim: Endorsement,
        signature: &[u8],
        signers: &[String],
        trust: &Trust,
        now: i64,
    ) -> Result<Verified<Endorsement>, Rejected> {
        self.check_signers(signature, signers, trust, now)?;
        Ok(Verified(claim))
    }

    /// Reads one index file, *already decompressed and bounded by the caller*, as a stream and reports what it lists.
    /// `group` is the one that [`UnitIndex::groups`] gave. Only called for groups with `lists_payload`. The result is
    /// how many entries (Debian: stanzas) the index has; an entry that cannot be used costs only itself, and what the
    /// declared slice leaves out is not judged. An error is about the index as a whole. `found` can end the reading, with
    /// the entries so far as the result.
    fn read_index(
        &self,
        group: &IndexGroup,
        content: &mut dyn Read,
        found: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<u64, Rejected>;
}

/// A new state of a unit beside the one that is served.
pub struct Change<'a> {
    /// Reads the roots of the old one.
    pub old: &'a dyn Fn() -> Result<Vec<RootContent>, Rejected>,
    pub new: &'a [RootContent],
    /// Whether the upstream's clock says that the new one is not older.
    pub is_clocked: bool,
}

/// Something that passed its verification: only [`Format::verify`] and [`Format::endorse`] make one, and it stays one until
/// what it says is published.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Verified<T>(T);

impl<T> Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// So that it is found by what it says.
impl<T> Borrow<T> for Verified<T> {
    fn borrow(&self) -> &T {
        &self.0
    }
}

/// That one file is a good signature over another, each by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endorsement {
    pub signature: Sha256,
    pub signed: Sha256,
}
