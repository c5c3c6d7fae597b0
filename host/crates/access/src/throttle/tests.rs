use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use domain::AuthenticationMethod;
use tokio::time::Instant;

use super::{ACCOUNTS_MAX, Subject, Throttle};
use crate::FailureRate;

const PER_PEER: FailureRate = FailureRate {
    burst: NonZeroU32::new(10).unwrap(),
    interval: Duration::from_secs(1),
};
const PER_USER: FailureRate = FailureRate {
    burst: NonZeroU32::new(3).unwrap(),
    interval: Duration::from_secs(10),
};

fn throttle(now: Instant) -> Throttle {
    Throttle::new(PER_PEER, PER_USER, now)
}

fn peer(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse::<IpAddr>().unwrap(), 50_000)
}

fn user(name: &str) -> Subject<'_> {
    Subject {
        method: AuthenticationMethod::UserList,
        name,
        client_id: None,
    }
}

/// Charges an attempt that fails: whether it was let through.
fn fails(throttle: &Throttle, address: &str, subject: Subject<'_>, now: Instant) -> bool {
    throttle.charge(peer(address), subject, now).is_some()
}

fn succeeds(throttle: &Throttle, address: &str, subject: Subject<'_>, now: Instant) -> bool {
    match throttle.charge(peer(address), subject, now) {
        Some(charge) => {
            charge.give_back(now);
            true
        }
        None => false,
    }
}

#[test]
fn a_user_may_fail_so_often_and_then_once_per_interval() {
    let now = Instant::now();
    let throttle = throttle(now);
    for n in 0..3 {
        assert!(fails(&throttle, "192.0.2.1", user("ann"), now), "{n}");
    }
    // Whoever asks, from wherever.
    assert!(!fails(&throttle, "192.0.2.1", user("ann"), now));
    assert!(!fails(&throttle, "192.0.2.2", user("ann"), now));
    let before = now + Duration::from_millis(9_999);
    assert!(!fails(&throttle, "192.0.2.2", user("ann"), before));
    let later = now + Duration::from_secs(10);
    assert!(fails(&throttle, "192.0.2.2", user("ann"), later));
    assert!(!fails(&throttle, "192.0.2.2", user("ann"), later));
    // Another user is another account.
    assert!(fails(&throttle, "192.0.2.2", user("bob"), later));
}

#[test]
fn an_address_may_fail_so_often_whatever_users_it_names() {
    let now = Instant::now();
    let throttle = throttle(now);
    for n in 0..10 {
        assert!(fails(&throttle, "192.0.2.1", user(&format!("u{n}")), now));
    }
    assert!(!fails(&throttle, "192.0.2.1", user("u10"), now));
    assert!(fails(&throttle, "192.0.2.2", user("u10"), now));
    let later = now + Duration::from_secs(1);
    assert!(fails(&throttle, "192.0.2.1", user("u11"), later));
    assert!(!fails(&throttle, "192.0.2.1", user("u12"), later));
}

#[test]
fn a_thousand_at_once_are_a_thousand_charges() {
    let now = Instant::now();
    let throttle = throttle(now);
    // None of them is decided yet.
    let charges: Vec<_> = (0..1_000)
        .filter_map(|_| throttle.charge(peer("192.0.2.1"), user("ann"), now))
        .collect();
    assert_eq!(charges.len(), 3);
}

#[test]
fn what_was_right_costs_nothing() {
    let now = Instant::now();
    let throttle = throttle(now);
    for _ in 0..10_000 {
        assert!(succeeds(&throttle, "192.0.2.1", user("ann"), now));
    }
    assert_eq!(throttle.accounts(), 0);
}

#[test]
fn what_was_not_verified_costs_nothing_and_proves_nothing() {
    let now = Instant::now();
    let throttle = throttle(now);
    for _ in 0..100 {
        let charge = throttle.charge(peer("192.0.2.1"), user("ann"), now);
        charge.unwrap().cancel(now);
    }
    for _ in 0..3 {
        assert!(fails(&throttle, "192.0.2.9", user("ann"), now));
    }
    assert!(!fails(&throttle, "192.0.2.1", user("ann"), now));
}

