//! The media type of a file, by its name. A compressed file is what it is: it is never sent with a Content-Encoding,
//! or clients would unpack it and find another digest.

use std::borrow::Cow;

const TEXT: &str = "text/plain; charset=utf-8";
const SIGNATURE: &str = "application/pgp-signature";
const OTHER: &str = "application/octet-stream";

/// The value of `Content-Type` for a path.
pub fn content_type(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name {
        "Release.gpg" => return SIGNATURE,
        "InRelease" | "Release" | "Packages" | "Sources" | "Index" | "README" | "ChangeLog" => {
            return TEXT;
        }
        _ => {}
    }
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => by_extension(extension),
        _ if is_text_name(name) => TEXT,
        _ => OTHER,
    }
}

fn by_extension(extension: &str) -> &'static str {
    let lower = match extension.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(extension.to_ascii_lowercase()),
        false => Cow::Borrowed(extension),
    };
    match &*lower {
        "deb" | "udeb" | "ddeb" => "application/vnd.debian.binary-package",
        "gz" | "tgz" => "application/gzip",
        "xz" | "txz" => "application/x-xz",
        "bz2" => "application/x-bzip2",
        "zst" => "application/zstd",
        "lzma" => "application/x-lzma",
        "lz4" => "application/x-lz4",
        "tar" => "application/x-tar",
        "zip" => "application/zip",
        "iso" => "application/x-iso9660-image",
        "asc" | "sig" | "sign" => SIGNATURE,
        "dsc" | "changes" | "buildinfo" | "diff" | "patch" | "txt" | "md" | "log" => TEXT,
        "html" | "htm" => "text/html; charset=utf-8",
        "json" => "application/json",
        "xml" => "application/xml",
        "yaml" | "yml" => "application/yaml",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "pdf" => "application/pdf",
        _ => OTHER,
    }
}

/// Names without an extension that archives use for text.
fn is_text_name(name: &str) -> bool {
    name.starts_with("Contents-") || name.starts_with("Translation-") || name.ends_with("SUMS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_those_that_clients_and_people_expect() {
        for (path, expected) in [
            (
                "pool/main/a/a_1.0_all.deb",
                "application/vnd.debian.binary-package",
            ),
            ("dists/trixie/main/binary-amd64/Packages", TEXT),
            (
                "dists/trixie/main/binary-amd64/Packages.xz",
                "application/x-xz",
            ),
            (
                "dists/trixie/main/binary-amd64/Packages.gz",
                "application/gzip",
            ),
            ("dists/trixie/InRelease", TEXT),
            ("dists/trixie/Release.gpg", SIGNATURE),
            ("dists/trixie/main/Contents-amd64", TEXT),
            ("dists/trixie/main/Contents-amd64.gz", "application/gzip"),
            (
                "dists/trixie/main/i18n/Translation-en.bz2",
                "application/x-bzip2",
            ),
            ("images/SHA256SUMS", TEXT),
            ("pool/a/a_1.0.orig.tar.xz.asc", SIGNATURE),
            ("by-hash/SHA256/e3b0c44298fc1c14", OTHER),
            (".hidden", OTHER),
            ("", OTHER),
        ] {
            assert_eq!(content_type(path), expected, "{path}");
        }
    }
}
