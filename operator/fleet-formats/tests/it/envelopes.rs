//! What is accepted here is accepted by gpgv and by a fresh apt: over envelopes that a stranger without any key can make
//! of a good file, and over what honest signers make.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fleet_formats::openpgp::{Keyring, verify_cleartext, verify_detached};

use crate::gpg::{Gpg, now};

const PACKAGES: &str = "Package: one\nVersion: 1\nArchitecture: amd64\n\n";
const TEXT: &[u8] = b"Origin: Test\nSuite: stable\nDate: Sat, 01 Jan 2022 00:00:00 UTC\nComponents: main\n\
    Architectures: amd64\nSHA256:\n 80c7e809fb60092fdfead88c1a0a0bfadb2211dce21cf7d5fb4df504b77a794a 45 main/binary-amd64/Packages\n";

/// One altered file and what was done to it.
struct Case {
    name: String,
    in_release: Vec<u8>,
}

/// The parts of a cleartext-signed file: everything before the signature block, and its packets.
fn parts(file: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let text = String::from_utf8(file.to_vec()).unwrap();
    let (before, block) = text.split_once("-----BEGIN PGP SIGNATURE-----\n").unwrap();
    let data: String = block
        .lines()
        .take_while(|line| !line.starts_with("-----END") && !line.starts_with('='))
        .collect();
    (before.as_bytes().to_vec(), BASE64.decode(data).unwrap())
}

fn checksum(bytes: &[u8]) -> [u8; 3] {
    let mut crc: u32 = 0x00B7_04CE;
    for byte in bytes {
        crc ^= u32::from(*byte) << 16;
        for _ in 0..8 {
            crc <<= 1;
            if crc & 0x0100_0000 != 0 {
                crc ^= 0x0186_4CFB;
            }
        }
    }
    let [_, a, b, c] = crc.to_be_bytes();
    [a, b, c]
}

fn armour(packets: &[u8]) -> Vec<u8> {
    let data = BASE64.encode(packets);
    let mut text = "-----BEGIN PGP SIGNATURE-----\n\n".to_owned();
    for line in data.as_bytes().chunks(64) {
        let _ = writeln!(text, "{}", String::from_utf8_lossy(line));
    }
    let _ = write!(
        text,
        "={}\n-----END PGP SIGNATURE-----\n",
        BASE64.encode(checksum(packets))
    );
    text.into_bytes()
}

fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xC0 | tag, 0xFF];
    bytes.extend((body.len() as u32).to_be_bytes());
    bytes.extend(body);
    bytes
}

fn subpacket(kind: u8, data: &[u8]) -> Vec<u8> {
    [&[data.len() as u8 + 1, kind], data].concat()
}

fn number(bits: u16) -> Vec<u8> {
    let mut bytes = bits.to_be_bytes().to_vec();
    bytes.push(1 << ((bits - 1) % 8));
    bytes.resize(2 + usize::from(bits).div_ceil(8), 0x5A);
    bytes
}

/// The body of a signature that nobody made.
fn made_up(
    version: u8,
    kind: u8,
    algorithm: u8,
    hash: u8,
    key_id: &[u8],
    numbers: &[u8],
) -> Vec<u8> {
    let hashed = subpacket(2, &1_700_000_000_u32.to_be_bytes());
    let unhashed = subpacket(16, key_id);
    let mut body = vec![version, kind, algorithm, hash, 0, hashed.len() as u8];
    body.extend(hashed);
    body.extend([0, unhashed.len() as u8]);
    body.extend(unhashed);
    body.extend([0, 0]);
    body.extend(numbers);
    body
}

/// A signature's body with another unhashed area.
fn with_unhashed(packets: &[u8], area: &[u8]) -> Vec<u8> {
    let body = match packets[0] {
        0x88 => &packets[2..],
        0x89 => &packets[3..],
        other => panic!("gpg wrote a packet that begins with {other:#x}"),
    };
    let hashed = usize::from(u16::from_be_bytes([body[4], body[5]]));
    let at = 6 + hashed;
    let unhashed = usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
    let mut new = body[..at].to_vec();
    new.extend((area.len() as u16).to_be_bytes());
    new.extend(area);
    new.extend(&body[at + 2 + unhashed..]);
    packet(2, &new)
}

