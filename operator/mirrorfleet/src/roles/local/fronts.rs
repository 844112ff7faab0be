//! What the server is told of the proxies before it, in the form in which a cluster tells its pods: a file for each Mirror.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use fleet_api::Mirror;
use fleet_types::documents::ClientList;
use ipnet::IpNet;

use crate::manifests::Manifests;

/// The folder of these files. No Mirror has such a name.
pub fn folder(data: &Path) -> PathBuf {
    data.join(".lists")
}

/// Writes whose word counts for each Mirror. What cannot be written is told, and the server goes on with what it knows.
pub fn tell(data: &Path, manifests: &Manifests) {
    let folder = folder(data);
    if let Err(problem) = write_all(&folder, manifests) {
        tracing::error!(folder = %folder.display(), %problem, "the server is not told of serving.trustedProxies");
    }
}

fn write_all(folder: &Path, manifests: &Manifests) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut declared = BTreeSet::new();
    for mirror in manifests.mirrors.values() {
        let name = mirror.metadata.name.clone().unwrap_or_default();
        // The server finds the one or the other, and none in between.
        let draft = folder.join(format!(".{name}"));
        std::fs::write(&draft, list(mirror)?)?;
        std::fs::rename(&draft, folder.join(&name))?;
        declared.insert(OsString::from(name));
    }
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        if !declared.contains(&name) {
            std::fs::remove_file(folder.join(name))?;
        }
    }
    Ok(())
}

/// Without regions: there is this one.
fn list(mirror: &Mirror) -> io::Result<String> {
    let networks = mirror.spec.serving.trusted_proxies.iter();
    let networks: Result<Vec<IpNet>, _> = networks.map(|text| text.parse()).collect();
    let list = ClientList {
        trusted_proxies: networks.map_err(io::Error::other)?,
        ..ClientList::default()
    };
    serde_json::to_string(&list).map_err(io::Error::other)
}
