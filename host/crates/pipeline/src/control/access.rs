//! Who may do what: users and access keys for devices and programs, tokens for the API, and the log
//! of what was changed.
//!
//! What counts is in memory and is read without waiting; a change is stored first and counts from the
//! moment it is answered. Changes here have a lock of their own: hashing a password holds up no rule.

mod access_keys;
mod audit;
mod tokens;
mod users;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use access::{AccessKeyId, AccessKeySecret, CredentialTable, Credentials, PasswordHash, UserName};
use domain::Clock;
use parking_lot::RwLock;
use store::{AccessKeyUse, MetaStore, MetaWrite, WriteMetaError};
use tokio::sync::Mutex;

pub use access_keys::AccessKeyView;
pub use audit::{AuditCounts, AuditEntry, AuditFilter, AuditPage, NewAuditEntry};
pub use tokens::{NewToken, Role, TokenHash, TokenUse, TokenView};
pub use users::UserView;

use super::{ControlCode, ControlError};
use crate::control_errors;
use tokens::Tokens;

/// Access keys, users, tokens and the audit log.
#[derive(Debug)]
pub struct AccessControl {
    meta: Arc<MetaStore>,
    clock: Arc<dyn Clock>,
    /// What authentication of MQTT reads.
    credentials: Arc<CredentialTable>,
    known: RwLock<Known>,
    /// One change at a time: each sees the result of the one before.
    change: Mutex<()>,
    audit_forgotten: AtomicU64,
    audit_failed: AtomicU64,
}

/// What is stored, in memory.
#[derive(Debug, Default)]
struct Known {
    users: BTreeMap<UserName, UserTimes>,
    access_keys: BTreeMap<AccessKeyId, KnownKey>,
    /// The part of both that MQTT authentication reads; it is copied into the table.
    credentials: Credentials,
    tokens: Tokens,
}

#[derive(Clone, Copy, Debug)]
struct UserTimes {
    created_at_ms: u64,
    updated_at_ms: u64,
}

#[derive(Clone, Debug)]
struct KnownKey {
    opens: AccessKeyUse,
    created_at_ms: u64,
    /// Of keys for the API only.
    secret: Option<Arc<AccessKeySecret>>,
}

fn damaged(what: &str, name: &str, problem: &dyn std::fmt::Display) -> ControlError {
    let message = format!("stored {what} {name:?} is damaged: {problem}");
    ControlError::new(ControlCode::StoreFailed, message)
}

impl AccessControl {
    /// Reads what is stored and puts it where authentication reads it.
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or holds what cannot be.
    pub fn open(
        meta: Arc<MetaStore>,
        clock: Arc<dyn Clock>,
        credentials: Arc<CredentialTable>,
    ) -> Result<Self, ControlError> {
        let known = Known::read(&meta)?;
        credentials.replace(known.credentials.clone());
        let forgotten = meta
            .audit_forgotten()
            .map_err(|error| control_errors::store(&error))?;
        Ok(Self {
            meta,
            clock,
            credentials,
            known: RwLock::new(known),
            change: Mutex::new(()),
            audit_forgotten: AtomicU64::new(forgotten),
            audit_failed: AtomicU64::new(0),
        })
    }

    /// The host's time, UNIX milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Runs blocking work off the async threads.
    async fn blocking<T: Send + 'static>(
        work: impl FnOnce() -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, ControlError> {
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(control_errors::store(&error)),
        }
    }

    /// Stores something in one transaction.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut MetaWrite<'_>) -> Result<T, WriteMetaError> + Send + 'static,
    ) -> Result<T, ControlError> {
        let meta = Arc::clone(&self.meta);
        Self::blocking(move || {
            meta.write(work)
                .map_err(|error| control_errors::store(&error))
        })
        .await
    }

    /// Changes what is known, and with it what MQTT authentication reads.
    fn change_credentials<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = self.known.write();
        let value = change(&mut known);
        self.credentials.replace(known.credentials.clone());
        value
    }
}

impl Known {
    fn read(meta: &MetaStore) -> Result<Self, ControlError> {
        let store = |error: store::MetaStoreError| control_errors::store(&error);
        let mut known = Self::default();
        for record in meta.users().map_err(store)? {
            let fail = |problem: &dyn std::fmt::Display| damaged("user", &record.name, problem);
            let name = UserName::parse(&record.name).map_err(|error| fail(&error))?;
            let hash = PasswordHash::parse(record.password_hash.reveal());
            let hash = hash.map_err(|error| fail(&error))?;
            let put = known.credentials.put_user(name.clone(), hash);
            put.map_err(|error| fail(&error))?;
            let times = UserTimes {
                created_at_ms: record.created_at_ms,
                updated_at_ms: record.updated_at_ms,
            };
            known.users.insert(name, times);
        }
        for record in meta.access_keys().map_err(store)? {
            let fail = |problem: &dyn std::fmt::Display| damaged("access key", &record.id, problem);
            let id = AccessKeyId::parse(&record.id).map_err(|error| fail(&error))?;
            let secret = AccessKeySecret::parse(record.secret.reveal());
            let secret = secret.map_err(|error| fail(&error))?;
            let put = known.put_key(id, record.opens, secret, record.created_at_ms);
            put.map_err(|error| fail(&error))?;
        }
        for record in meta.tokens().map_err(store)? {
            let name = record.name.clone();
            known
                .tokens
                .put_stored(record)
                .map_err(|problem| damaged("token", &name, &problem))?;
        }
        Ok(known)
    }

    fn put_key(
        &mut self,
        id: AccessKeyId,
        opens: AccessKeyUse,
        secret: AccessKeySecret,
        created_at_ms: u64,
    ) -> Result<(), access::AddCredentialError> {
        let secret = match opens {
            AccessKeyUse::Mqtt => {
                self.credentials.put_access_key(id.clone(), secret)?;
                None
            }
            AccessKeyUse::Api => Some(Arc::new(secret)),
        };
        let key = KnownKey {
            opens,
            created_at_ms,
            secret,
        };
        self.access_keys.insert(id, key);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
