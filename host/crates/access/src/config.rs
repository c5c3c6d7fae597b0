//! What the host decides about access, and the limits of deciding.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use domain::InstanceId;

/// On which listeners a client may connect without proving who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// Those that are bound to a loopback address.
    Loopback,
    /// All.
    Always,
    /// None.
    Never,
}

impl Anonymous {
    pub(crate) fn allows(self, listener: SocketAddr) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Loopback => listener.ip().is_loopback(),
        }
    }
}

/// How many authentications may fail: `burst` at once, and one more in every `interval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureRate {
    /// As many as may fail in no time. Also bounds those that are under way.
    pub burst: NonZeroU32,
    /// How long it takes until one more may fail.
    pub interval: Duration,
}

/// Who may connect, and what finding that out may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessConfig {
    /// The id that user names of `ApsaraMQ` must have.
    pub instance: InstanceId,
    /// Where a client may connect without proving who it is.
    pub anonymous: Anonymous,
    /// Passwords that are hashed at once; 19 MiB and one thread each.
    pub verifications_at_once: NonZeroUsize,
    /// Passwords that wait to be hashed; one more CONNECT is refused as throttled.
    pub verifications_waiting_max: usize,
    /// Failures from one address: an IPv4 address, or a /64 of IPv6.
    pub failures_per_peer: FailureRate,
    /// Failures for one user, or one client id of an access key.
    pub failures_per_user: FailureRate,
}

const fn rate(burst: u32, interval: Duration) -> FailureRate {
    let burst = match NonZeroU32::new(burst) {
        Some(burst) => burst,
        None => NonZeroU32::MIN,
    };
    FailureRate { burst, interval }
}

impl AccessConfig {
    /// The limits of a host with `cores` processors.
    #[must_use]
    pub fn with_cores(instance: InstanceId, anonymous: Anonymous, cores: NonZeroUsize) -> Self {
        let half = cores.get().div_ceil(2).min(8);
        Self {
            instance,
            anonymous,
            // Half of the processors stay with the clients that are in; 152 MiB at most.
            verifications_at_once: NonZeroUsize::new(half).unwrap_or(NonZeroUsize::MIN),
            // Less than three seconds of work: what waits longer has given up.
            verifications_waiting_max: half * 128,
            // Many devices may share an address. Five hashes a second are a tenth of a processor.
            failures_per_peer: rate(200, Duration::from_millis(200)),
            // A hundred devices that share a user may start at once; 17,000 guesses a day at most.
            failures_per_user: rate(100, Duration::from_secs(5)),
        }
    }
}
