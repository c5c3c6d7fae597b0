//! TLS with a client of rustls: both listeners, versions, protocols, limits, and certificates that change.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use domain::ErrorChain;
use domain::MqttVersion::{V5, V311};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use super::wire::hello;
use super::*;
use crate::{CertificateFiles, HandshakeFailure, StartServerError, TlsStats};

/// A certificate of its own for `localhost`, and its key, both as PEM.
struct Pair {
    certificate: String,
    key: String,
}

impl Pair {
    fn new() -> Self {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self {
            certificate: pair.cert.pem(),
            key: pair.signing_key.serialize_pem(),
        }
    }
}

struct Secured {
    host: Host,
    folder: tempfile::TempDir,
}

fn put(folder: &Path, name: &str, text: &str) {
    let draft = folder.join("draft");
    std::fs::write(&draft, text).unwrap();
    std::fs::rename(&draft, folder.join(name)).unwrap();
}

fn files(folder: &Path) -> CertificateFiles {
    CertificateFiles {
        certificate: folder.join("cert.pem"),
        key: folder.join("key.pem"),
    }
}

impl Secured {
    fn start(pair: &Pair, change: impl FnOnce(&mut MqttServerConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), "cert.pem", &pair.certificate);
        put(folder.path(), "key.pem", &pair.key);
        let host = Host::start_with(|config| {
            config.tls = vec![loopback()];
            config.wss = vec![loopback()];
            config.certificate = Some(files(folder.path()));
            change(config);
        });
        Self { host, folder }
    }

    fn tls(&self) -> SocketAddr {
        self.host.server.as_ref().unwrap().addresses().tls[0]
    }

    fn wss(&self) -> SocketAddr {
        self.host.server.as_ref().unwrap().addresses().wss[0]
    }

    fn stats(&self) -> TlsStats {
        self.host.server.as_ref().unwrap().tls_stats()().unwrap()
    }

    fn failed(&self, failure: HandshakeFailure) -> u64 {
        let failed = self.stats().failed;
        failed.iter().find(|(it, _)| *it == failure).unwrap().1
    }

    /// Waits for what the server does by itself.
    fn until(&self, what: &str, is_so: impl Fn(&TlsStats) -> bool) {
        let end = tokio::time::Instant::now() + PATIENCE;
        while !is_so(&self.stats()) {
            assert!(
                tokio::time::Instant::now() < end,
                "{what}: {:?}",
                self.stats()
            );
            std::thread::yield_now();
        }
    }
}

static VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

#[derive(Clone, Copy)]
struct Dial<'a> {
    trusted: &'a Pair,
    versions: &'a [&'static SupportedProtocolVersion],
    protocols: &'a [&'a [u8]],
}

fn dial(trusted: &Pair) -> Dial<'_> {
    Dial {
        trusted,
        versions: &VERSIONS,
        protocols: &[],
    }
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

impl Dial<'_> {
    fn session(self) -> ClientConnection {
        let mut roots = RootCertStore::empty();
        let certificate =
            CertificateDer::from_pem_slice(self.trusted.certificate.as_bytes()).unwrap();
        roots.add(certificate).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_webpki_verifier(verifier.build().unwrap())
            .with_no_client_auth();
        config.alpn_protocols = self.protocols.iter().map(|one| one.to_vec()).collect();
        let name = ServerName::try_from("localhost").unwrap();
        ClientConnection::new(Arc::new(config), name).unwrap()
    }

    /// Does the handshake.
    fn connect(self, address: SocketAddr) -> std::io::Result<Stream> {
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut stream = StreamOwned::new(self.session(), socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }
}

