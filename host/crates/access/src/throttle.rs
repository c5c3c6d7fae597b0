//! Makes guessing slow: failures are counted per address and per user, and whoever has too many is
//! refused unverified.
//!
//! An attempt is charged before it is verified and gets its charge back if it was right, so that a
//! thousand guesses at once are a thousand charges; one that is given up half way stays charged. Who
//! succeeded from an address lately is judged there by an account of its own: strangers cannot lock out
//! a client by failing in its name or beside it behind one address.
//!
//! A signature has 160 bits and is checked in microseconds, so for one an address beyond its failures is
//! no reason not to look: whole fleets share an address, and the right one comes in.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use domain::AuthenticationMethod;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config::FailureRate;
use crate::generations::Generations;

/// Accounts that are not settled, 32 bytes each. At the limit those charged longest ago are forgotten,
/// so they may fail again at once: whoever wants that needs ten thousands of addresses.
const ACCOUNTS_MAX: usize = 65_536;
/// Pairs of user and address that succeeded. At the limit those longest ago are strangers again.
const ACQUAINTED_MAX: usize = 262_144;
/// How long a success counts at most, and half of it at least.
const ACQUAINTED_AGE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Whose password is guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Subject<'a> {
    pub(crate) method: AuthenticationMethod,
    /// Access key or user.
    pub(crate) name: &'a str,
    /// Where each client id has a password of its own: failures for one do not stop the others.
    pub(crate) client_id: Option<&'a str>,
}

/// Counts failures.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// Keyed with random numbers, so that nobody can aim at another's account.
    hasher: RandomState,
    per_peer: FailureRate,
    per_user: FailureRate,
    books: Mutex<Books>,
}

#[derive(Debug)]
struct Books {
    /// When each account is settled: until then it has failures that count.
    settled: Generations<u64, Instant>,
    acquainted: Generations<u64, ()>,
}

/// An attempt that was let through to be verified.
#[derive(Debug)]
#[must_use]
pub(crate) struct Charge<'a> {
    throttle: &'a Throttle,
    accounts: [Option<(u64, Duration)>; 2],
    pair: u64,
    is_over: bool,
}

/// An IPv4 address, or the /64 of IPv6 that one subscriber has.
fn prefix(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        canonical @ IpAddr::V4(_) => canonical,
    }
}

impl Books {
    /// When `account` would be settled after one more failure; `None`: it may not fail now.
    fn after_one_more(&mut self, account: u64, rate: FailureRate, now: Instant) -> Option<Instant> {
        let settled = self.settled.touch(account, now).copied();
        let next = settled
            .map_or(now, |at| at.max(now))
            .checked_add(rate.interval)?;
        let ahead_max = rate.interval.saturating_mul(rate.burst.get());
        (next.duration_since(now) <= ahead_max).then_some(next)
    }

    fn give_back(&mut self, accounts: [Option<(u64, Duration)>; 2], now: Instant) {
        for (account, interval) in accounts.into_iter().flatten() {
            let Some(settled) = self.settled.touch(account, now) else {
                continue;
            };
            match settled.checked_sub(interval) {
                Some(earlier) if earlier > now => *settled = earlier,
                _ => self.settled.remove(account),
            }
        }
    }
}

impl Throttle {
    pub(crate) fn new(per_peer: FailureRate, per_user: FailureRate, now: Instant) -> Self {
        let age = |rate: FailureRate| rate.interval.saturating_mul(rate.burst.get());
        // Twice, since an entry may be forgotten after half of its age.
        let settled_age = age(per_peer).max(age(per_user)).saturating_mul(2);
        Self {
            hasher: RandomState::new(),
            per_peer,
            per_user,
            books: Mutex::new(Books {
                settled: Generations::new(ACCOUNTS_MAX, settled_age, now),
                acquainted: Generations::new(ACQUAINTED_MAX, ACQUAINTED_AGE, now),
            }),
        }
    }

    /// Charges an attempt; `None`: it is refused.
    pub(crate) fn charge(
        &self,
        peer: SocketAddr,
        subject: Subject<'_>,
        now: Instant,
    ) -> Option<Charge<'_>> {
        let peer = prefix(peer.ip());
        let pair = self.account("pair", &(peer, subject));
        let by_user = (self.account("user", &subject), self.per_user);
        let by_peer = (self.account("peer", &peer), self.per_peer);
        let mut books = self.books.lock();
        let wanted = if books.acquainted.touch(pair, now).is_some() {
            [Some((pair, self.per_user)), None]
        } else {
            [Some(by_user), Some(by_peer)]
        };
        let [first, second] = wanted;
        let mut due = |account: Option<(u64, FailureRate)>| match account {
            Some((account, rate)) => {
                let settled = books.after_one_more(account, rate, now);
                settled.map(|settled| Some((account, rate.interval, settled)))
            }
            None => Some(None),
        };
        let by_first = due(first)?;
        let (by_second, is_over) = match due(second) {
            Some(by_second) => (by_second, false),
            None if subject.client_id.is_some() => (None, true),
            None => return None,
        };
        let dues = [by_first, by_second];
        // Both accounts or none: who may not guess for a user costs the neighbours nothing.
        for (account, _, settled) in dues.into_iter().flatten() {
            books.settled.insert(account, settled, now);
        }
        Some(Charge {
            throttle: self,
            accounts: dues.map(|due| due.map(|(account, interval, _)| (account, interval))),
            pair,
            is_over,
        })
    }

    /// Accounts that are not settled, or were not a moment ago.
    pub(crate) fn accounts(&self) -> usize {
        self.books.lock().settled.len()
    }

    fn account(&self, kind: &str, who: &impl Hash) -> u64 {
        self.hasher.hash_one((kind, who))
    }
}

impl Charge<'_> {
    /// Whether its address has failed too often: then whoever is wrong is told that it is throttled.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The attempt was right: it costs nothing, and its client is known at this address.
    pub(crate) fn give_back(self, now: Instant) {
        let mut books = self.throttle.books.lock();
        books.give_back(self.accounts, now);
        books.acquainted.insert(self.pair, (), now);
    }

    /// The attempt was not verified at all: it costs nothing and proves nothing.
    pub(crate) fn cancel(self, now: Instant) {
        let mut books = self.throttle.books.lock();
        books.give_back(self.accounts, now);
    }
}

#[cfg(test)]
mod tests;
