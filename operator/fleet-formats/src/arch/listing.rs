//! What a database says of its packages' files, for who looks for some by their names.

use std::ops::ControlFlow;

use super::database;
use crate::decompress::{Whole, output_limit, reader};
use crate::seam::Rejected;

/// A package of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPackage {
    pub name: String,
    pub version: String,
    /// The name of its file, beside the database. As the database has it: nothing is judged.
    pub file: String,
}

/// All packages that a database lists with a file. Errors: what makes it unreadable.
pub fn listed_packages(database: &[u8]) -> Result<Vec<ListedPackage>, Rejected> {
    let compression = database::compression(database)?;
    let limit = output_limit(database.len() as u64, None);
    let mut content = reader(compression, database, limit, Whole::ByItself);
    let mut listed = Vec::new();
    database::read(&mut content, &mut |package| {
        let description = &package.description;
        if let (Some(name), Some(version), Some(file)) = (
            &description.name,
            &description.version,
            &description.file_name,
        ) {
            listed.push(ListedPackage {
                name: name.clone(),
                version: version.clone(),
                file: file.clone(),
            });
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(listed)
}
