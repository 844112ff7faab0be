//! The declared slice, and the format that reads it.

use std::sync::Arc;

use fleet_api::mirror::{self, Content, DebianPackages};
use fleet_api::upstream::UpstreamType;
use fleet_formats::debian::{
    Alias, Debian, DebianSlice, Include, PackageRule, PackageRules, ReleaseName,
};
use fleet_formats::seam::{Format, Rejected};
use fleet_types::Reason;

use crate::failure::Failure;

/// What a snapshot records of the declared slice: its content block.
pub(super) fn declared(content: &Content) -> Result<serde_json::Value, Failure> {
    let block = Content {
        exclude: Vec::new(),
        ..content.clone()
    };
    serde_json::to_value(block).map_err(|error| Failure::invalid(format!("spec.content: {error}")))
}

/// The format of a slice that [`declared`] recorded.
pub(super) fn make_format(content: &serde_json::Value) -> Result<Arc<dyn Format>, Rejected> {
    let content: Content = serde_json::from_value(content.clone())
        .map_err(|error| Rejected::new(Reason::InvalidSpec, format!("spec.content: {error}")))?;
    match content.debian {
        Some(debian) => Ok(Arc::new(Debian::new(DebianSlice {
            suites: debian.suites,
            components: debian.components,
            architectures: debian.architectures,
            include: Include {
                sources: debian.include.sources,
                contents: debian.include.contents,
                dep11: debian.include.dep11,
                installer: debian.include.installer,
                pdiffs: debian.include.pdiffs,
            },
            aliases: (debian.aliases.into_iter())
                .map(|alias| Alias {
                    name: alias.name,
                    suite: alias.suite,
                })
                .collect(),
            release_names: (debian.release_names.into_iter())
                .map(|expected| ReleaseName {
                    suite: expected.suite,
                    name: expected.name,
                })
                .collect(),
            packages: package_rules(debian.packages),
        })?)),
        None => Err(Rejected::new(
            Reason::ContentTypeMismatch,
            format!(
                "spec.content has no block for an Upstream of type {}",
                UpstreamType::Debian.as_str()
            ),
        )),
    }
}

fn package_rules(packages: DebianPackages) -> PackageRules {
    let rules = |list: Vec<mirror::PackageRule>| {
        let rule = |rule: mirror::PackageRule| PackageRule {
            name: rule.name,
            section: rule.section,
            priority: rule.priority,
            source: rule.source,
        };
        list.into_iter().map(rule).collect()
    };
    PackageRules {
        include: rules(packages.include),
        exclude: rules(packages.exclude),
    }
}
