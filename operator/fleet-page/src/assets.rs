//! What pages need beside themselves: a style sheet, a script, a picture. Their names tell their content, so that browsers keep
//! them for ever and never mix versions.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

pub struct Asset {
    name: &'static str,
    ending: &'static str,
    pub content_type: &'static str,
    pub text: &'static str,
    tag: LazyLock<String>,
}

pub static STYLE: Asset = Asset {
    name: "style",
    ending: "css",
    content_type: "text/css; charset=utf-8",
    text: include_str!("../assets/style.css"),
    tag: LazyLock::new(|| tag(include_bytes!("../assets/style.css"))),
};

pub static SCRIPT: Asset = Asset {
    name: "page",
    ending: "js",
    content_type: "text/javascript; charset=utf-8",
    text: include_str!("../assets/page.js"),
    tag: LazyLock::new(|| tag(include_bytes!("../assets/page.js"))),
};

/// The one without a tag in its name.
pub const ICON: &str = include_str!("../assets/icon.svg");

impl Asset {
    /// Below the list's page.
    pub fn path(&self) -> String {
        format!("assets/{}-{}.{}", self.name, *self.tag, self.ending)
    }
}

/// What tells one content from another.
pub fn tag(content: &[u8]) -> String {
    let mut tag = hex::encode(Sha256::digest(content));
    tag.truncate(16);
    tag
}
