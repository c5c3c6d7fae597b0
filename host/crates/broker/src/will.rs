//! A will: what is published when a connection ends without a DISCONNECT that forbids it.

use std::time::Duration;

use tokio::time::Instant;

use crate::Message;

/// The will of one connection.
#[derive(Clone, Debug)]
pub struct Will {
    /// What is published. Its `expires_at` is set when it is.
    pub message: Message,
    /// How long after the end of the connection, seconds; never after the end of the session.
    pub delay_seconds: u32,
    /// How long after its publication it may be delivered, seconds.
    pub expiry_seconds: Option<u32>,
}

impl Will {
    pub(crate) fn into_message(self) -> Message {
        let mut message = self.message;
        message.expires_at = self
            .expiry_seconds
            .map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
        message
    }
}
