//! What the bytes of a tarball must be. Specification: Subresource Integrity, section 3 (<https://www.w3.org/TR/SRI/>).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// The digests by the strongest algorithm that is told; any of them will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Integrity {
    algorithm: Algorithm,
    /// Sorted.
    digests: Vec<Vec<u8>>,
}

/// Weakest first. The weakest is all that packages have that were published before 2017.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    const fn name(self) -> &'static str {
        match self {
            Algorithm::Sha1 => "sha1",
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha512 => "sha512",
        }
    }

    const fn bytes(self) -> usize {
        match self {
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
            Algorithm::Sha384 => 48,
            Algorithm::Sha512 => 64,
        }
    }
}

impl Integrity {
    /// Of `dist.integrity`, or else of `dist.shasum`, which is SHA-1 in hexadecimal digits. None where neither says anything
    /// that can be checked.
    pub fn of(integrity: Option<&str>, shasum: Option<&str>) -> Option<Integrity> {
        integrity.and_then(Integrity::parse).or_else(|| {
            let digest = hex::decode(shasum?).ok()?;
            (digest.len() == Algorithm::Sha1.bytes()).then(|| Integrity {
                algorithm: Algorithm::Sha1,
                digests: vec![digest],
            })
        })
    }

    /// Reads `sha512-… sha1-…`. What is not understood is passed over, as browsers and npm do.
    pub fn parse(text: &str) -> Option<Integrity> {
        let mut strongest: Option<Integrity> = None;
        for word in text.split_ascii_whitespace() {
            let Some((algorithm, digest)) = one(word) else {
                continue;
            };
            match &mut strongest {
                Some(known) if known.algorithm > algorithm => {}
                Some(known) if known.algorithm == algorithm => known.digests.push(digest),
                _ => {
                    strongest = Some(Integrity {
                        algorithm,
                        digests: vec![digest],
                    })
                }
            }
        }
        let mut integrity = strongest?;
        integrity.digests.sort();
        integrity.digests.dedup();
        Some(integrity)
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub fn hasher(&self) -> Hasher {
        match self.algorithm {
            Algorithm::Sha1 => Hasher::Sha1(Sha1::new()),
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha384 => Hasher::Sha384(Sha384::new()),
            Algorithm::Sha512 => Hasher::Sha512(Sha512::new()),
        }
    }

    /// Whether bytes are the right ones by what [`hasher`](Self::hasher) made of them.
    pub fn fits(&self, hasher: Hasher) -> bool {
        let digest = hasher.finish();
        self.digests.contains(&digest)
    }
}

/// The same text for the same bytes.
impl std::fmt::Display for Integrity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, digest) in self.digests.iter().enumerate() {
            let space = if number > 0 { " " } else { "" };
            write!(
                f,
                "{space}{}-{}",
                self.algorithm.name(),
                STANDARD.encode(digest)
            )?;
        }
        Ok(())
    }
}

fn one(word: &str) -> Option<(Algorithm, Vec<u8>)> {
    let (name, digest) = word.split_once('-')?;
    let all = [
        Algorithm::Sha1,
        Algorithm::Sha256,
        Algorithm::Sha384,
        Algorithm::Sha512,
    ];
    let algorithm = all.into_iter().find(|algorithm| algorithm.name() == name)?;
    let digest = STANDARD.decode(digest.split('?').next()?).ok()?;
    (digest.len() == algorithm.bytes()).then_some((algorithm, digest))
}

/// Computes what an [`Integrity`] compares.
#[derive(Debug, Clone)]
pub enum Hasher {
    Sha1(Sha1),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha1(hasher) => hasher.update(bytes),
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha384(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Hasher::Sha1(hasher) => hasher.finalize().to_vec(),
            Hasher::Sha256(hasher) => hasher.finalize().to_vec(),
            Hasher::Sha384(hasher) => hasher.finalize().to_vec(),
            Hasher::Sha512(hasher) => hasher.finalize().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC_SHA512: &str = "sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==";
    const ABC_SHA1: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";

    fn fits(integrity: &Integrity, bytes: &[u8]) -> bool {
        let mut hasher = integrity.hasher();
        hasher.update(bytes);
        integrity.fits(hasher)
    }

    #[test]
    fn the_strongest_that_is_told_counts() {
        let both = format!("sha1-AAAAAAAAAAAAAAAAAAAAAAAAAAA= {ABC_SHA512}");
        let integrity = Integrity::of(
            Some(&both),
            Some("0000000000000000000000000000000000000000"),
        )
        .unwrap();
        assert_eq!(integrity.algorithm(), Algorithm::Sha512);
        assert!(fits(&integrity, b"abc") && !fits(&integrity, b"abd"));
        assert_eq!(integrity.to_string(), ABC_SHA512);
        let old = Integrity::of(None, Some(ABC_SHA1)).unwrap();
        assert!(fits(&old, b"abc") && !fits(&old, b""));
        assert_eq!(Integrity::parse(&old.to_string()), Some(old));
    }

    #[test]
    fn any_of_several_will_do() {
        let other = format!("sha512-{}", STANDARD.encode([7; 64]));
        let either = Integrity::parse(&format!("{ABC_SHA512} {other}")).unwrap();
        assert_eq!(
            Some(&either),
            Integrity::parse(&format!("{other} {ABC_SHA512} {other}")).as_ref()
        );
        assert!(fits(&either, b"abc") && !fits(&either, b"abd"));
    }

    #[test]
    fn what_cannot_be_checked_is_none() {
        for text in ["", "md5-AAAA", "sha512-AAAA", "sha512", "sha512-!!"] {
            assert_eq!(Integrity::parse(text), None, "{text}");
        }
        assert_eq!(Integrity::of(Some("md5-AAAA"), Some("12")), None);
    }
}
