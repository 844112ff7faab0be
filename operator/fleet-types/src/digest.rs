//! Content digests: the store's own (SHA-256) and those that upstream indices list.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The SHA-256 of some content; also the name of a blob in the store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

/// A text that is not the hexadecimal form of a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    #[error("a {algorithm} digest has {expected} hexadecimal digits, this one has {found}")]
    Length {
        algorithm: HashAlgorithm,
        expected: usize,
        found: usize,
    },
    #[error("a digest consists of hexadecimal digits only")]
    NotHexadecimal,
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hexadecimal(&self.0, f)
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256 {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Self, DigestError> {
        match Digest::parse(HashAlgorithm::Sha256, text)? {
            Digest::Sha256(digest) => Ok(digest),
            _ => Err(DigestError::NotHexadecimal),
        }
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The hash algorithms that repository indices use, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HashAlgorithm {
    Md5,
    Sha1,
    Sha256,
    Sha512,
}

impl HashAlgorithm {
    /// Length of the digest in bytes.
    pub const fn digest_len(self) -> usize {
        match self {
            HashAlgorithm::Md5 => 16,
            HashAlgorithm::Sha1 => 20,
            HashAlgorithm::Sha256 => 32,
            HashAlgorithm::Sha512 => 64,
        }
    }

    /// Whether a digest of this algorithm alone is enough to believe content.
    pub const fn is_strong(self) -> bool {
        matches!(self, HashAlgorithm::Sha256 | HashAlgorithm::Sha512)
    }

    /// The directory name below `by-hash/`, and the field name in a Release file.
    /// <https://wiki.debian.org/DebianRepository/Format>
    pub const fn debian_name(self) -> &'static str {
        match self {
            HashAlgorithm::Md5 => "MD5Sum",
            HashAlgorithm::Sha1 => "SHA1",
            HashAlgorithm::Sha256 => "SHA256",
            HashAlgorithm::Sha512 => "SHA512",
        }
    }
}

impl fmt::Display for HashAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.debian_name())
    }
}

/// A digest of any algorithm.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    Md5([u8; 16]),
    Sha1([u8; 20]),
    Sha256(Sha256),
    Sha512([u8; 64]),
}

impl Digest {
    /// Parses the hexadecimal form, upper or lower case.
    pub fn parse(algorithm: HashAlgorithm, text: &str) -> Result<Digest, DigestError> {
        if text.len() != algorithm.digest_len() * 2 {
            return Err(DigestError::Length {
                algorithm,
                expected: algorithm.digest_len() * 2,
                found: text.len(),
            });
        }
        fn array<const N: usize>(text: &str) -> Result<[u8; N], DigestError> {
            let mut bytes = [0; N];
            hex::decode_to_slice(text, &mut bytes).map_err(|_| DigestError::NotHexadecimal)?;
            Ok(bytes)
        }
        Ok(match algorithm {
            HashAlgorithm::Md5 => Digest::Md5(array(text)?),
            HashAlgorithm::Sha1 => Digest::Sha1(array(text)?),
            HashAlgorithm::Sha256 => Digest::Sha256(Sha256(array(text)?)),
            HashAlgorithm::Sha512 => Digest::Sha512(array(text)?),
        })
    }

    pub const fn algorithm(&self) -> HashAlgorithm {
        match self {
            Digest::Md5(_) => HashAlgorithm::Md5,
            Digest::Sha1(_) => HashAlgorithm::Sha1,
            Digest::Sha256(_) => HashAlgorithm::Sha256,
            Digest::Sha512(_) => HashAlgorithm::Sha512,
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Digest::Md5(bytes) => bytes,
            Digest::Sha1(bytes) => bytes,
            Digest::Sha256(digest) => &digest.0,
            Digest::Sha512(bytes) => bytes,
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hexadecimal(self.as_bytes(), f)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self)
    }
}

/// Without a detour over the heap: every name of a blob is made here.
fn write_hexadecimal(digest: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut digits = [0; 128];
    let digits = digits.get_mut(..digest.len() * 2).ok_or(fmt::Error)?;
    hex::encode_to_slice(digest, digits).map_err(|_| fmt::Error)?;
    f.write_str(std::str::from_utf8(digits).map_err(|_| fmt::Error)?)
}

/// All digests that an index lists for one file. Empty until something is set.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Hashes {
    pub md5: Option<[u8; 16]>,
    pub sha1: Option<[u8; 20]>,
    pub sha256: Option<Sha256>,
    pub sha512: Option<[u8; 64]>,
}

impl Hashes {
    pub fn set(&mut self, digest: Digest) {
        match digest {
            Digest::Md5(bytes) => self.md5 = Some(bytes),
            Digest::Sha1(bytes) => self.sha1 = Some(bytes),
            Digest::Sha256(digest) => self.sha256 = Some(digest),
            Digest::Sha512(bytes) => self.sha512 = Some(bytes),
        }
    }

    /// The listed digests, weakest algorithm first.
    pub fn iter(&self) -> impl Iterator<Item = Digest> {
        [
            self.md5.map(Digest::Md5),
            self.sha1.map(Digest::Sha1),
            self.sha256.map(Digest::Sha256),
            self.sha512.map(Digest::Sha512),
        ]
        .into_iter()
        .flatten()
    }

    /// The digest to believe: SHA-256 where listed (it names the blob), else SHA-512, else nothing (`WeakHash`).
    pub fn strong(&self) -> Option<Digest> {
        self.sha256
            .map(Digest::Sha256)
            .or(self.sha512.map(Digest::Sha512))
    }
}

/// What an index promises about one file: never more bytes than this are read, and nothing else is believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expected {
    /// Exact size in bytes.
    pub size: u64,
    /// SHA-256 or SHA-512; an index that lists only weaker ones is refused before an `Expected` exists.
    pub digest: Digest,
}
