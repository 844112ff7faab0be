//! Which hashes and keys are strong enough to be believed.

use fleet_types::counted;
use pgp::crypto::hash::HashAlgorithm;
use pgp::ser::Serialize;
use pgp::types::PublicParams;

use super::problems::Fault;

const MIN_RSA_BITS: u16 = 2048;

/// Hashes that are believed; everything else (MD5, SHA-1, RIPEMD-160, unknown ones) is too weak. SHA-3 is not, but gpgv
/// does not have it.
pub(super) fn is_strong_hash(hash: HashAlgorithm) -> bool {
    use HashAlgorithm::{Sha224, Sha256, Sha384, Sha512};
    matches!(hash, Sha224 | Sha256 | Sha384 | Sha512)
}

pub(super) fn strong_enough(parameters: &PublicParams) -> Result<(), Fault> {
    match parameters {
        PublicParams::RSA(rsa) => {
            // An MPI begins with its length in bits. <https://www.rfc-editor.org/rfc/rfc9580.html#name-multiprecision-integers>
            let modulus = rsa
                .to_bytes()
                .ok()
                .and_then(|bytes| bytes.first_chunk::<2>().copied());
            match modulus.map(u16::from_be_bytes) {
                Some(bits) if bits >= MIN_RSA_BITS => Ok(()),
                bits => Err(Fault::TooWeak(format!(
                    "an RSA key of {}; {MIN_RSA_BITS} are needed",
                    counted(bits.unwrap_or(0), "bit")
                ))),
            }
        }
        PublicParams::DSA(_) => Err(Fault::TooWeak("a DSA key".to_owned())),
        PublicParams::Elgamal(_) => Err(Fault::TooWeak("an Elgamal key".to_owned())),
        _ => Ok(()),
    }
}
