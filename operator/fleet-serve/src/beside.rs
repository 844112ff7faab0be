//! What a mirror holds besides the paths of a snapshot: links to directories, and our own trace files.

use fleet_store::Snapshot;

use crate::listing::Line;
use crate::mirror::ServedMirror;
use crate::trace::{DIRECTORY, TraceFiles};

/// Whether `path` is a directory only because a link lies below it.
pub fn leads_to_link(snapshot: &Snapshot, path: &str) -> bool {
    snapshot
        .links()
        .any(|(link, _)| child(path, link.as_str()).is_some())
}

/// The trace files of a mirror, if `path` (which may be the top) is on the way to them.
pub fn traces_for(mirror: &ServedMirror, path: &str) -> Option<TraceFiles> {
    let on_the_way = path == DIRECTORY || child(path, DIRECTORY).is_some();
    let below = path
        .strip_prefix(DIRECTORY)
        .is_some_and(|rest| rest.starts_with('/'));
    if !on_the_way && !below {
        return None;
    }
    TraceFiles::read(mirror.store()).unwrap_or_else(|error| {
        tracing::error!(mirror = mirror.name(), %error, "the trace files cannot be rendered");
        None
    })
}

/// Adds what lies directly in a directory and is not there by the snapshot.
pub fn add_lines(
    directories: &mut Vec<Line>,
    files: &mut Vec<Line>,
    snapshot: &Snapshot,
    traces: Option<&TraceFiles>,
    path: &str,
) {
    let links = snapshot.links().map(|(link, _)| link.to_string());
    let ways = links.chain(traces.map(|_| format!("{DIRECTORY}/")));
    for way in ways {
        if let Some(name) = child(path, &way) {
            let line = Line::Directory {
                name: name.to_owned(),
            };
            if !directories.contains(&line) {
                directories.push(line);
            }
        }
    }
    if let Some(traces) = traces.filter(|_| path == DIRECTORY) {
        for (name, content) in &traces.files {
            let known =
                |line: &Line| matches!(line, Line::File { name: known, .. } if known == name);
            if !files.iter().any(known) {
                files.push(Line::File {
                    name: name.clone(),
                    size: content.len() as u64,
                    modified: traces.modified,
                });
            }
        }
    }
    let name = |line: &Line| match line {
        Line::Directory { name } | Line::File { name, .. } => name.clone(),
    };
    directories.sort_by_key(name);
    files.sort_by_key(name);
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
