//! Upstreams that cannot be trusted, each through a whole run. `docs/hostile-upstreams.md` is the table of them.

mod bounds;
mod indices;
mod roots;
mod rsync;
mod wire;
