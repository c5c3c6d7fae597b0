//! TLS of the listener: which certificate counts, and how a new one takes its place.
//!
//! The files are read and compared every second instead of watched, which sees links that move, too. A
//! change counts when a second look finds the same: half a change is no failure. What cannot be used is
//! told once, and the certificate before stays in use.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::ArcSwap;
use domain::ErrorChain;
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::version::{TLS12, TLS13};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::doors::count;

/// A change takes effect after one to two of them.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// From the connection to the end of the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a certificate chain and its private key are: PEM files, the server's certificate first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminCertificate {
    /// `admin.tls-cert`.
    pub certificate: PathBuf,
    /// `admin.tls-key`.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadAdminCertificateError {
    /// A file is missing or may not be read.
    #[error("{} cannot be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file holds no certificate.
    #[error("{} holds no certificate in PEM form", .path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The file holds no key.
    #[error("{} holds no private key in unencrypted PEM form", .path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// They do not belong together, or are of a kind that cannot be used.
    #[error("the certificate and its key cannot be used")]
    Pair(#[source] rustls::Error),
}

#[derive(PartialEq, Eq)]
struct Texts {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

struct Identity {
    acceptor: TlsAcceptor,
    certificate: CertificateDer<'static>,
}

/// The certificate in use.
pub(crate) struct Tls {
    files: AdminCertificate,
    identity: ArcSwap<Identity>,
    first: Texts,
    pub(crate) handshakes_failed: AtomicU64,
    pub(crate) reloads: AtomicU64,
    pub(crate) reloads_failed: AtomicU64,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Texts {
    fn read(files: &AdminCertificate) -> Result<Self, LoadAdminCertificateError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| LoadAdminCertificateError::Read {
                path: path.to_owned(),
                source,
            })
        };
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
        })
    }
}

impl Identity {
    fn parse(texts: &Texts, files: &AdminCertificate) -> Result<Self, LoadAdminCertificateError> {
        let no_certificate = || LoadAdminCertificateError::NoCertificate {
            path: files.certificate.clone(),
        };
        let chain = CertificateDer::pem_slice_iter(&texts.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| no_certificate())?;
        let certificate = chain.first().cloned().ok_or_else(no_certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&texts.key).map_err(|_| {
            let path = files.key.clone();
            LoadAdminCertificateError::NoKey { path }
        })?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(LoadAdminCertificateError::Pair)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(LoadAdminCertificateError::Pair)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate,
        })
    }
}

impl Tls {
    /// Loads the certificate.
    pub(crate) fn load(files: AdminCertificate) -> Result<Self, LoadAdminCertificateError> {
        let first = Texts::read(&files)?;
        let identity = Identity::parse(&first, &files)?;
        Ok(Self {
            files,
            identity: ArcSwap::from_pointee(identity),
            first,
            handshakes_failed: AtomicU64::new(0),
            reloads: AtomicU64::new(0),
            reloads_failed: AtomicU64::new(0),
        })
    }

    /// Whether `name`, a DNS name or an address, is one of the certificate's.
    pub(crate) fn is_for(&self, name: &str) -> bool {
        let identity = self.identity.load();
        let Ok(name) = ServerName::try_from(name) else {
            return false;
        };
        ParsedCertificate::try_from(&identity.certificate)
            .is_ok_and(|certificate| verify_server_name(&certificate, &name).is_ok())
    }

    /// The handshake; `None` if there was none, which is counted.
    pub(crate) async fn accept(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let acceptor = self.identity.load().acceptor.clone();
        let done = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
        match done {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                count(&self.handshakes_failed);
                tracing::debug!(%error, "no tls connection to the admin listener");
                None
            }
            Err(_) => {
                count(&self.handshakes_failed);
                tracing::debug!("a tls handshake of the admin listener took too long");
                None
            }
        }
    }

    /// Takes new certificates when the files change, for ever.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut used = Texts {
            certificate: self.first.certificate.clone(),
            key: self.first.key.clone(),
        };
        let mut seen: Option<Texts> = None;
        let mut unreadable = 0_u32;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let files = self.files.clone();
            let read = tokio::task::spawn_blocking(move || Texts::read(&files)).await;
            let Ok(read) = read else { continue };
            let now = match read {
                Ok(now) => now,
                // Half a change has this, too: it is told when a second look finds it.
                Err(error) => {
                    unreadable = unreadable.saturating_add(1);
                    if unreadable == 2 {
                        self.tell(&error);
                    }
                    seen = None;
                    continue;
                }
            };
            unreadable = 0;
            if now == used {
                seen = Some(now);
            } else if seen.as_ref() == Some(&now) {
                self.take(&now);
                used = now;
            } else {
                seen = Some(now);
            }
        }
    }

    fn take(&self, texts: &Texts) {
        match Identity::parse(texts, &self.files) {
            Ok(identity) => {
                self.identity.store(Arc::new(identity));
                count(&self.reloads);
                tracing::info!(
                    certificate = %self.files.certificate.display(),
                    "the admin listener has a new certificate"
                );
            }
            Err(error) => self.tell(&error),
        }
    }

    fn tell(&self, error: &LoadAdminCertificateError) {
        count(&self.reloads_failed);
        tracing::warn!(
            error = %ErrorChain(error),
            "the changed certificate of the admin listener cannot be used; the one before stays in use"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::{AdminCertificate, LoadAdminCertificateError, Tls};

    fn pair(names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let pair = rcgen::generate_simple_self_signed(names).unwrap();
        (pair.cert.pem(), pair.signing_key.serialize_pem())
    }

    fn put(certificate: &str, key: &str) -> (TempDir, AdminCertificate) {
        let folder = tempfile::tempdir().unwrap();
        let files = AdminCertificate {
            certificate: folder.path().join("cert.pem"),
            key: folder.path().join("key.pem"),
        };
        fs::write(&files.certificate, certificate).unwrap();
        fs::write(&files.key, key).unwrap();
        (folder, files)
    }

    fn load(certificate: &str, key: &str) -> Result<Tls, LoadAdminCertificateError> {
        let (_folder, files) = put(certificate, key);
        Tls::load(files)
    }

    #[test]
    fn the_names_of_the_certificate_are_known() {
        let (certificate, key) = pair(&["mill.example", "*.mills.example", "192.0.2.7"]);
        let tls = load(&certificate, &key).unwrap();
        for (name, expected) in [
            ("mill.example", true),
            ("MILL.example", true),
            ("a.mills.example", true),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("evil.example", false),
            ("a.b.mills.example", false),
            ("", false),
            ("..", false),
        ] {
            assert_eq!(tls.is_for(name), expected, "{name}");
        }
    }

    #[test]
    fn a_pair_that_is_none_is_refused() {
        let (certificate, key) = pair(&["a.example"]);
        let (_, other) = pair(&["a.example"]);
        assert!(matches!(
            load(&key, &key),
            Err(LoadAdminCertificateError::NoCertificate { .. })
        ));
        assert!(matches!(
            load(&certificate, &certificate),
            Err(LoadAdminCertificateError::NoKey { .. })
        ));
        assert!(matches!(
            load(&certificate, &other),
            Err(LoadAdminCertificateError::Pair(_))
        ));
    }
}
