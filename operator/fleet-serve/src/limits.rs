//! What one connection may take of us, in time and in bytes, whichever protocol it speaks.

use std::time::Duration;

/// For a whole request head to arrive; an idle connection is closed after it too.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Without the client taking a single byte.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(120);
pub const MAX_HEAD_BYTES: usize = 32 * 1024;
pub const MAX_HEADERS: usize = 100;
