//! The keyrings of a machine with pacman: `NAME.gpg` with the lists beside it, as its packages of keys install them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use fleet_formats::openpgp::{RawCertificate, parse_disabled, parse_trusted, split_certificates};
use fleet_types::counted;

use super::key_file;

/// Where pacman has them, and where Debian puts them.
const FOLDERS: [&str; 2] = ["usr/share/pacman/keyrings", "usr/share/keyrings"];
/// A Secret holds at most one MiB, of which base64 takes a third.
const MAX_BYTES: usize = 700 << 10;
/// Of a larger one only the masters are taken: packagers' keys come with the distribution's own package.
const LARGE: usize = 200 << 10;

/// One keyring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacmanKeyring {
    /// `archlinux` of `archlinux.gpg`.
    pub name: String,
    pub keys: Vec<u8>,
    pub trusted: Option<String>,
    pub revoked: Option<String>,
    /// Packagers' keys were left out.
    pub masters_only: bool,
}

/// All keyrings below the root directory of a machine that have a list of masters, and in pacman's own folder the others
/// too; Arch Linux' own first.
pub fn read(root: &Path, notes: &mut Vec<String>) -> Vec<PacmanKeyring> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        let entries = fs::read_dir(root.join(folder))
            .into_iter()
            .flatten()
            .flatten();
        let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|end| end == "gpg"));
        files.sort_by_key(|file| (!file.ends_with("archlinux.gpg"), file.clone()));
        for file in files {
            match keyring(&file, folder == FOLDERS[0]) {
                Ok(keyring) => found.extend(keyring),
                Err(problem) => notes.push(format!("keyring {} {problem}", file.display())),
            }
        }
        if !found.is_empty() {
            break;
        }
    }
    let mut bytes = 0;
    found.retain(|keyring: &PacmanKeyring| {
        let fits = bytes + keyring.keys.len() <= MAX_BYTES;
        match fits {
            true => bytes += keyring.keys.len(),
            false => notes.push(format!(
                "the keyring {} is left out: with it the keyrings are too large for a Secret; write one of its own and name it in trust.additionalKeyringRefs",
                keyring.name
            )),
        }
        fits
    });
    found
}

/// None where it is none of pacman's. Errors are to be read after the file's name.
fn keyring(file: &Path, may_lack_masters: bool) -> Result<Option<PacmanKeyring>, String> {
    let name = file.file_stem().and_then(|name| name.to_str());
    let name = name.ok_or("has a name that is not UTF-8")?;
    let list = |kind: &str| {
        let text = fs::read_to_string(file.with_file_name(format!("{name}-{kind}"))).ok();
        text.filter(|text| !text.trim().is_empty())
    };
    let (trusted, revoked) = (list("trusted"), list("revoked"));
    if trusted.is_none() && !may_lack_masters {
        return Ok(None);
    }
    let masters = trusted
        .as_deref()
        .map(|text| parse_trusted(text.as_bytes()));
    let masters = masters
        .transpose()
        .map_err(|error| format!("is left out: of its list of masters {error}"))?;
    if let Some(text) = &revoked {
        parse_disabled(text.as_bytes())
            .map_err(|error| format!("is left out: of its list of revoked keys {error}"))?;
    }
    let bytes = fs::read(file).map_err(|error| format!("cannot be read: {}", error.kind()))?;
    let packets = key_file::packets(&bytes)?;
    let certificates =
        split_certificates(&packets).map_err(|error| format!("is left out: {error}"))?;
    let masters: Option<BTreeSet<String>> = masters.map(|masters| masters.into_keys().collect());
    let masters = masters.filter(|_| packets.len() > LARGE);
    let is_wanted = |certificate: &&RawCertificate| {
        let masters = masters.as_ref();
        masters.is_none_or(|masters| masters.contains(&certificate.fingerprint))
    };
    let keys: Vec<u8> = certificates
        .iter()
        .filter(is_wanted)
        .flat_map(RawCertificate::bytes)
        .collect();
    if keys.is_empty() {
        return Err("is left out: none of its masters is in it".to_owned());
    }
    if keys.len() > MAX_BYTES {
        let size = counted(keys.len(), "byte");
        return Err(format!("is left out: it has {size}, too many for a Secret"));
    }
    Ok(Some(PacmanKeyring {
        name: name.to_owned(),
        keys,
        trusted,
        revoked,
        masters_only: masters.is_some(),
    }))
}
