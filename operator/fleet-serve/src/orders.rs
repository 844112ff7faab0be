//! Orders: which snapshot to serve, as files say that others replace.

use std::path::Path;

use fleet_types::Order;

use crate::told::ToldFile;

/// No order is near as long.
const MAX_BYTES: u64 = 1024;

/// The order of one mirror.
#[derive(Debug, Clone, Default)]
pub struct Orders(ToldFile);

/// What the file said.
pub type Given = Result<Option<Order>, String>;

impl Orders {
    /// Those of the mirror of this name: a file of that name in `dir`.
    pub fn of(dir: Option<&Path>, mirror: &str) -> Orders {
        Orders(ToldFile::of(dir, mirror))
    }

    /// What is ordered now; none where nothing is yet.
    ///
    /// # Errors
    /// What is wrong with the file, for people.
    pub fn read(&self) -> Given {
        self.0.read("order", MAX_BYTES, Order::read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_from_the_file_of_its_mirror_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| std::fs::write(dir.path().join(name), text).unwrap();
        let read = |name: &str| Orders::of(Some(dir.path()), name).read();
        let order = format!("7 {}", "ab".repeat(32));
        write("debian", order.as_bytes());
        assert_eq!(read("debian").unwrap().unwrap().to_string(), order);
        assert_eq!(read("other"), Ok(None));
        for name in ["../debian", "/etc/passwd", "a/b", "", ".", ".."] {
            assert_eq!(read(name), Ok(None), "{name:?}");
        }
        assert_eq!(Orders::of(None, "debian").read(), Ok(None));
        write("empty", b"");
        assert_eq!(read("empty"), Ok(None));
        for (name, text) in [
            ("text", &b"seven"[..]),
            ("bytes", &b"\xff\xfe"[..]),
            ("long", &[b'7'; 5000][..]),
        ] {
            write(name, text);
            let problem = read(name).unwrap_err();
            assert!(problem.contains(&format!("/{name}: ")), "{problem}");
        }
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        assert!(read("folder").is_err());
    }
}
