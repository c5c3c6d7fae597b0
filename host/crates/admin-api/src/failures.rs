//! Failed authentications, by where they come from: so many at once, and one more every second.
//!
//! Only failures are held up. Whoever presents what is right is let in, so that a script with an old
//! token cannot lock out its neighbour; a token has 256 random bits, so guessing gains nothing by it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Failures that are answered as such before they are refused unheard.
pub(crate) const BURST: u32 = 100;
/// After so long, one more is.
const INTERVAL: Duration = Duration::from_secs(1);
/// Addresses that are told apart, about 60 bytes each; beyond them, the others share one account.
const PEERS_MAX: usize = 4_096;

/// Failures of one address: the moment at which all would be forgiven.
#[derive(Clone, Copy, Debug)]
struct Account {
    clear_at: Instant,
}

#[derive(Debug, Default)]
struct Accounts {
    by_peer: HashMap<IpAddr, Account>,
    /// Of those that found no place.
    others: Option<Account>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    accounts: Mutex<Accounts>,
}

/// An IPv4 address, or the /64 of an IPv6 address: whoever has one of those has all of it.
fn account_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl Account {
    fn new(now: Instant) -> Self {
        Self { clear_at: now }
    }

    fn charge(&mut self, now: Instant) -> Result<(), Duration> {
        let debt = self.clear_at.saturating_duration_since(now);
        let most = INTERVAL.saturating_mul(BURST);
        match (debt + INTERVAL).checked_sub(most) {
            None | Some(Duration::ZERO) => {
                self.clear_at = now + debt + INTERVAL;
                Ok(())
            }
            Some(wait) => Err(wait),
        }
    }
}

impl Failures {
    /// Notes a failure of `peer`.
    ///
    /// # Errors
    ///
    /// When there were too many: how long to wait until one more is heard.
    pub(crate) fn charge(&self, peer: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut accounts = self.accounts.lock();
        let peer = account_of(peer);
        if let Some(account) = accounts.by_peer.get_mut(&peer) {
            return account.charge(now);
        }
        if accounts.by_peer.len() >= PEERS_MAX {
            accounts.by_peer.retain(|_, it| it.clear_at > now);
        }
        let account = if accounts.by_peer.len() < PEERS_MAX {
            accounts.by_peer.entry(peer).or_insert(Account::new(now))
        } else {
            accounts.others.get_or_insert(Account::new(now))
        };
        account.charge(now)
    }

    /// Addresses that are told apart now.
    pub(crate) fn peers(&self) -> usize {
        self.accounts.lock().by_peer.len()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{BURST, Failures, PEERS_MAX};

    fn peer(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(number))
    }

    #[test]
    fn a_burst_is_heard_then_one_more_each_second() {
        let (failures, now) = (Failures::default(), Instant::now());
        for _ in 0..BURST {
            failures.charge(peer(1), now).unwrap();
        }
        let wait = failures.charge(peer(1), now).unwrap_err();
        assert_eq!(wait, Duration::from_secs(1));
        failures.charge(peer(2), now).unwrap();
        let later = now + wait;
        failures.charge(peer(1), later).unwrap();
        assert!(failures.charge(peer(1), later).is_err());
    }

    #[test]
    fn a_network_of_ipv6_is_one_and_mapped_addresses_are_ipv4() {
        let (failures, now) = (Failures::default(), Instant::now());
        for n in 0..BURST {
            let address = format!("2001:db8::{n:x}").parse().unwrap();
            failures.charge(address, now).unwrap();
            failures.charge(peer(0x7f00_0001), now).unwrap();
        }
        for full in ["2001:db8::ffff", "::ffff:127.0.0.1"] {
            assert!(failures.charge(full.parse().unwrap(), now).is_err());
        }
        failures
            .charge("2001:db8:0:1::1".parse().unwrap(), now)
            .unwrap();
    }

    #[test]
    fn beyond_the_table_the_others_share_an_account() {
        let (failures, now) = (Failures::default(), Instant::now());
        let known = u32::try_from(PEERS_MAX).unwrap();
        for number in 0..known {
            failures.charge(peer(number), now).unwrap();
        }
        for number in 0..BURST {
            failures.charge(peer(known + number), now).unwrap();
        }
        assert!(failures.charge(peer(known + BURST), now).is_err());
        assert_eq!(failures.peers(), PEERS_MAX);
        // Those who waited long enough are forgotten.
        let later = now + Duration::from_secs(1);
        failures.charge(peer(known + BURST), later).unwrap();
        assert_eq!(failures.peers(), 1);
    }
}
