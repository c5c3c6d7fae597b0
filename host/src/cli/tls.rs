//! HTTPS to a host: which certificates are trusted.
//!
//! Those of the platform, or those of `--ca` alone. Most hosts have a certificate that was signed by itself and says to be
//! an authority, as `openssl req -x509` makes it; no verifier of chains takes such a one from a server. So
//! a server that shows exactly a certificate of `--ca` is trusted, too, if it is for the server's name.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    SignatureScheme, StreamOwned,
};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
    TransportAdapter,
};

use super::failure::{Exit, Failure};

/// Far above any list of authorities.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Which servers are the right ones.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trust<'a> {
    /// Whom the platform trusts.
    Platform,
    /// Whom the certificates in this file vouch for.
    File(&'a Path),
    /// The host on this machine with the certificate in this file, whatever name it has: the file is
    /// named in the data folder, which is as private as the token.
    Local(&'a Path),
}

/// Wraps connections to `https` addresses.
pub(super) struct TlsConnector(Arc<ClientConfig>);

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsConnector")
    }
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let fail = |problem: String| {
        let message = format!("the certificates {}: {problem}", path.display());
        Failure::new(Exit::Failed, message)
    };
    let mut pem = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut pem))
        .map_err(|error| fail(error.to_string()))?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(fail("there is none in PEM form".to_owned())),
        Err(error) => Err(fail(error.to_string())),
    }
}

impl TlsConnector {
    /// # Errors
    ///
    /// When there is no certificate to trust.
    pub(super) fn new(trust: Trust<'_>) -> Result<Self, Failure> {
        let (trusted, is_pinned) = match trust {
            Trust::Platform => (rustls_native_certs::load_native_certs().certs, false),
            Trust::File(path) | Trust::Local(path) => (read(path)?, true),
        };
        let mut roots = RootCertStore::empty();
        // Some of a platform's are of forms that nobody uses.
        roots.add_parsable_certificates(trusted.iter().cloned());
        let fail = |error: &dyn fmt::Display| {
            let message = format!("no certificates to trust ({error}); name some with --ca");
            Failure::new(Exit::Failed, message)
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chains =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|error| fail(&error))?;
        let verifier = Verifier {
            chains,
            pinned: if is_pinned { trusted } else { Vec::new() },
            is_name_free: matches!(trust, Trust::Local(_)),
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| fail(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }
}

/// Verifies chains, and knows some certificates themselves.
#[derive(Debug)]
struct Verifier {
    chains: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
    is_name_free: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let judged = self.chains.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        let Err(error) = judged else { return judged };
        if !self.pinned.iter().any(|known| known == end_entity) {
            return Err(error);
        }
        let rustls::Error::InvalidCertificate(problem) = &error else {
            return Err(error);
        };
        match problem {
            // It has been found valid at this time before its issuer or its kind are looked at.
            CertificateError::UnknownIssuer | CertificateError::Other(_) => {}
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
                if self.is_name_free => {}
            _ => return Err(error),
        }
        if !self.is_name_free {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else {
            return Ok(None);
        };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let host = details.uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            ureq::Error::Tls("the server's name is none that a certificate can have")
        })?;
        let mut conn =
            ClientConnection::new(Arc::clone(&self.0), name).map_err(io::Error::other)?;
        let mut sock = TransportAdapter::new(transport.boxed(), Arc::clone(&details.current_time));
        sock.set_timeout(details.timeout);
        conn.complete_io(&mut sock)?;
        let buffers = LazyBuffers::new(
            details.config.input_buffer_size(),
            details.config.output_buffer_size(),
        );
        let stream = StreamOwned { conn, sock };
        Ok(Some(Either::B(TlsTransport { buffers, stream })))
    }
}

/// A connection under TLS.
pub(super) struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsTransport")
    }
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let output = self.buffers.output();
        self.stream
            .write_all(output.get(..amount).unwrap_or(output))?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}
