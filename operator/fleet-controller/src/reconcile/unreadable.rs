//! A manifest that the schema let pass and that still cannot be read. Its objects are left as they are.

use fleet_plan::PlannedEvent;
use fleet_types::Reason;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::api::ApiResource;

use super::{Next, publish};
use crate::context::Context;
use crate::error::WriteError;
use crate::world::Guarded;

/// Says in its conditions, and once in an Event, that nothing is done about it.
pub async fn tell<K>(context: &Context, known: &Guarded<K>) -> Result<Next, WriteError>
where
    K: Resource<DynamicType = ()>,
{
    let Err(invalid) = &known.0 else {
        return Ok(Next::Gone);
    };
    let error = invalid.error.to_string();
    let kind = ApiResource::erase::<K>(&());
    let news = context
        .writer
        .unreadable(&kind, &invalid.metadata, &error, Timestamp::now())
        .await?;
    if news {
        tracing::warn!(
            kind = kind.kind,
            name = invalid.metadata.name,
            error,
            "a manifest cannot be read"
        );
        let event = PlannedEvent {
            warning: true,
            reason: Reason::InvalidSpec,
            action: "Reconcile",
            message: format!("{error}; correct the manifest"),
        };
        let about = ObjectReference {
            api_version: Some(kind.api_version.clone()),
            kind: Some(kind.kind.clone()),
            name: invalid.metadata.name.clone(),
            namespace: invalid.metadata.namespace.clone(),
            uid: invalid.metadata.uid.clone(),
            ..Default::default()
        };
        publish(context, &about, &[event]).await;
    }
    // An edit is an event.
    Ok(Next::Gone)
}
