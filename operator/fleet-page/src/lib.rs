//! Owns the status page: what people see of a fleet in a browser, and the JSON beside it. It tells what `fleet-plan` says of
//! Mirrors (`summary`, `why`, `score`) and adds only what nobody else remembers, the last 48 hours. `archweb` and `mirrorz` say
//! it in the words of others.
//!
//! Left to others: who knows Mirrors ([`Source`]: the controller's watches, the stores of `mirrorfleet local`), what the time
//! is, and the listener. Nothing here opens a socket or reads a clock.
//!
//! The way of a request: [`answer`] finds what is asked for, `board` has the fleet as it was at most a second ago and shares
//! it with all who look, `row` and `detail` are what is told as plain values, `render` and `json` write them down. All HTML
//! is of the type [`html::Html`], which holds no text that is not escaped.

mod archweb;
mod asked;
mod assets;
mod board;
mod detail;
mod history;
mod html;
mod json;
mod mirrorz;
mod render;
mod row;
mod seen;
mod site;

pub use asked::PAGE;
pub use board::{Board, Fleet, Manner};
pub use history::History;
pub use seen::{Held, Look, Seen, Source};
pub use site::answer;
