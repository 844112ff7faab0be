//! A signature beside a package of pacman's, and the lists beside a keyring. What is judged over one text is good over no
//! other, and what fits is judged alike when it is only remembered that it fits.
#![no_main]

use std::collections::BTreeSet;

use fleet_formats::openpgp::{Pinned, WebOfTrust, parse_disabled, parse_trusted};
use mirrorfleet_fuzz::{NOW, keyring};

const SIGNED: &[u8] = include_bytes!("../data/Release");

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    let _ = (parse_trusted(file), parse_disabled(file));
    let web = WebOfTrust::new(Pinned {
        keyring: keyring(),
        masters: None,
        disabled: BTreeSet::new(),
        marginals_needed: 3,
    });
    if let Ok(signers) = web.judge(&mut &SIGNED[..], file, NOW) {
        assert!(!signers.is_empty());
        assert!(web.judge_signers(file, &signers, NOW).is_ok());
    }
    assert!(web.judge(&mut &b"another text\n"[..], file, NOW).is_err());
});
