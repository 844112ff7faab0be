//! Orders: which snapshot to serve, as files say that others replace.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

use fleet_types::Order;

/// No order is near as long.
const MAX_BYTES: u64 = 1024;

/// The order of one mirror: a file that may not be there.
#[derive(Debug, Clone, Default)]
pub struct Orders(Option<PathBuf>);

/// What the file said.
pub type Given = Result<Option<Order>, String>;

impl Orders {
    /// Those of the mirror of this name: a file of that name in `dir`.
    pub fn of(dir: Option<&Path>, mirror: &str) -> Orders {
        let mut parts = Path::new(mirror).components();
        let is_name = matches!(
            (parts.next(), parts.next()),
            (Some(Component::Normal(_)), None)
        );
        Orders(dir.filter(|_| is_name).map(|dir| dir.join(mirror)))
    }

    /// What is ordered now; none where nothing is yet.
    ///
    /// # Errors
    /// What is wrong with the file, for people.
    pub fn read(&self) -> Given {
        let Some(file) = &self.0 else {
            return Ok(None);
        };
        let mut text = String::new();
        let read = File::open(file).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
        let told = |problem: String| format!("the order in {}: {problem}", file.display());
        match read {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(told(error.to_string())),
            Ok(_) => Order::read(&text).map_err(|error| told(error.to_string())),
        }
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
