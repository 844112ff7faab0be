//! Archives as manifests.

use std::path::Path;

use fleet_api::upstream::UpstreamType;
use fleet_types::shown_url;

use super::archives::{Archive, Slice, Trust};
use super::machine::Machine;
use super::manifest::{
    Access, Address, Commented, Content, DebianBlock, Document, ExpiredUnit, Include, KeyReference,
    MirrorDocument, TrustBlock, UpstreamDocument, Verification, to_yaml,
};
use super::names::Names;
use super::npmrc::{self, Used};
use super::pacman::Configuration;
use super::repositories;
use crate::failure::Failure;

const KEYRING_KEY: &str = "keyring.gpg";
/// The one region of a first manifest; a cluster deploys one copy, `mirrorfleet local` is one region in any case.
const REGION: &str = "main";

/// All documents, with a comment for each.
#[derive(Default)]
pub struct Written {
    documents: Vec<(String, Document)>,
    names: Names,
}

impl Written {
    /// Adds what pacman is configured to read.
    pub fn repositories(&mut self, configuration: &Configuration, notes: &mut Vec<String>) {
        let written = repositories::documents(configuration, &mut self.names, notes);
        self.documents.extend(written);
    }

    /// Adds what npm is configured to read.
    pub fn registries(&mut self, path: &Path, used: &[Used]) {
        let written = npmrc::documents(path, used, &mut self.names);
        self.documents.extend(written);
    }

    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// Adds what apt is configured to read.
    pub fn archives(&mut self, archives: &[Archive], machine: &Machine, notes: &mut Vec<String>) {
        let Written { documents, names } = self;
        for archive in archives {
            let name = names.for_url(&archive.url);
            let slice = archive.slice();
            notes.extend(told_of_unasked(archive, &slice));
            documents.extend(upstream_documents(&name, archive, machine));
            documents.push((
                format!(
                    "Served under /{name}/; rename it, or write serving.path, to have it elsewhere."
                ),
                mirror_document(&name, slice),
            ));
        }
    }

    /// What is not for standard output.
    pub fn withheld(&self) -> Option<String> {
        let logins = self
            .documents
            .iter()
            .filter(|(_, document)| document.is_login());
        let names: Vec<_> = logins.map(|(_, document)| document.name()).collect();
        (!names.is_empty()).then(|| {
            format!(
                "logins are not printed, so Secret {} is missing; use --out FILE to have it",
                names.join(", ")
            )
        })
    }

    pub fn to_yaml(&self, with_logins: bool) -> Result<String, Failure> {
        let documents = self.documents.iter();
        let commented: Vec<_> = documents
            .filter(|(_, document)| with_logins || !document.is_login())
            .map(|(comment, document)| Commented {
                comment: comment.clone(),
                document,
            })
            .collect();
        to_yaml(&commented).map_err(|error| Failure::output("the manifests", error))
    }
}

fn told_of_unasked(archive: &Archive, slice: &Slice) -> Option<String> {
    let suites = slice.unasked.iter();
    let suites: Vec<_> = suites
        .map(|(suite, kinds)| format!("{} of {suite}", kinds.join(" ")))
        .collect();
    (!suites.is_empty()).then(|| {
        format!(
            "{}: one Mirror has all suites, so that they have one address; where the archive has them, it also copies {}, for which no entry asks; write another Mirror for the suites that need more if that is too much",
            shown_url(archive.url.as_str()),
            suites.join(", ")
        )
    })
}

fn upstream_documents(name: &str, archive: &Archive, machine: &Machine) -> Vec<(String, Document)> {
    let shown = shown_url(archive.url.as_str());
    let mut places = archive.places.clone();
    places.dedup();
    let mut documents = Vec::new();
    let trust = match &archive.trust {
        Trust::Anybody => TrustBlock::nobody(),
        Trust::Keys(keyring) => {
            let keyring_name = format!("{name}-keyring");
            documents.push((
                format!("The public keys that apt believes {shown} by."),
                Document::binary_secret(&keyring_name, KEYRING_KEY, keyring),
            ));
            TrustBlock {
                signatures: None,
                keyring_ref: Some(KeyReference {
                    kind: "Secret".to_owned(),
                    name: keyring_name,
                    key: KEYRING_KEY.to_owned(),
                }),
                ..TrustBlock::default()
            }
        }
    };
    let mut access = Access {
        credentials_ref: None,
        proxy_url: machine.proxy_for(archive.url.scheme()).map(str::to_owned),
    };
    if let Some(login) = &archive.login {
        let login_name = format!("{name}-login");
        documents.push((
            "Given to the hosts that it names, and to no other.".to_owned(),
            Document::login_secret(
                &login_name,
                &login.username,
                &login.password,
                &login.released_to,
            ),
        ));
        access.credentials_ref = Some(login_name.as_str().into());
    }
    let spec = UpstreamDocument {
        upstream_type: UpstreamType::Debian.as_str().to_owned(),
        authority: Address {
            url: archive.url.to_string(),
        },
        endpoints: Vec::new(),
        trust,
        access: (access != Access::default()).then_some(access),
    };
    let mut comment = format!("Read from {}.", places.join(", "));
    if archive.trust == Trust::Anybody {
        comment.push_str("\nWARNING: signatures are not looked at, as `trusted=yes` says.");
    }
    if archive.url.scheme() == "file" {
        comment.push_str("\nOnly `mirrorfleet local` reads file URLs; a cluster refuses them.");
    }
    documents.push((comment, Document::upstream(name, spec)));
    documents
}

fn mirror_document(name: &str, slice: Slice) -> Document {
    let include = Include {
        sources: slice.sources,
        contents: slice.more.contents,
        dep11: slice.more.dep11,
        pdiffs: slice.more.pdiffs,
    };
    let expired: Vec<_> = (slice.expired.into_iter())
        .map(|unit| ExpiredUnit {
            unit,
            rule: "Allow".to_owned(),
        })
        .collect();
    let spec = MirrorDocument {
        upstream_ref: name.into(),
        mode: None,
        guard: None,
        content: Content::Debian {
            debian: DebianBlock {
                suites: slice.suites,
                components: slice.components,
                architectures: slice.architectures,
                include: (include != Include::default()).then_some(include),
            },
        },
        verification: (!expired.is_empty()).then_some(Verification { expired }),
        regions: vec![REGION.into()],
    };
    Document::mirror(name, spec)
}
