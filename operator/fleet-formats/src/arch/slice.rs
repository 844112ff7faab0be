//! What a Mirror declares of an upstream with pacman's repositories.

use std::collections::BTreeMap;

use fleet_api::mirror::ArchContent;
use fleet_api::names;
use fleet_types::{Reason, RepoPath};

use crate::seam::Rejected;

/// The databases of a slice, by unit.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    /// In declared order.
    pub units: Vec<String>,
    databases: BTreeMap<String, Database>,
}

/// Where the files of one unit are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Database {
    /// `core.db`, in its folder.
    pub path: RepoPath,
    /// The same packages with lists of their files: `core.files`.
    pub files: RepoPath,
    /// A folder where each package is once more.
    pub pool: Option<RepoPath>,
}

impl Slice {
    /// Errors: `InvalidSpec`.
    pub fn new(content: &ArchContent) -> Result<Slice, Rejected> {
        let named = |field, list: &[String], is_name: fn(&str) -> bool| {
            let wrong = list.iter().find(|name| !is_name(name));
            match wrong {
                _ if list.is_empty() => Err(invalid(field, "name at least one")),
                Some(name) => Err(invalid(field, &format!("{name:?} is no name of one"))),
                None => Ok(()),
            }
        };
        named("repos", &content.repos, names::is_repo)?;
        named(
            "architectures",
            &content.architectures,
            names::is_architecture,
        )?;
        for own in &content.layout.paths {
            if !content.repos.contains(&own.repo) {
                let message = format!("{:?} is not among the repositories; declare it", own.repo);
                return Err(invalid("layout.paths", &message));
            }
        }
        let mut slice = Slice {
            units: content.units(),
            databases: BTreeMap::new(),
        };
        let pairs = content.repos.iter().flat_map(|repo| {
            let architectures = content.architectures.iter();
            architectures.map(move |architecture| (repo.as_str(), architecture.as_str()))
        });
        for (unit, pair) in slice.units.iter().zip(pairs) {
            if slice.databases.contains_key(unit) {
                let message = format!("{unit:?} stands twice; name it once");
                return Err(invalid("repos", &message));
            }
            let database = Database::new(content, pair)?;
            let mut others = slice.databases.iter();
            if let Some((other, _)) = others.find(|(_, other)| other.path == database.path) {
                let message = format!(
                    "{unit} and {other} would have one database, {}; put $repo or $arch into the path",
                    database.path
                );
                return Err(invalid("layout.path", &message));
            }
            slice.databases.insert(unit.clone(), database);
        }
        Ok(slice)
    }

    pub fn database(&self, unit: &str) -> Result<&Database, Rejected> {
        let message = || invalid("repos", &format!("{unit:?} is not declared"));
        self.databases.get(unit).ok_or_else(message)
    }

    /// Where databases are, and where the same packages are once more.
    pub fn folders_with_pool(&self) -> impl Iterator<Item = (&str, &str)> {
        self.databases.values().filter_map(|database| {
            let folder = database.path.parent()?;
            Some((folder, database.pool.as_ref()?.as_str()))
        })
    }

    /// The database that lies there.
    pub fn at(&self, path: &RepoPath) -> Option<&Database> {
        self.databases
            .values()
            .find(|database| database.path == *path)
    }
}

impl Database {
    fn new(
        content: &ArchContent,
        (repo, architecture): (&str, &str),
    ) -> Result<Database, Rejected> {
        let folder = |field, template: &str| {
            let folder = template
                .replace("$repo", repo)
                .replace("$arch", architecture);
            if !names::is_layout(template) || folder.contains('$') {
                let message =
                    format!("{template:?} is no folder; only $repo and $arch stand for something");
                return Err(invalid(field, &message));
            }
            Ok(folder)
        };
        let within = folder("layout.path", content.path_of(repo))?;
        let file = |name: &str| {
            let path = RepoPath::new(&format!("{within}/{name}"));
            path.map_err(|error| invalid("layout.path", &error.to_string()))
        };
        let pool = content.layout.pool.as_deref().map(|template| {
            let folder = folder("layout.pool", template)?;
            RepoPath::new(&folder).map_err(|error| invalid("layout.pool", &error.to_string()))
        });
        Ok(Database {
            path: file(&format!("{repo}.db"))?,
            files: file(&format!("{repo}.files"))?,
            pool: pool.transpose()?,
        })
    }
}

fn invalid(field: &str, message: &str) -> Rejected {
    Rejected::new(Reason::InvalidSpec, format!("arch.{field}: {message}"))
}
