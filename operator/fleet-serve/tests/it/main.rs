//! The server over real stores, connection by connection.

mod common;
mod files;
mod life;
mod places;
mod plain;