/// All that is done to one good file. `key_id` is its signer's.
fn alterations(good: &[u8], key_id: &[u8; 8]) -> Vec<Case> {
    let (text, packets) = parts(good);
    let mut cases = Vec::new();
    let mut add = |name: &str, in_release: Vec<u8>| {
        cases.push(Case {
            name: name.to_owned(),
            in_release,
        });
    };
    let file = |packets: &[u8]| [text.clone(), armour(packets)].concat();
    let replaced = |from: &str, to: &str| {
        let text = String::from_utf8(good.to_vec()).unwrap();
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1).into_bytes()
    };
    add("as it is", good.to_vec());
    add("packed anew", file(&packets));
    for (name, before, behind) in [
        ("a blank line before", "\n", ""),
        ("a blank before", " ", ""),
        ("text before", "x\n", ""),
        ("a byte order mark before", "\u{feff}", ""),
        ("a blank line behind", "", "\n"),
        ("a blank behind", "", " "),
        ("text behind", "", "x\n"),
        ("a NUL behind", "", "\0"),
    ] {
        add(name, [before.as_bytes(), good, behind.as_bytes()].concat());
    }
    add("twice", [good, good].concat());
    add("no last line feed", good[..good.len() - 1].to_vec());
    add("cut in its armour", good[..good.len() - 40].to_vec());
    add(
        "the block twice",
        [good.to_vec(), armour(&packets)].concat(),
    );
    add(
        "CR LF",
        String::from_utf8_lossy(good)
            .replace('\n', "\r\n")
            .into_bytes(),
    );
    let end = "-----END PGP SIGNATURE-----";
    for (name, from, to) in [
        ("no Hash header", "Hash: SHA512\n", ""),
        ("another Hash header", "Hash: SHA512", "Hash: SHA256"),
        ("a list of hashes", "Hash: SHA512", "Hash: SHA256, SHA512"),
        ("an unknown hash", "Hash: SHA512", "Hash: SHA512, TIGER"),
        ("MD5 too", "Hash: SHA512", "Hash: SHA512, MD5"),
        (
            "a Comment header",
            "Hash: SHA512",
            "Hash: SHA512\nComment: x",
        ),
        (
            "a Charset header",
            "Hash: SHA512",
            "Charset: utf-8\nHash: SHA512",
        ),
        ("no blank line behind the headers", "SHA512\n\n", "SHA512\n"),
        ("blanks for a blank line", "SHA512\n\n", "SHA512\n \t\n"),
        (
            "blanks behind the first line",
            "MESSAGE-----\n",
            "MESSAGE----- \t\n",
        ),
        (
            "blanks behind the last line",
            end,
            "-----END PGP SIGNATURE----- \t",
        ),
        ("blanks behind a line of text", "stable\n", "stable \t\n"),
        ("a CR inside a line", "stable", "sta\rble"),
        ("a line escaped", "Suite", "- Suite"),
        ("a dash not escaped", "Suite", "-Suite"),
        ("another text", "stable", "stale!"),
    ] {
        add(name, replaced(from, to));
    }
    let begin = "-----BEGIN PGP SIGNATURE-----\n";
    for (name, header) in [
        ("an armour comment", "Comment: a: b\n"),
        ("an unknown armour header", "Odd: x\n"),
        ("an armour header without colon", "odd\n"),
        ("blanks behind the block's first line", " \n"),
    ] {
        let to = match header.strip_prefix(' ') {
            Some(rest) => format!("-----BEGIN PGP SIGNATURE----- {rest}"),
            None => format!("{begin}{header}"),
        };
        add(name, replaced(begin, &to));
    }
    add(
        "no blank line in the armour",
        replaced("SIGNATURE-----\n\n", "SIGNATURE-----\n"),
    );
    let whole = String::from_utf8(file(&packets)).unwrap();
    let at = whole.rfind("\n=").unwrap();
    for (name, line) in [
        ("no checksum", "\n".to_owned()),
        ("a wrong checksum", "\n=AAAA\n".to_owned()),
        (
            "rubbish before the checksum",
            format!("\n!!{}", &whole[at..at + 7]),
        ),
        (
            "a dash inside the armour",
            format!("\n- x{}", &whole[at..at + 7]),
        ),
        (
            "a blank line inside the armour",
            format!("\n{}", &whole[at..at + 7]),
        ),
    ] {
        let tail = &whole[at + 7..];
        add(name, format!("{}{line}{tail}", &whole[..at]).into_bytes());
    }
    let (own, strange) = (subpacket(16, key_id), subpacket(16, &[2; 8]));
    for (name, area) in [
        ("issuer removed", Vec::new()),
        ("issuer replaced", strange.clone()),
        (
            "issuer and another",
            [own.clone(), strange.clone()].concat(),
        ),
        (
            "another and the issuer",
            [strange.clone(), own.clone()].concat(),
        ),
        (
            "an unknown critical demand",
            [own.clone(), subpacket(0x80 | 101, b"x")].concat(),
        ),
        (
            "a critical notation",
            [
                own.clone(),
                subpacket(0x80 | 20, b"\x80\0\0\0\0\x03\0\x01a@bx"),
            ]
            .concat(),
        ),
        (
            "an unknown remark",
            [own.clone(), subpacket(101, b"x")].concat(),
        ),
        (
            "an expiry in what is not signed",
            [own.clone(), subpacket(3, &[0, 0, 0, 1])].concat(),
        ),
        ("a broken subpacket", [own.clone(), vec![9, 16]].concat()),
        ("a subpacket of nothing", [own.clone(), vec![0]].concat()),
    ] {
        add(name, file(&with_unhashed(&packets, &area)));
    }
    let curve = [number(250), number(251)].concat();
    for (whose, id) in [("the archive's", key_id), ("a stranger's", &[2; 8])] {
        for (what, body) in [
            ("with SHA-512", made_up(4, 1, 22, 10, id, &curve)),
            (
                "with SHA-256, not announced",
                made_up(4, 1, 22, 8, id, &curve),
            ),
            ("with SHA-1", made_up(4, 1, 22, 2, id, &curve)),
            ("with MD5", made_up(4, 1, 22, 1, id, &curve)),
            ("with an unknown hash", made_up(4, 1, 22, 99, id, &curve)),
            ("by RSA", made_up(4, 1, 1, 10, id, &number(2040))),
            ("by ECDSA", made_up(4, 1, 19, 10, id, &curve)),
            ("by an unknown algorithm", made_up(4, 1, 99, 10, id, &curve)),
            ("by algorithm 27", made_up(4, 1, 27, 10, id, &[7; 64])),
            ("over bytes", made_up(4, 0, 22, 10, id, &curve)),
            ("over a time", made_up(4, 0x40, 22, 10, id, &curve)),
            ("of version 5", made_up(5, 1, 22, 10, id, &curve)),
            ("of version 6", made_up(6, 1, 22, 10, id, &curve)),
            ("of version 9", made_up(9, 1, 22, 10, id, &curve)),
            (
                "of short numbers",
                made_up(4, 1, 22, 10, id, &[number(9), number(9)].concat()),
            ),
            ("of one number", made_up(4, 1, 22, 10, id, &number(250))),
            ("of no number", made_up(4, 1, 22, 10, id, &[])),
        ] {
            let strange = packet(2, &body);
            add(
                &format!("{whose} signature {what} before"),
                file(&[strange.clone(), packets.clone()].concat()),
            );
            add(
                &format!("{whose} signature {what} behind"),
                file(&[packets.clone(), strange].concat()),
            );
        }
    }
    for (what, other) in [
        ("literal", packet(11, b"b\0\0\0\0\0x")),
        (
            "one-pass",
            packet(4, &[&[3, 1, 10, 22][..], key_id, &[1]].concat()),
        ),
        ("marker", packet(10, b"PGP")),
        ("padding", packet(21, b"xx")),
        ("unknown", packet(60, b"x")),
        ("user id", packet(13, b"x")),
        ("cut", b"\xc2\x05abc".to_vec()),
    ] {
        add(
            &format!("a {what} packet before"),
            file(&[other.clone(), packets.clone()].concat()),
        );
        add(
            &format!("a {what} packet behind"),
            file(&[packets.clone(), other].concat()),
        );
    }
    let stranger = packet(2, &made_up(4, 1, 22, 10, &[2; 8], &curve));
    add(
        "40 strangers before",
        file(&[stranger.repeat(40), packets.clone()].concat()),
    );
    cases
}

/// Single bytes of the envelope altered, the same ones in every run.
fn random_edits(good: &[u8]) -> Vec<Case> {
    let (text, packets) = parts(good);
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut cases = Vec::new();
    for _ in 0..60 {
        let (at, value) = (random(packets.len()), random(256) as u8);
        let mut edited = packets.clone();
        edited[at] = value;
        cases.push(Case {
            name: format!("byte {at} of the packets is {value:#x}"),
            in_release: [text.clone(), armour(&edited)].concat(),
        });
    }
    let begin = text.len();
    for _ in 0..60 {
        let outside = match random(3) {
            0 => random(52),
            _ => begin + random(good.len() - begin),
        };
        let value = b"\n -=:aZ9\t\r+/\0"[random(13)];
        let mut edited = good.to_vec();
        edited[outside] = value;
        cases.push(Case {
            name: format!("byte {outside} of the file is {value:#x}"),
            in_release: edited,
        });
    }
    cases
}

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
fn whatever_a_stranger_makes_of_a_file_is_accepted_only_where_gpgv_accepts_it() {
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
            wrong.push(case.name.as_str());
        }
    }
    assert!(wrong.is_empty(), "accepted, and gpgv refuses: {wrong:#?}");
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
