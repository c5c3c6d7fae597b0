//! MQTT over WebSocket: the handshake, and a connection through it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use domain::MqttVersion::{V5, V311};

use super::wire::hello;
use super::*;

struct WebSocket {
    reader: BufReader<TcpStream>,
}

impl WebSocket {
    /// The status line and the headers of the answer.
    fn ask(address: SocketAddr, path: &str) -> (Self, Vec<String>) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: other, mqtt\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut socket = Self {
            reader: BufReader::new(stream),
        };
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            socket.reader.read_line(&mut line).unwrap();
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                return (socket, lines);
            }
            lines.push(line);
        }
    }

    /// One binary frame, masked with zeros.
    fn send(&mut self, bytes: &[u8]) {
        let length = u8::try_from(bytes.len()).unwrap();
        assert!(length < 126);
        let frame = [&[0x82, 0x80 | length, 0, 0, 0, 0], bytes].concat();
        self.reader.get_mut().write_all(&frame).unwrap();
    }

    fn read(&mut self) -> Vec<u8> {
        let mut head = [0; 2];
        self.reader.read_exact(&mut head).unwrap();
        assert_eq!(head[0], 0x82, "a whole binary frame");
        let mut payload = vec![0; usize::from(head[1])];
        self.reader.read_exact(&mut payload).unwrap();
        payload
    }
}

#[test]
fn both_versions_connect_over_websocket() {
    for version in [V311, V5] {
        let host = Host::start();
        let (mut socket, head) = WebSocket::ask(host.ws(), "/mqtt");
        assert!(head[0].starts_with("http/1.1 101"), "{head:?}");
        assert!(
            head.contains(&"sec-websocket-protocol: mqtt".to_owned()),
            "{head:?}"
        );
        // One packet in two frames.
        let connect = hello(version, "a").bytes();
        socket.send(&connect[..5]);
        socket.send(&connect[5..]);
        let answer = socket.read();
        assert_eq!((answer[0], answer[3]), (0x20, 0));
        socket.send(&[0xC0, 0]);
        assert_eq!(socket.read(), [0xD0, 0]);
        socket.send(&[0xE0, 0]);
        assert_eq!(
            host.sink.events(3),
            [
                "a connect",
                "a disconnect client-disconnect",
                "a tcpclean client-disconnect"
            ]
        );
        let facts = Arc::clone(&host.sink.facts.lock()[0]);
        assert_eq!(facts.listener, "ws");
        assert_eq!(
            facts.client_address,
            socket.reader.get_ref().local_addr().unwrap()
        );
    }
}

#[test]
fn a_lost_websocket_is_connect_tcpclean() {
    let host = Host::start();
    let (mut socket, _) = WebSocket::ask(host.ws(), "/mqtt");
    socket.send(&hello(V5, "a").bytes());
    socket.read();
    drop(socket);
    assert_eq!(
        host.sink.events(2),
        ["a connect", "a tcpclean connection-lost"]
    );
}

#[test]
fn another_path_is_not_found() {
    let host = Host::start();
    let (_socket, head) = WebSocket::ask(host.ws(), "/other");
    assert!(head[0].starts_with("http/1.1 404"), "{head:?}");
}
