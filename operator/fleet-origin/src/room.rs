//! How much may be kept of what was fetched on demand. Decided with plain values.

/// Of what is ours of the volume, the part that stays free where no bound is declared: for whatever else is written there.
const TENTH: u64 = 10;
/// What stays free in any case.
const LEAST_FREE: u64 = 1 << 20;
/// What is given up makes so much more room than is needed just now, since finding it lists all that is kept.
const BEFOREHAND: u64 = 20;

/// What is kept, and the volume that it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What was fetched on demand and is still here.
    pub cached_bytes: u64,
    /// What this process may still write.
    pub free_bytes: u64,
    /// No more than this is to be kept; none where that is not declared.
    pub limit_bytes: Option<u64>,
}

impl Room {
    /// How much of what is kept may be left before so many bytes come; none where nothing has to go.
    pub fn to_keep(&self, bytes: u64) -> Option<u64> {
        if self.cached_bytes.saturating_add(self.free_bytes) < bytes {
            // All of it would not be enough.
            return None;
        }
        let reserve = match self.limit_bytes {
            Some(_) => LEAST_FREE,
            // What others have written is not ours to make good for.
            None => self.cached_bytes.saturating_add(self.free_bytes) / TENTH,
        };
        let limit = self.limit_bytes.unwrap_or(u64::MAX);
        let too_much = self
            .cached_bytes
            .saturating_add(bytes)
            .saturating_sub(limit);
        let too_little = bytes
            .saturating_add(reserve)
            .saturating_sub(self.free_bytes);
        let give_up = too_much.max(too_little);
        let beforehand = self.cached_bytes / BEFOREHAND;
        (give_up > 0 && self.cached_bytes > 0).then(|| {
            self.cached_bytes
                .saturating_sub(give_up.saturating_add(beforehand))
        })
    }

    /// How much may be left where the volume said that it is full, although there seemed to be room for so many bytes.
    pub fn to_keep_when_full(&self, bytes: u64) -> u64 {
        let beforehand = self.cached_bytes / BEFOREHAND;
        self.cached_bytes
            .saturating_sub(bytes.saturating_add(beforehand))
    }

    /// Whether so many bytes can be written.
    pub fn has(&self, bytes: u64) -> bool {
        self.free_bytes >= bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn room(cached: u64, free: u64, limit: Option<u64>) -> Room {
        Room {
            cached_bytes: cached * MIB,
            free_bytes: free * MIB,
            limit_bytes: limit.map(|limit| limit * MIB),
        }
    }

    #[test]
    fn without_a_bound_a_tenth_of_what_is_ours_stays_free() {
        assert_eq!(room(800, 200, None).to_keep(10 * MIB), None);
        let keep = room(900, 100, None).to_keep(10 * MIB).unwrap();
        assert_eq!(keep, (900 - 10 - 45) * MIB);
    }

    #[test]
    fn a_volume_that_others_fill_is_no_reason_to_give_everything_up() {
        // Of a terabyte others have all but this.
        assert_eq!(room(50, 50, None).to_keep(MIB), None);
        let keep = room(95, 5, None).to_keep(MIB).unwrap();
        assert!(keep > 80 * MIB, "{keep}");
    }

    #[test]
    fn with_a_bound_that_counts_and_not_the_volume() {
        assert_eq!(room(90, 5, Some(100)).to_keep(2 * MIB), None);
        let keep = room(99, 500, Some(100)).to_keep(2 * MIB).unwrap();
        assert!(keep <= 98 * MIB && keep > 90 * MIB);
        assert_eq!(
            room(50, 500, Some(100)).to_keep(200 * MIB),
            Some(0),
            "one that is larger than the bound has it alone"
        );
        assert_eq!(
            room(0, 0, Some(100)).to_keep(MIB),
            None,
            "there is nothing to give up"
        );
        assert_eq!(
            room(50, 5, None).to_keep(60 * MIB),
            None,
            "nothing is given up for what is larger than all of it"
        );
    }

    proptest! {
        #[test]
        fn what_is_left_makes_room_as_far_as_there_is_any(
            cached in 0..1000_u64, free in 0..1000_u64, limit in prop::option::of(0..1000_u64), bytes in 0..1000_u64,
        ) {
            let room = room(cached, free, limit);
            let keep = room.to_keep(bytes * MIB);
            let left = keep.unwrap_or(room.cached_bytes);
            prop_assert!(left <= room.cached_bytes);
            let after = Room { cached_bytes: left, free_bytes: room.free_bytes + room.cached_bytes - left, ..room };
            // Once is enough: what comes then needs nothing more, or nothing is left.
            prop_assert!(left == 0 || after.to_keep(bytes * MIB).is_none());
        }
    }
}
