//! Which words can be names in a sources.list or a pacman.conf: one idea of them for manifests, for the custom resource's rules and for
//! what is written from a machine's sources.

/// Suites below `dists/`, components, aliases: parts with single `/` between them.
pub const INDEX_NAME: &str = "^([A-Za-z0-9][A-Za-z0-9+._~-]*/)*[A-Za-z0-9][A-Za-z0-9+._~-]*$";
/// Suites: the same, or a folder that ends in `/` (a flat repository), or `./`.
pub const SUITE: &str = "^(\\\\./|([A-Za-z0-9][A-Za-z0-9+._~-]*/)*[A-Za-z0-9][A-Za-z0-9+._~-]*/?)$";
/// Architectures: one part. Not only dpkg's own words: Termux and others have `x86_64`.
pub const ARCHITECTURE: &str = "^[A-Za-z0-9][A-Za-z0-9+._~-]*$";
/// Repositories of a pacman.conf.
pub const REPO: &str = "^[A-Za-z0-9_][A-Za-z0-9@._+-]*$";
/// Where an upstream has them: parts with single `/` between them, or `.`.
pub const LAYOUT: &str =
    "^(\\\\.|[A-Za-z0-9$][A-Za-z0-9$@+._~-]*(/[A-Za-z0-9$][A-Za-z0-9$@+._~-]*)*)$";

/// Hosts, by which mirrors are told apart.
pub const HOST_NAME: &str = "^[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?$";

/// [`INDEX_NAME`]
pub fn is_index_name(name: &str) -> bool {
    name.split('/').all(is_architecture)
}

/// [`SUITE`], where a backslash stands for one backslash.
pub fn is_suite(name: &str) -> bool {
    name == "./" || is_index_name(name.strip_suffix('/').unwrap_or(name))
}

/// [`ARCHITECTURE`]
pub fn is_architecture(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"+._~-".contains(&b);
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.bytes().all(plain)
}

/// [`REPO`]
pub fn is_repo(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_@.+-".contains(&b);
    name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') && name.bytes().all(plain)
}

/// [`LAYOUT`], where a backslash stands for one backslash.
pub fn is_layout(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"$@+._~-".contains(&b);
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '$') && part.bytes().all(plain)
    };
    path == "." || path.split('/').all(part)
}

/// [`HOST_NAME`]
pub fn is_host_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-.".contains(&b);
    let ends = |c: char| c.is_ascii_alphanumeric();
    name.starts_with(ends) && name.ends_with(ends) && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_stands_in_a_sources_list() {
        for name in ["amd64", "x86_64", "amd64v3", "kfreebsd-amd64", "source"] {
            assert!(is_architecture(name), "{name}");
        }
        for name in ["", "-x", "_", "a/b", "a b", "ä", "../x", ".", "a,b"] {
            assert!(!is_architecture(name), "{name}");
        }
        assert!(is_index_name("bookworm/updates") && is_index_name("non-free_extra"));
        assert!(!is_index_name("a//b") && !is_index_name("a/") && !is_index_name("../a"));
        assert!(is_suite("./") && is_suite("tools/") && is_suite("stable"));
        assert!(!is_suite("/") && !is_suite("../") && !is_suite(""));
    }

    #[test]
    fn hosts_are_what_a_file_can_be_named_after() {
        for name in [
            "mirror.example.org",
            "192.0.2.7",
            "xn--bcher-kva.example",
            "m",
        ] {
            assert!(is_host_name(name), "{name}");
        }
        for name in ["", "[2001:db8::1]", "_traces", "a/b", "..", "a.", "-a", "ä"] {
            assert!(!is_host_name(name), "{name}");
        }
    }

    #[test]
    fn names_are_what_stands_in_a_pacman_conf() {
        for name in [
            "core",
            "extra-testing",
            "kde-unstable",
            "cachyos-v3",
            "_x",
            "arch4edu",
        ] {
            assert!(is_repo(name), "{name}");
        }
        for name in ["", ".core", "a/b", "a b", "-x", "ä"] {
            assert!(!is_repo(name), "{name}");
        }
        for path in [
            ".",
            "$repo/os/$arch",
            "$arch_v3/$repo",
            "mingw/$repo",
            "stable/$repo/$arch",
        ] {
            assert!(is_layout(path), "{path}");
        }
        for path in [
            "", "..", "/", "$repo/", "/$repo", "a//b", "../$repo", "a/../b", "a b",
        ] {
            assert!(!is_layout(path), "{path}");
        }
    }
}
