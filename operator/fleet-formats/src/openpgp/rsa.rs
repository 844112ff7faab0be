//! RSA by ring, which is in the program for TLS anyway and computes it in a seventh of the time that the library needs which
//! reads signatures. It takes what is signed, and no hash that somebody else has computed.

use digest::{DynDigest, InvalidBufferSize};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::SignatureConfig;
use pgp::ser::Serialize;
use pgp::types::{PublicParams, SignatureBytes};
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents,
};

/// Whether this key surely made the signature over `message`, which is all that is hashed. False also where that is for the
/// library to say: of other kinds of keys, and of what ring does not compute.
pub(super) fn is_good(
    key: &PublicParams,
    hash: HashAlgorithm,
    signature: &SignatureBytes,
    message: &[u8],
) -> bool {
    verified(key, hash, signature, message).is_some()
}

fn verified(
    key: &PublicParams,
    hash: HashAlgorithm,
    signature: &SignatureBytes,
    message: &[u8],
) -> Option<()> {
    let (PublicParams::RSA(key), SignatureBytes::Mpis(numbers)) = (key, signature) else {
        return None;
    };
    let [number] = numbers.as_slice() else {
        return None;
    };
    let encoded = key.to_bytes().ok()?;
    let (n, rest) = mpi(&encoded)?;
    let (e, _) = mpi(rest)?;
    // An MPI has no zeros at its beginning, and RSA counts them.
    let number: &[u8] = number.as_ref();
    let mut padded = vec![0; n.len().checked_sub(number.len())?];
    padded.extend_from_slice(number);
    let key = RsaPublicKeyComponents { n, e };
    key.verify(parameters(hash)?, message, &padded).ok()
}

fn parameters(hash: HashAlgorithm) -> Option<&'static RsaParameters> {
    match hash {
        HashAlgorithm::Sha256 => Some(&RSA_PKCS1_2048_8192_SHA256),
        HashAlgorithm::Sha384 => Some(&RSA_PKCS1_2048_8192_SHA384),
        HashAlgorithm::Sha512 => Some(&RSA_PKCS1_2048_8192_SHA512),
        _ => None,
    }
}

/// A number, and what comes after it. <https://www.rfc-editor.org/rfc/rfc9580.html#name-multiprecision-integers>
fn mpi(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (bits, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*bits)).div_ceil(8))
}

/// What is hashed after the content; none where the signature demands what nobody knows.
pub(super) fn recorded(signature: &SignatureConfig) -> Option<Vec<u8>> {
    let mut recorder: Box<dyn DynDigest + Send> = Box::new(Recorder::default());
    let length = signature.hash_signature_data(&mut recorder).ok()?;
    recorder.update(&signature.trailer(length).ok()?);
    Some(recorder.finalize().into_vec())
}

/// A hasher that gives back what it was given: the library tells what it hashes to nobody else.
#[derive(Clone, Default)]
struct Recorder(Vec<u8>);

impl DynDigest for Recorder {
    fn update(&mut self, data: &[u8]) {
        self.0.extend_from_slice(data);
    }

    fn finalize_into(mut self, out: &mut [u8]) -> Result<(), InvalidBufferSize> {
        self.finalize_into_reset(out)
    }

    fn finalize_into_reset(&mut self, out: &mut [u8]) -> Result<(), InvalidBufferSize> {
        if out.len() != self.0.len() {
            return Err(InvalidBufferSize);
        }
        out.copy_from_slice(&self.0);
        self.reset();
        Ok(())
    }

    fn reset(&mut self) {
        self.0.clear();
    }

    fn output_size(&self) -> usize {
        self.0.len()
    }

    fn box_clone(&self) -> Box<dyn DynDigest> {
        Box::new(self.clone())
    }
}
