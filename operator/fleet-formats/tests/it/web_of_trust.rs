//! Whose signatures over packages count. `e2e/acceptance` asks a real pacman the same.

use std::collections::{BTreeMap, BTreeSet};

use fleet_formats::openpgp::{Keyring, Ownertrust, Pinned, WebOfTrust};
use fleet_types::Reason;

use crate::gpg::{DAY, Gpg, MADE_AT};

const MASTERS: [&str; 4] = ["master-a", "master-b", "master-c", "master-d"];
const PACKAGE: &[u8] = b"a package";
const NOW: i64 = MADE_AT + 10 * DAY;

/// Four masters, and whom they vouch for.
struct Web {
    gpg: Gpg,
    names: Vec<String>,
}

impl Web {
    fn new() -> Web {
        let web = Web {
            gpg: Gpg::new(),
            names: Vec::new(),
        };
        for master in MASTERS {
            web.gpg.key(master, "ed25519", MADE_AT, "never");
        }
        web
    }

    fn packager(&mut self, name: &str, masters: usize, lifetime: &str) -> String {
        let key = self.gpg.key(name, "ed25519", MADE_AT, lifetime);
        for master in &MASTERS[..masters] {
            self.certify(&key, master);
        }
        self.names.push(name.to_owned());
        key
    }

    fn certify(&self, key: &str, master: &str) {
        let arguments = ["--local-user", master, "--quick-sign-key", key];
        self.gpg.run(MADE_AT + 1, &arguments, b"");
    }

    fn sign(&self, signer: &str) -> Vec<u8> {
        let arguments = ["--local-user", signer, "--detach-sign"];
        self.gpg.run(MADE_AT + 2, &arguments, PACKAGE)
    }

    fn everybody(&self) -> Keyring {
        let packagers = self.names.iter().map(String::as_str);
        let names: Vec<&str> = MASTERS.into_iter().chain(packagers).collect();
        self.gpg.keyring(&names)
    }

    fn masters(&self, trust: Ownertrust) -> BTreeMap<String, Ownertrust> {
        let masters = MASTERS.iter();
        masters
            .map(|master| (self.gpg.fingerprint(master), trust))
            .collect()
    }

    fn pinned(&self, keyring: Keyring) -> Pinned {
        Pinned {
            keyring,
            masters: Some(self.masters(Ownertrust::Marginal)),
            disabled: BTreeSet::new(),
            marginals_needed: 3,
        }
    }
}

fn judge(web: &WebOfTrust, signature: &[u8]) -> Result<Vec<String>, Reason> {
    web.judge(&mut &PACKAGE[..], signature, NOW)
        .map_err(|rejected| rejected.reason)
}

#[test]
fn a_packager_counts_whom_enough_masters_vouch_for() {
    let mut web = Web::new();
    let three = web.packager("three", 3, "never");
    web.packager("two", 2, "never");
    web.packager("none", 0, "never");
    let disabled = web.packager("disabled", 4, "never");
    web.packager("expired", 3, "5d");
    let subkey = web.packager("subkey", 3, "never");
    let subkey = web.gpg.subkey(&subkey, "ed25519", MADE_AT, "never");
    web.gpg.key("stranger", "ed25519", MADE_AT, "never");
    let judged = WebOfTrust::new(Pinned {
        disabled: BTreeSet::from([disabled]),
        ..web.pinned(web.everybody())
    });
    let master = web.gpg.fingerprint(MASTERS[3]);
    for (signer, expected) in [
        ("three", Ok(vec![three.clone()])),
        ("two", Err(Reason::TrustMarginal)),
        ("none", Err(Reason::KeyUnknown)),
        ("stranger", Err(Reason::KeyUnknown)),
        (MASTERS[3], Ok(vec![master])),
        ("disabled", Err(Reason::KeyRevoked)),
        ("expired", Err(Reason::KeyExpired)),
        (&format!("{subkey}!"), Ok(vec![subkey.clone()])),
    ] {
        assert_eq!(judge(&judged, &web.sign(signer)), expected, "{signer}");
    }
    let both = [web.sign("three"), web.sign("two")].concat();
    assert_eq!(judge(&judged, &both), Err(Reason::TrustMarginal));

    // Over something else, and what is no signature.
    let signature = web.sign("three");
    let other = judged.judge(&mut &b"another"[..], &signature, NOW);
    assert_eq!(other.unwrap_err().reason, Reason::SignatureBad);
    assert_eq!(judge(&judged, b""), Err(Reason::SignatureMissing));
    assert_eq!(judge(&judged, b"<html>"), Err(Reason::SignatureBad));
    assert_eq!(judge(&judged, &signature[..40]), Err(Reason::SignatureBad));
    let many = signature.repeat(9);
    assert_eq!(judge(&judged, &many), Err(Reason::SignatureBad));

    // Of what is known to fit, signers alone are judged.
    assert_eq!(
        judged.judge_signers(&signature, std::slice::from_ref(&three), NOW),
        Ok(())
    );
    let wrong = judged.judge_signers(&signature, &[subkey], NOW);
    assert_eq!(wrong.unwrap_err().reason, Reason::SignatureBad);
    let marginal = judged.judge_signers(&web.sign("two"), &[web.gpg.fingerprint("two")], NOW);
    let message = marginal.unwrap_err().message;
    assert!(
        message.contains("2 master keys vouch for the key of two"),
        "{message}"
    );
}

