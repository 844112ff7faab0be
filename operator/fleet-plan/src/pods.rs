//! What a Mirror's manifest may ask of its pods, and what comes of it and of the installation's own wishes.

use fleet_api::mirror::PodSettings;
use fleet_api::pods::{KEY_MESSAGE, MAX_ID, is_reserved};
use serde::Deserialize;

/// What the installation lets Mirrors ask for; nothing by default. Its own settings are not held to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PodsAllowed {
    pub priority_classes: Vec<String>,
    pub runtime_classes: Vec<String>,
    /// What the keys of labels may begin with.
    pub label_prefixes: Vec<String>,
    /// What the keys of annotations may begin with.
    pub annotation_prefixes: Vec<String>,
}

/// The settings that hold for a Mirror's pods.
///
/// # Errors
/// The sentence names the field and who can allow it.
pub fn settings(
    mirror: &PodSettings,
    installation: &PodSettings,
    allowed: &PodsAllowed,
) -> Result<PodSettings, String> {
    class(
        "priorityClassName",
        &mirror.priority_class_name,
        "priorityClasses",
        &allowed.priority_classes,
    )?;
    class(
        "runtimeClassName",
        &mirror.runtime_class_name,
        "runtimeClasses",
        &allowed.runtime_classes,
    )?;
    keys(
        "labels",
        mirror.labels.keys(),
        "labelPrefixes",
        &allowed.label_prefixes,
    )?;
    keys(
        "annotations",
        mirror.annotations.keys(),
        "annotationPrefixes",
        &allowed.annotation_prefixes,
    )?;
    let settings = mirror.over(installation);
    let user = &settings.security_context;
    if [user.run_as_user, user.run_as_group, user.fs_group]
        .into_iter()
        .flatten()
        .any(|id| !(1..=MAX_ID).contains(&id))
    {
        return Err(format!(
            "spec.pods.securityContext (or pods.securityContext in the chart's values): users and groups are numbers from 1 to {MAX_ID}"
        ));
    }
    Ok(settings)
}

fn class(
    field: &str,
    asked: &Option<String>,
    list: &str,
    allowed: &[String],
) -> Result<(), String> {
    match asked {
        Some(name) if !allowed.contains(name) => Err(format!(
            "spec.pods.{field}: {name:?} is not among those that this installation allows ({}): choose one, or have it added to podsAllowed.{list} in the chart's values",
            shown(allowed)
        )),
        _ => Ok(()),
    }
}

fn keys<'k>(
    field: &str,
    keys: impl Iterator<Item = &'k String>,
    list: &str,
    allowed: &[String],
) -> Result<(), String> {
    for key in keys {
        if is_reserved(key) {
            return Err(format!("spec.pods.{field}: {key:?}: {KEY_MESSAGE}"));
        }
        if !allowed
            .iter()
            .any(|prefix| !prefix.is_empty() && key.starts_with(prefix))
        {
            return Err(format!(
                "spec.pods.{field}: {key:?} begins with none of the prefixes that this installation allows ({}): choose another, or have one added to podsAllowed.{list} in the chart's values",
                shown(allowed)
            ));
        }
    }
    Ok(())
}

fn shown(allowed: &[String]) -> String {
    if allowed.is_empty() {
        "none".to_owned()
    } else {
        allowed.join(", ")
    }
}
