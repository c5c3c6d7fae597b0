//! Handshakes: so many at once, each within its time. What fails here was never a CONNECT.
//!
//! The limit bounds memory: a half-done handshake holds some 30 KiB. Who comes beyond it waits for a
//! place, in the order of coming, and the wait counts as a part of its time.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ntex::io::{Filter, Io, Layer};
use ntex::time::{Millis, timeout};
use ntex_tls::rustls::TlsServerFilter;
use tokio::sync::Semaphore;

use super::Tls;
use crate::listen::Kind;

/// About 60 MiB.
const AT_ONCE_MAX: usize = 2_048;

/// Why there is no TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// It was not done in time.
    Timeout,
    /// The client went away.
    PeerGone,
    /// The client speaks no TLS, or none that is spoken here, or did not like the certificate.
    Refused,
}

impl HandshakeFailure {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Timeout, Self::PeerGone, Self::Refused];

    /// The name in metric labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::PeerGone => "peer-gone",
            Self::Refused => "refused",
        }
    }

    fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => Self::Timeout,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected => Self::PeerGone,
            _ => Self::Refused,
        }
    }
}

/// TLS since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsStats {
    /// Handshakes that were done.
    pub handshakes: u64,
    /// Handshakes that were not; every kind of failure is there.
    pub failed: Vec<(HandshakeFailure, u64)>,
    /// Handshakes that are under way.
    pub under_way: usize,
    /// Certificates that took the place of an earlier one.
    pub reloads: u64,
    /// Changes of the files that could not be used.
    pub reloads_failed: u64,
    /// When the certificate in use expires, seconds since the UNIX epoch.
    pub certificate_expires_s: i64,
}

#[derive(Debug)]
pub(super) struct Handshakes {
    timeout: Millis,
    places: Semaphore,
    done: AtomicU64,
    failed: [AtomicU64; HandshakeFailure::ALL.len()],
    pub(super) reloads: AtomicU64,
    pub(super) reloads_failed: AtomicU64,
}

// Relaxed is enough: the counters are only read for reporting.
pub(super) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Handshakes {
    pub(super) fn new(timeout: Duration) -> Self {
        let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        Self {
            timeout: Millis(millis),
            places: Semaphore::new(AT_ONCE_MAX),
            done: AtomicU64::new(0),
            failed: Default::default(),
            reloads: AtomicU64::new(0),
            reloads_failed: AtomicU64::new(0),
        }
    }

    pub(super) fn stats(&self) -> TlsStats {
        let failed = HandshakeFailure::ALL.into_iter().zip(&self.failed);
        TlsStats {
            handshakes: read(&self.done),
            failed: failed.map(|(kind, n)| (kind, read(n))).collect(),
            under_way: AT_ONCE_MAX.saturating_sub(self.places.available_permits()),
            reloads: read(&self.reloads),
            reloads_failed: read(&self.reloads_failed),
            certificate_expires_s: 0,
        }
    }

    fn count_failed(&self, failure: HandshakeFailure) {
        let mut known = HandshakeFailure::ALL.iter().zip(&self.failed);
        if let Some((_, counter)) = known.find(|(kind, _)| **kind == failure) {
            add(counter);
        }
    }
}

impl Tls {
    /// Speaks TLS on `io` as the listener `kind` does; `None`: it failed and the socket is closed.
    pub(crate) async fn accept<F: Filter>(
        &self,
        io: Io<F>,
        kind: Kind,
    ) -> Option<Io<Layer<TlsServerFilter, F>>> {
        let handshakes = &self.handshakes;
        let handshake = async {
            // Nobody closes it.
            let _place = handshakes
                .places
                .acquire()
                .await
                .map_err(io::Error::other)?;
            let config = self.identity.load().config(kind);
            TlsServerFilter::create(io, config, Millis::ZERO).await
        };
        let result = timeout(handshakes.timeout, handshake).await;
        match result.unwrap_or_else(|()| Err(io::ErrorKind::TimedOut.into())) {
            Ok(io) => {
                add(&handshakes.done);
                Some(io)
            }
            Err(error) => {
                let failure = HandshakeFailure::of(&error);
                handshakes.count_failed(failure);
                tracing::debug!(listener = kind.as_str(), failure = failure.as_str(), %error, "no tls connection");
                None
            }
        }
    }
}
