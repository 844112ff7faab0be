//! The reader of control files: boundaries do not matter, and what is printed reads back.
#![no_main]

use fleet_formats::deb822::Reader;
use mirrorfleet_fuzz::Drip;
use std::io::Read;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

const LIMIT: usize = 4096;

libfuzzer_sys::fuzz_target!(|content: &[u8]| {
    let whole = stanzas(content, LIMIT);
    for step in [1, 7] {
        assert_eq!(whole, stanzas(Drip(content, step), LIMIT));
    }
    let Ok(whole) = whole else { return };
    let printed: Vec<u8> = whole.iter().flat_map(print).collect();
    assert_eq!(Ok(whole), stanzas(printed.as_slice(), 2 * LIMIT));
});

/// A value may end in a carriage return, so every line has one more of them.
fn print(stanza: &Fields) -> Vec<u8> {
    let lines = stanza
        .iter()
        .flat_map(|(name, value)| [name.as_slice(), b":", value, b"\r\n"].concat());
    lines.chain(*b"\n").collect()
}

fn stanzas(source: impl Read, limit: usize) -> Result<Vec<Fields>, String> {
    let mut reader = Reader::with_limit(source, limit);
    let mut stanzas = Vec::new();
    while let Some(stanza) = reader.next_stanza().map_err(|error| error.to_string())? {
        let fields: Fields = stanza
            .fields()
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect();
        assert!(!fields.is_empty());
        stanzas.push(fields);
    }
    Ok(stanzas)
}
