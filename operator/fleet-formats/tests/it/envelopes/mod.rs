//! What is accepted here is accepted by gpgv, by sqv where it is installed (the apt of Debian 13 verifies by it) and by a
//! fresh apt: over envelopes that a stranger without any key can make of a good file, and over what honest signers make.

mod alterations;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use fleet_formats::openpgp::{Keyring, verify_cleartext, verify_detached};

use self::alterations::{Case, alterations, armour, made_up, number, packet, parts, random_edits};
use crate::gpg::{Gpg, now};

const PACKAGES: &str = "Package: one\nVersion: 1\nArchitecture: amd64\n\n";
const TEXT: &[u8] = b"Origin: Test\nSuite: stable\nDate: Sat, 01 Jan 2022 00:00:00 UTC\nComponents: main\n\
    Architectures: amd64\nSHA256:\n 80c7e809fb60092fdfead88c1a0a0bfadb2211dce21cf7d5fb4df504b77a794a 45 main/binary-amd64/Packages\n";

/// What gpgv says: a good signature by a key of the ring, and nothing bad but strangers.
fn gpgv_accepts(home: &Path, ring: &Path, files: &[&Path]) -> bool {
    let output = Command::new("gpgv")
        .env("GNUPGHOME", home)
        .args(["--status-fd=1", "--keyring"])
        .arg(ring)
        .args(files)
        .output()
        .expect("these tests need gpgv");
    let status = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut valid = 0;
    for line in status.lines() {
        let words: Vec<&str> = line.split(' ').skip(1).collect();
        match words.as_slice() {
            ["VALIDSIG", ..] => valid += 1,
            ["BADSIG" | "NODATA", ..] => return false,
            ["ERRSIG", _, _, _, _, _, code, ..] if *code != "9" => return false,
            _ => {}
        }
    }
    valid > 0
}

/// What sqv says of a cleartext-signed file, which it is given as apt takes it apart; none where there is no sqv.
fn sqv_accepts(home: &Path, ring: &Path, file: &[u8]) -> Option<bool> {
    let (mut text, mut signatures, mut part) = (Vec::new(), Vec::new(), 0);
    for line in file.split(|byte| *byte == b'\n') {
        let returns = line.iter().rposition(|byte| *byte != b'\r');
        let line = &line[..returns.map_or(0, |last| last + 1)];
        let blanks = line.iter().rposition(|byte| !matches!(byte, b' ' | b'\t'));
        let line = &line[..blanks.map_or(0, |last| last + 1)];
        match part {
            0 if line == b"-----BEGIN PGP SIGNED MESSAGE-----" => part = 1,
            1 if line.is_empty() => part = 2,
            2 if line != b"-----BEGIN PGP SIGNATURE-----" => {
                text.push(line.strip_prefix(b"- ").unwrap_or(line));
            }
            2 | 3 => {
                part = 3;
                signatures.push(line);
            }
            _ => {}
        }
    }
    let files = ["sqv-signature", "sqv-text"].map(|name| home.join(name));
    std::fs::write(&files[0], signatures.join(&b'\n')).unwrap();
    std::fs::write(&files[1], text.join(&b'\n')).unwrap();
    let output = Command::new("sqv")
        .arg("--keyring")
        .arg(ring)
        .args(files)
        .output();
    Some(output.ok()?.status.success())
}

