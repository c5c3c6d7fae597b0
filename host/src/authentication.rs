//! Puts authentication together: the table of credentials, which the control side replaces and the
//! authenticators read, and what an operator should know about the listeners.

use std::net::SocketAddr;
use std::sync::Arc;

use access::{AccessConfig, Anonymous, AuthenticatorChain, CredentialStore as _, CredentialTable};
use tokio::runtime::Handle;

use crate::config::{self, Config};

/// Who may connect, as it is decided and as it is changed.
#[derive(Clone, Debug)]
pub(crate) struct Authentication {
    /// Decides about every CONNECT.
    pub(crate) chain: Arc<AuthenticatorChain>,
    /// Users and access keys; empty until the stored ones are put in.
    pub(crate) credentials: Arc<CredentialTable>,
}

impl Authentication {
    /// Passwords are hashed on blocking threads of the runtime that this is called on.
    ///
    /// # Errors
    ///
    /// When the machine gives no random numbers.
    pub(crate) fn start(config: &Config) -> anyhow::Result<Self> {
        let anonymous = match config.anonymous {
            config::Anonymous::Loopback => Anonymous::Loopback,
            config::Anonymous::Always => Anonymous::Always,
            config::Anonymous::Never => Anonymous::Never,
        };
        let cores = crate::assembly::threads();
        let limits = AccessConfig::with_cores(config.instance_id.clone(), anonymous, cores);
        let credentials = Arc::<CredentialTable>::default();
        let store = Arc::clone(&credentials) as Arc<dyn access::CredentialStore>;
        let chain = AuthenticatorChain::new(limits, store, Handle::current())?;
        Ok(Self {
            chain: Arc::new(chain),
            credentials,
        })
    }

    /// Says what is legal and seldom meant. Nobody is kept from starting: users and access keys are
    /// added through the API of a running host.
    pub(crate) fn tell(&self, config: &Config) {
        let mqtt = &config.mqtt;
        let plain = [("tcp", &mqtt.tcp), ("ws", &mqtt.ws)];
        let encrypted = [("tls", &mqtt.tls), ("wss", &mqtt.wss)];
        let beyond = |all: &[(&'static str, &Vec<SocketAddr>)]| -> Vec<String> {
            all.iter()
                .flat_map(|(kind, addresses)| addresses.iter().map(move |one| (kind, one)))
                .filter(|(_, address)| !address.ip().is_loopback())
                .map(|(kind, address)| format!("{kind} {address}"))
                .collect()
        };
        let all = [beyond(&plain), beyond(&encrypted)].concat();
        if config.anonymous == config::Anonymous::Always && !all.is_empty() {
            tracing::warn!(
                listeners = all.join(", "),
                "access.anonymous is \"always\": whoever reaches these listeners may connect"
            );
        }
        let needs_names = match config.anonymous {
            config::Anonymous::Never => true,
            config::Anonymous::Loopback => !all.is_empty(),
            config::Anonymous::Always => false,
        };
        if needs_names && self.credentials.is_empty() {
            tracing::warn!(
                listeners = all.join(", "),
                "nobody can be authenticated yet: add users or access keys with `rulemill user add` or `rulemill access-key add`"
            );
        }
        let open = beyond(&plain);
        if !open.is_empty() {
            tracing::warn!(
                listeners = open.join(", "),
                "passwords and messages are not encrypted on these listeners; mqtt.tls and mqtt.wss encrypt"
            );
        }
    }
}
