//! Asking one serving pod what it serves.

use std::sync::Arc;
use std::time::Duration;

use crate::answers::address;
use crate::context::{Context, PodKey};

/// Asks a pod, plans its Mirror anew if the answer is another, and says when to ask again.
pub async fn ask(context: Arc<Context>, key: PodKey) -> Option<Duration> {
    let pod = context.world.owned.pods().get(&key.mirror, &key.pod)?;
    let answer = context.asker.ask(address(&pod)?, &key.mirror.name).await;
    context.metrics.record_pod_poll(answer.word());
    let soon = context.answers.impatience(&key.mirror, &pod, &answer);
    if context.answers.put(&key.mirror, &pod, answer) {
        context.wishes.mirrors.now(key.mirror.clone());
    }
    Some(soon.unwrap_or(context.intervals.pods))
}
