//! One local task per connection that writes what waits for the client, as fast as the client
//! acknowledges, and that closes the socket when the broker closed the channel.

use std::pin::Pin;
use std::rc::Rc;

use broker::{NextDelivery, Outbound};
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use ntex::io::IoRef;

use crate::link::Pumped;
use crate::packet::Outgoing;
use crate::writer::Writer;

/// Messages that are written before other connections of the worker get their turn.
const TURN: u32 = 64;

pub(crate) struct Pump {
    pub(crate) writer: Writer,
    pub(crate) io: IoRef,
    pub(crate) outbound: Outbound,
    pub(crate) pumped: Rc<Pumped>,
}

type Sending = Pin<Box<dyn Future<Output = ()>>>;

impl Pump {
    /// Starts the task on this worker thread. It ends with the connection.
    pub(crate) fn start(self) {
        // Run after CONNACK was encoded: the handler returns before the worker polls the new task.
        drop(ntex::rt::spawn(self.run()));
    }

    async fn run(self) {
        let mut sending: FuturesUnordered<Sending> = FuturesUnordered::new();
        let mut written = 0_u32;
        loop {
            if self.pumped.socket_gone.get() {
                return;
            }
            if let Some(reason) = self.outbound.closed() {
                self.writer.close(reason);
                return;
            }
            if !self.writer.is_open() {
                return;
            }
            match self.outbound.next(self.writer.credit()) {
                // Who closed the channel says why, at the top.
                NextDelivery::Gone if self.outbound.closed().is_some() => {}
                NextDelivery::Gone => return,
                NextDelivery::Publish {
                    delivery,
                    packet_id,
                    again,
                } => {
                    self.publish(
                        &mut sending,
                        Outgoing {
                            delivery,
                            packet_id,
                            dup: again,
                        },
                    )
                    .await;
                }
                NextDelivery::Release { packet_id } => {
                    self.pumped.releases.borrow_mut().insert(packet_id);
                    self.writer.release(&self.io, packet_id);
                }
                NextDelivery::Wait { for_credit } => {
                    self.wait(&mut sending, for_credit).await;
                    continue;
                }
            }
            written = written.wrapping_add(1);
            if written.is_multiple_of(TURN) {
                while let Some(Some(())) = sending.next().now_or_never() {}
                tokio::task::yield_now().await;
            }
        }
    }

    async fn publish(&self, sending: &mut FuturesUnordered<Sending>, outgoing: Outgoing) {
        let Some(packet_id) = outgoing.packet_id else {
            return self.writer.send_once(&outgoing).await;
        };
        let outbound = self.outbound.clone();
        let mut send: Sending = Box::pin(
            self.writer
                .clone()
                .send_acknowledged(outbound, outgoing, packet_id),
        );
        // Polled once here, so that packets leave in the order they were taken.
        if futures_util::poll!(&mut send).is_pending() {
            sending.push(send);
        }
    }

    async fn wait(&self, sending: &mut FuturesUnordered<Sending>, for_credit: bool) {
        tokio::select! {
            biased;
            () = self.outbound.changed() => {}
            Some(()) = sending.next(), if !sending.is_empty() => {}
            () = self.writer.credit_again(), if for_credit => {}
        }
    }
}
