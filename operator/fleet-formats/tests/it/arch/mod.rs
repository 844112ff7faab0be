//! pacman's repositories: databases as repo-add makes them, and as somebody hostile does.

mod archive;
mod databases;
mod hostile;
mod repo_add;
mod slices;
