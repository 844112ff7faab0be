//! A certificate as its packets give it: components, each with the signatures that follow it. Nothing is checked
//! here; [`super::standing`] judges.
//!
//! Own grouping rather than the library's `SignedPublicKey`: that one drops the rest of a certificate after a packet
//! that it cannot read, and one odd user id must not cost an archive its signing subkey.

use pgp::packet::{Packet, PublicKey, PublicSubkey, Signature, UserId};
use pgp::types::{KeyDetails, Tag};

#[derive(Debug, Clone)]
pub(super) struct Certificate {
    pub primary: PublicKey,
    /// Direct-key signatures and revocations of the whole certificate.
    pub direct: Vec<Signature>,
    pub users: Vec<User>,
    pub subkeys: Vec<Subkey>,
}

#[derive(Debug, Clone)]
pub(super) struct User {
    pub id: UserId,
    pub signatures: Vec<Signature>,
}

#[derive(Debug, Clone)]
pub(super) struct Subkey {
    pub key: PublicSubkey,
    pub signatures: Vec<Signature>,
}

/// One key that may have made a signature: a certificate's primary key, or one of its subkeys.
#[derive(Clone, Copy)]
pub(super) struct Component<'a> {
    pub certificate: &'a Certificate,
    pub subkey: Option<&'a Subkey>,
}

impl<'a> Component<'a> {
    /// The key itself.
    pub fn key(self) -> &'a dyn KeyDetails {
        match self.subkey {
            Some(subkey) => &subkey.key,
            None => &self.certificate.primary,
        }
    }
}

/// What the signatures that come next belong to.
enum Section {
    Direct,
    User,
    Subkey,
    /// A component that we have no use for, for example a photo; its signatures are skipped with it.
    Skipped,
}

impl Certificate {
    /// Adds what another copy of it holds.
    pub fn merge(&mut self, copy: &Certificate) {
        self.direct.extend_from_slice(&copy.direct);
        for user in &copy.users {
            let mut known = self.users.iter_mut();
            match known.find(|known| known.id.id() == user.id.id()) {
                Some(known) => known.signatures.extend_from_slice(&user.signatures),
                None => self.users.push(user.clone()),
            }
        }
        for subkey in &copy.subkeys {
            let fingerprint = subkey.key.fingerprint();
            let mut known = self.subkeys.iter_mut();
            match known.find(|known| known.key.fingerprint() == fingerprint) {
                Some(known) => known.signatures.extend_from_slice(&subkey.signatures),
                None => self.subkeys.push(subkey.clone()),
            }
        }
    }

    /// All that it holds, wherever it stands.
    pub fn signatures(&self) -> impl Iterator<Item = &Signature> {
        let of_users = self.users.iter().flat_map(|user| &user.signatures);
        let of_subkeys = self.subkeys.iter().flat_map(|subkey| &subkey.signatures);
        self.direct.iter().chain(of_users).chain(of_subkeys)
    }
}

/// gpgv does not read longer ones.
const MAX_USER_ID_BYTES: usize = 2048;

/// Groups packets into certificates.
pub(super) struct Grouping {
    pub certificates: Vec<Certificate>,
    section: Section,
    /// Since a primary key that cannot be read, and until the next one that can.
    inside_unreadable: bool,
}

impl Grouping {
    pub fn new() -> Self {
        Grouping {
            certificates: Vec::new(),
            section: Section::Skipped,
            inside_unreadable: false,
        }
    }

    pub fn push(&mut self, packet: Packet) {
        if let Packet::PublicKey(primary) = packet {
            self.certificates.push(Certificate {
                primary,
                direct: vec![],
                users: vec![],
                subkeys: vec![],
            });
            self.section = Section::Direct;
            self.inside_unreadable = false;
            return;
        }
        if self.inside_unreadable {
            return;
        }
        let Some(certificate) = self.certificates.last_mut() else {
            return;
        };
        match packet {
            Packet::UserId(id) if id.id().len() <= MAX_USER_ID_BYTES => {
                certificate.users.push(User {
                    id,
                    signatures: vec![],
                });
                self.section = Section::User;
            }
            Packet::PublicSubkey(key) => {
                certificate.subkeys.push(Subkey {
                    key,
                    signatures: vec![],
                });
                self.section = Section::Subkey;
            }
            Packet::Signature(signature) => self.push_signature(signature),
            // They belong to no component and end none.
            Packet::Marker(_) | Packet::Padding(_) => {}
            _ => self.section = Section::Skipped,
        }
    }

    /// A packet that cannot be read. Were it a component, what follows it would be attributed wrongly; were it a
    /// primary key, even its subkeys would.
    pub fn skip(&mut self, tag: Tag) {
        match tag {
            // Trust: what GnuPG notes in its own keyrings about what it believes; nothing to anybody else.
            Tag::Signature | Tag::Trust => {}
            Tag::PublicKey => {
                self.section = Section::Skipped;
                self.inside_unreadable = true;
            }
            _ => self.section = Section::Skipped,
        }
    }

    fn push_signature(&mut self, signature: Signature) {
        let Some(certificate) = self.certificates.last_mut() else {
            return;
        };
        let list = match self.section {
            Section::Direct => Some(&mut certificate.direct),
            Section::User => certificate
                .users
                .last_mut()
                .map(|user| &mut user.signatures),
            Section::Subkey => certificate
                .subkeys
                .last_mut()
                .map(|subkey| &mut subkey.signatures),
            Section::Skipped => None,
        };
        if let Some(list) = list {
            list.push(signature);
        }
    }
}
