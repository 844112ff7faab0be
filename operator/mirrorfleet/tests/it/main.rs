//! The program as people call it, over archives made by the distribution's own tools.

mod archive;
mod decisions;
mod init;
mod interop;
mod layout;
mod politeness;
mod reference;
mod support;
mod usage;
