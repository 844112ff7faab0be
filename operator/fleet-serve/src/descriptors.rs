//! How the file descriptors that this process may have are shared out.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// However many descriptors there are.
const MAX_CONNECTIONS: usize = 16_384;
const MAX_OPEN_BLOBS: usize = 32_768;
/// Kept free for stores, snapshots, the other listener and the runtime.
const RESERVED: u64 = 64;

/// What each part may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// At most this many connections of clients; each may hold a file too.
    pub connections: usize,
    /// As many more, of mirrors that follow this one: however many copy, clients find a place.
    pub followers: usize,
    /// At most this many answers at once beside the first of each connection: h2 has several on one.
    pub streams: usize,
    /// At most this many blobs are kept open beside those.
    pub open_blobs: usize,
}

impl Shares {
    /// Takes all descriptors that this process may take, and shares them out.
    pub fn take() -> Shares {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        let current = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => raised.current,
            Err(_) => limit.current,
        };
        Shares::of(current.unwrap_or(u64::MAX))
    }

    /// A quarter for connections, of which followers have a quarter, a quarter for their files, an eighth for more files of h2 connections, the rest for
    /// blobs that are kept open.
    fn of(descriptors: u64) -> Shares {
        let quarter = descriptors.saturating_sub(RESERVED) / 4;
        let quarter = usize::try_from(quarter).unwrap_or(usize::MAX);
        let connections = quarter.clamp(16, MAX_CONNECTIONS);
        let followers = connections / 4;
        Shares {
            connections: connections - followers,
            followers,
            streams: (quarter / 2).clamp(8, MAX_CONNECTIONS),
            open_blobs: (quarter + quarter / 2).clamp(16, MAX_OPEN_BLOBS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_their_files_and_open_blobs_fit_together() {
        for descriptors in [256, 1024, 20_000, 1 << 20, u64::MAX] {
            let shares = Shares::of(descriptors);
            let connections = shares.connections + shares.followers;
            assert!(shares.followers > 0 && shares.followers < shares.connections);
            let all = (2 * connections + shares.streams + shares.open_blobs) as u64;
            assert!(all + RESERVED <= descriptors, "{descriptors}: {shares:?}");
        }
    }
}
