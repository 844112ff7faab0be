//! pacman's repositories: databases as repo-add makes them, and as somebody hostile does.

mod archive;
mod changes;
mod databases;
mod hostile;
mod images;
mod repo_add;
mod slices;
