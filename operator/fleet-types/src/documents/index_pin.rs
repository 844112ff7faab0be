//! Which bytes are the index of a snapshot.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Digest, DigestError, Expected, Sha256};

/// The content of a snapshot's index file. The snapshot's id says less: times are not part of it. Whoever has both, from
/// somebody whom they trust, can take the file from anybody.
///
/// As text `sha256:<64 hexadecimal digits>:<size in bytes>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexPin {
    pub sha256: Sha256,
    /// In bytes.
    pub size: u64,
}

/// A text that pins no index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexPinError {
    #[error(
        "an index is pinned by `sha256:`, 64 hexadecimal digits, a colon and its size in bytes"
    )]
    Shape,
    #[error("the digest of the index: {0}")]
    Digest(#[from] DigestError),
}

impl IndexPin {
    /// What a download of it has to be.
    pub fn expected(&self) -> Expected {
        Expected {
            size: self.size,
            digest: Digest::Sha256(self.sha256),
        }
    }
}

impl fmt::Display for IndexPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}:{}", self.sha256, self.size)
    }
}

impl FromStr for IndexPin {
    type Err = IndexPinError;

    fn from_str(text: &str) -> Result<IndexPin, IndexPinError> {
        let rest = text.strip_prefix("sha256:").ok_or(IndexPinError::Shape)?;
        let (sha256, size) = rest.split_once(':').ok_or(IndexPinError::Shape)?;
        let digits = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_digit());
        let size = size.parse().ok().filter(|_| digits);
        Ok(IndexPin {
            sha256: sha256.parse()?,
            size: size.ok_or(IndexPinError::Shape)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_pin_is_read_as_it_was_written(sha256: [u8; 32], size: u64) {
            let pin = IndexPin { sha256: Sha256(sha256), size };
            prop_assert_eq!(pin.to_string().parse(), Ok(pin));
        }

        #[test]
        fn any_text_is_a_pin_or_an_error(text in "(sha256:)?[0-9a-f:+ -]{0,90}") {
            let _ = text.parse::<IndexPin>();
        }
    }

    #[test]
    fn what_pins_nothing_says_what_is_wrong() {
        let digest = "ab".repeat(32);
        for text in [
            "",
            "7",
            &digest,
            &format!("sha256:{digest}"),
            &format!("sha256:{digest}:"),
            &format!("sha256:{digest}:+7"),
            &format!("sha256:{digest}:7 "),
            &format!("sha256:{digest}:99999999999999999999"),
            &format!("sha512:{digest}:7"),
        ] {
            assert_eq!(
                text.parse::<IndexPin>(),
                Err(IndexPinError::Shape),
                "{text}"
            );
        }
        for text in ["sha256:ab:7", &format!("sha256:{}:7", "zz".repeat(32))] {
            let read = text.parse::<IndexPin>();
            assert!(matches!(read, Err(IndexPinError::Digest(_))), "{read:?}");
        }
    }
}
