//! Whom apt believes for an entry: its option Signed-By (`NormalizeSignedBy` in apt's metaindex.cc).

use std::path::PathBuf;

const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// Whom apt believes for an entry. Nothing of all: everything that apt trusts by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignedBy {
    pub files: Vec<PathBuf>,
    /// Only these of the keys in the files, or of those that apt trusts by default.
    pub keys: Vec<KeyName>,
    /// Armoured blocks in the entry itself.
    pub inline: Option<String>,
}

/// A key by its fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName {
    /// Upper-case hexadecimal.
    pub fingerprint: String,
    /// Written with `!`: this key itself, and none of its subkeys.
    pub exactly: bool,
}

impl SignedBy {
    /// Errors name the word that is neither a path nor a fingerprint.
    pub fn parse(value: &str) -> Result<SignedBy, String> {
        if value.contains(BEGIN) {
            return Ok(SignedBy {
                inline: Some(block(value)),
                ..SignedBy::default()
            });
        }
        let mut signed_by = SignedBy::default();
        let words = value.split(|c: char| c == ',' || c.is_ascii_whitespace());
        for word in words.filter(|word| !word.is_empty()) {
            match word.starts_with('/') {
                true => signed_by.files.push(word.into()),
                false => signed_by.keys.push(KeyName::parse(word)?),
            }
        }
        match signed_by == SignedBy::default() {
            true => Err("`Signed-By` names nothing; apt refuses it as well".to_owned()),
            false => Ok(signed_by),
        }
    }
}

impl KeyName {
    fn parse(word: &str) -> Result<KeyName, String> {
        let (fingerprint, exactly) = match word.strip_suffix('!') {
            Some(fingerprint) => (fingerprint, true),
            None => (word, false),
        };
        let is_hexadecimal = fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hexadecimal || !matches!(fingerprint.len(), 40 | 64) {
            return Err(format!(
                "`Signed-By` names {word:?}, which is neither a path from `/` nor a whole fingerprint; apt refuses it as well"
            ));
        }
        Ok(KeyName {
            fingerprint: fingerprint.to_ascii_uppercase(),
            exactly,
        })
    }
}

/// A lone `.` stands for an empty line, as everywhere in deb822.
fn block(value: &str) -> String {
    let lines = value.lines().map(|line| match line.trim() {
        "." => "",
        line => line,
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_fingerprints_stand_beside_each_other() {
        let print = "abcdef0123456789abcdef0123456789abcdef01";
        let signed_by = SignedBy::parse(&format!("/k/a.gpg,/k/b.asc {print}!\n{print}")).unwrap();
        assert_eq!(
            signed_by.files,
            [PathBuf::from("/k/a.gpg"), "/k/b.asc".into()]
        );
        assert_eq!(signed_by.keys.len(), 2);
        assert!(signed_by.keys[0].exactly && !signed_by.keys[1].exactly);
        assert_eq!(signed_by.keys[0].fingerprint, print.to_uppercase());
    }

    #[test]
    fn what_is_neither_is_refused() {
        for value in ["", " , ", "vendor.gpg", "0123ABCD", "/a,some"] {
            assert!(SignedBy::parse(value).is_err(), "{value}");
        }
    }

    #[test]
    fn an_inline_key_keeps_its_empty_lines() {
        let signed_by = SignedBy::parse(&format!("\n {BEGIN}\n .\n mDME\n =abcd\n")).unwrap();
        assert_eq!(
            signed_by.inline.unwrap(),
            format!("\n{BEGIN}\n\nmDME\n=abcd\n")
        );
    }
}