#[test]
fn how_far_masters_are_believed_is_what_their_list_says() {
    let mut web = Web::new();
    web.packager("one", 1, "never");
    let signature = web.sign("one");
    let of = |trust| {
        WebOfTrust::new(Pinned {
            masters: Some(web.masters(trust)),
            ..web.pinned(web.everybody())
        })
    };
    assert!(judge(&of(Ownertrust::Full), &signature).is_ok());
    assert_eq!(
        judge(&of(Ownertrust::Marginal), &signature),
        Err(Reason::TrustMarginal)
    );
    assert_eq!(
        judge(&of(Ownertrust::Nothing), &signature),
        Err(Reason::KeyUnknown)
    );
    let one = WebOfTrust::new(Pinned {
        marginals_needed: 1,
        ..web.pinned(web.everybody())
    });
    assert!(judge(&one, &signature).is_ok());
    // Without a list whoever is pinned is believed.
    let all = WebOfTrust::new(Pinned {
        masters: None,
        ..web.pinned(web.everybody())
    });
    assert!(judge(&all, &signature).is_ok());
}

#[test]
fn candidates_count_by_the_word_of_the_pinned_masters_alone() {
    let mut web = Web::new();
    web.packager("three", 3, "never");
    web.packager("two", 2, "never");
    let candidates = [web.everybody()];
    let pinned = WebOfTrust::new(web.pinned(web.gpg.keyring(&MASTERS)));
    let signature = web.sign("three");
    assert_eq!(judge(&pinned, &signature), Err(Reason::KeyUnknown));
    let wider = pinned.with_candidates(&candidates, BTreeSet::new());
    assert!(judge(&wider, &signature).is_ok());
    assert_eq!(judge(&wider, &web.sign("two")), Err(Reason::TrustMarginal));
    // Where nobody is a master, nobody's word counts.
    let no_masters = Pinned {
        masters: None,
        ..web.pinned(web.gpg.keyring(&MASTERS))
    };
    let no_masters = WebOfTrust::new(no_masters).with_candidates(&candidates, BTreeSet::new());
    assert_eq!(judge(&no_masters, &signature), Err(Reason::KeyUnknown));

    // What takes trust away counts, whoever says it.
    let disabled = BTreeSet::from([web.gpg.fingerprint("three")]);
    let narrower = pinned.with_candidates(&candidates, disabled);
    assert_eq!(judge(&narrower, &signature), Err(Reason::KeyRevoked));
    let of_master = BTreeSet::from([web.gpg.fingerprint(MASTERS[0])]);
    let narrower = pinned.with_candidates(&candidates, of_master);
    assert_eq!(judge(&narrower, &signature), Err(Reason::TrustMarginal));
    let three = web.gpg.fingerprint("three");
    let master = web.gpg.fingerprint(MASTERS[1]);
    let take_back = ["--quick-revoke-sig", three.as_str(), master.as_str()];
    web.gpg.run(MADE_AT + DAY, &take_back, b"");
    let narrower = pinned.with_candidates(&[web.everybody()], BTreeSet::new());
    assert_eq!(judge(&narrower, &signature), Err(Reason::TrustMarginal));
    // Also beside an older copy that does not know of it.
    let both = [web.everybody(), candidates[0].clone()];
    let narrower = pinned.with_candidates(&both, BTreeSet::new());
    assert_eq!(judge(&narrower, &signature), Err(Reason::TrustMarginal));
}
