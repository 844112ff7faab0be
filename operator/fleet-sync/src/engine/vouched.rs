//! What is known of signatures from one run to the next: which fit, over what, and by which keys.
//!
//! There may be as many as there are packages, so they are held and written as numbers: who made them stands once for all.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet_types::Sha256;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `state/vouched.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Vouched {
    /// By what all that the newest snapshot holds was judged; none while a unit is in it as it was before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judged_by: Option<JudgedBy>,
    pub signatures: Fits,
    /// How many there were when those that are gone were left out last.
    pub tidied: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JudgedBy {
    /// Our own choices.
    pub inputs: Sha256,
    /// The contents that brought keys.
    pub keys: BTreeSet<Sha256>,
}

impl Vouched {
    pub const DOCUMENT: &str = "vouched";
    /// Fewer than these are not worth looking for.
    const FEW: usize = 64;

    /// Leaves out signatures that are gone, once so many have come that looking for all costs each of these only a few looks.
    pub fn tidy(&mut self, is_here: impl Fn(&Sha256) -> bool) {
        if self.tidied == 0 {
            // All have just come.
            self.tidied = self.signatures.by_signature.len();
        }
        if self.signatures.by_signature.len() > self.tidied + self.tidied / 4 + Self::FEW {
            self.signatures.retain(is_here);
            self.tidied = self.signatures.by_signature.len();
        }
    }
}

/// Signatures that fit, by their content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fits {
    by_signature: BTreeMap<Sha256, Fit>,
    /// The keys that made a signature, as the format knows them.
    makers: Vec<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fit {
    /// The content that is signed.
    over: Sha256,
    /// Which of the makers.
    maker: u32,
}

impl Fits {
    /// The keys that made a signature over a content.
    pub fn makers(&self, signature: &Sha256, over: &Sha256) -> Option<&[String]> {
        let fit = self.by_signature.get(signature)?;
        let maker = self.makers.get(fit.maker as usize)?;
        (fit.over == *over).then_some(maker)
    }

    pub fn insert(&mut self, signature: Sha256, over: Sha256, by: Vec<String>) {
        let known = self.makers.iter().position(|maker| *maker == by);
        let maker = known.unwrap_or_else(|| {
            self.makers.push(by);
            self.makers.len() - 1
        });
        let fit = u32::try_from(maker).map(|maker| Fit { over, maker });
        // More makers than there are numbers: what is not remembered is judged again.
        if let Ok(fit) = fit {
            self.by_signature.insert(signature, fit);
        }
    }

    fn retain(&mut self, is_here: impl Fn(&Sha256) -> bool) {
        let all = std::mem::take(self);
        for (signature, fit) in all.by_signature {
            let by = all.makers.get(fit.maker as usize);
            if let Some(by) = by.filter(|_| is_here(&signature)) {
                self.insert(signature, fit.over, by.clone());
            }
        }
    }
}

/// Of a signature, what it is over and the number of its makers, in little endian.
const ROW: usize = 32 + 32 + 4;
/// Rows that stand in one text.
const ROWS: usize = 48;

/// `rows` are texts of Base64, so that a document of many signatures is made bit by bit.
#[derive(Deserialize)]
struct Written {
    makers: Vec<Vec<String>>,
    rows: Vec<String>,
}

impl Serialize for Fits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Writing<'a> {
            makers: &'a [Vec<String>],
            rows: Rows<'a>,
        }
        struct Rows<'a>(&'a BTreeMap<Sha256, Fit>);
        impl Serialize for Rows<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut fits = self.0.iter().peekable();
                serializer.collect_seq(std::iter::from_fn(|| {
                    fits.peek()?;
                    let mut rows = Vec::with_capacity(ROWS * ROW);
                    for (signature, fit) in fits.by_ref().take(ROWS) {
                        rows.extend_from_slice(&signature.0);
                        rows.extend_from_slice(&fit.over.0);
                        rows.extend_from_slice(&fit.maker.to_le_bytes());
                    }
                    Some(STANDARD.encode(rows))
                }))
            }
        }
        Writing {
            makers: &self.makers,
            rows: Rows(&self.by_signature),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Fits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { makers, rows } = Written::deserialize(deserializer)?;
        let mut by_signature = BTreeMap::new();
        for text in rows {
            let rows = STANDARD.decode(text).map_err(D::Error::custom)?;
            let (rows, rest) = rows.as_chunks::<ROW>();
            if !rest.is_empty() {
                return Err(D::Error::custom("a row of signatures is too short"));
            }
            by_signature.extend(rows.iter().map(read_row));
        }
        Ok(Fits {
            by_signature,
            makers,
        })
    }
}

fn read_row(row: &[u8; ROW]) -> (Sha256, Fit) {
    let (mut signature, mut over, mut maker) = ([0; 32], [0; 32], [0; 4]);
    signature.copy_from_slice(&row[..32]);
    over.copy_from_slice(&row[32..64]);
    maker.copy_from_slice(&row[64..]);
    let fit = Fit {
        over: Sha256(over),
        maker: u32::from_le_bytes(maker),
    };
    (Sha256(signature), fit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: usize) -> Sha256 {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Sha256(bytes)
    }

    fn fits(count: usize) -> Fits {
        let mut fits = Fits::default();
        for number in 0..count {
            let by = vec![format!("{:040X}", number % 3)];
            fits.insert(digest(number), digest(number + 1_000_000), by);
        }
        fits
    }

    #[test]
    fn what_was_written_is_read() {
        for count in [0, 1, ROWS, 2 * ROWS + 7] {
            let vouched = Vouched {
                signatures: fits(count),
                tidied: count,
                judged_by: None,
            };
            let text = serde_json::to_vec_pretty(&vouched).unwrap();
            let read: Vouched = serde_json::from_slice(&text).unwrap();
            assert_eq!(read, vouched);
        }
    }

    #[test]
    fn who_made_a_signature_is_known_over_its_own_content_only() {
        let fits = fits(5);
        let by = fits.makers(&digest(4), &digest(1_000_004)).unwrap();
        assert_eq!(by, [format!("{:040X}", 1)]);
        assert_eq!(fits.makers(&digest(4), &digest(1_000_003)), None);
        assert_eq!(fits.makers(&digest(5), &digest(1_000_005)), None);
    }

    #[test]
    fn a_document_that_was_cut_is_none() {
        for rows in ["AAAA", "?"] {
            let text = format!("{{\"signatures\":{{\"makers\":[],\"rows\":[\"{rows}\"]}}}}");
            assert!(serde_json::from_str::<Vouched>(&text).is_err());
        }
    }

    #[test]
    fn those_that_are_gone_are_left_out_when_a_quarter_more_have_come() {
        let mut vouched = Vouched {
            signatures: fits(400),
            ..Vouched::default()
        };
        let looked = |vouched: &mut Vouched| {
            let count = std::cell::Cell::new(0);
            vouched.tidy(|signature| {
                count.set(count.get() + 1);
                *signature >= digest(300)
            });
            count.get()
        };
        assert_eq!(looked(&mut vouched), 0, "all have just come");
        vouched.signatures = fits(564);
        assert_eq!(looked(&mut vouched), 0);
        vouched.signatures = fits(565);
        assert_eq!(looked(&mut vouched), 565);
        assert_eq!(
            (vouched.tidied, vouched.signatures.by_signature.len()),
            (265, 265)
        );
        assert_eq!(vouched.signatures.makers.len(), 3);
        assert_eq!(looked(&mut vouched), 0);
    }
}
