//! The page as a browser gets it.

mod answers;
mod fleet;
mod hostile;
mod links;
mod scores;
mod size;
