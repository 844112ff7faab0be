//! Which folders of blobs there are, as far as the one writer knows: it need not ask the disk for what lies in one that is not
//! there, and a first copy would ask for every file. Who fills the store beside it makes folders too; those it knows once it has
//! put a blob there itself, or has kept the other out.

use std::ffi::OsStr;
use std::sync::atomic::{AtomicBool, Ordering};

use fleet_types::Sha256;

/// By the first byte of the digests in it.
pub(crate) struct Shards([AtomicBool; 256]);

impl Shards {
    pub fn none() -> Shards {
        Shards([const { AtomicBool::new(false) }; 256])
    }

    /// A folder that was found in `blobs/`.
    pub fn found(&self, name: &OsStr) {
        let byte = name.to_str().map(|name| u8::from_str_radix(name, 16));
        if let Some(Ok(byte)) = byte {
            self.made(byte);
        }
    }

    pub fn made(&self, first_byte: u8) {
        if let Some(is_there) = self.0.get(usize::from(first_byte)) {
            is_there.store(true, Ordering::Release);
        }
    }

    /// Whether a blob of this name can be there.
    pub fn may_hold(&self, digest: &Sha256) -> bool {
        let [first, ..] = digest.0;
        let is_there = self.0.get(usize::from(first));
        is_there.is_none_or(|is_there| is_there.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_found_or_made_can_hold_a_blob() {
        let shards = Shards::none();
        for name in ["a0", "zz", "abc", "", "lost+found"] {
            shards.found(OsStr::new(name));
        }
        shards.made(0xff);
        let may_hold = |first: &u8| shards.may_hold(&Sha256([*first; 32]));
        let held: Vec<u8> = (0..=u8::MAX).filter(may_hold).collect();
        assert_eq!(held, [0xa0, 0xff]);
    }
}
