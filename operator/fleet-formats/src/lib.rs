//! Bytes to typed indices, and whether to believe them.
//!
//! No file, no socket and no clock: callers pass bytes, readers and `now`. [`seam`] is where a repository format meets
//! the sync engine; each format is one module beside it ([`debian`], [`arch`]), and [`declared`] tells which one is meant. [`openpgp`] judges signatures, [`decompress`]
//! bounds what a compressed file may become, [`deb822`] reads Debian's control files, [`npm`] the documents of npm's registry, which is filled on demand and has no [`seam`].

pub mod arch;
pub mod deb822;
pub mod debian;
mod declared;
pub mod decompress;
mod filter;
pub mod npm;
pub mod openpgp;
pub mod seam;

pub use declared::{declared, declared_unit};
