//! What a mirror holds besides the paths of a snapshot: links to directories, and the files that it publishes about itself.
//! They are in no snapshot, since they change without a new revision.

use bytes::Bytes;
use fleet_store::{Snapshot, SnapshotId};
use fleet_types::documents;
use serde::de::DeserializeOwned;

use crate::listing::Line;
use crate::mirror::ServedMirror;

/// Whether `path` is a directory only because a link lies below it.
pub fn leads_to_link(snapshot: &Snapshot, path: &str) -> bool {
    snapshot
        .links()
        .any(|(link, _)| child(path, link.as_str()).is_some())
}

/// What a mirror publishes about itself.
pub struct OwnFiles(documents::OwnFiles);

impl OwnFiles {
    /// While this snapshot is served; none before the first run that has something to tell. Blocks on the disk.
    pub fn of(mirror: &ServedMirror, served: &SnapshotId) -> Option<OwnFiles> {
        let next: Option<documents::NextOwnFiles> =
            Self::read(mirror, documents::NextOwnFiles::DOCUMENT);
        let next = next.filter(|next| next.snapshot == served.0);
        let known = Self::read(mirror, documents::OwnFiles::DOCUMENT);
        // Of runs that found nothing newer since, there is more to tell.
        let all = known.into_iter().chain(next.map(|next| next.own));
        all.max_by_key(|own: &documents::OwnFiles| own.modified.0)
            .map(OwnFiles)
    }

    fn read<T: DeserializeOwned>(mirror: &ServedMirror, document: &str) -> Option<T> {
        mirror.store().state(document).unwrap_or_else(|error| {
            tracing::error!(mirror = mirror.name(), %error, "what the mirror says of itself cannot be read");
            None
        })
    }

    pub fn get(&self, path: &str) -> Option<Bytes> {
        let file = self.0.files.iter().find(|file| file.path == path)?;
        Some(Bytes::copy_from_slice(file.content.as_bytes()))
    }

    /// Whether `path` (which may be the top) is a directory that one of them is below.
    pub fn lie_below(&self, path: &str) -> bool {
        let mut files = self.0.files.iter();
        files.any(|file| file.path != path && child(path, &file.path).is_some())
    }

    /// Unix seconds.
    pub fn modified(&self) -> i64 {
        self.0.modified.0
    }

    /// What is repeated of the upstream's heartbeat.
    pub fn heartbeat(&self) -> Option<documents::UnixSeconds> {
        self.0.heartbeat
    }

    /// One line of the directory for each that lies in or below it.
    fn lines<'a>(&'a self, directory: &'a str) -> impl Iterator<Item = Line> + 'a {
        self.0.files.iter().filter_map(move |file| {
            let name = child(directory, &file.path)?;
            let name = name.to_owned();
            let parent = file.path.rsplit_once('/').map_or("", |(parent, _)| parent);
            Some(match parent == directory {
                true => Line::File {
                    name,
                    size: file.content.len() as u64,
                    modified: self.modified(),
                },
                false => Line::Directory { name },
            })
        })
    }
}

/// Adds what lies directly in a directory and is not there by the snapshot.
pub fn add_lines(
    directories: &mut Vec<Line>,
    files: &mut Vec<Line>,
    snapshot: &Snapshot,
    own: Option<&OwnFiles>,
    path: &str,
) {
    let links = snapshot.links().filter_map(|(link, _)| {
        let name = child(path, link.as_str())?.to_owned();
        Some(Line::Directory { name })
    });
    let own = own.into_iter().flat_map(|own| own.lines(path));
    for line in links.chain(own) {
        let lines = match line {
            Line::Directory { .. } => &mut *directories,
            Line::File { .. } => &mut *files,
        };
        if lines.iter().all(|known| name(known) != name(&line)) {
            lines.push(line);
        }
    }
    directories.sort_by(|a, b| name(a).cmp(name(b)));
    files.sort_by(|a, b| name(a).cmp(name(b)));
}

fn name(line: &Line) -> &str {
    match line {
        Line::Directory { name } | Line::File { name, .. } => name,
    }
}

/// The name directly in `directory` (empty for the top) that leads to `path`; none where `path` is not below it.
fn child<'a>(directory: &str, path: &'a str) -> Option<&'a str> {
    let below = match directory {
        "" => path,
        directory => path.strip_prefix(directory)?.strip_prefix('/')?,
    };
    below.split('/').next().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::child;

    #[test]
    fn a_child_is_the_next_part_of_the_way() {
        assert_eq!(child("", "project/trace"), Some("project"));
        assert_eq!(child("project", "project/trace/"), Some("trace"));
        assert_eq!(child("project/trace", "project/trace/"), None);
        assert_eq!(child("pro", "project/trace"), None);
        assert_eq!(child("dists/stable", "dists/stable"), None);
    }
}
