//! Reads a certificate chain and its key from PEM files, and says precisely what is wrong with them.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use domain::Clock;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::CertificateFiles;

/// Far above any chain; a wrong path should not read a whole disk.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadCertificateError {
    /// A file is missing or may not be read.
    #[error("{} cannot be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file is no certificate or key for its size alone.
    #[error("{} is larger than 1 MiB", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file has no certificate.
    #[error("{} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)", .path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The file has something that is no certificate.
    #[error("{} holds a certificate that cannot be read: {problem}", .path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The file has no private key, or an encrypted one.
    #[error("{} holds no private key in unencrypted PEM form (-----BEGIN PRIVATE KEY-----)", .path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is of a kind that TLS cannot use here.
    #[error("{} holds a private key that cannot be used: {problem}", .path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Certificate and key are not of the same pair.
    #[error(
        "the private key in {} does not belong to the certificate in {}",
        .key.display(), .certificate.display()
    )]
    Mismatch {
        /// The file with the certificate.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
    /// The certificate is not valid any more.
    #[error("the certificate in {} expired on {when}", .path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// When.
        when: String,
    },
    /// The certificate is not valid yet.
    #[error("the certificate in {} is valid from {when} only; is this machine's clock right?", .path.display())]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// From when on.
        when: String,
    },
    /// The cryptographic library does not work.
    #[error("TLS cannot be set up")]
    Library {
        /// What it says.
        #[source]
        source: rustls::Error,
    },
}

/// The bytes of both files.
#[derive(PartialEq, Eq)]
pub(super) struct Texts {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
}

impl Texts {
    pub(super) fn read(files: &CertificateFiles) -> Result<Self, LoadCertificateError> {
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LoadCertificateError> {
    let fail = |source| LoadCertificateError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(fail)?;
    // One byte more than allowed shows that there is more.
    let limited = &mut file.take(FILE_BYTES_MAX + 1);
    limited.read_to_end(&mut bytes).map_err(fail)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= FILE_BYTES_MAX) {
        Ok(bytes)
    } else {
        Err(LoadCertificateError::TooLarge {
            path: path.to_owned(),
        })
    }
}

/// The chain with its key, and when the first certificate expires, seconds since the UNIX epoch.
pub(super) fn parse(
    texts: &Texts,
    files: &CertificateFiles,
    provider: &CryptoProvider,
    clock: &dyn Clock,
) -> Result<(CertifiedKey, i64), LoadCertificateError> {
    let chain = chain(&texts.certificate, &files.certificate)?;
    let expires_s = validity(&chain, &files.certificate, clock)?;
    let key = PrivateKeyDer::from_pem_slice(&texts.key).map_err(|_| {
        let path = files.key.clone();
        LoadCertificateError::NoKey { path }
    })?;
    let pair = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => LoadCertificateError::Mismatch {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
        },
        other => LoadCertificateError::BadKey {
            path: files.key.clone(),
            problem: other.to_string(),
        },
    })?;
    Ok((pair, expires_s))
}

fn chain(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, LoadCertificateError> {
    let chain = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| LoadCertificateError::BadCertificate {
            path: path.to_owned(),
            problem: error.to_string(),
        })?;
    if chain.is_empty() {
        let path = path.to_owned();
        return Err(LoadCertificateError::NoCertificate { path });
    }
    Ok(chain)
}

/// When the server's own certificate expires, if it is valid now.
fn validity(
    chain: &[CertificateDer<'_>],
    path: &Path,
    clock: &dyn Clock,
) -> Result<i64, LoadCertificateError> {
    let path = || path.to_owned();
    let der = chain.first().map(|first| &**first).unwrap_or_default();
    let (_, certificate) = x509_parser::parse_x509_certificate(der).map_err(|error| {
        LoadCertificateError::BadCertificate {
            path: path(),
            problem: error.to_string(),
        }
    })?;
    let validity = certificate.validity();
    let now_s = i64::try_from(clock.now_ms() / 1000).unwrap_or(i64::MAX);
    if validity.not_after.timestamp() < now_s {
        let when = validity.not_after.to_string();
        return Err(LoadCertificateError::Expired { path: path(), when });
    }
    if validity.not_before.timestamp() > now_s {
        let when = validity.not_before.to_string();
        return Err(LoadCertificateError::NotYetValid { path: path(), when });
    }
    Ok(validity.not_after.timestamp())
}
