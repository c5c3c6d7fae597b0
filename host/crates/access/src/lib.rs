//! Who may connect: ApsaraMQ Signature, a user list, and clients that prove nothing.
//!
//! It knows neither sockets nor the store. Key material comes from a [`CredentialStore`], whose tables
//! the host replaces whenever an operator changes them. Decisions are made here; what a client is told
//! and that no event is recorded for a refused CONNECT is the business of `mqtt-server`.

#![warn(missing_docs, missing_debug_implementations)]

mod chain;
mod config;
mod credential_store;
mod generations;
mod names;
mod password_hash;
mod secret;
mod signature;
mod stats;
mod success_cache;
mod throttle;
mod user_list;
mod verifier;

pub use chain::{AuthenticatorChain, StartAccessError};
pub use config::{AccessConfig, Anonymous, FailureRate};
pub use credential_store::{
    ACCESS_KEYS_MAX, AddCredentialError, CredentialStore, CredentialTable, Credentials, USERS_MAX,
};
pub use names::{AccessKeyId, UserName};
pub use password_hash::{HashPasswordError, ParsePasswordHashError, PasswordHash};
pub use secret::{AccessKeySecret, ParseSecretError};
pub use stats::AccessStats;

#[cfg(test)]
mod tests;
