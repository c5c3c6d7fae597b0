//! Start and stop: addresses, errors that name the listener, and what a shutdown leaves behind.

use std::net::TcpStream;

use domain::ErrorChain;
use domain::MqttVersion::{V5, V311};

use super::wire::{Client, hello};
use super::*;
use crate::StartServerError;

#[test]
fn a_shutdown_tells_clients_and_gives_every_channel_its_tcpclean() {
    let mut host = Host::start();
    let mut v5: Vec<_> = (0..20)
        .map(|n| Client::connect(host.tcp(), &hello(V5, &format!("n{n}"))))
        .collect();
    let mut v3 = Client::connect(host.tcp(), &hello(V311, "old"));
    let address = host.tcp();
    host.shutdown(Duration::from_secs(10));
    let events = host.sink.events(42);
    assert_eq!(events.len(), 42);
    assert_eq!(
        events
            .iter()
            .filter(|line| line.ends_with("tcpclean host-shutdown"))
            .count(),
        21
    );
    for client in &mut v5 {
        assert_eq!(client.read_to_end(), Some(0x8B));
    }
    assert_eq!(v3.read_to_end(), None);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_client_that_does_not_read_does_not_hold_a_shutdown_up() {
    let mut host = Host::start();
    let mut stuck = Client::connect(host.tcp(), &hello(V5, "stuck"));
    stuck.subscribe("t", 0);
    let mut publisher = Client::connect(host.tcp(), &hello(V5, "publisher"));
    for _ in 0..2_000 {
        publisher.publish(0, "t", None, &[0; 8 * 1024]);
    }
    publisher.send(&[0xC0, 0]);
    assert_eq!(publisher.read().first, 0xD0);
    host.shutdown(Duration::from_secs(1));
    let events = host.sink.events(4);
    assert!(
        events.contains(&"stuck tcpclean host-shutdown".to_owned()),
        "{events:?}"
    );
    drop(stuck);
}

#[test]
fn an_address_in_use_is_named_with_its_listener() {
    let host = Host::start();
    let taken = host.tcp();
    for (kind, change) in [
        (
            "tcp",
            (|config, taken| config.tcp = vec![taken]) as fn(&mut MqttServerConfig, SocketAddr),
        ),
        ("ws", |config, taken| config.ws = vec![taken]),
    ] {
        let mut config = config();
        change(&mut config, taken);
        let error = MqttServer::start(config, host.parts()).unwrap_err();
        let text = ErrorChain(&error).to_string();
        assert!(
            text.starts_with(&format!(
                "mqtt {kind} listener {taken}: Address already in use"
            )),
            "{text}"
        );
    }
}

#[test]
fn a_server_without_listeners_does_not_start() {
    let host = Host::start();
    let config = MqttServerConfig {
        tcp: Vec::new(),
        ws: Vec::new(),
        ..config()
    };
    let started = MqttServer::start(config, host.parts());
    assert!(matches!(started, Err(StartServerError::NoListener)));
}
