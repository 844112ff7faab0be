//! Tar archives and descriptions, written by hand so that they can be wrong in every way.

use fleet_formats::arch::Arch;
use fleet_formats::decompress::{self, Whole};
use fleet_formats::seam::{Format, Item, Rejected, RootContent};
use fleet_types::RepoPath;
use std::ops::ControlFlow;

pub const UNIT: &str = "core/x86_64";
pub const DATABASE: &str = "core/os/x86_64/core.db";
pub const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// One member in ustar's form.
pub fn member(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    sized(name, kind, content.len() as u64, content)
}

/// The same with a size of its own.
pub fn sized(name: &str, kind: u8, size: u64, content: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 512];
    header[..name.len().min(100)].copy_from_slice(&name.as_bytes()[..name.len().min(100)]);
    header[100..108].copy_from_slice(b"0000644\0");
    header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    signed(&mut header);
    let mut bytes = header.to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// With the checksum that it needs.
pub fn signed(header: &mut [u8; 512]) {
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

pub fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = members.concat();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// The description of `name` 1-1, as repo-add writes it, with `more` sections.
pub fn desc(name: &str, more: &str) -> String {
    format!(
        "%FILENAME%\n{name}-1-1-any.pkg.tar.zst\n\n%NAME%\n{name}\n\n%BASE%\n{name}-base\n\n%VERSION%\n1-1\n\n\
         %DESC%\nwhat it is\n\n%GROUPS%\nbase\ngnome\n\n%CSIZE%\n1234\n\n%ISIZE%\n9999\n\n%SHA256SUM%\n{SHA256}\n\n{more}"
    )
}

/// A directory with a description.
pub fn package(name: &str, more: &str) -> Vec<u8> {
    described(&format!("{name}-1-1"), &desc(name, more))
}

pub fn described(directory: &str, desc: &str) -> Vec<u8> {
    let folder = member(&format!("{directory}/"), b'5', b"");
    [
        folder,
        member(&format!("{directory}/desc"), b'0', desc.as_bytes()),
    ]
    .concat()
}

/// The format of a content block, as JSON.
pub fn arch(content: serde_json::Value) -> Result<Arch, Rejected> {
    Arch::new(&serde_json::from_value(content).unwrap())
}

pub fn core() -> Arch {
    arch(serde_json::json!({"repos": ["core"], "architectures": ["x86_64"]})).unwrap()
}

pub fn root(path: &str, bytes: &[u8]) -> RootContent {
    RootContent::new(RepoPath::new(path).unwrap(), bytes.to_vec())
}

/// What a database lists, whatever it is compressed by.
pub fn items(format: &Arch, database: &[u8]) -> Result<Vec<Item>, Rejected> {
    let index = format.read(UNIT, &[root(DATABASE, database)])?;
    let group = &index.groups[0];
    let limit = decompress::output_limit(database.len() as u64, None);
    let compression = group.files[0].compression;
    let mut content = decompress::reader(compression, database, limit, Whole::ByItself);
    let mut found = Vec::new();
    format.read_index(group, &mut content, &mut |item| {
        found.push(item);
        ControlFlow::Continue(())
    })?;
    Ok(found)
}
