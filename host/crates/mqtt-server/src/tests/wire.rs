//! A client that writes bytes: packets of both versions, as the specifications say.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use domain::MqttVersion;

use super::PATIENCE;

/// What a CONNECT says.
#[derive(Clone, Debug)]
pub(super) struct ConnectPacket {
    pub(super) version: MqttVersion,
    pub(super) client_id: String,
    pub(super) keep_alive: u16,
    pub(super) clean: bool,
    /// Session Expiry Interval, MQTT 5.
    pub(super) expiry: u32,
    /// Maximum Packet Size and Topic Alias Maximum, MQTT 5.
    pub(super) packet_limits: Option<(u32, u16)>,
    pub(super) will: Option<(&'static str, &'static str)>,
    pub(super) username: Option<&'static str>,
    pub(super) password: Option<&'static [u8]>,
}

/// A packet from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) first: u8,
    pub(super) body: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) stream: TcpStream,
    pub(super) version: MqttVersion,
}

pub(super) fn hello(version: MqttVersion, client_id: &str) -> ConnectPacket {
    ConnectPacket {
        version,
        client_id: client_id.to_owned(),
        keep_alive: 60,
        clean: true,
        expiry: 0,
        packet_limits: None,
        will: None,
        username: None,
        password: None,
    }
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

pub(super) fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let more = length >= 128;
        packet.push(u8::try_from(length % 128).unwrap() | (u8::from(more) << 7));
        length /= 128;
        if !more {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

impl ConnectPacket {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let v5 = self.version == MqttVersion::V5;
        let mut flags = u8::from(self.clean) << 1;
        flags |= if self.will.is_some() { 0b0000_1100 } else { 0 };
        flags |= u8::from(self.username.is_some()) << 7;
        flags |= u8::from(self.password.is_some()) << 6;
        let mut body = text("MQTT");
        body.extend([if v5 { 5 } else { 4 }, flags]);
        body.extend(self.keep_alive.to_be_bytes());
        if v5 {
            let mut properties = vec![0x11];
            properties.extend(self.expiry.to_be_bytes());
            if let Some((packet_bytes_max, topic_aliases_max)) = self.packet_limits {
                properties.push(0x27);
                properties.extend(packet_bytes_max.to_be_bytes());
                properties.push(0x22);
                properties.extend(topic_aliases_max.to_be_bytes());
            }
            body.push(u8::try_from(properties.len()).unwrap());
            body.extend(properties);
        }
        body.extend(text(&self.client_id));
        if let Some((topic, payload)) = self.will {
            if v5 {
                body.push(0);
            }
            body.extend([text(topic), text(payload)].concat());
        }
        if let Some(username) = self.username {
            body.extend(text(username));
        }
        if let Some(password) = self.password {
            body.extend(u16::try_from(password.len()).unwrap().to_be_bytes());
            body.extend(password);
        }
        frame(0x10, &body)
    }
}

impl Client {
    /// Connects the socket, and nothing else.
    pub(super) fn dial(address: SocketAddr, version: MqttVersion) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, version }
    }

    /// Sends a CONNECT and returns the CONNACK.
    pub(super) fn ask(address: SocketAddr, connect: &ConnectPacket) -> (Self, Packet) {
        let mut client = Self::dial(address, connect.version);
        client.send(&connect.bytes());
        let answer = client.read();
        assert_eq!(answer.first, 0x20);
        (client, answer)
    }

    /// Connects and insists on success.
    pub(super) fn connect(address: SocketAddr, connect: &ConnectPacket) -> Self {
        let (client, answer) = Self::ask(address, connect);
        assert_eq!(answer.body[1], 0, "{answer:?}");
        client
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(1) => Some(byte[0]),
            Ok(_) => None,
            // A server that closes with unread input resets.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("the server says nothing: {error}"),
        }
    }

    /// The next packet; `None`: the server closed the connection.
    pub(super) fn try_read(&mut self) -> Option<Packet> {
        let first = self.byte()?;
        let mut length = 0;
        let mut shift = 0;
        loop {
            let byte = self.byte()?;
            length |= usize::from(byte & 127) << shift;
            shift += 7;
            if byte < 128 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        Some(Packet { first, body })
    }

    /// Whether something came from the server already. Waits a little, since nothing is expected.
    pub(super) fn has_answer(&self) -> bool {
        let moment = std::time::Duration::from_millis(50);
        self.stream.set_read_timeout(Some(moment)).unwrap();
        let is_there = self.stream.peek(&mut [0]).is_ok();
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        is_there
    }

    pub(super) fn read(&mut self) -> Packet {
        self.try_read().expect("a packet instead of the end")
    }

    /// Reads until the server closes; the reason code of its DISCONNECT, if there was one.
    pub(super) fn read_to_end(&mut self) -> Option<u8> {
        let mut reason = None;
        while let Some(packet) = self.try_read() {
            if packet.first == 0xE0 {
                reason = packet.body.first().copied();
            }
        }
        reason
    }

    fn properties(&self) -> &'static [u8] {
        match self.version {
            MqttVersion::V311 => &[],
            MqttVersion::V5 => &[0],
        }
    }

    pub(super) fn subscribe(&mut self, filter: &str, qos: u8) {
        let body = [&[0, 1], self.properties(), &text(filter), &[qos]].concat();
        self.send(&frame(0x82, &body));
        let answer = self.read();
        assert_eq!(
            (answer.first, answer.body.last()),
            (0x90, Some(&qos)),
            "{answer:?}"
        );
    }

    /// `flags` are those of the fixed header.
    pub(super) fn publish(
        &mut self,
        flags: u8,
        topic: &str,
        packet_id: Option<u16>,
        payload: &[u8],
    ) {
        let packet_id = packet_id.map_or(Vec::new(), |id| id.to_be_bytes().to_vec());
        let body = [&text(topic), &packet_id, self.properties(), payload].concat();
        self.send(&frame(0x30 | flags, &body));
    }

    /// Sends PUBACK, PUBREC, PUBREL or PUBCOMP.
    pub(super) fn acknowledge(&mut self, first: u8, packet_id: u16) {
        self.send(&frame(first, &packet_id.to_be_bytes()));
    }

    pub(super) fn disconnect(&mut self) {
        self.send(&[0xE0, 0]);
    }

    /// A PUBLISH from the server: flags, packet id and payload.
    pub(super) fn read_publish(&mut self) -> (u8, Option<u16>, Vec<u8>) {
        let packet = self.read();
        assert_eq!(packet.first & 0xF0, 0x30, "{packet:?}");
        let flags = packet.first & 0x0F;
        let topic = usize::from(u16::from_be_bytes([packet.body[0], packet.body[1]]));
        let mut rest = &packet.body[2 + topic..];
        let mut packet_id = None;
        if flags & 0b0110 != 0 {
            packet_id = Some(u16::from_be_bytes([rest[0], rest[1]]));
            rest = &rest[2..];
        }
        if self.version == MqttVersion::V5 {
            rest = &rest[1 + usize::from(rest[0])..];
        }
        (flags, packet_id, rest.to_vec())
    }

    /// The packet id of the acknowledgement of kind `first`.
    pub(super) fn read_ack(&mut self, first: u8) -> u16 {
        let packet = self.read();
        assert_eq!(packet.first, first, "{packet:?}");
        u16::from_be_bytes([packet.body[0], packet.body[1]])
    }
}
