//! Lets `QoS` 2 survive a reconnect: sees packets before ntex-mqtt's dispatcher, whose book-keeping
//! knows one connection only.
//!
//! A PUBREL frees the packet id in the session, also when its PUBLISH came on an earlier connection
//! (the dispatcher answers that one by itself, without a word to us). A PUBCOMP for a PUBREL that
//! the pump sent past the dispatcher is swallowed: the dispatcher would call it a protocol error.

use std::num::NonZeroU16;

use ntex::service::{Ctx, Middleware, Service};
use ntex_mqtt::{v3, v5};

use crate::link::Link;

/// The middleware.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resume;

/// The middleware around a dispatcher.
#[derive(Debug)]
pub(crate) struct Resumed<S>(S);

enum Seen {
    Release(NonZeroU16),
    Complete(NonZeroU16),
    Other,
}

fn look_v3(packet: &v3::codec::Decoded) -> Seen {
    match packet {
        v3::codec::Decoded::Packet(v3::codec::Packet::PublishRelease { packet_id }, _) => {
            Seen::Release(*packet_id)
        }
        v3::codec::Decoded::Packet(v3::codec::Packet::PublishComplete { packet_id }, _) => {
            Seen::Complete(*packet_id)
        }
        _ => Seen::Other,
    }
}

fn look_v5(packet: &v5::codec::Decoded) -> Seen {
    match packet {
        v5::codec::Decoded::Packet(v5::codec::Packet::PublishRelease(release), _) => {
            Seen::Release(release.packet_id)
        }
        v5::codec::Decoded::Packet(v5::codec::Packet::PublishComplete(complete), _) => {
            Seen::Complete(complete.packet_id)
        }
        _ => Seen::Other,
    }
}

/// Does what is to be done; true: the packet must not reach the dispatcher.
fn swallow(link: &Link, seen: &Seen) -> bool {
    match *seen {
        Seen::Release(packet_id) => {
            link.connection.release(packet_id);
            false
        }
        Seen::Complete(packet_id) => {
            let ours = link.pumped.releases.borrow_mut().remove(&packet_id);
            if ours {
                link.connection.completed(packet_id);
            }
            ours
        }
        Seen::Other => false,
    }
}

macro_rules! resume {
    ($version:ident, $look:ident) => {
        impl<S> Middleware<S, $version::Session<Link>> for Resume {
            type Service = Resumed<S>;

            fn create(&self, _: &$version::Session<Link>, service: S) -> Resumed<S> {
                Resumed(service)
            }
        }

        impl<S, R> Service<$version::Session<Link>, $version::codec::Decoded> for Resumed<S>
        where
            S: Service<$version::Session<Link>, $version::codec::Decoded, Res = Option<R>>,
        {
            type Res = Option<R>;
            type Error = S::Error;

            // Without it the dispatcher's readiness would never be looked at again.
            ntex::service::forward_bind!($version::Session<Link>, 0);

            async fn ready(
                &self,
                ctx: Ctx<'_, Self, $version::Session<Link>>,
            ) -> Result<(), S::Error> {
                ctx.ready(&self.0).await
            }

            async fn shutdown(&self, ctx: Ctx<'_, Self, $version::Session<Link>>) {
                ctx.shutdown(&self.0).await;
            }

            async fn call(
                &self,
                packet: $version::codec::Decoded,
                ctx: Ctx<'_, Self, $version::Session<Link>>,
            ) -> Result<Option<R>, S::Error> {
                if swallow(ctx.st(), &$look(&packet)) {
                    return Ok(None);
                }
                ctx.call(&self.0, packet).await
            }
        }
    };
}

resume!(v3, look_v3);
resume!(v5, look_v5);
