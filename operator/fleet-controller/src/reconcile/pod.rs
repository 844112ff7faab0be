//! Asking one serving pod what it serves.

use std::sync::Arc;
use std::time::Duration;

use crate::answers::address;
use crate::context::{Context, PodKey};

/// Asks a pod, plans its Mirror anew if the answer is another, and says when to ask again.
pub async fn ask(context: Arc<Context>, key: PodKey) -> Option<Duration> {
    let pod = context.world.owned.pods().get(&key.mirror, &key.pod)?;
    let asked = context.asker.ask(address(&pod)?, &key.mirror.name).await;
    let answer = asked.answer;
    (context.checks).heard(&key.mirror, &pod, &answer, asked.seconds);
    context.metrics.record_pod_poll(answer.word());
    let was_cut_off = context.answers.are_cut_off();
    let soon = context.answers.impatience(&key.mirror, &pod, &answer);
    if context.answers.put(&key.mirror, &pod, answer) {
        context.wishes.mirrors.now(key.mirror.clone());
    }
    match (was_cut_off, context.answers.are_cut_off()) {
        (false, true) => tracing::error!(
            "most serving pods cannot be reached all at once: it may be this controller that is cut off, so no region is left out for it"
        ),
        (true, false) => tracing::info!("serving pods can be reached again"),
        _ => {}
    }
    Some(soon.unwrap_or(context.intervals.pods))
}
