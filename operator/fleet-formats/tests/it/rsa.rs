//! Signatures by RSA, which are computed in two ways: of small files by one library, of all others by another.

use std::collections::BTreeSet;

use fleet_formats::openpgp::{Pinned, WebOfTrust};
use fleet_types::Reason;

use crate::gpg::{DAY, Gpg, MADE_AT};

/// Larger files are judged by their hash.
const SMALL_BYTES: usize = 128 << 10;

#[test]
fn files_of_any_size_are_judged_alike_and_so_is_what_was_altered() {
    let gpg = Gpg::new();
    for bits in ["2048", "3072", "4096"] {
        gpg.key(
            &format!("rsa-{bits}"),
            &format!("rsa{bits}"),
            MADE_AT,
            "never",
        );
    }
    let web = WebOfTrust::new(Pinned {
        keyring: gpg.keyring(&["rsa-2048", "rsa-3072", "rsa-4096"]),
        masters: None,
        disabled: BTreeSet::new(),
        marginals_needed: 3,
    });
    let judge = |content: &[u8], signature: &[u8]| {
        let judged = web.judge(&mut &content[..], signature, MADE_AT + DAY);
        judged
            .map(|signers| signers.len())
            .map_err(|rejected| rejected.reason)
    };
    for (signer, hash) in [
        ("rsa-2048", "SHA256"),
        ("rsa-3072", "SHA384"),
        ("rsa-4096", "SHA512"),
        ("rsa-4096", "SHA224"),
    ] {
        for size in [0, 1, SMALL_BYTES, SMALL_BYTES + 1, 3 * SMALL_BYTES] {
            let content: Vec<u8> = (0..size).map(|at| at as u8).collect();
            let arguments = [
                "--local-user",
                signer,
                "--digest-algo",
                hash,
                "--detach-sign",
            ];
            let signature = gpg.run(MADE_AT + 1, &arguments, &content);
            assert_eq!(judge(&content, &signature), Ok(1), "{signer} {hash} {size}");
            // Another content, and another number.
            let mut longer = content.clone();
            longer.push(0);
            assert_eq!(
                judge(&longer, &signature),
                Err(Reason::SignatureBad),
                "{signer} {hash} {size}"
            );
            let mut altered = signature.clone();
            *altered.last_mut().unwrap() ^= 1;
            assert_eq!(
                judge(&content, &altered),
                Err(Reason::SignatureBad),
                "{signer} {hash} {size}"
            );
            let both = [signature.clone(), signature].concat();
            assert_eq!(judge(&content, &both), Ok(2), "{signer} {hash} {size}");
        }
    }
}
