//! A description in a database of one package, as we read it and as alpm-repo-db does.

use std::ops::ControlFlow;

use alpm_repo_db::desc::{RepoDescFileV1, RepoDescFileV2};
use fleet_formats::arch::Arch;
use fleet_formats::decompress::{self, Whole};
use fleet_formats::seam::{Format, Item, Promise, RootContent};
use fleet_types::RepoPath;

pub const UNIT: &str = "core/x86_64";
const DATABASE: &str = "core/os/x86_64/core.db";
const FOLDER: &str = "core/os/x86_64/";

/// What of a package decides about its copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    pub file_name: String,
    pub size: u64,
    /// In lower-case hexadecimal.
    pub sha256: String,
    /// Base64 of the signature that the database holds.
    pub has_signature: bool,
}

/// The packages of a database; of those that are left out, why. Errors are about the database as a whole.
pub fn ours(database: &[u8]) -> Result<(Vec<Package>, Vec<String>), String> {
    let content = serde_json::json!({
        "repos": ["core"], "architectures": ["x86_64"], "include": {"signatures": false}
    });
    let content = serde_json::from_value(content).map_err(|error| error.to_string())?;
    let format = Arch::new(&content).map_err(|error| error.to_string())?;
    let path = RepoPath::new(DATABASE).map_err(|error| error.to_string())?;
    let root = RootContent::new(path, database.to_vec());
    let index = format
        .read(UNIT, &[root])
        .map_err(|error| error.to_string())?;
    let group = &index.groups[0];
    let limit = decompress::output_limit(database.len() as u64, None);
    let compression = group.files[0].compression;
    let mut content = decompress::reader(compression, database, limit, Whole::ByItself);
    let (mut packages, mut left_out) = (Vec::<Package>::new(), Vec::new());
    let read = format.read_index(group, &mut content, &mut |item| {
        match item {
            Item::File(file) => match file.promise {
                Promise::Digest { expected, .. } => packages.push(Package {
                    file_name: file.path.as_str().trim_start_matches(FOLDER).to_owned(),
                    size: expected.size,
                    sha256: expected.digest.to_string(),
                    has_signature: false,
                }),
                Promise::Given { .. } => {
                    if let Some(package) = packages.last_mut() {
                        package.has_signature = true;
                    }
                }
                Promise::SignatureOver { .. } => {}
            },
            Item::Unusable(entry) => left_out.push(entry.why),
        }
        ControlFlow::Continue(())
    });
    read.map(|_| (packages, left_out))
        .map_err(|error| error.to_string())
}

/// What alpm-repo-db reads, by either version of the format.
pub fn theirs(description: &str) -> Result<Package, String> {
    let by_second = description.parse::<RepoDescFileV2>().map(|desc| Package {
        file_name: desc.file_name.to_string(),
        size: desc.compressed_size,
        sha256: desc.sha256_checksum.to_string(),
        has_signature: desc.pgp_signature.is_some(),
    });
    by_second.or_else(|error| {
        let first = description.parse::<RepoDescFileV1>();
        first
            .map(|desc| Package {
                file_name: desc.file_name.to_string(),
                size: desc.compressed_size,
                sha256: desc.sha256_checksum.to_string(),
                has_signature: true,
            })
            .map_err(|_| error.to_string())
    })
}

/// A database with one package, as repo-add lays it out.
pub fn database_of(directory: &str, description: &str) -> Vec<u8> {
    let mut bytes = member(&format!("{directory}/"), b'5', b"");
    bytes.extend(member(
        &format!("{directory}/desc"),
        b'0',
        description.as_bytes(),
    ));
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// In ustar's form.
fn member(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000644\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[148..156].copy_from_slice(b"        ");
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut bytes = header.to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}
