//! Who owns which field of an object.
//!
//! An object that was created by POST belongs to our manager as an *Update*. Applying it under the same name makes a
//! second entry beside the first, and a field that is no longer applied stays, held by the first. So before the first
//! apply the entry is turned into one of *Apply*, as `kubectl` and client-go do when they move to server-side apply.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use serde_json::{Value, json};

/// The merge patch that turns what `manager` created into what it applied; none where that is done or never was.
pub fn take_over(meta: &ObjectMeta, manager: &str) -> Option<Value> {
    let mut entries = meta.managed_fields.clone().unwrap_or_default();
    if entries.iter().any(|entry| is(entry, manager, "Apply")) {
        return None;
    }
    let created = entries
        .iter_mut()
        .find(|entry| is(entry, manager, "Update"))?;
    created.operation = Some("Apply".to_owned());
    Some(json!({"metadata": {"resourceVersion": meta.resource_version, "managedFields": entries}}))
}

fn is(entry: &ManagedFieldsEntry, manager: &str, operation: &str) -> bool {
    entry.manager.as_deref() == Some(manager)
        && entry.operation.as_deref() == Some(operation)
        && entry.subresource.as_deref().unwrap_or_default().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(entries: Value) -> ObjectMeta {
        serde_json::from_value(
            json!({"name": "a", "resourceVersion": "7", "managedFields": entries}),
        )
        .unwrap()
    }

    fn entry(manager: &str, operation: &str) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {}})
    }

    #[test]
    fn what_we_created_becomes_what_we_applied_in_the_version_that_was_seen() {
        let patch = take_over(
            &meta(json!([entry("kubectl", "Update"), entry("us", "Update")])),
            "us",
        )
        .unwrap();
        let expected = json!([entry("kubectl", "Update"), entry("us", "Apply")]);
        assert_eq!(
            patch,
            json!({"metadata": {"resourceVersion": "7", "managedFields": expected}})
        );
    }

    #[test]
    fn what_was_applied_or_belongs_to_others_stays_as_it_is() {
        assert!(
            take_over(
                &meta(json!([entry("us", "Apply"), entry("us", "Update")])),
                "us"
            )
            .is_none()
        );
        assert!(take_over(&meta(json!([entry("kubectl", "Update")])), "us").is_none());
        let mut status = entry("us", "Update");
        status["subresource"] = json!("status");
        assert!(take_over(&meta(json!([status])), "us").is_none());
    }
}
