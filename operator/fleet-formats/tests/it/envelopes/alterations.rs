//! What a stranger without any key can make of a good file.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// One altered file and what was done to it.
pub struct Case {
    pub name: String,
    pub in_release: Vec<u8>,
}

/// The parts of a cleartext-signed file: everything before the signature block, and its packets.
pub fn parts(file: &[u8]) -> (Vec<u8>, Vec<u8>) {
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

pub fn armour(packets: &[u8]) -> Vec<u8> {
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

pub fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xC0 | tag, 0xFF];
    bytes.extend((body.len() as u32).to_be_bytes());
    bytes.extend(body);
    bytes
}

fn subpacket(kind: u8, data: &[u8]) -> Vec<u8> {
    [&[data.len() as u8 + 1, kind], data].concat()
}

pub fn number(bits: u16) -> Vec<u8> {
    let mut bytes = bits.to_be_bytes().to_vec();
    bytes.push(1 << ((bits - 1) % 8));
    bytes.resize(2 + usize::from(bits).div_ceil(8), 0x5A);
    bytes
}

/// The body of a signature that nobody made.
pub fn made_up(
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

/// A signature whose two numbers are written with a zero before them.
fn padded(packets: &[u8]) -> Vec<u8> {
    let body = &packets[2..];
    let hashed = usize::from(u16::from_be_bytes([body[4], body[5]]));
    let unhashed = usize::from(u16::from_be_bytes([body[6 + hashed], body[7 + hashed]]));
    let mut at = 8 + hashed + unhashed + 2;
    let mut new = body[..at].to_vec();
    while at < body.len() {
        let bytes = usize::from(u16::from_be_bytes([body[at], body[at + 1]])).div_ceil(8);
        new.extend(((bytes as u16 + 1) * 8).to_be_bytes());
        new.push(0);
        new.extend(&body[at + 2..at + 2 + bytes]);
        at += 2 + bytes;
    }
    packet(2, &new)
}

/// All that is done to one good file. `key_id` is its signer's.
pub fn alterations(good: &[u8], key_id: &[u8; 8]) -> Vec<Case> {
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
            "a form feed before a hash",
            "Hash: SHA512",
            "Hash: \x0cSHA512",
        ),
        (
            "a CR before a hash",
            "Hash: SHA512",
            "Hash: SHA256,\rSHA512",
        ),
        (
            "a Hash header of 61 bytes",
            "Hash: SHA512",
            "Hash:                                                  SHA512",
        ),
        (
            "a CR before a blank behind a line",
            "stable\n",
            "stable\r \n",
        ),
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
        ("an armour header without its blank", "Odd:x\n"),
        ("an armour header that says nothing", "Odd:\n"),
        ("an armour header of blanks", "Comment:  \n"),
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
        (
            "a regular expression",
            [own.clone(), subpacket(6, b"x")].concat(),
        ),
        (
            "no embedded signature",
            [own.clone(), subpacket(32, b"x")].concat(),
        ),
        (
            "attested certifications",
            [own.clone(), subpacket(37, b"x")].concat(),
        ),
        (
            "a notation that is no text",
            [own.clone(), subpacket(20, b"\x80\0\0\0\0\x02\0\x01\xffxb")].concat(),
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
        ("trust", packet(12, b"x")),
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
    add("its numbers padded", file(&padded(&packets)));
    let stranger = packet(2, &made_up(4, 1, 22, 10, &[2; 8], &curve));
    for (name, blocks) in [
        ("a stranger's block before", [&stranger[..], &packets]),
        ("a stranger's block behind", [&packets, &stranger]),
        (
            "one packet over two blocks",
            [&packets[..40], &packets[40..]],
        ),
    ] {
        let [first, second] = blocks.map(armour);
        add(name, [text.clone(), first, second].concat());
    }
    add(
        "40 strangers before",
        file(&[stranger.repeat(40), packets.clone()].concat()),
    );
    cases
}

/// Single bytes of the envelope altered, the same ones in every run.
pub fn random_edits(good: &[u8]) -> Vec<Case> {
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
