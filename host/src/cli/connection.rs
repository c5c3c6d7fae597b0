//! Where the host is and what opens it: flags, environment, or the local data folder.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use super::api::Api;
use super::failure::{Exit, Failure};
use super::output::OutputFormat;
use super::tls::{TlsConnector, Trust};
use crate::config::default_data_dir;
use crate::run_json;

/// Options of every command.
#[derive(Debug, Args)]
pub(super) struct Connection {
    /// The host's API, such as `http://127.0.0.1:8180`; by default the host of the data folder. The token
    /// comes from `RULEMILL_TOKEN`, else from the data folder.
    #[arg(long, global = true, env = "RULEMILL_SERVER", value_name = "URL")]
    server: Option<String>,
    /// Certificates in PEM form that vouch for an `https` server, such as its own; by default those that
    /// the platform trusts.
    #[arg(long, global = true, env = "RULEMILL_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The data folder: `node.data-dir` of `serve`, and where other commands find a local host.
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// How results look.
    #[arg(long, global = true, value_enum, default_value_t = OutputFormat::Table, value_name = "FORMAT")]
    output: OutputFormat,
}

impl Connection {
    /// `--json` of some commands.
    pub(super) fn prefer_json(&mut self) {
        self.output = OutputFormat::Json;
    }

    pub(super) fn is_json(&self) -> bool {
        self.output == OutputFormat::Json
    }

    /// The folder that was given, if any.
    pub(super) fn given_data_dir(&self) -> Option<&PathBuf> {
        self.data_dir.as_ref()
    }

    fn local_data_dir(&self) -> Result<PathBuf, Failure> {
        let configured = || std::env::var_os("RULEMILL__NODE__DATA_DIR").map(PathBuf::from);
        self.data_dir
            .clone()
            .or_else(configured)
            .or_else(default_data_dir)
            .ok_or_else(|| {
                Failure::usage("this user has no home folder; name the host's with --data-dir")
            })
    }

    /// A client of the host's API.
    pub(super) fn api(&self) -> Result<Api, Failure> {
        let (base, certificate) = match &self.server {
            Some(server) => (server_url(server)?, None),
            None => self.local_host()?,
        };
        let token = match std::env::var("RULEMILL_TOKEN") {
            Ok(token) if !token.trim().is_empty() => token.trim().to_owned(),
            // The local token is for the local host only.
            _ if is_local(&base) => self.local_token()?,
            _ => {
                return Err(Failure::new(
                    Exit::NotAllowed,
                    format!("no token for {base}: put it into the environment as RULEMILL_TOKEN"),
                ));
            }
        };
        let trust = match (&self.ca, &certificate) {
            (Some(file), _) => Trust::File(file),
            (None, Some(file)) => Trust::Local(file),
            (None, None) => Trust::Platform,
        };
        let is_tls = base.starts_with("https://");
        let tls = is_tls.then(|| TlsConnector::new(trust)).transpose()?;
        Ok(Api::new(base, &token, tls))
    }

    /// Where the host of the data folder is, and its certificate, if it speaks TLS.
    fn local_host(&self) -> Result<(String, Option<PathBuf>), Failure> {
        let data_dir = self.local_data_dir()?;
        match run_json::read(&data_dir) {
            Ok(Some(run)) => Ok((run.addresses.admin_url(), run.addresses.admin_certificate)),
            Ok(None) => Err(Failure::new(
                Exit::Unreachable,
                format!(
                    "no host runs in {}: start one with `rulemill serve`, or name it with --server or --data-dir",
                    data_dir.display()
                ),
            )),
            Err(error) => Err(Failure::new(
                Exit::Failed,
                format!(
                    "{} cannot be read: {error}",
                    data_dir.join("run.json").display()
                ),
            )),
        }
    }

    fn local_token(&self) -> Result<String, Failure> {
        let path = self.local_data_dir()?.join("admin-token");
        match std::fs::read_to_string(&path) {
            Ok(token) => Ok(token.trim().to_owned()),
            // Without one the host says no if it is there, and nobody answers if it is not: the
            // more useful answer of the two.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => {
                let message = format!(
                    "the token {} cannot be read: {error}; name the host's folder with --data-dir, or set RULEMILL_TOKEN",
                    path.display()
                );
                Err(Failure::new(Exit::NotAllowed, message))
            }
        }
    }
}

/// `http://host:port` or `https://host:port` without a path; without a scheme it is `http`.
fn server_url(text: &str) -> Result<String, Failure> {
    let text = text.trim_end_matches('/');
    let (scheme, authority) = match text.split_once("://") {
        Some((scheme @ ("http" | "https"), authority)) => (scheme, authority),
        _ => ("http", text),
    };
    if authority.is_empty()
        || authority.ends_with(':')
        || authority.contains(['/', '?', '#', '@', ' '])
    {
        return Err(Failure::usage(format!(
            "--server {text:?} must be an address such as http://127.0.0.1:8180"
        )));
    }
    Ok(format!("{scheme}://{authority}"))
}

fn is_local(base: &str) -> bool {
    let authority = base.split_once("://").map_or(base, |(_, rest)| rest);
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => authority.split(':').next(),
    };
    let host = host.unwrap_or_default();
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::{is_local, server_url};

    #[test]
    fn a_server_is_an_address_with_or_without_scheme() {
        assert_eq!(
            server_url("127.0.0.1:8180").unwrap(),
            "http://127.0.0.1:8180"
        );
        assert_eq!(
            server_url("http://[::1]:8180/").unwrap(),
            "http://[::1]:8180"
        );
        assert_eq!(server_url("https://a:1/").unwrap(), "https://a:1");
        for wrong in [
            "ftp://a:1",
            "http://a/b",
            "https://",
            "",
            "http://",
            "user@host",
        ] {
            assert!(server_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_local_token_goes_to_loopback_only() {
        assert!(
            is_local("http://127.0.0.1:1")
                && is_local("http://[::1]:1")
                && is_local("http://localhost")
        );
        assert!(!is_local("http://192.0.2.1:1") && !is_local("http://localhost.example:1"));
    }
}
