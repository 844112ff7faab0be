//! Comparing bytes with all that was promised for them.

use std::fs::File;
use std::io::{self, Read};

use fleet_formats::npm::{Hasher, Integrity};

pub fn hashers(promises: &[Integrity]) -> Vec<Hasher> {
    promises.iter().map(Integrity::hasher).collect()
}

pub fn fits(promises: &[Integrity], hashers: Vec<Hasher>) -> bool {
    let mut pairs = promises.iter().zip(hashers);
    !promises.is_empty() && pairs.all(|(promise, hasher)| promise.fits(hasher))
}

pub fn is_whole(file: &mut File, promises: &[Integrity]) -> io::Result<bool> {
    let mut hashers = hashers(promises);
    let mut piece = vec![0; 256 * 1024];
    loop {
        let count = match file.read(&mut piece) {
            Ok(0) => return Ok(fits(promises, hashers)),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let read = piece.get(..count).unwrap_or_default();
        hashers.iter_mut().for_each(|hasher| hasher.update(read));
    }
}
