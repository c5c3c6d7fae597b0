//! A certificate and what TLS does with it: versions 1.2 and 1.3, and the protocols that each kind of
//! listener speaks (ALPN). A client that offers protocols must offer ours; most offer none.

use std::sync::Arc;

use domain::Clock;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use sha2::{Digest as _, Sha256};

use super::pem::{self, Texts};
use super::{CertificateFiles, LoadCertificateError};
use crate::listen::Kind;

/// IANA's name of MQTT.
const MQTT: &[u8] = b"mqtt";
/// WebSocket begins as HTTP.
const HTTP: &[u8] = b"http/1.1";

/// What the server shows to clients.
#[derive(Debug)]
pub(crate) struct Identity {
    mqtt: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
    expires_s: i64,
    /// SHA-256 of the server's certificate, in hexadecimal.
    fingerprint: String,
    /// SHA-256 of the whole chain.
    chain: [u8; 32],
}

impl Identity {
    pub(super) fn parse(
        texts: &Texts,
        files: &CertificateFiles,
        clock: &dyn Clock,
    ) -> Result<Self, LoadCertificateError> {
        let library = |source| LoadCertificateError::Library { source };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (pair, expires_s) = pem::parse(texts, files, &provider, clock)?;
        let first = Sha256::digest(pair.cert.first().map(|first| &**first).unwrap_or_default());
        let mut chain = Sha256::new();
        pair.cert.iter().for_each(|one| chain.update(one));
        let mut mqtt = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(library)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        // A client that comes back spares the costly part of the handshake; nothing is kept for it here.
        mqtt.ticketer = aws_lc_rs::Ticketer::new().map_err(library)?;
        mqtt.alpn_protocols = vec![MQTT.to_vec()];
        let mut http = mqtt.clone();
        http.alpn_protocols = vec![HTTP.to_vec()];
        Ok(Self {
            mqtt: Arc::new(mqtt),
            http: Arc::new(http),
            expires_s,
            fingerprint: first.iter().map(|byte| format!("{byte:02x}")).collect(),
            chain: chain.finalize().into(),
        })
    }

    pub(super) fn config(&self, kind: Kind) -> Arc<ServerConfig> {
        let is_http = kind == Kind::Wss;
        Arc::clone(if is_http { &self.http } else { &self.mqtt })
    }

    /// When the certificate expires, seconds since the UNIX epoch.
    pub(super) fn expires_s(&self) -> i64 {
        self.expires_s
    }

    /// Whether clients would see no difference.
    pub(super) fn shows_the_same_as(&self, other: &Self) -> bool {
        self.chain == other.chain
    }

    /// For the log.
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}
