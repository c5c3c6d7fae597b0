//! The listener under TLS: who is trusted, and how a new certificate takes the place of the old one.

use std::fs;
use std::path::Path;
use std::process::Command;

use acceptance::certificate::{Authority, ServerPair, put};
use acceptance::cli::{self, Ran};
use acceptance::eventually::eventually;
use acceptance::host::{HostSpec, TestHost};
use anyhow::{Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use super::SOON;

/// Further than any test runs.
const LAST_YEAR: i32 = 4000;

/// The command line against an `https` host; `ca` is what it trusts.
fn over_tls(server: &str, token: &str, ca: Option<&Path>, args: &[&str]) -> Result<Ran> {
    let mut command = Command::new(cli::host_binary()?);
    command
        .args(args)
        .env("RULEMILL_SERVER", server)
        .env("RULEMILL_TOKEN", token);
    if let Some(ca) = ca {
        command.arg("--ca").arg(ca);
    }
    cli::run_command(&mut command)
}

/// A certificate as `openssl req -x509` makes it: signed by itself, and an authority.
fn self_signed() -> Result<ServerPair> {
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    Ok(ServerPair {
        certificate: params.self_signed(&key)?.pem(),
        key: key.serialize_pem(),
    })
}

pub(crate) fn admin_tls() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let (first, second) = (Authority::new("first")?, Authority::new("second")?);
    put(folder.path(), "first.pem", &first.pem())?;
    put(folder.path(), "second.pem", &second.pem())?;
    first.server(LAST_YEAR)?.put(folder.path())?;
    let file = |name: &str| at(name).display().to_string();
    let host = TestHost::start(HostSpec {
        environment: vec![
            ("RULEMILL__ADMIN__TLS_CERT".to_owned(), file("cert.pem")),
            ("RULEMILL__ADMIN__TLS_KEY".to_owned(), file("key.pem")),
        ],
        ..HostSpec::default()
    })?;
    let token = fs::read_to_string(host.data_dir().join("admin-token"))?;
    let token = token.trim();
    let server = format!("https://{}", host.addresses().admin);
    ensure!(
        host.log().contains(&format!("{server}/#code=")),
        "the sign-in link is not https"
    );
    let status = |ca: &str| over_tls(&server, token, Some(&at(ca)), &["status", "--json"]);
    status("first.pem")?.expect(0)?;
    // Neither the platform nor another authority vouches for it, and plain HTTP is not spoken.
    over_tls(&server, token, None, &["status"])?.expect(5)?;
    status("second.pem")?.expect(5)?;
    let plain = server.replace("https", "http");
    over_tls(&plain, token, None, &["status"])?.expect(5)?;
    // On the host's own machine the data folder says which certificate is the right one.
    let data_dir = host.data_dir().display().to_string();
    let local = ["status", "--data-dir", &data_dir];
    cli::run_command(Command::new(cli::host_binary()?).args(local))?.expect(0)?;

    // Half a pair, then nonsense: the one before stays. Then a new one, without a restart.
    let pair = second.server(LAST_YEAR)?;
    put(folder.path(), "cert.pem", &pair.certificate)?;
    eventually("the mismatch to be told", SOON, || {
        Ok(host
            .log()
            .contains("certificate of the admin listener cannot be used")
            .then_some(()))
    })?;
    status("first.pem")?.expect(0)?;
    put(folder.path(), "key.pem", &pair.key)?;
    eventually("the new certificate", SOON, || {
        Ok((status("second.pem")?.code == Some(0)).then_some(()))
    })?;
    status("first.pem")?.expect(5)?;
    let own = self_signed()?;
    own.put(folder.path())?;
    eventually("a certificate that vouches for itself", SOON, || {
        Ok((status("cert.pem")?.code == Some(0)).then_some(()))
    })?;
    cli::run_command(Command::new(cli::host_binary()?).args(local))?.expect(0)?;
    Ok(())
}

pub(crate) fn beyond_loopback_needs_tls() -> Result<()> {
    let check = |set: &str| cli::run(&["config", "check", "--set", set]);
    check("admin.listen=0.0.0.0:0")?
        .expect(64)?
        .expect_one_line(&[
            "admin.listen",
            "needs TLS",
            "admin.tls-cert",
            "admin.tls-key",
        ])?;
    cli::run(&["serve", "--set", "admin.listen=0.0.0.0:0"])?
        .expect(64)?
        .expect_one_line(&["needs TLS"])?;
    check("admin.listen=127.0.0.1:0")?.expect(0)?;
    Ok(())
}
