//! The server over real stores, connection by connection.

mod common;
mod damage;
mod files;
mod follow;
mod life;
mod lists;
mod nearest;
mod on_demand;
mod orders;
mod places;
mod plain;
mod retained;
