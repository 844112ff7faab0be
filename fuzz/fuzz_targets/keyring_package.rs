//! A package that brings keys with it: whatever is in it, it names no master.
#![no_main]

use std::collections::BTreeSet;
use std::io::{Cursor, Read};

use fleet_formats::arch::Arch;
use fleet_formats::openpgp::{Pinned, WebOfTrust};
use fleet_formats::seam::{Format, SignaturePolicy, Trust};
use mirrorfleet_fuzz::keyring;

libfuzzer_sys::fuzz_target!(|package: &[u8]| {
    let content = serde_json::json!({"repos": ["core"], "architectures": ["x86_64"]});
    let arch = Arch::new(&serde_json::from_value(content).expect("a block")).expect("a slice");
    let web = WebOfTrust::new(Pinned {
        keyring: keyring(),
        masters: None,
        disabled: BTreeSet::new(),
        marginals_needed: 3,
    });
    let trust = Trust {
        signatures: SignaturePolicy::Required,
        web: Some(web),
        keyring_package: Some("keys".to_owned()),
        ..Trust::nothing_is_judged()
    };
    let content: Box<dyn Read + Send> = Box::new(Cursor::new(package.to_vec()));
    let _ = arch.with_keys(&mut [content], &trust);
});
