//! `Release.gpg`, binary or armoured, over the text that was signed and over another one.
#![no_main]

use fleet_formats::openpgp::verify_detached;
use mirrorfleet_fuzz::{NOW, keyring};

const SIGNED: &[u8] = include_bytes!("../data/Release");

libfuzzer_sys::fuzz_target!(|signature: &[u8]| {
    let keyring = keyring();
    if let Ok(verified) = verify_detached(SIGNED, signature, &keyring, NOW) {
        assert_eq!(
            (verified.payload.as_slice(), verified.good.len()),
            (SIGNED, 1)
        );
    }
    assert!(verify_detached(b"another text\n", signature, &keyring, NOW).is_err());
});
