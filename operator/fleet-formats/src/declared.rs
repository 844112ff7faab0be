//! Which format reads what a Mirror declares. Whoever has a content block and needs its format asks here.

use std::sync::Arc;

use fleet_api::mirror::{Block, Content};
use fleet_types::Reason;

use crate::arch::Arch;
use crate::debian::Debian;
use crate::seam::{Format, Rejected};

/// The format of a slice. Errors: `InvalidSpec` where the slice cannot be meant, `ContentTypeMismatch` without a block, `InvalidSpec` also for what is not copied.
pub fn declared(content: &Content) -> Result<Arc<dyn Format>, Rejected> {
    Ok(match block(content)? {
        Block::Debian(debian) => Arc::new(Debian::new(debian.clone())?),
        Block::Arch(arch) => Arc::new(Arch::new(arch)?),
        Block::Npm(_) => return Err(not_copied()),
    })
}

/// The format of one unit of a slice, for who only reads what its roots say: what is wrong with another unit, or with
/// rules over payload, is no matter here. Errors as above.
pub fn declared_unit(content: &Content, unit: &str) -> Result<Arc<dyn Format>, Rejected> {
    Ok(match block(content)? {
        Block::Debian(debian) => Arc::new(Debian::of_suite(debian, unit)?),
        Block::Arch(arch) => Arc::new(Arch::of_unit(arch)?),
        Block::Npm(_) => return Err(not_copied()),
    })
}

/// Nobody knows all that a registry has.
fn not_copied() -> Rejected {
    Rejected::new(
        Reason::InvalidSpec,
        "an npm registry is filled on demand and never copied as a whole: it has no runs, in a cluster or in `mirrorfleet local`",
    )
}

fn block(content: &Content) -> Result<Block<'_>, Rejected> {
    let message =
        "spec.content has no block that says what to copy; write the one of the Upstream's type";
    let missing = || Rejected::new(Reason::ContentTypeMismatch, message);
    content.block().ok_or_else(missing)
}
