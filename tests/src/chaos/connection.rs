//! One MQTT connection of a client that plays in a schedule.
//!
//! Its local IP address is its own: the event's `clientIp` says which connection of the truth it is about.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::bare_client::Version;

/// How long a client waits for CONNACK.
const CONNACK_PATIENCE: Duration = Duration::from_secs(10);
/// How long a client waits for the host to close after DISCONNECT, or for missing keep-alives.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
const LONG_KEEP_ALIVE: u16 = 600;
const SHORT_KEEP_ALIVE: u16 = 1;

/// What a connection is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) version: Version,
    pub(super) has_will: bool,
    /// It will say nothing any more, and the host shall notice.
    pub(super) is_silent: bool,
}

/// What CONNECT got.
#[derive(Debug)]
pub(super) enum Answer {
    Accepted(Connection),
    Refused(u8),
    /// The connection ended, or was never made.
    Nothing,
}

/// An accepted connection. Dropping it loses it.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    version: Version,
}

/// The address of a client's connection: `client` and `number` count from 0.
pub(super) fn own_address(client: usize, number: usize) -> IpAddr {
    let part = |number: usize| u8::try_from(number % 250 + 1).unwrap_or(1);
    Ipv4Addr::new(127, part(client), part(number / 250), part(number)).into()
}

pub(super) async fn connect(
    host: SocketAddr,
    from: IpAddr,
    client_id: &str,
    wanted: Wanted,
) -> Answer {
    let opened = timeout(CONNACK_PATIENCE, open(host, from, client_id, wanted)).await;
    match opened {
        Ok(Ok((0, stream))) => Answer::Accepted(Connection {
            stream,
            version: wanted.version,
        }),
        Ok(Ok((code, _))) => Answer::Refused(code),
        Ok(Err(_)) | Err(_) => Answer::Nothing,
    }
}

async fn open(
    host: SocketAddr,
    from: IpAddr,
    client_id: &str,
    wanted: Wanted,
) -> std::io::Result<(u8, TcpStream)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let mut stream = socket.connect(host).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&connect_packet(client_id, wanted)).await?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [kind, length, _, code] = head;
    if kind != 0x20 {
        return Err(std::io::Error::other("no CONNACK"));
    }
    let mut properties = vec![0; usize::from(length).saturating_sub(2)];
    stream.read_exact(&mut properties).await?;
    Ok((code, stream))
}

fn connect_packet(client_id: &str, wanted: Wanted) -> Vec<u8> {
    let keep_alive = if wanted.is_silent {
        SHORT_KEEP_ALIVE
    } else {
        LONG_KEEP_ALIVE
    };
    let (level, no_properties): (u8, &[u8]) = match wanted.version {
        Version::V3 => (4, &[]),
        Version::V5 => (5, &[0]),
    };
    // Clean start, and a will of QoS 0 if one is wanted.
    let flags = if wanted.has_will { 0x06 } else { 0x02 };
    let mut body = b"\0\x04MQTT".to_vec();
    body.extend([level, flags]);
    body.extend(keep_alive.to_be_bytes());
    body.extend(no_properties);
    let mut text = |text: &str| {
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        body.extend(length.to_be_bytes());
        body.extend(text.as_bytes());
    };
    text(client_id);
    if wanted.has_will {
        body.extend(no_properties);
        let mut text = |text: &str| {
            let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
            body.extend(length.to_be_bytes());
            body.extend(text.as_bytes());
        };
        text("wills");
        text("gone");
    }
    // Every packet of a schedule is shorter than 128 bytes: its length takes one byte.
    let mut packet = vec![0x10, u8::try_from(body.len()).unwrap_or(0x7f)];
    packet.extend(body);
    packet
}

impl Connection {
    /// Sends DISCONNECT and waits for the host to close; whether it did.
    pub(super) async fn disconnect(mut self) -> bool {
        let packet: &[u8] = match self.version {
            Version::V3 => &[0xe0, 0],
            Version::V5 => &[0xe0, 2, 0, 0],
        };
        self.stream.write_all(packet).await.is_ok() && self.is_closed_soon().await
    }

    /// Closes without DISCONNECT, by FIN or, if it is rude, by RST.
    pub(super) fn lose(self, is_rude: bool) {
        if is_rude {
            // If the system refuses, FIN is as good.
            drop(self.stream.set_zero_linger());
        }
    }

    /// Waits for the host's end of the connection; whether it came orderly and soon.
    pub(super) async fn is_closed_soon(&mut self) -> bool {
        matches!(timeout(CLOSE_PATIENCE, self.until_closed()).await, Ok(true))
    }

    /// Reads until the host closes; whether by FIN.
    pub(super) async fn until_closed(&mut self) -> bool {
        let mut bytes = [0; 256];
        loop {
            match self.stream.read(&mut bytes).await {
                Ok(0) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }
}
