//! Key material as authentication reads it: two tables that are replaced as a whole.
//!
//! Who changes a user or a key writes it to the host's store first and then replaces the table here,
//! so that readers never wait and a revoked key is dead with the next CONNECT.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::{AccessKeyId, AccessKeySecret, PasswordHash, UserName};

/// Access keys that there may be. About 200 bytes each.
pub const ACCESS_KEYS_MAX: usize = 10_000;
/// Users that there may be. About 250 bytes each.
pub const USERS_MAX: usize = 100_000;

/// Where authentication finds key material. Called on socket threads: nothing here waits.
pub trait CredentialStore: Debug + Send + Sync {
    /// What the access key `id` signs with.
    fn access_key_secret(&self, id: &str) -> Option<Arc<AccessKeySecret>>;

    /// The hash of the password of user `name`.
    fn password_hash(&self, name: &str) -> Option<Arc<PasswordHash>>;

    /// Whether there are neither access keys nor users: the operator has not begun to name anybody.
    fn is_empty(&self) -> bool;
}

/// Why a credential is not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddCredentialError {
    /// As many access keys as there may be.
    #[error("there are 10000 access keys already, the most there may be")]
    AccessKeysMax,
    /// As many users as there may be.
    #[error("there are 100000 users already, the most there may be")]
    UsersMax,
}

/// All access keys and users at one moment.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    access_keys: HashMap<AccessKeyId, Arc<AccessKeySecret>>,
    users: HashMap<UserName, Arc<PasswordHash>>,
}

impl Credentials {
    /// Adds an access key, or replaces its secret.
    ///
    /// # Errors
    ///
    /// When it is the 10,001st.
    pub fn put_access_key(
        &mut self,
        id: AccessKeyId,
        secret: AccessKeySecret,
    ) -> Result<(), AddCredentialError> {
        if self.access_keys.len() >= ACCESS_KEYS_MAX && !self.access_keys.contains_key(&id) {
            return Err(AddCredentialError::AccessKeysMax);
        }
        self.access_keys.insert(id, Arc::new(secret));
        Ok(())
    }

    /// Adds a user, or replaces the password.
    ///
    /// # Errors
    ///
    /// When it is the 100,001st.
    pub fn put_user(
        &mut self,
        name: UserName,
        hash: PasswordHash,
    ) -> Result<(), AddCredentialError> {
        if self.users.len() >= USERS_MAX && !self.users.contains_key(&name) {
            return Err(AddCredentialError::UsersMax);
        }
        self.users.insert(name, Arc::new(hash));
        Ok(())
    }

    /// Removes an access key; fine if there is none.
    pub fn remove_access_key(&mut self, id: &str) {
        self.access_keys.remove(id);
    }

    /// Removes a user; fine if there is none.
    pub fn remove_user(&mut self, name: &str) {
        self.users.remove(name);
    }
}

/// The tables in memory. The host replaces them, authentication reads them.
#[derive(Debug, Default)]
pub struct CredentialTable(ArcSwap<Credentials>);

impl CredentialTable {
    /// A table with `credentials`.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Self(ArcSwap::from_pointee(credentials))
    }

    /// From now on, `credentials` are those that count. A CONNECT that is being verified is judged by
    /// what it found when it came.
    pub fn replace(&self, credentials: Credentials) {
        self.0.store(Arc::new(credentials));
    }
}

impl CredentialStore for CredentialTable {
    fn access_key_secret(&self, id: &str) -> Option<Arc<AccessKeySecret>> {
        self.0.load().access_keys.get(id).cloned()
    }

    fn password_hash(&self, name: &str) -> Option<Arc<PasswordHash>> {
        self.0.load().users.get(name).cloned()
    }

    fn is_empty(&self) -> bool {
        let credentials = self.0.load();
        credentials.access_keys.is_empty() && credentials.users.is_empty()
    }
}

#[cfg(test)]
mod tests;
