//! The user list: who may connect over MQTT with a name and a password.

use std::ops::Bound;

use access::{PasswordHash, USERS_MAX, UserName};
use store::{KeyMaterial, UserRecord};
use zeroize::Zeroizing;

use super::{AccessControl, ControlCode, ControlError, UserTimes};

/// A user, without the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserView {
    /// The name.
    pub name: UserName,
    /// UNIX milliseconds.
    pub created_at_ms: u64,
    /// When the password was set, UNIX milliseconds.
    pub updated_at_ms: u64,
}

fn view((name, times): (&UserName, &UserTimes)) -> UserView {
    UserView {
        name: name.clone(),
        created_at_ms: times.created_at_ms,
        updated_at_ms: times.updated_at_ms,
    }
}

fn not_found(name: &UserName) -> ControlError {
    let message = format!("there is no user {name}; see `rulemill user list`");
    ControlError::new(ControlCode::UserNotFound, message)
}

impl AccessControl {
    /// At most `limit` users after the name `after`, sorted, and how many there are in all.
    #[must_use]
    pub fn users(&self, after: Option<&str>, limit: usize) -> (Vec<UserView>, usize) {
        let known = self.known.read();
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = known.users.range::<str, _>((start, Bound::Unbounded));
        (page.take(limit).map(view).collect(), known.users.len())
    }

    /// One user.
    ///
    /// # Errors
    ///
    /// When there is none of this name.
    pub fn user(&self, name: &UserName) -> Result<UserView, ControlError> {
        let known = self.known.read();
        let found = known.users.get_key_value(name);
        found.map(view).ok_or_else(|| not_found(name))
    }

    /// Adds a user, who may connect as soon as this returns.
    ///
    /// # Errors
    ///
    /// When there is one of this name, there are too many, the password is no password, or the store failed.
    pub async fn add_user(
        &self,
        name: UserName,
        password: Zeroizing<String>,
    ) -> Result<UserView, ControlError> {
        let _change = self.change.lock().await;
        if self.user(&name).is_ok() {
            let message = format!(
                "there is a user {name} already; `rulemill user set-secret {name} --secret-stdin` changes the password"
            );
            return Err(ControlError::new(ControlCode::UserExists, message));
        }
        if self.known.read().users.len() >= USERS_MAX {
            let message = format!(
                "there are {USERS_MAX} users already, the most there may be; delete one first"
            );
            return Err(ControlError::new(ControlCode::TooManyUsers, message));
        }
        let now = self.clock.now_ms();
        self.put_user(name, password, now, now).await
    }

    /// Gives a user another password. Connections that are there stay.
    ///
    /// # Errors
    ///
    /// When there is no such user, the password is no password, or the store failed.
    pub async fn set_password(
        &self,
        name: UserName,
        password: Zeroizing<String>,
    ) -> Result<UserView, ControlError> {
        let _change = self.change.lock().await;
        let old = self.user(&name)?;
        let now = self.clock.now_ms();
        self.put_user(name, password, old.created_at_ms, now).await
    }

    /// Deletes a user. Connections that are there stay.
    ///
    /// # Errors
    ///
    /// When there is no such user, or the store failed.
    pub async fn delete_user(&self, name: &UserName) -> Result<(), ControlError> {
        let _change = self.change.lock().await;
        self.user(name)?;
        let stored = name.clone();
        self.write(move |tx| tx.remove_user(stored.as_str()))
            .await?;
        self.change_credentials(|known| {
            known.users.remove(name);
            known.credentials.remove_user(name.as_str());
        });
        Ok(())
    }

    async fn put_user(
        &self,
        name: UserName,
        password: Zeroizing<String>,
        created_at_ms: u64,
        updated_at_ms: u64,
    ) -> Result<UserView, ControlError> {
        let hash = Self::blocking(move || {
            PasswordHash::of(password.as_bytes()).map_err(|error| match error {
                access::HashPasswordError::Length => {
                    ControlError::new(ControlCode::InvalidSecret, format!("secret: {error}"))
                }
                access::HashPasswordError::Salt | access::HashPasswordError::Memory => {
                    ControlError::new(ControlCode::HashFailed, error.to_string())
                }
            })
        })
        .await?;
        let record = UserRecord {
            name: name.as_str().to_owned(),
            password_hash: KeyMaterial::new(hash.to_phc().to_string()),
            created_at_ms,
            updated_at_ms,
        };
        self.write(move |tx| tx.put_user(&record)).await?;
        let times = UserTimes {
            created_at_ms,
            updated_at_ms,
        };
        self.change_credentials(|known| {
            known.users.insert(name.clone(), times);
            // Their number was checked under the same lock.
            known.credentials.put_user(name.clone(), hash)
        })
        .map_err(|error| ControlError::new(ControlCode::TooManyUsers, error.to_string()))?;
        Ok(view((&name, &times)))
    }
}
