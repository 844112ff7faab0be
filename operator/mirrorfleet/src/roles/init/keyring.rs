//! The public keys that apt believes, as bytes for a Secret.

use fleet_types::counted;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fleet_formats::openpgp::{Keyring, RawCertificate, split_certificates};

use super::files::AptFolder;
use super::key_file;
use super::signed_by::{KeyName, SignedBy};

/// Taken where a machine trusts no key by default.
const ARCHIVE_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// A Secret holds at most one MiB, of which base64 takes a third.
const MAX_BYTES: usize = 700 << 10;

/// The keyring of an entry; errors say why it cannot be used. A file that cannot be used beside others that can becomes
/// a note, as for apt.
pub fn read(
    signed_by: &SignedBy,
    folder: &AptFolder,
    notes: &mut Vec<String>,
) -> Result<Vec<u8>, String> {
    let certificates = match &signed_by.inline {
        Some(text) => {
            certificates(text.as_bytes()).map_err(|problem| format!("the key in it {problem}"))?
        }
        None => join(&files(signed_by, folder, notes), notes)?,
    };
    let keyring = chosen(certificates, &signed_by.keys, notes)?;
    if keyring.len() > MAX_BYTES {
        return Err(format!(
            "its keyring has {}, too many for a Secret",
            counted(keyring.len(), "byte")
        ));
    }
    match Keyring::parse(&keyring) {
        Ok(_) => Ok(keyring),
        Err(error) => Err(error.to_string()),
    }
}

fn files(signed_by: &SignedBy, folder: &AptFolder, notes: &mut Vec<String>) -> Vec<PathBuf> {
    if !signed_by.files.is_empty() {
        let files = signed_by.files.iter();
        return files.map(|file| folder.locate(file)).collect();
    }
    let files = folder.keyrings();
    let archive = PathBuf::from(ARCHIVE_KEYRING);
    if !files.is_empty() || !archive.is_file() {
        return files;
    }
    notes.push(format!(
        "no key is trusted by default in {}: {ARCHIVE_KEYRING} was taken for entries without Signed-By",
        folder.path().display()
    ));
    vec![archive]
}

/// The certificates of several files, each once.
fn join(files: &[PathBuf], notes: &mut Vec<String>) -> Result<Vec<RawCertificate>, String> {
    let mut all = Vec::new();
    let mut seen = BTreeSet::new();
    let mut problems = Vec::new();
    for file in files {
        match certificates_of(file) {
            Ok(found) => {
                let new = found.into_iter();
                all.extend(new.filter(|certificate| seen.insert(certificate.bytes())));
            }
            Err(problem) => problems.push(problem),
        }
    }
    if !all.is_empty() {
        let unused = problems.iter();
        notes.extend(unused.map(|problem| format!("{problem}; the other keyrings were taken")));
        return Ok(all);
    }
    match problems.is_empty() {
        true => Err("this machine has no keyring for it; name one with Signed-By".to_owned()),
        false => Err(problems.join("; ")),
    }
}

fn certificates_of(file: &Path) -> Result<Vec<RawCertificate>, String> {
    let named = |problem: &str| format!("keyring {} {problem}", file.display());
    let bytes =
        fs::read(file).map_err(|error| named(&format!("cannot be read: {}", error.kind())))?;
    certificates(&bytes).map_err(|problem| named(&problem))
}

fn certificates(bytes: &[u8]) -> Result<Vec<RawCertificate>, String> {
    let found = split_certificates(&key_file::packets(bytes)?)
        .map_err(|_| "is damaged; export its keys again with `gpg --export`".to_owned())?;
    match found.is_empty() {
        true => Err("holds no OpenPGP key that can be read".to_owned()),
        false => Ok(found),
    }
}

