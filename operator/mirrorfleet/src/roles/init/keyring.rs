//! The public keys that apt believes, as bytes for a Secret.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleet_formats::openpgp::Keyring;

use super::source::SignedBy;

const ARCHIVE_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";
/// A Secret holds at most one MiB, of which base64 takes a third.
const MAX_BYTES: usize = 700 << 10;

/// Where apt's own defaults are looked for.
pub struct Defaults {
    /// The folder that holds `trusted.gpg.d/`; usually `/etc/apt`.
    pub apt: PathBuf,
}

/// The keyring of an entry; errors say why it cannot be used.
pub fn read(
    signed_by: &SignedBy,
    defaults: &Defaults,
    notes: &mut Vec<String>,
) -> Result<Vec<u8>, String> {
    let bytes = match signed_by {
        SignedBy::Files(files) => join(files, true)?,
        SignedBy::Inline(text) => text.clone().into_bytes(),
        SignedBy::Default => join(&defaults.files(), false)?,
        SignedBy::Fingerprints(prints) => {
            notes.push(format!(
                "Signed-By names keys ({}): the keyring in the Secret holds all that apt trusts by default; remove the others if you want to be as strict",
                prints.join(", ")
            ));
            join(&defaults.files(), false)?
        }
    };
    if bytes.len() > MAX_BYTES {
        return Err(format!(
            "its keyring has {} bytes, too many for a Secret",
            bytes.len()
        ));
    }
    Keyring::parse(&bytes)
        .map(|_| bytes)
        .map_err(|error| error.to_string())
}

impl Defaults {
    fn files(&self) -> Vec<PathBuf> {
        let parts = fs::read_dir(self.apt.join("trusted.gpg.d"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        let is_key = |path: &PathBuf| {
            path.extension()
                .is_some_and(|extension| extension == "gpg" || extension == "asc")
        };
        let mut files: Vec<_> = parts.filter(is_key).collect();
        files.sort();
        files.extend(
            [self.apt.join("trusted.gpg"), PathBuf::from(ARCHIVE_KEYRING)]
                .into_iter()
                .filter(|path| path.is_file()),
        );
        files
    }
}

/// All keys of several files, each part once. A file that is missing matters only where it was named.
fn join(files: &[PathBuf], named: bool) -> Result<Vec<u8>, String> {
    let mut parts = BTreeSet::new();
    let mut all = Vec::new();
    for file in files {
        match read_binary(file) {
            Ok(bytes) if parts.insert(bytes.clone()) => all.extend(bytes),
            Ok(_) => {}
            Err(problem) if named => return Err(problem),
            Err(problem) => tracing::debug!(problem, "a default keyring was left out"),
        }
    }
    if all.is_empty() {
        return Err("this machine has no keyring for it; name one with Signed-By".to_owned());
    }
    Ok(all)
}

fn read_binary(file: &Path) -> Result<Vec<u8>, String> {
    let bytes = fs::read(file)
        .map_err(|error| format!("its keyring {} cannot be read: {error}", file.display()))?;
    match std::str::from_utf8(&bytes) {
        Ok(text) if text.contains(BEGIN) => dearmour(text)
            .ok_or_else(|| format!("its keyring {} is not well armoured", file.display())),
        _ => Ok(bytes),
    }
}

/// The binary form of armoured blocks (RFC 9580, section 6), which unlike them can be joined. The checksum is left to
/// the parser of the packets: a damaged key is no key there.
fn dearmour(text: &str) -> Option<Vec<u8>> {
    let mut binary = Vec::new();
    for block in text.split(BEGIN).skip(1) {
        let (body, _) = block.split_once(END)?;
        let lines = body.lines().map(str::trim).skip(1);
        // Header lines (`Version: …`) end at the first empty line; base64 holds no colon.
        let data =
            lines.filter(|line| !line.is_empty() && !line.contains(':') && !line.starts_with('='));
        binary.extend(STANDARD.decode(data.collect::<String>()).ok()?);
    }
    Some(binary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn armoured_blocks_become_their_packets() {
        let block = |data: &str| format!("{BEGIN}\nVersion: x\n\n{data}\n=AbCd\n{END}\n");
        assert_eq!(
            dearmour(&format!("{}{}", block("aGVs\nbG8="), block("IQ=="))).unwrap(),
            b"hello!"
        );
        assert_eq!(dearmour(&block("???")), None);
    }

    #[test]
    fn a_named_file_that_is_missing_is_named() {
        let signed_by = SignedBy::Files(vec!["/no/such/keyring.gpg".into()]);
        let defaults = Defaults {
            apt: "/no/such".into(),
        };
        let problem = read(&signed_by, &defaults, &mut Vec::new()).unwrap_err();
        assert!(problem.contains("/no/such/keyring.gpg"), "{problem}");
    }
}
