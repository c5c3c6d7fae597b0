//! The retired queues of an incarnation, in the store of settings: so that they get nothing after a
//! restart either. At most as many as the topic has ever had.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::{ErrorChain, IncarnationId, QueueName};

use super::CourierContext;

fn key(incarnation: IncarnationId) -> String {
    format!("retired-queues/{}", incarnation.0)
}

/// What is stored. A damaged entry is left out and logged: its queue then gets slots again.
pub(super) async fn load(context: &Arc<CourierContext>) -> BTreeSet<QueueName> {
    let (meta, key) = (Arc::clone(&context.meta), key(context.incarnation));
    let read = tokio::task::spawn_blocking(move || meta.setting(&key)).await;
    let text = match read {
        Ok(Ok(text)) => text.unwrap_or_default(),
        Ok(Err(error)) => {
            tracing::error!(rule_id = %context.rule_id, error = %ErrorChain(&error), "retired queues cannot be read");
            String::new()
        }
        Err(_) => String::new(),
    };
    text.lines().filter_map(QueueName::parse).collect()
}

/// Stores `queues`, durably; nothing for none.
pub(super) async fn store(
    context: &Arc<CourierContext>,
    queues: BTreeSet<QueueName>,
) -> Result<(), String> {
    let (meta, key) = (Arc::clone(&context.meta), key(context.incarnation));
    let lines: Vec<_> = queues.iter().map(ToString::to_string).collect();
    let write = move || {
        meta.write(|tx| match lines.is_empty() {
            true => tx.remove_setting(&key),
            false => tx.put_setting(&key, &lines.join("\n")),
        })
    };
    match tokio::task::spawn_blocking(write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(ErrorChain(&error).to_string()),
        Err(error) => Err(error.to_string()),
    }
}
