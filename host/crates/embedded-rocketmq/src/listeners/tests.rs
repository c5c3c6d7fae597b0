//! What a user sees when a port is taken.

use super::*;

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[test]
fn a_taken_name_server_port_is_named() {
    let taken = TcpListener::bind(loopback(0)).unwrap();
    let address = taken.local_addr().unwrap();
    let error = free_address("name server", address).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("rocketmq name server listener {address}: address in use")
    );
}

#[test]
fn a_taken_neighbour_of_the_brokers_port_is_named() {
    let name_server = free_address("name server", loopback(0)).unwrap();
    let broker = free_broker_address(loopback(0), name_server).unwrap();
    let second = loopback(broker.port() - 2);
    let _taken = TcpListener::bind(second).unwrap();
    let error = free_broker_address(broker, name_server).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("rocketmq broker listener {second}: address in use")
    );
}

#[test]
fn a_broker_port_without_room_for_its_neighbours_is_refused() {
    let name_server = free_address("name server", loopback(0)).unwrap();
    let error = free_broker_address(loopback(2), name_server).unwrap_err();
    assert!(
        matches!(error, StartEmbeddedError::BrokerPort { .. }),
        "{error}"
    );
}

#[test]
fn port_0_picks_ports_that_are_free() {
    let name_server = free_address("name server", loopback(0)).unwrap();
    let broker = free_broker_address(loopback(0), name_server).unwrap();
    for port in [
        name_server.port(),
        broker.port(),
        broker.port() - 2,
        broker.port() + 1,
    ] {
        assert!(
            TcpListener::bind(loopback(port)).is_ok(),
            "port {port} is not free"
        );
    }
}
