//! A certificate authority of a test, and server certificates for loopback that it signs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// An authority, good for as long as the test.
#[derive(Debug)]
pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate chain and its key, as PEM.
#[derive(Clone, Debug)]
pub struct ServerPair {
    /// The server's certificate first.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    ///
    /// When there is no randomness.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let issuer = Issuer::new(params, key);
        Ok(Self {
            certificate,
            issuer,
        })
    }

    /// What clients trust, as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate for `127.0.0.1` and `localhost`, valid from 1975 until the end of `last_year`.
    ///
    /// # Errors
    ///
    /// When there is no randomness.
    pub fn server(&self, last_year: i32) -> Result<ServerPair> {
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut params = CertificateParams::new(names)?;
        params.not_after = rcgen::date_time_ymd(last_year, 12, 31);
        params.use_authority_key_identifier_extension = true;
        params
            .distinguished_name
            .push(DnType::CommonName, "rulemill test");
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(ServerPair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

impl ServerPair {
    /// Puts `cert.pem` and `key.pem` into `folder`, each by a rename, as tools that renew certificates do.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    pub fn put(&self, folder: &Path) -> Result<()> {
        put(folder, "cert.pem", &self.certificate)?;
        put(folder, "key.pem", &self.key)
    }
}

/// Writes a file by a rename.
///
/// # Errors
///
/// When it cannot be written.
pub fn put(folder: &Path, name: &str, text: &str) -> Result<()> {
    let draft = folder.join(format!("{name}.draft"));
    fs::write(&draft, text).context("failed to write the draft")?;
    fs::rename(&draft, folder.join(name)).with_context(|| format!("failed to put {name}"))
}
