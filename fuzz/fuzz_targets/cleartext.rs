//! `InRelease`: whatever is done to a signed text, only the very payload that was signed is believed.
#![no_main]

use fleet_formats::openpgp::{unverified_cleartext, verify_cleartext};
use mirrorfleet_fuzz::{NOW, keyring};

const SIGNED: &[u8] = include_bytes!("../data/Release");

libfuzzer_sys::fuzz_target!(|content: &[u8]| {
    let unverified = unverified_cleartext(content);
    if let Ok(verified) = verify_cleartext(content, &keyring(), NOW) {
        assert_eq!(verified.payload, SIGNED);
        assert_eq!(unverified.as_deref(), Ok(SIGNED));
        assert_eq!(verified.good.len(), 1);
    }
});
