//! What the Mirrors of an Upstream ask for.

use std::collections::BTreeMap;

use fleet_api::Mirror;
use fleet_api::mirror::DebianContent;
use fleet_formats::debian::{Debian, DebianSlice, Include, PackageRules, ReleaseName};
use fleet_formats::seam::Format;

/// By unit, the formats (one for each different declaration) that read it.
pub type Declared = BTreeMap<String, Vec<Box<dyn Format>>>;

/// Everything that `mirrors`, all of one Upstream, declare. What is not valid is left out: the Mirror itself says so.
pub fn declared<'a>(mirrors: impl IntoIterator<Item = &'a Mirror>) -> Declared {
    let mut declared = Declared::new();
    for mirror in mirrors {
        for (unit, format) in mirror.spec.content.debian.iter().flat_map(debian) {
            declared.entry(unit).or_default().push(format);
        }
    }
    declared
}

/// Each suite by itself, so that one that is not valid takes no other with it.
fn debian(content: &DebianContent) -> impl Iterator<Item = (String, Box<dyn Format>)> {
    content.suites.iter().filter_map(|suite| {
        let slice = DebianSlice {
            suites: vec![suite.clone()],
            components: content.components.clone(),
            architectures: content.architectures.clone(),
            include: Include {
                sources: content.include.sources,
                ..Include::default()
            },
            aliases: Vec::new(),
            release_names: (content.release_names.iter())
                .filter(|expected| expected.suite == *suite)
                .map(|expected| ReleaseName {
                    suite: expected.suite.clone(),
                    name: expected.name.clone(),
                })
                .collect(),
            packages: PackageRules::default(),
        };
        let format = Debian::new(slice).ok()?;
        Some((suite.clone(), Box::new(format) as Box<dyn Format>))
    })
}
