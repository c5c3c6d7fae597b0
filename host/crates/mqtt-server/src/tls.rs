//! TLS under the `tls` and `wss` listeners: which certificate counts, and handshakes.
//!
//! A connection takes the certificate that counts when it comes; a replaced one concerns later
//! connections only. Of rustls nothing leaves this module but the filter of a connection.

mod handshake;
mod identity;
mod pem;
mod reload;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use domain::Clock;

use crate::StartServerError;

pub use handshake::{HandshakeFailure, TlsStats};
pub use pem::LoadCertificateError;
pub(crate) use reload::Reloader;

use handshake::Handshakes;
use identity::Identity;
use pem::Texts;
use reload::Watch;

/// Where a certificate chain and its private key are: PEM files, the server's certificate first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// `mqtt.tls-cert`.
    pub certificate: PathBuf,
    /// `mqtt.tls-key`.
    pub key: PathBuf,
}

impl CertificateFiles {
    /// Whether a server could start with them now.
    ///
    /// # Errors
    ///
    /// Says which file is wrong, and how.
    pub fn check(&self, clock: &dyn Clock) -> Result<(), LoadCertificateError> {
        Identity::parse(&Texts::read(self)?, self, clock).map(drop)
    }
}

/// What all TLS listeners share.
#[derive(Debug)]
pub(crate) struct Tls {
    identity: ArcSwap<Identity>,
    handshakes: Handshakes,
}

impl Tls {
    /// Loads the certificate and looks for changes of it from now on. Handshakes must be done within
    /// `timeout`, waiting for their turn included.
    pub(crate) fn start(
        files: CertificateFiles,
        timeout: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<(Arc<Self>, Reloader), StartServerError> {
        let load = || -> Result<_, LoadCertificateError> {
            let texts = Texts::read(&files)?;
            let identity = Identity::parse(&texts, &files, &*clock)?;
            Ok((texts, identity))
        };
        let (texts, identity) =
            load().map_err(|source| StartServerError::Certificate { source })?;
        let tls = Arc::new(Self {
            identity: ArcSwap::from_pointee(identity),
            handshakes: Handshakes::new(timeout),
        });
        let watch = Watch::new(Arc::clone(&tls), files, texts, clock);
        let reloader =
            Reloader::start(watch).map_err(|source| StartServerError::Thread { source })?;
        Ok((tls, reloader))
    }

    pub(crate) fn stats(&self) -> TlsStats {
        TlsStats {
            certificate_expires_s: self.identity.load().expires_s(),
            ..self.handshakes.stats()
        }
    }
}
