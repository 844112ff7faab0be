//! Whatever a name or a message says, it stays text.

use proptest::prelude::*;

use crate::fleet::{Sketch, board, get, text};

/// Tags with the names of their attributes, and nothing of what they hold. Panics where it is no HTML of ours.
fn structure(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = page;
    while let Some(begin) = rest.find('<') {
        assert!(!rest[..begin].contains('>'), "a tag's end in a text");
        rest = &rest[begin + 1..];
        let mut tag = String::new();
        let mut quoted = false;
        let mut length = 0;
        for (place, letter) in rest.char_indices() {
            length = place + letter.len_utf8();
            match letter {
                '"' => quoted = !quoted,
                '>' if !quoted => break,
                '<' => panic!("a tag in a tag"),
                _ if quoted => continue,
                _ => {}
            }
            tag.push(letter);
        }
        found.push(tag);
        rest = &rest[length..];
    }
    found
}

fn pages(word: &str) -> Vec<String> {
    let sketch = Sketch {
        namespace: word.to_owned(),
        regions: vec![word.to_owned()],
        running: true,
        ..Sketch::failed(word, word)
    };
    let (board, _) = board(&[sketch], false);
    let asked: String = word.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let list = get(&board, &format!("/?q={asked}&only={asked}&page=1"));
    let found = get(&board, "/");
    let detail = get(&board, &format!("/mirrors/{asked}/{asked}"));
    assert_eq!(detail.status(), 200, "{word:?}");
    [list, found, detail]
        .iter()
        .map(|answer| text(answer).to_owned())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_word_becomes_markup(
        word in "(<script>|\"|'|&|>|</title>|javascript:|-->|\\{\\}|%|/|\\.|[a-z ]|\u{202e}|\u{0}|\\PC){1,30}".prop_map(|word| format!("a{word}b")),
    ) {
        // A name of the same length in words, since long texts are cut.
        let plain = "x".repeat(word.chars().count());
        for (hostile, plain) in pages(&word).iter().zip(pages(&plain)) {
            prop_assert_eq!(structure(hostile), structure(&plain));
            let odd = hostile.contains(['\u{202e}', '\u{0}']);
            prop_assert!(!odd, "a character that no text has");
        }
    }

    #[test]
    fn any_address_is_answered(path in "/[!-~]{0,60}") {
        let (board, _) = board(&[Sketch::well("a")], false);
        if path.parse::<http::Uri>().is_ok() {
            let answer = get(&board, &path);
            prop_assert!(answer.status() == 200 || answer.status() == 404, "{}", path);
        }
    }
}
