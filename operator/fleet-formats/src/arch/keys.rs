//! Packages that bring the keys of packagers with them, as `archlinux-keyring` does: a tar archive with
//! `usr/share/pacman/keyrings/*.gpg`, and lists of disabled keys beside them.
//!
//! Nothing in them needs trust: certificates are candidates, which count where pinned masters vouch for them.

use std::collections::BTreeSet;
use std::io::Read;

use fleet_types::Reason;

use super::database;
use super::tar::{Kind, Tar};
use crate::decompress::{self, Whole};
use crate::openpgp::{Keyring, parse_disabled};
use crate::seam::Rejected;

const FOLDER: &str = "usr/share/pacman/keyrings/";
/// The real one has 1.3 MB in three files.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// Of all that such a package unpacks to.
const MAX_UNPACKED_BYTES: u64 = 64 << 20;

/// What packages of keys hold.
#[derive(Default)]
pub(super) struct Keys {
    pub keyrings: Vec<Keyring>,
    /// By fingerprint in upper-case hexadecimal.
    pub disabled: BTreeSet<String>,
}

impl Keys {
    /// Adds those of one package. Errors: `IndexMalformed`, `TooLarge`, `KeyringInvalid`.
    pub fn read(&mut self, package: &mut dyn Read) -> Result<(), Rejected> {
        let mut start = Vec::new();
        let read = (&mut *package)
            .take(database::MAGIC_BYTES)
            .read_to_end(&mut start);
        read.map_err(|error| decompress::rejection(&error))?;
        let compression = database::compression(&start)?;
        let whole = start.as_slice().chain(package);
        let mut content =
            decompress::reader(compression, whole, MAX_UNPACKED_BYTES, Whole::ByItself);
        let mut tar = Tar::new(&mut content);
        while let Some(member) = tar.next()? {
            let Some(name) = member.path.strip_prefix(FOLDER) else {
                continue;
            };
            if member.kind != Kind::File {
                continue;
            }
            let invalid = |what: String| {
                Rejected::new(Reason::KeyringInvalid, format!("{}: {what}", member.path))
            };
            if name.ends_with(".gpg") {
                let keyring = Keyring::parse(&tar.read(MAX_FILE_BYTES)?);
                let keyring = keyring.map_err(|error| invalid(error.to_string()))?;
                self.keyrings.push(keyring);
            } else if name.ends_with("-revoked") {
                let disabled = parse_disabled(&tar.read(MAX_FILE_BYTES)?);
                let disabled = disabled.map_err(|error| invalid(error.to_string()))?;
                self.disabled.extend(disabled);
            }
        }
        Ok(())
    }
}

/// Whether a file is a package of this name, whichever version: `NAME-VERSION-RELEASE-ARCHITECTURE.pkg.tar.zst`.
pub(super) fn is_version_of(package: &str, file_name: &str) -> bool {
    let rest = file_name
        .strip_prefix(package)
        .and_then(|rest| rest.strip_prefix('-'));
    let Some((parts, suffix)) = rest.and_then(|rest| rest.split_once(".pkg.tar")) else {
        return false;
    };
    parts.split('-').count() == 3 && !suffix.ends_with(".sig")
}

#[cfg(test)]
mod tests {
    use super::is_version_of;

    #[test]
    fn a_package_of_keys_is_known_by_its_name() {
        for (file, is) in [
            ("archlinux-keyring-20240101-1-any.pkg.tar.zst", true),
            ("archlinux-keyring-1:2-1-any.pkg.tar", true),
            ("archlinux-keyring-20240101-1-any.pkg.tar.zst.sig", false),
            ("archlinux-keyring-wkd-20240101-1-any.pkg.tar.zst", false),
            ("archlinux-keyring.db.tar.gz", false),
            ("keyring-1-1-any.pkg.tar.zst", false),
        ] {
            assert_eq!(is_version_of("archlinux-keyring", file), is, "{file}");
        }
    }
}
