//! What one connection has to write to its socket. It may be held longer than the connection: once
//! the channel is closed or the session has another owner, nothing more comes out.

use std::num::NonZeroU16;
use std::sync::Arc;

use domain::CloseReason;

use crate::Delivery;
use crate::channel::Channel;
use crate::session::Session;

/// What is to be written next.
#[derive(Clone, Debug)]
pub enum NextDelivery {
    /// A PUBLISH.
    Publish {
        /// The message.
        delivery: Delivery,
        /// Its packet id; `None` for `QoS` 0.
        packet_id: Option<NonZeroU16>,
        /// It was sent on an earlier connection: DUP.
        again: bool,
    },
    /// A PUBREL for a PUBREC that came on an earlier connection.
    Release {
        /// Its packet id.
        packet_id: NonZeroU16,
    },
    /// Nothing now.
    Wait {
        /// Something waits, but the client must acknowledge first.
        for_credit: bool,
    },
    /// Nothing ever again: the channel is closed.
    Gone,
}

/// Whether one more message with `QoS` 1 or 2 may be in flight towards the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credit {
    /// It may.
    Available,
    /// The client must acknowledge first.
    Exhausted,
}

/// The writing half of a connection. Any thread may wake it.
#[derive(Clone, Debug)]
pub struct Outbound {
    channel: Arc<Channel>,
    session: Arc<Session>,
}

impl Outbound {
    pub(crate) fn new(channel: Arc<Channel>, session: Arc<Session>) -> Self {
        Self { channel, session }
    }

    /// Takes what is to be written next.
    #[must_use]
    pub fn next(&self, credit: Credit) -> NextDelivery {
        if self.channel.closed().is_some() {
            return NextDelivery::Gone;
        }
        self.session.next(&self.channel, credit)
    }

    /// Why the channel was closed; `None` while it is open.
    #[must_use]
    pub fn closed(&self) -> Option<CloseReason> {
        self.channel.closed()
    }

    /// Ends when something changed since the last call: a message waits or the channel was closed.
    /// Only one task may wait.
    pub async fn changed(&self) {
        self.channel.changed.notified().await;
    }

    /// The client has received a message with `QoS` 2: PUBREC.
    pub fn received(&self, packet_id: NonZeroU16) {
        self.session
            .owned_by(&self.channel, |state| state.received(packet_id));
    }

    /// A message is done: PUBACK, PUBCOMP, or it cannot be sent at all.
    pub fn completed(&self, packet_id: NonZeroU16) {
        self.session
            .owned_by(&self.channel, |state| state.completed(packet_id));
        self.channel.changed.notify_one();
    }
}
