//! One MQTT connection without a library, so that a test sees the bytes of the host's answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// How long the host may take for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The property of MQTT 5 that says a reason in words.
const REASON_STRING: u8 = 0x1f;

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1.
    V3,
    /// MQTT 5.
    V5,
}

/// What a CONNECT presents.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// As it goes into the packet.
    pub username: &'a [u8],
    /// As it goes into the packet.
    pub password: &'a [u8],
}

/// A CONNACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The return code or reason code; 0 accepts.
    pub code: u8,
    /// The reason string of MQTT 5.
    pub reason: Option<String>,
}

/// An accepted connection. Dropping it loses it.
#[derive(Debug)]
pub struct BareClient {
    stream: TcpStream,
    version: Version,
}

impl BareClient {
    /// Sends CONNECT and reads CONNACK.
    ///
    /// # Errors
    ///
    /// When the host does not answer, or with something else.
    pub fn ask(
        address: SocketAddr,
        version: Version,
        client_id: &str,
    ) -> Result<(Answer, Option<Self>)> {
        Self::ask_as(address, version, client_id, None)
    }

    /// As [`BareClient::ask`], with user name and password.
    ///
    /// # Errors
    ///
    /// When the host does not answer, or with something else.
    pub fn ask_as(
        address: SocketAddr,
        version: Version,
        client_id: &str,
        credentials: Option<Credentials<'_>>,
    ) -> Result<(Answer, Option<Self>)> {
        let mut stream = TcpStream::connect(address).context("the host does not listen")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        stream.write_all(&connect_packet(version, client_id, credentials)?)?;
        let answer = read_connack(&mut stream, version).context("no CONNACK")?;
        let client = (answer.code == 0).then_some(Self { stream, version });
        Ok((answer, client))
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// When the host refuses or does not answer.
    pub fn connect(address: SocketAddr, version: Version, client_id: &str) -> Result<Self> {
        let (answer, client) = Self::ask(address, version, client_id)?;
        client.with_context(|| format!("{client_id} was refused: {answer:?}"))
    }

    /// Connects by MQTT 5, disconnects, and waits until the host closes.
    ///
    /// # Errors
    ///
    /// When the host refuses or does not answer.
    pub fn visit(address: SocketAddr, client_id: &str) -> Result<()> {
        Self::connect(address, Version::V5, client_id)?.close()
    }

    /// Sends DISCONNECT and waits until the host closes.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub fn close(mut self) -> Result<()> {
        let packet: &[u8] = match self.version {
            Version::V3 => &[0xe0, 0],
            Version::V5 => &[0xe0, 2, 0, 0],
        };
        self.stream.write_all(packet)?;
        let mut rest = [0; 64];
        while self.stream.read(&mut rest)? > 0 {}
        Ok(())
    }

    /// PINGREQ and its answer.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn ping(&mut self) -> Result<()> {
        self.stream.write_all(&[0xc0, 0])?;
        let mut answer = [0; 2];
        self.stream.read_exact(&mut answer)?;
        ensure!(answer == [0xd0, 0], "no PINGRESP: {answer:?}");
        Ok(())
    }
}

/// Clean start, keep alive 600 s; MQTT 5 has no properties here.
pub(crate) fn connect_packet(
    version: Version,
    client_id: &str,
    credentials: Option<Credentials<'_>>,
) -> Result<Vec<u8>> {
    let level = match version {
        Version::V3 => 4,
        Version::V5 => 5,
    };
    let flags = if credentials.is_some() { 0xc2 } else { 0x02 };
    let mut body = b"\0\x04MQTT".to_vec();
    body.extend([level, flags, 0x02, 0x58]);
    body.extend((version == Version::V5).then_some(0));
    let mut fields = vec![client_id.as_bytes()];
    if let Some(credentials) = credentials {
        fields.extend([credentials.username, credentials.password]);
    }
    for field in fields {
        body.extend(u16::try_from(field.len())?.to_be_bytes());
        body.extend_from_slice(field);
    }
    let length = u16::try_from(body.len())?;
    ensure!(length < 16_384, "a CONNECT too long");
    let mut packet = vec![0x10];
    if length >= 128 {
        packet.push(u8::try_from(length % 128)? | 128);
        packet.push(u8::try_from(length / 128)?);
    } else {
        packet.push(u8::try_from(length)?);
    }
    packet.extend(body);
    Ok(packet)
}

fn read_connack(stream: &mut TcpStream, version: Version) -> Result<Answer> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let [kind, length] = head;
    ensure!(
        kind == 0x20 && length < 128,
        "not a short CONNACK: {head:?}"
    );
    let mut body = vec![0; usize::from(length)];
    stream.read_exact(&mut body)?;
    match (version, body.as_slice()) {
        (Version::V3, [_, code]) => Ok(Answer {
            code: *code,
            reason: None,
        }),
        (Version::V5, [_, code, length, properties @ ..])
            if usize::from(*length) == properties.len() =>
        {
            Ok(Answer {
                code: *code,
                reason: reason_string(properties)?,
            })
        }
        _ => bail!("a CONNACK of another version: {body:?}"),
    }
}

/// Looks through the properties of a CONNACK.
fn reason_string(mut properties: &[u8]) -> Result<Option<String>> {
    while let Some((id, rest)) = properties.split_first() {
        let size = match *id {
            // Byte, two bytes, four bytes, text.
            0x24 | 0x25 | 0x28 | 0x29 | 0x2a => 1,
            0x13 | 0x21 | 0x22 => 2,
            0x11 | 0x27 => 4,
            REASON_STRING | 0x12 | 0x1a | 0x1c => match rest {
                [high, low, ..] => 2 + usize::from(u16::from_be_bytes([*high, *low])),
                _ => bail!("a text is cut: {rest:?}"),
            },
            other => bail!("property {other:#x} of CONNACK is not known here"),
        };
        let value = rest.get(..size).context("a property is cut")?;
        if *id == REASON_STRING {
            let text = value.get(2..).unwrap_or_default().to_vec();
            return Ok(Some(String::from_utf8(text)?));
        }
        properties = rest.get(size..).unwrap_or_default();
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::reason_string;

    #[test]
    fn a_reason_is_found_behind_other_properties() {
        let properties = [0x24, 1, 0x21, 0, 9, 0x1f, 0, 2, b'n', b'o'];
        assert_eq!(reason_string(&properties).unwrap().as_deref(), Some("no"));
        assert_eq!(reason_string(&[0x2a, 1]).unwrap(), None);
        assert!(reason_string(&[0x1f, 0, 9, b'n']).is_err());
    }
}
