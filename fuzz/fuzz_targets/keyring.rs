//! A keyring, binary or armoured, and what it says about its keys.
#![no_main]

use fleet_formats::openpgp::{Keyring, verify_detached};
use mirrorfleet_fuzz::NOW;

const SIGNED: &[u8] = include_bytes!("../data/Release");
const SIGNATURE: &[u8] = include_bytes!("../data/Release.gpg");

libfuzzer_sys::fuzz_target!(|content: &[u8]| {
    let Ok(keyring) = Keyring::parse(content) else {
        return;
    };
    let keys = keyring.keys(NOW);
    assert!(!keys.is_empty());
    for key in &keys {
        assert!(key.fingerprint.len() >= 32);
        assert!(
            key.fingerprint
                .bytes()
                .all(|c| c.is_ascii_digit() || (b'A'..=b'F').contains(&c))
        );
    }
    if let Ok(verified) = verify_detached(SIGNED, SIGNATURE, &keyring, NOW) {
        assert!(
            keys.iter()
                .any(|key| verified.good.contains(&key.fingerprint))
        );
    }
});
