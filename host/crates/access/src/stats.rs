//! What was decided since the start. Names of metrics are the host's business.

use std::sync::atomic::{AtomicU64, Ordering};

use domain::{AuthenticationMethod, Principal, RefuseAccessError};

/// Counters and gauges of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessStats {
    /// CONNECTs that may come in, by method: one for each of [`AuthenticationMethod::ALL`], in order.
    pub allowed: Vec<(AuthenticationMethod, u64)>,
    /// CONNECTs that may not, by kind: one for each of [`RefuseAccessError::KINDS`], in order.
    pub refused: Vec<(&'static str, u64)>,
    /// Passwords that were hashed.
    pub hashed: u64,
    /// Passwords that were right lately and not hashed again.
    pub remembered: u64,
    /// Passwords that are hashed or wait for it.
    pub hashing: usize,
    /// Accounts of addresses and users with failures that count.
    pub accounts: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Decisions {
    allowed: [AtomicU64; AuthenticationMethod::ALL.len()],
    refused: [AtomicU64; RefuseAccessError::KINDS.len()],
}

impl Decisions {
    pub(crate) fn count(&self, decision: &Result<Principal, RefuseAccessError>) {
        let counter = match decision {
            Ok(principal) => {
                let mut known = AuthenticationMethod::ALL.iter().zip(&self.allowed);
                known
                    .find(|(method, _)| **method == principal.method)
                    .map(|(_, counter)| counter)
            }
            Err(error) => {
                let mut known = RefuseAccessError::KINDS.iter().zip(&self.refused);
                known
                    .find(|(kind, _)| **kind == error.kind())
                    .map(|(_, counter)| counter)
            }
        };
        if let Some(counter) = counter {
            // Only read for reporting.
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn snapshot(&self) -> AccessStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let allowed = AuthenticationMethod::ALL.iter().zip(&self.allowed);
        let refused = RefuseAccessError::KINDS.iter().zip(&self.refused);
        AccessStats {
            allowed: allowed.map(|(method, n)| (*method, load(n))).collect(),
            refused: refused.map(|(kind, n)| (*kind, load(n))).collect(),
            ..AccessStats::default()
        }
    }
}
