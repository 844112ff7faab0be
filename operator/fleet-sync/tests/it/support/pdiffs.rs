//! Differences between successive indices, as dak writes them: ed scripts, compressed, and an index of them.

use std::fs;
use std::path::Path;
use std::process::Command;

use sha2::Digest as _;

/// Writes `<index>.diff/` for an index that had these states, the last of them the present one.
pub fn write_differences(index: &Path, states: &[Vec<u8>]) {
    let folder = index.with_file_name(format!(
        "{}.diff",
        index.file_name().unwrap().to_str().unwrap()
    ));
    fs::create_dir_all(&folder).unwrap();
    let (present, earlier) = states.split_last().unwrap();
    let mut text = format!("SHA256-Current: {}\n", line(present));
    let (mut history, mut patches, mut downloads) = (String::new(), String::new(), String::new());
    for (number, (before, after)) in earlier.iter().zip(&states[1..]).enumerate() {
        let name = format!("T-2025-01-0{number}-0000.00-F-2025-01-0{number}-0000.00");
        let script = difference(&folder, before, after);
        fs::write(folder.join(&name), &script).unwrap();
        let packed = Command::new("gzip")
            .arg("-9nf")
            .arg(folder.join(&name))
            .status();
        assert!(packed.unwrap().success());
        let packed = fs::read(folder.join(format!("{name}.gz"))).unwrap();
        history.push_str(&format!(" {} {name}\n", line(before)));
        patches.push_str(&format!(" {} {name}\n", line(&script)));
        downloads.push_str(&format!(" {} {name}.gz\n", line(&packed)));
    }
    text.push_str(&format!(
        "SHA256-History:\n{history}SHA256-Patches:\n{patches}SHA256-Download:\n{downloads}"
    ));
    fs::write(folder.join("Index"), text).unwrap();
}

fn difference(folder: &Path, before: &[u8], after: &[u8]) -> Vec<u8> {
    let (old, new) = (folder.join("old"), folder.join("new"));
    fs::write(&old, before).unwrap();
    fs::write(&new, after).unwrap();
    let output = Command::new("diff").arg("--ed").args([&old, &new]).output();
    fs::remove_file(old).unwrap();
    fs::remove_file(new).unwrap();
    output.unwrap().stdout
}

/// Digest and size.
fn line(content: &[u8]) -> String {
    let digest = sha2::Sha256::digest(content);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{digest} {}", content.len())
}
