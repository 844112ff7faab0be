//! The declared slice, and the format that reads it.

use std::sync::Arc;

use fleet_api::mirror::Content;
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
    fleet_formats::declared(&content)
}

/// The format of what a snapshot says that it holds. The roots of a unit that was carried forward have the same names
/// whatever else its own slice says.
pub fn format_of_snapshot(content: &serde_json::Value) -> Result<Arc<dyn Format>, Rejected> {
    make_format(content.get("slice").unwrap_or(content))
}
