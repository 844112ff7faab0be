//! What the Mirrors of an Upstream ask for.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_api::Mirror;
use fleet_formats::declared_unit;
use fleet_formats::seam::Format;

/// By unit, the formats (one for each different declaration) that read it.
pub type Declared = BTreeMap<String, Vec<Arc<dyn Format>>>;

/// Everything that `mirrors`, all of one Upstream, declare. What is not valid is left out, each unit by itself: the
/// Mirror itself says so.
pub fn declared<'a>(mirrors: impl IntoIterator<Item = &'a Mirror>) -> Declared {
    let mut declared = Declared::new();
    for mirror in mirrors {
        let content = &mirror.spec.content;
        for unit in content.units() {
            if let Ok(format) = declared_unit(content, &unit) {
                declared.entry(unit).or_default().push(format);
            }
        }
    }
    declared
}
