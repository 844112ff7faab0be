//! What is remembered of a package's documents: one small file a name. It can be made again by asking, so one that is torn
//! counts as none.

use std::io;

use fleet_formats::npm::{Form, PackageName};
use fleet_types::Sha256;
use serde::{Deserialize, Serialize};

use crate::disk::{Disk, Shelf, key};

/// Which documents of a package are here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// So that a person who looks at the file knows whose it is.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full: Option<Kept>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abbreviated: Option<Kept>,
    /// The upstream has no abbreviated form, and gives the full one to everybody. Found out again by each process.
    #[serde(skip)]
    pub full_only: bool,
}

/// A document that is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    pub body: Sha256,
    /// Bytes.
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// When the upstream last said that this is its document; Unix seconds.
    pub checked: i64,
}

impl Head {
    pub fn read(disk: &Disk, name: &PackageName) -> io::Result<Head> {
        let read = disk.read(Shelf::Heads, &of(name))?;
        let read = read.and_then(|bytes| serde_json::from_slice::<Head>(&bytes).ok());
        Ok(read
            .filter(|head| head.name == name.as_str())
            .unwrap_or_else(|| Head {
                name: name.to_string(),
                ..Head::default()
            }))
    }

    pub fn write(&self, disk: &Disk, name: &PackageName) -> io::Result<()> {
        disk.put_bytes(Shelf::Heads, &of(name), &serde_json::to_vec(self)?)
            .map(drop)
    }

    /// Documents that are not here any more were given up for others: they are fetched as if they had never been there.
    pub fn forget_unless(&mut self, is_here: impl Fn(&Sha256) -> bool) {
        for form in Form::ALL {
            if self.kept(form).is_some_and(|kept| !is_here(&kept.body)) {
                *self.place(form) = None;
            }
        }
    }

    /// In which form an upstream gives what is asked for in this one.
    pub fn form(&self, wanted: Form) -> Form {
        match self.full_only {
            true => Form::Full,
            false => wanted,
        }
    }

    pub fn kept(&self, form: Form) -> Option<&Kept> {
        match form {
            Form::Full => self.full.as_ref(),
            Form::Abbreviated => self.abbreviated.as_ref(),
        }
    }

    pub fn place(&mut self, form: Form) -> &mut Option<Kept> {
        match form {
            Form::Full => &mut self.full,
            Form::Abbreviated => &mut self.abbreviated,
        }
    }
}

fn of(name: &PackageName) -> Sha256 {
    key(&[name.as_str().as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_file_counts_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), "npm", "http://a").unwrap();
        let name = PackageName::new("left-pad").unwrap();
        let kept = Kept {
            body: Sha256([1; 32]),
            size: 3,
            etag: Some("\"x\"".into()),
            last_modified: None,
            checked: 5,
        };
        let head = Head {
            full: Some(kept),
            ..Head::read(&disk, &name).unwrap()
        };
        head.write(&disk, &name).unwrap();
        assert_eq!(Head::read(&disk, &name).unwrap(), head);
        let whole = std::fs::read(disk.path(Shelf::Heads, &of(&name))).unwrap();
        for length in 0..whole.len() {
            disk.put_bytes(Shelf::Heads, &of(&name), &whole[..length])
                .unwrap();
            assert_eq!(Head::read(&disk, &name).unwrap().full, None, "{length}");
        }
    }
}