fn read(stream: &mut Stream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

fn ping(stream: &mut Stream) {
    stream.write_all(&[0xC0, 0]).unwrap();
    assert_eq!(read(stream, 2), [0xD0, 0]);
}

/// CONNECT of MQTT 3.1.1 and its CONNACK.
fn mqtt(stream: &mut Stream, client_id: &str) {
    stream.write_all(&hello(V311, client_id).bytes()).unwrap();
    assert_eq!(read(stream, 4), [0x20, 2, 0, 0]);
}

#[test]
fn both_versions_of_tls_carry_mqtt_and_name_their_listener() {
    let pair = Pair::new();
    let secured = Secured::start(&pair, |_| {});
    for (version, name) in [(&TLS12, "a"), (&TLS13, "b")] {
        let mut stream = Dial {
            versions: &[version],
            ..dial(&pair)
        }
        .connect(secured.tls())
        .unwrap();
        mqtt(&mut stream, name);
        ping(&mut stream);
        stream.write_all(&[0xE0, 0]).unwrap();
        // The server closes by the rules of TLS: a cut would be an error here.
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        let facts = secured.host.sink.facts.lock().pop().unwrap();
        assert_eq!(facts.listener, "tls");
        assert_eq!(facts.client_address, stream.sock.local_addr().unwrap());
    }
    let asked = secured.host.doorman.asked.lock()[0].clone();
    assert_eq!(asked.listener, ("tls", secured.tls()));
    assert_eq!(
        secured.host.sink.events(6)[..3],
        [
            "a connect",
            "a disconnect client-disconnect",
            "a tcpclean client-disconnect"
        ]
    );
    let opened = secured.host.broker.stats().snapshot().opened;
    assert_eq!(opened, [("tcp", 0), ("ws", 0), ("tls", 2), ("wss", 0)]);
    assert_eq!(secured.stats().handshakes, 2);
}

#[test]
fn a_lost_tls_connection_is_connect_tcpclean() {
    let pair = Pair::new();
    let secured = Secured::start(&pair, |_| {});
    let mut stream = dial(&pair).connect(secured.tls()).unwrap();
    mqtt(&mut stream, "a");
    drop(stream);
    assert_eq!(
        secured.host.sink.events(2),
        ["a connect", "a tcpclean connection-lost"]
    );
}

#[test]
fn mqtt_goes_over_secure_websocket() {
    let pair = Pair::new();
    let secured = Secured::start(&pair, |_| {});
    let mut stream = Dial {
        protocols: &[b"h2", b"http/1.1"],
        ..dial(&pair)
    }
    .connect(secured.wss())
    .unwrap();
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    stream
        .write_all(
            b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
              Sec-WebSocket-Protocol: mqtt\r\n\r\n",
        )
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(read(&mut stream, 1));
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{head:?}");
    let connect = hello(V5, "a").bytes();
    let length = u8::try_from(connect.len()).unwrap();
    let frame = [&[0x82, 0x80 | length, 0, 0, 0, 0][..], &connect].concat();
    stream.write_all(&frame).unwrap();
    let answer = read(&mut stream, 4);
    assert_eq!((answer[0], answer[2]), (0x82, 0x20));
    assert_eq!(secured.host.sink.events(1), ["a connect"]);
    assert_eq!(secured.host.sink.facts.lock()[0].listener, "wss");
}

#[test]
fn a_client_that_offers_other_protocols_only_is_refused() {
    let pair = Pair::new();
    let secured = Secured::start(&pair, |_| {});
    let offer = |protocols| Dial {
        protocols,
        ..dial(&pair)
    };
    let mut good = offer(&[b"x", b"mqtt"]).connect(secured.tls()).unwrap();
    assert_eq!(good.conn.alpn_protocol(), Some(&b"mqtt"[..]));
    mqtt(&mut good, "a");
    assert!(offer(&[b"http/1.1"]).connect(secured.tls()).is_err());
    assert!(offer(&[b"mqtt"]).connect(secured.wss()).is_err());
    secured.until("both are counted", |_| {
        secured.failed(HandshakeFailure::Refused) == 2
    });
}

#[test]
fn what_is_no_tls_is_closed_counted_and_no_event() {
    let pair = Pair::new();
    let secured = Secured::start(&pair, |config| {
        config.connect_timeout = Duration::from_secs(1);
    });
    let mut plain = TcpStream::connect(secured.tls()).unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    plain.write_all(&hello(V5, "plain").bytes()).unwrap();
    let mut rest = Vec::new();
    // An alert, or a reset: the end in any case.
    drop(plain.read_to_end(&mut rest));
    assert_ne!(rest.first(), Some(&0x20));
    secured.until("it is counted", |_| {
        secured.failed(HandshakeFailure::Refused) == 1
    });
    let mut silent = TcpStream::connect(secured.tls()).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(silent.read(&mut [0]).unwrap_or(0), 0);
    assert_eq!(secured.failed(HandshakeFailure::Timeout), 1);
    drop(TcpStream::connect(secured.tls()).unwrap());
    secured.until("it is counted", |_| {
        secured.failed(HandshakeFailure::PeerGone) == 1
    });
    // Who distrusts the certificate says so.
    let stranger = Pair::new();
    assert!(dial(&stranger).connect(secured.tls()).is_err());
    secured.until("no place is held", |stats| stats.under_way == 0);
    let mut fence = dial(&pair).connect(secured.tls()).unwrap();
    mqtt(&mut fence, "fence");
    assert_eq!(secured.host.sink.events(1), ["fence connect"]);
}

#[test]
fn a_new_certificate_is_taken_while_connections_stay() {
    let (old, new) = (Pair::new(), Pair::new());
    let secured = Secured::start(&old, |_| {});
    let mut present = dial(&old).connect(secured.tls()).unwrap();
    mqtt(&mut present, "present");
    put(secured.folder.path(), "cert.pem", &new.certificate);
    put(secured.folder.path(), "key.pem", &new.key);
    secured.until("the new one is in use", |stats| stats.reloads == 1);
    ping(&mut present);
    assert!(dial(&old).connect(secured.tls()).is_err());
    for address in [secured.tls(), secured.wss()] {
        dial(&new).connect(address).unwrap();
    }
    ping(&mut present);
    assert_eq!(secured.host.sink.events(1), ["present connect"]);
    assert_eq!(secured.stats().reloads_failed, 0);
}

#[test]
fn a_pair_that_cannot_be_used_keeps_the_one_before() {
    let (old, other, new) = (Pair::new(), Pair::new(), Pair::new());
    let secured = Secured::start(&old, |_| {});
    let folder = secured.folder.path();
    // Half of a change.
    put(folder, "cert.pem", &other.certificate);
    secured.until("it is told", |stats| stats.reloads_failed == 1);
    dial(&old).connect(secured.tls()).unwrap();
    put(folder, "key.pem", "nonsense");
    secured.until("it is told", |stats| stats.reloads_failed == 2);
    std::fs::remove_file(folder.join("key.pem")).unwrap();
    secured.until("it is told", |stats| stats.reloads_failed == 3);
    dial(&old).connect(secured.tls()).unwrap();
    put(folder, "cert.pem", &new.certificate);
    put(folder, "key.pem", &new.key);
    secured.until("the whole pair is taken", |stats| stats.reloads == 1);
    dial(&new).connect(secured.tls()).unwrap();
    assert_eq!(secured.stats().reloads_failed, 3);
}

#[test]
fn a_server_does_not_start_with_a_certificate_that_it_cannot_show() {
    let host = Host::start();
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (Pair::new(), Pair::new());
    put(folder.path(), "cert.pem", &one.certificate);
    put(folder.path(), "key.pem", &other.key);
    let secured = |certificate| MqttServerConfig {
        tls: vec![loopback()],
        certificate,
        ..config()
    };
    let start = |certificate| MqttServer::start(secured(certificate), host.parts()).unwrap_err();
    let mismatch = start(Some(files(folder.path())));
    let text = ErrorChain(&mismatch).to_string();
    assert!(
        text.contains("does not belong to the certificate"),
        "{text}"
    );
    assert!(matches!(start(None), StartServerError::NoCertificate));
    std::fs::remove_file(folder.path().join("cert.pem")).unwrap();
    let text = ErrorChain(&start(Some(files(folder.path())))).to_string();
    assert!(
        text.contains("cert.pem cannot be read: No such file"),
        "{text}"
    );
}
