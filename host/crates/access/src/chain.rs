//! Asks the methods in order: the form of the user name says which one decides.
//!
//! `Signature|…` is the signature's; a name without `|` is the user list's; another name before a `|`
//! is a method that is not offered. Nothing presented is anonymous. As long as the operator has named
//! nobody at all, whatever is presented where anonymous clients may connect is anonymous, too: there is
//! nothing that it could be checked against, as in other brokers without a password file.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use domain::{Authenticator, BoxFuture, ConnectAttempt, Principal, RefuseAccessError};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::signature::Signature;
use crate::stats::Decisions;
use crate::success_cache::SuccessCache;
use crate::throttle::{Subject, Throttle};
use crate::user_list::UserList;
use crate::verifier::PasswordVerifier;
use crate::{AccessConfig, AccessStats, Anonymous, CredentialStore};

const NOT_TEXT: RefuseAccessError = RefuseAccessError::Malformed("the user name is not UTF-8");
const NO_NAME: RefuseAccessError = RefuseAccessError::Malformed("a password needs a user name");

/// Why nobody can be authenticated.
#[derive(Debug, thiserror::Error)]
pub enum StartAccessError {
    /// The machine gives no random numbers.
    #[error("no random key for remembered passwords")]
    Random {
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// What a client presents that presents something.
#[derive(Clone, Copy)]
pub(crate) struct Presented<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) username: &'a str,
    /// Empty if there is none.
    pub(crate) password: &'a [u8],
}

/// What a client says to be, and how to find out.
pub(crate) struct Claim<'a> {
    pub(crate) subject: Subject<'a>,
    pub(crate) principal: Principal,
    /// Does nothing until it is polled.
    pub(crate) verification: BoxFuture<'a, Result<bool, RefuseAccessError>>,
}

/// One way to prove who one is.
pub(crate) trait Method: Debug + Send + Sync {
    /// Reads what is presented, at no cost; `None`: the user name is not of this method's form. What is
    /// refused here is refused for its form, without a look at any secret.
    fn claim<'a>(
        &'a self,
        presented: Presented<'a>,
    ) -> Option<Result<Claim<'a>, RefuseAccessError>>;
}

/// Decides about every CONNECT.
#[derive(Debug)]
pub struct AuthenticatorChain {
    anonymous: Anonymous,
    store: Arc<dyn CredentialStore>,
    methods: Vec<Box<dyn Method>>,
    throttle: Throttle,
    verifier: Arc<PasswordVerifier>,
    decisions: Decisions,
}

impl AuthenticatorChain {
    /// Authenticates against `store`; passwords are hashed on the blocking threads of `runtime`.
    ///
    /// # Errors
    ///
    /// When the machine gives no random numbers.
    pub fn new(
        config: AccessConfig,
        store: Arc<dyn CredentialStore>,
        runtime: Handle,
    ) -> Result<Self, StartAccessError> {
        let now = Instant::now();
        let cache = SuccessCache::new(now).map_err(|source| StartAccessError::Random { source })?;
        let verifier = Arc::new(PasswordVerifier::new(
            runtime,
            cache,
            config.verifications_at_once,
            config.verifications_waiting_max,
        ));
        Ok(Self {
            anonymous: config.anonymous,
            methods: vec![
                Box::new(Signature::new(config.instance, Arc::clone(&store))),
                Box::new(UserList::new(Arc::clone(&store), Arc::clone(&verifier))),
            ],
            store,
            throttle: Throttle::new(config.failures_per_peer, config.failures_per_user, now),
            verifier,
            decisions: Decisions::default(),
        })
    }

    /// What it decided so far.
    #[must_use]
    pub fn stats(&self) -> AccessStats {
        AccessStats {
            hashed: self.verifier.hashed(),
            remembered: self.verifier.remembered(),
            hashing: self.verifier.pending(),
            accounts: self.throttle.accounts(),
            ..self.decisions.snapshot()
        }
    }

    async fn decide(&self, attempt: ConnectAttempt<'_>) -> Result<Principal, RefuseAccessError> {
        let username = attempt.username.unwrap_or_default();
        let password = attempt.password.unwrap_or_default();
        let allows_anonymous = self.anonymous.allows(attempt.listener.address);
        let is_anonymous = username.is_empty() && password.is_empty();
        if allows_anonymous && (is_anonymous || self.store.is_empty()) {
            return Ok(Principal::anonymous());
        }
        if is_anonymous {
            return Err(RefuseAccessError::Anonymous);
        }
        let username = std::str::from_utf8(username).map_err(|_| NOT_TEXT)?;
        if username.is_empty() {
            return Err(NO_NAME);
        }
        let presented = Presented {
            client_id: attempt.client_id,
            username,
            password,
        };
        let claim = self
            .methods
            .iter()
            .find_map(|method| method.claim(presented))
            .ok_or(RefuseAccessError::UnknownMethod)??;
        let charge = self
            .throttle
            .charge(attempt.peer, claim.subject, Instant::now())
            .ok_or(RefuseAccessError::Throttled)?;
        match claim.verification.await {
            Ok(true) => {
                charge.give_back(Instant::now());
                Ok(claim.principal)
            }
            Ok(false) if charge.is_over() => Err(RefuseAccessError::Throttled),
            Ok(false) => Err(RefuseAccessError::BadCredentials),
            // Nothing was found out, which is not the client's fault.
            Err(error) => {
                charge.cancel(Instant::now());
                Err(error)
            }
        }
    }
}

impl Authenticator for AuthenticatorChain {
    fn authenticate<'a>(
        &'a self,
        attempt: ConnectAttempt<'a>,
    ) -> BoxFuture<'a, Result<Principal, RefuseAccessError>> {
        Box::pin(async move {
            let decision = self.decide(attempt).await;
            self.decisions.count(&decision);
            decision
        })
    }
}
