//! The user list: a name without `|`, and a password whose argon2id hash is known.
//!
//! An unknown user is verified against a hash of nobody, so it costs what a wrong password costs.

use std::sync::Arc;

use domain::{AuthenticationMethod, Principal, RefuseAccessError};

use crate::chain::{Claim, Method, Presented};
use crate::password_hash::PASSWORD_BYTES_MAX;
use crate::throttle::Subject;
use crate::verifier::PasswordVerifier;
use crate::{CredentialStore, PasswordHash, UserName};

const NAME_FORM: RefuseAccessError = RefuseAccessError::Malformed(
    "a user name has 1 to 64 letters, digits, -, _, ., @, + and :, or names a method before a |",
);
const PASSWORD_FORM: RefuseAccessError =
    RefuseAccessError::Malformed("a user needs a password of 1 to 1024 bytes");

/// The method.
#[derive(Debug)]
pub(crate) struct UserList {
    store: Arc<dyn CredentialStore>,
    verifier: Arc<PasswordVerifier>,
    nobody: Arc<PasswordHash>,
}

impl UserList {
    pub(crate) fn new(store: Arc<dyn CredentialStore>, verifier: Arc<PasswordVerifier>) -> Self {
        Self {
            store,
            verifier,
            nobody: Arc::new(PasswordHash::of_nobody()),
        }
    }

    async fn is_right(&self, presented: Presented<'_>) -> Result<bool, RefuseAccessError> {
        let known = self.store.password_hash(presented.username);
        let is_known = known.is_some();
        let hash = known.unwrap_or_else(|| Arc::clone(&self.nobody));
        let is_right = self
            .verifier
            .verify(presented.username, presented.password, hash)
            .await?;
        Ok(is_right & is_known)
    }
}

impl Method for UserList {
    fn claim<'a>(
        &'a self,
        presented: Presented<'a>,
    ) -> Option<Result<Claim<'a>, RefuseAccessError>> {
        if presented.username.contains('|') {
            return None;
        }
        if !UserName::is_valid(presented.username) {
            return Some(Err(NAME_FORM));
        }
        if !(1..=PASSWORD_BYTES_MAX).contains(&presented.password.len()) {
            return Some(Err(PASSWORD_FORM));
        }
        Some(Ok(Claim {
            subject: Subject {
                method: AuthenticationMethod::UserList,
                name: presented.username,
                client_id: None,
            },
            principal: Principal {
                name: Some(presented.username.into()),
                method: AuthenticationMethod::UserList,
            },
            verification: Box::pin(self.is_right(presented)),
        }))
    }
}

#[cfg(test)]
mod tests;
