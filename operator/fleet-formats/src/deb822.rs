//! A streaming reader of Debian control files.
