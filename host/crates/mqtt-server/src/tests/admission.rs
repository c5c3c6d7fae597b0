//! Who may come in is asked before anything else, and whoever may not leaves no trace but counts.

use broker::RefusalReason;
use domain::MqttVersion::{V5, V311};

use super::refusals::{count_refused, nothing_recorded, refused};
use super::wire::{Client, ConnectPacket, hello};
use super::*;

#[test]
fn what_the_client_presents_is_asked_about_as_it_came() {
    let host = Host::start();
    for version in [V311, V5] {
        let connect = ConnectPacket {
            username: Some("Signature|AK|mqtt-local"),
            password: Some(b"\0\xFFp"),
            ..hello(version, "a")
        };
        let client = Client::connect(host.tcp(), &connect);
        let asked = host.doorman.asked.lock().pop();
        assert_eq!(
            asked,
            Some(Asked {
                client_id: "a".to_owned(),
                username: Some(b"Signature|AK|mqtt-local".to_vec()),
                password: Some(b"\0\xFFp".to_vec()),
                peer: client.stream.local_addr().unwrap(),
                listener: ("tcp", host.tcp()),
            })
        );
        let facts = host.sink.facts.lock().pop().unwrap();
        assert_eq!(facts.username.as_deref(), Some("Signature|AK|mqtt-local"));
    }
    let _client = Client::connect(host.tcp(), &hello(V5, "b"));
    let asked = host.doorman.asked.lock().pop().unwrap();
    assert_eq!((asked.username, asked.password), (None, None));
    // An id of the server's choice is none that the client could prove.
    let _client = Client::connect(host.tcp(), &hello(V5, ""));
    assert_eq!(host.doorman.asked.lock().pop().unwrap().client_id, "");
}

#[test]
fn every_refusal_has_its_code_its_words_and_its_count_and_no_event() {
    use RefuseAccessError as Error;
    let host = Host::start();
    for (error, v3, v5, reason, count) in [
        (
            Error::BadCredentials,
            4,
            0x86,
            RefusalReason::Credentials,
            2,
        ),
        (
            Error::Malformed("no form"),
            4,
            0x86,
            RefusalReason::Credentials,
            4,
        ),
        (Error::UnknownMethod, 4, 0x86, RefusalReason::Credentials, 6),
        (Error::Anonymous, 5, 0x87, RefusalReason::NotAuthorized, 2),
        (Error::Throttled, 3, 0x9F, RefusalReason::Throttled, 2),
        (
            Error::Unavailable,
            3,
            0x88,
            RefusalReason::AccessUnavailable,
            2,
        ),
    ] {
        *host.doorman.refuse.lock() = Some(error);
        assert_eq!(refused(&host, &hello(V311, "a")).0, v3, "{error:?}");
        let (code, text) = refused(&host, &hello(V5, "a"));
        assert_eq!(code, v5, "{error:?}");
        assert!(text.contains(&error.to_string()), "{text}");
        assert_eq!(count_refused(&host, reason), count, "{error:?}");
    }
    *host.doorman.refuse.lock() = None;
    nothing_recorded(&host);
}

#[test]
fn a_client_with_little_room_gets_the_code_without_the_words() {
    let host = Host::start();
    *host.doorman.refuse.lock() = Some(RefuseAccessError::BadCredentials);
    let connect = ConnectPacket {
        packet_limits: Some((80, 0)),
        ..hello(V5, "a")
    };
    let (code, text) = refused(&host, &connect);
    assert_eq!(code, 0x86);
    assert!(!text.contains("password"), "{text}");
}

#[test]
fn a_refused_client_takes_nobody_over() {
    let host = Host::start();
    let mut first = Client::connect(host.tcp(), &hello(V5, "a"));
    *host.doorman.refuse.lock() = Some(RefuseAccessError::BadCredentials);
    assert_eq!(refused(&host, &hello(V5, "a")).0, 0x86);
    assert_eq!(refused(&host, &hello(V311, "a")).0, 4);
    first.send(&[0xC0, 0]);
    assert_eq!(first.read().first, 0xD0);
    assert_eq!(host.sink.events(1), ["a connect"]);
}

#[test]
fn a_slow_answer_holds_up_its_own_client_only() {
    // One worker: whoever blocked it would block all.
    let host = Host::start_with(|config| config.workers = NonZeroUsize::MIN);
    let mut present = Client::connect(host.tcp(), &hello(V5, "present"));
    host.doorman.is_held.send_replace(true);
    let mut waiting: Vec<_> = [V311, V5]
        .into_iter()
        .map(|version| {
            let mut client = Client::dial(host.tcp(), version);
            client.send(&hello(version, &format!("{version:?}")).bytes());
            client
        })
        .collect();
    while host.doorman.asked.lock().len() < 3 {
        std::thread::yield_now();
    }
    present.send(&[0xC0, 0]);
    assert_eq!(present.read().first, 0xD0);
    assert!(waiting.iter().all(|client| !client.has_answer()));
    assert_eq!(host.sink.events(1), ["present connect"]);
    host.doorman.is_held.send_replace(false);
    for client in &mut waiting {
        assert_eq!(client.read().body[1], 0);
    }
    assert_eq!(host.sink.events(3).len(), 3);
}

#[test]
fn who_goes_away_before_it_is_refused_was_never_there() {
    let host = Host::start();
    host.doorman.is_held.send_replace(true);
    *host.doorman.refuse.lock() = Some(RefuseAccessError::BadCredentials);
    let mut gone = Client::dial(host.tcp(), V5);
    gone.send(&hello(V5, "gone").bytes());
    while host.doorman.asked.lock().is_empty() {
        std::thread::yield_now();
    }
    drop(gone);
    host.doorman.is_held.send_replace(false);
    while count_refused(&host, RefusalReason::Credentials) == 0 {
        std::thread::yield_now();
    }
    *host.doorman.refuse.lock() = None;
    nothing_recorded(&host);
}