/// The keys that Signed-By names; all where it names none.
fn chosen(
    certificates: Vec<RawCertificate>,
    keys: &[KeyName],
    notes: &mut Vec<String>,
) -> Result<Vec<u8>, String> {
    if keys.is_empty() {
        return Ok(certificates
            .iter()
            .flat_map(RawCertificate::bytes)
            .collect());
    }
    let mut keyring = Vec::new();
    let mut missing: Vec<_> = keys.iter().collect();
    for certificate in &certificates {
        let names = |key: &KeyName| narrowed(certificate, key).is_some();
        let whole = |key: &&KeyName| key.fingerprint == certificate.fingerprint && !key.exactly;
        missing.retain(|key| !names(key));
        match keys.iter().find(whole) {
            Some(_) => keyring.extend(certificate.bytes()),
            None => {
                let mut parts = keys.iter().filter_map(|key| narrowed(certificate, key));
                if let Some(mut narrow) = parts.next() {
                    narrow.subkeys.extend(parts.flat_map(|part| part.subkeys));
                    if !narrow.subkeys.is_empty() {
                        notes.push(format!(
                            "Signed-By names a subkey of {}: its primary key is believed as well, which apt does not do",
                            certificate.fingerprint
                        ));
                    }
                    keyring.extend(narrow.bytes());
                }
            }
        }
    }
    if !missing.is_empty() {
        let missing: Vec<_> = missing.iter().map(|key| key.fingerprint.as_str()).collect();
        let problem = format!(
            "Signed-By names {}, which is in none of its keyrings",
            missing.join(", ")
        );
        if keyring.is_empty() {
            return Err(problem);
        }
        notes.push(problem);
    }
    Ok(keyring)
}

/// What of a certificate a fingerprint names: all of it, the primary key alone (`!`), or that with one subkey.
fn narrowed(certificate: &RawCertificate, key: &KeyName) -> Option<RawCertificate> {
    if key.fingerprint == certificate.fingerprint {
        let mut whole = certificate.clone();
        if key.exactly {
            whole.subkeys.clear();
        }
        return Some(whole);
    }
    let mut subkeys = certificate.subkeys.iter();
    let subkey = subkeys.find(|(fingerprint, _)| *fingerprint == key.fingerprint)?;
    Some(RawCertificate {
        subkeys: vec![subkey.clone()],
        ..certificate.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(name: &str, subkeys: &[&str]) -> RawCertificate {
        let subkeys = subkeys.iter();
        RawCertificate {
            fingerprint: name.to_owned(),
            primary: name.as_bytes().to_vec(),
            subkeys: subkeys
                .map(|subkey| ((*subkey).to_owned(), subkey.as_bytes().to_vec()))
                .collect(),
        }
    }

    fn keys(names: &[&str]) -> Vec<KeyName> {
        let key = |name: &&str| KeyName {
            fingerprint: name.trim_end_matches('!').to_owned(),
            exactly: name.ends_with('!'),
        };
        names.iter().map(key).collect()
    }

    #[test]
    fn only_the_keys_that_are_named_are_taken() {
        let all = [certificate("A", &["a", "b"]), certificate("B", &["c"])];
        for (named, expected, notes) in [
            (vec![], "AabBc", 0),
            (vec!["A"], "Aab", 0),
            (vec!["A!"], "A", 0),
            (vec!["B", "A!"], "ABc", 0),
            (vec!["b"], "Ab", 1),
            (vec!["b", "a!"], "Aba", 1),
            (vec!["A", "b"], "Aab", 0),
            (vec!["A", "X"], "Aab", 1),
        ] {
            let mut told = Vec::new();
            let keyring = chosen(all.to_vec(), &keys(&named), &mut told).unwrap();
            assert_eq!(String::from_utf8(keyring).unwrap(), expected, "{named:?}");
            assert_eq!(told.len(), notes, "{named:?}: {told:?}");
        }
        assert!(chosen(all.to_vec(), &keys(&["X"]), &mut Vec::new()).is_err());
    }

    #[test]
    fn a_named_file_that_is_missing_is_named() {
        let signed_by = SignedBy::parse("/no/such/keyring.gpg").unwrap();
        let problem = read(&signed_by, &AptFolder::own(), &mut Vec::new()).unwrap_err();
        assert!(problem.contains("/no/such/keyring.gpg"), "{problem}");
    }
}
