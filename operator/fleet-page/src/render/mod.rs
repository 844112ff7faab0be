//! Values as HTML. Everything that is said by colour is said by a word and a shape too.

mod detail;
mod endpoints;
mod list;
mod parts;
mod tables;

pub use self::detail::detail_page;
pub use self::list::list_page;
pub use self::parts::message_page;