/// Which of the suites a fresh apt takes, with its own defaults, by the name of their directories.
fn apt_accepts(home: &Path, ring: &Path, cases: &[Case]) -> Vec<bool> {
    let archive = home.join("archive");
    let mut sources = String::new();
    for (number, case) in cases.iter().enumerate() {
        let suite = archive.join(format!("dists/s{number}"));
        std::fs::create_dir_all(suite.join("main/binary-amd64")).unwrap();
        std::fs::write(suite.join("main/binary-amd64/Packages"), PACKAGES).unwrap();
        std::fs::write(suite.join("InRelease"), &case.in_release).unwrap();
        let _ = writeln!(
            sources,
            "deb [arch=amd64 signed-by={}] copy:{} s{number} main",
            ring.display(),
            archive.display()
        );
    }
    for directory in ["lists/partial", "cache/archives/partial", "etc/none"] {
        std::fs::create_dir_all(home.join(directory)).unwrap();
    }
    std::fs::write(home.join("sources.list"), sources).unwrap();
    std::fs::write(home.join("status"), "").unwrap();
    let root = home.display();
    let settings = format!(
        "Dir::State \"{root}\"; Dir::State::lists \"{root}/lists\"; Dir::State::status \"{root}/status\";\n\
         Dir::Cache \"{root}/cache\"; Dir::Etc::sourcelist \"{root}/sources.list\"; Dir::Etc::sourceparts \"{root}/etc/none\";\n\
         Dir::Etc::parts \"{root}/etc/none\"; Dir::Etc::trustedparts \"{root}/etc/none\"; APT::Sandbox::User \"root\";\n\
         Acquire::Languages \"none\"; Acquire::Retries \"0\";\n"
    );
    std::fs::write(home.join("apt.conf"), settings).unwrap();
    let update = Command::new("apt-get")
        .env("APT_CONFIG", home.join("apt.conf"))
        .env("LC_ALL", "C")
        .arg("update")
        .output()
        .expect("this test needs apt-get");
    println!("{}", String::from_utf8_lossy(&update.stderr));
    let lists: Vec<String> = std::fs::read_dir(home.join("lists"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    (0..cases.len())
        .map(|number| {
            lists
                .iter()
                .any(|name| name.ends_with(&format!("_dists_s{number}_InRelease")))
        })
        .collect()
}

struct Signer {
    gpg: Gpg,
    ring: std::path::PathBuf,
    keyring: Keyring,
    good: Vec<u8>,
    key_id: [u8; 8],
}

fn signer() -> Signer {
    let gpg = Gpg::new();
    let at = now() - 86_400;
    let key = gpg.key("archive@example.org", "ed25519", at, "never");
    let good = gpg.clearsign(at, &[&key], &["--digest-algo=SHA512"], TEXT);
    let ring = gpg.home().join("ring.gpg");
    std::fs::write(&ring, gpg.export(&[])).unwrap();
    let key_id = hex::decode(&key[24..]).unwrap().try_into().unwrap();
    Signer {
        keyring: gpg.keyring(&[]),
        ring,
        good,
        key_id,
        gpg,
    }
}

#[test]
fn whatever_a_stranger_makes_of_a_file_is_accepted_only_where_gpgv_and_sqv_accept_it() {
    let signer = signer();
    let file = signer.gpg.home().join("InRelease");
    let mut cases = alterations(&signer.good, &signer.key_id);
    cases.extend(random_edits(&signer.good));
    let (mut wrong, mut accepted) = (Vec::new(), 0);
    for case in &cases {
        if verify_cleartext(&case.in_release, &signer.keyring, now()).is_err() {
            continue;
        }
        accepted += 1;
        std::fs::write(&file, &case.in_release).unwrap();
        if !gpgv_accepts(signer.gpg.home(), &signer.ring, &[&file]) {
            wrong.push(format!("gpgv: {}", case.name));
        }
        if sqv_accepts(signer.gpg.home(), &signer.ring, &case.in_release) == Some(false) {
            wrong.push(format!("sqv: {}", case.name));
        }
    }
    assert!(
        wrong.is_empty(),
        "accepted by us, and refused by {wrong:#?}"
    );
    assert!(accepted > 10, "{accepted} of {} accepted", cases.len());
}

#[test]
fn whatever_a_stranger_makes_of_a_file_is_accepted_only_where_a_fresh_apt_accepts_it() {
    let signer = signer();
    let ours: Vec<Case> = alterations(&signer.good, &signer.key_id)
        .into_iter()
        .filter(|case| verify_cleartext(&case.in_release, &signer.keyring, now()).is_ok())
        .collect();
    let apt = apt_accepts(signer.gpg.home(), &signer.ring, &ours);
    let refused = ours.iter().zip(apt).filter(|(_, accepted)| !accepted);
    let names: Vec<&str> = refused.map(|(case, _)| case.name.as_str()).collect();
    assert!(names.is_empty(), "accepted, and apt refuses: {names:#?}");
}

#[test]
fn what_honest_signers_make_is_accepted() {
    let gpg = Gpg::new();
    let at = now() - 86_400;
    let stranger = gpg.key("stranger@example.org", "ed25519", at, "never");
    let mut known = Vec::new();
    for algorithm in [
        "ed25519",
        "rsa2048",
        "nistp256",
        "nistp384",
        "nistp521",
        "secp256k1",
    ] {
        known.push(gpg.key(&format!("{algorithm}@example.org"), algorithm, at, "never"));
    }
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    let keyring = gpg.keyring(&names);
    let mut signers: Vec<Vec<&str>> = names.iter().map(|name| vec![*name]).collect();
    signers.push(names.clone());
    signers.push(vec![&stranger, names[0]]);
    signers.push(vec![names[1], &stranger]);
    // secp256k1 signatures have a high second number as often as a low one.
    signers.extend(std::iter::repeat_n(vec![names[5]], 8));
    for signers in signers {
        let clear = gpg.clearsign(at, &signers, &[], TEXT);
        let verified = verify_cleartext(&clear, &keyring, now());
        assert!(verified.is_ok(), "{signers:?}: {verified:?}");
        let detached = gpg.detached(at, &signers, &[], TEXT);
        let verified = verify_detached(TEXT, &detached, &keyring, now());
        assert!(verified.is_ok(), "{signers:?}: {verified:?}");
    }
}

#[test]
fn a_detached_signature_is_in_armour_from_its_first_byte_to_its_last() {
    let signer = signer();
    let gpg = &signer.gpg;
    let at = now() - 86_400;
    let good = gpg.detached(at, &["archive@example.org"], &[], TEXT);
    assert!(verify_detached(TEXT, &good, &signer.keyring, now()).is_ok());
    let key = gpg.run(at, &["--armor", "--export"], b"");
    for refused in [
        gpg.detached(at, &["archive@example.org"], &["--no-armor"], TEXT),
        [&b"hello\n"[..], &good].concat(),
        [&good[..], b"hello\n"].concat(),
        [&b"\n"[..], &good].concat(),
        [&good[..], b"\n"].concat(),
        [&key[..], &good].concat(),
        good[..good.len() - 30].to_vec(),
    ] {
        let verdict = verify_detached(TEXT, &refused, &signer.keyring, now());
        assert!(verdict.is_err(), "{}", String::from_utf8_lossy(&refused));
    }
}

#[test]
fn what_cannot_be_computed_is_neither_forged_nor_good() {
    use fleet_types::Reason;
    let gpg = Gpg::new();
    let at = now() - 86_400;
    let ed = gpg.key("ed@example.org", "ed25519", at, "never");
    let brainpool = gpg.key("bp@example.org", "brainpoolP256r1", at, "never");
    let keyring = gpg.keyring(&[]);
    let alone = gpg.clearsign(at, &[&brainpool], &[], TEXT);
    let refused = verify_cleartext(&alone, &keyring, now()).unwrap_err();
    assert_eq!(refused.reason, Reason::SignatureUnsupported, "{refused}");
    let both = gpg.clearsign(at, &[&ed, &brainpool], &[], TEXT);
    let verified = verify_cleartext(&both, &keyring, now()).unwrap();
    assert_eq!(verified.good, std::slice::from_ref(&ed));
    assert_eq!(verified.problems[0].reason, Reason::SignatureUnsupported);

    let (text, good) = parts(&gpg.clearsign(at, &[&ed], &["--digest-algo=SHA512"], TEXT));
    let key_id = hex::decode(&brainpool[24..]).unwrap();
    for (what, algorithm, numbers) in [
        ("another algorithm", 1, number(2040)),
        ("too long", 19, [number(300), number(300)].concat()),
        ("too short", 19, [number(255), number(9)].concat()),
    ] {
        let forged = packet(2, &made_up(4, 1, algorithm, 10, &key_id, &numbers));
        let file = [text.clone(), armour(&[good.clone(), forged].concat())].concat();
        let refused = verify_cleartext(&file, &keyring, now()).unwrap_err();
        assert_eq!(refused.reason, Reason::SignatureBad, "{what}: {refused}");
    }
}

#[test]
fn lines_that_apt_reads_differently_are_refused() {
    let signer = signer();
    for (length, accepted) in [(19_989, true), (19_990, false), (30_000, false)] {
        let text = format!("Label: {}\n", "x".repeat(length - 7));
        let clear = signer.gpg.clearsign(
            now() - 86_400,
            &["archive@example.org"],
            &[],
            text.as_bytes(),
        );
        let verdict = verify_cleartext(&clear, &signer.keyring, now());
        assert_eq!(verdict.is_ok(), accepted, "{length}");
    }
}