#[test]
fn strangers_do_not_lock_out_a_client_that_succeeded_from_its_address() {
    let now = Instant::now();
    let throttle = throttle(now);
    assert!(succeeds(&throttle, "192.0.2.1", user("ann"), now));
    // In its name from elsewhere, and beside it behind its address.
    while fails(&throttle, "198.51.100.1", user("ann"), now) {}
    let mut n = 0;
    while fails(&throttle, "192.0.2.1", user(&format!("u{n}")), now) {
        n += 1;
    }
    assert!(succeeds(&throttle, "192.0.2.1", user("ann"), now));
    // Its own account is bounded like any.
    for _ in 0..3 {
        assert!(fails(&throttle, "192.0.2.1", user("ann"), now));
    }
    assert!(!succeeds(&throttle, "192.0.2.1", user("ann"), now));
    // Elsewhere it is as unknown as everybody.
    assert!(!succeeds(&throttle, "192.0.2.7", user("ann"), now));
}

#[test]
fn who_may_not_guess_for_a_user_costs_its_neighbours_nothing() {
    let now = Instant::now();
    let throttle = throttle(now);
    for _ in 0..1_000 {
        fails(&throttle, "192.0.2.1", user("ann"), now);
    }
    // Three failures were charged to the address, not a thousand.
    for n in 0..7 {
        assert!(fails(&throttle, "192.0.2.1", user(&format!("u{n}")), now));
    }
    assert!(!fails(&throttle, "192.0.2.1", user("u7"), now));
}

#[test]
fn client_ids_of_an_access_key_have_accounts_of_their_own() {
    let now = Instant::now();
    let throttle = throttle(now);
    let device = |client_id| Subject {
        method: AuthenticationMethod::Signature,
        name: "AK",
        client_id: Some(client_id),
    };
    while fails(&throttle, "192.0.2.1", device("GID_A@@@d1"), now) {}
    assert!(fails(&throttle, "192.0.2.1", device("GID_A@@@d2"), now));
}

#[test]
fn a_signature_is_looked_at_whatever_its_address_has_failed() {
    let now = Instant::now();
    let throttle = throttle(now);
    let device = |client_id| Subject {
        method: AuthenticationMethod::Signature,
        name: "AK",
        client_id: Some(client_id),
    };
    let ids: Vec<String> = (0..20).map(|n| format!("GID_A@@@d{n}")).collect();
    let charges: Vec<_> = ids
        .iter()
        .map(|id| throttle.charge(peer("192.0.2.1"), device(id), now).unwrap())
        .collect();
    let over = charges.iter().filter(|charge| charge.is_over()).count();
    assert_eq!(over, 10);
    // Guesses for one client id end all the same, and a password is not looked at.
    while fails(&throttle, "192.0.2.1", device("GID_A@@@d0"), now) {}
    assert!(!succeeds(&throttle, "192.0.2.1", user("ann"), now));
    assert!(succeeds(&throttle, "192.0.2.1", device("GID_A@@@new"), now));
}

#[test]
fn an_address_is_a_v4_address_or_a_prefix_of_v6() {
    let now = Instant::now();
    let same = [
        ("192.0.2.1", "::ffff:192.0.2.1", true),
        ("192.0.2.1", "192.0.2.2", false),
        ("2001:db8::1", "2001:db8::ffff:2", true),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
    ];
    for (one, other, is_same) in same {
        let throttle = throttle(now);
        for n in 0..10 {
            assert!(fails(&throttle, one, user(&format!("u{n}")), now));
        }
        let is_refused = !fails(&throttle, other, user("next"), now);
        assert_eq!(is_refused, is_same, "{one} and {other}");
    }
}

#[test]
fn the_accounts_are_bounded_and_the_latest_failures_still_count() {
    let now = Instant::now();
    let throttle = throttle(now);
    for n in 0..(u32::try_from(ACCOUNTS_MAX).unwrap()) {
        let address = IpAddr::V4((0x0a00_0000 + n).into());
        let charge = throttle.charge(SocketAddr::new(address, 1), user(&n.to_string()), now);
        assert!(charge.is_some(), "{n}");
    }
    assert!(throttle.accounts() <= ACCOUNTS_MAX);
    for _ in 0..3 {
        assert!(fails(&throttle, "192.0.2.1", user("ann"), now));
    }
    assert!(!fails(&throttle, "192.0.2.1", user("ann"), now));
}
