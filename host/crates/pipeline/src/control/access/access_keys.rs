//! Access keys: what MQTT signatures and the compatible actions are checked with. A key opens one of
//! the two: a device's key does not open the API.

use std::ops::Bound;
use std::sync::Arc;

use access::{ACCESS_KEYS_MAX, AccessKeyId, AccessKeySecret};
use store::{AccessKeyRecord, AccessKeyUse, KeyMaterial};

use super::{AccessControl, ControlCode, ControlError, KnownKey};

/// An access key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKeyView {
    /// Its id.
    pub id: AccessKeyId,
    /// What it opens.
    pub opens: AccessKeyUse,
    /// UNIX milliseconds.
    pub created_at_ms: u64,
}

fn view((id, key): (&AccessKeyId, &KnownKey)) -> AccessKeyView {
    AccessKeyView {
        id: id.clone(),
        opens: key.opens,
        created_at_ms: key.created_at_ms,
    }
}

impl AccessControl {
    /// At most `limit` access keys after the id `after`, sorted, and how many there are in all.
    #[must_use]
    pub fn access_keys(&self, after: Option<&str>, limit: usize) -> (Vec<AccessKeyView>, usize) {
        let known = self.known.read();
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = known.access_keys.range::<str, _>((start, Bound::Unbounded));
        let page = page.take(limit).map(view).collect();
        (page, known.access_keys.len())
    }

    /// One access key.
    ///
    /// # Errors
    ///
    /// When there is none of this id.
    pub fn access_key(&self, id: &AccessKeyId) -> Result<AccessKeyView, ControlError> {
        let known = self.known.read();
        let found = known.access_keys.get_key_value(id);
        found.map(view).ok_or_else(|| {
            let message = format!("there is no access key {id}; see `rulemill access-key list`");
            ControlError::new(ControlCode::AccessKeyNotFound, message)
        })
    }

    /// What the access key `id` signs with, if it opens the API.
    #[must_use]
    pub fn api_secret(&self, id: &str) -> Option<Arc<AccessKeySecret>> {
        let known = self.known.read();
        known.access_keys.get(id)?.secret.clone()
    }

    /// Adds an access key, which counts as soon as this returns.
    ///
    /// # Errors
    ///
    /// When there is one of this id, there are too many, or the store failed.
    pub async fn add_access_key(
        &self,
        id: AccessKeyId,
        opens: AccessKeyUse,
        secret: AccessKeySecret,
    ) -> Result<AccessKeyView, ControlError> {
        let _change = self.change.lock().await;
        if let Ok(old) = self.access_key(&id) {
            let message = format!(
                "there is an access key {id} already, for use {}; delete it first, or take another id",
                old.opens.as_str()
            );
            return Err(ControlError::new(ControlCode::AccessKeyExists, message));
        }
        let too_many = || {
            let message = format!(
                "there are {ACCESS_KEYS_MAX} access keys already, the most there may be; delete one first"
            );
            ControlError::new(ControlCode::TooManyAccessKeys, message)
        };
        if self.known.read().access_keys.len() >= ACCESS_KEYS_MAX {
            return Err(too_many());
        }
        let created_at_ms = self.clock.now_ms();
        let record = AccessKeyRecord {
            id: id.as_str().to_owned(),
            opens,
            // Checked: it is visible ASCII.
            secret: KeyMaterial::new(String::from_utf8_lossy(secret.reveal()).into_owned()),
            created_at_ms,
        };
        self.write(move |tx| tx.put_access_key(&record)).await?;
        self.change_credentials(|known| known.put_key(id.clone(), opens, secret, created_at_ms))
            .map_err(|_| too_many())?;
        Ok(AccessKeyView {
            id,
            opens,
            created_at_ms,
        })
    }

    /// Deletes an access key. Connections that are there stay.
    ///
    /// # Errors
    ///
    /// When there is no such key, or the store failed.
    pub async fn delete_access_key(&self, id: &AccessKeyId) -> Result<(), ControlError> {
        let _change = self.change.lock().await;
        self.access_key(id)?;
        let stored = id.clone();
        self.write(move |tx| tx.remove_access_key(stored.as_str()))
            .await?;
        self.change_credentials(|known| {
            known.access_keys.remove(id);
            known.credentials.remove_access_key(id.as_str());
        });
        Ok(())
    }
}
