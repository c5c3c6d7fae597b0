//! Who may do what: users and access keys of devices and programs, tokens of the API, and the audit
//! log of what was changed.
//!
//! Passwords and tokens are stored as hashes. The secret of an access key is stored as it is, since a
//! signature cannot be checked against a hash; that is why only the owner may read this file.

use std::fmt;

use domain::Actor;
use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
use serde::{Deserialize, Serialize};

use super::{JsonTable, MetaStore, MetaStoreError, MetaWrite, WriteMetaError, record};
use crate::database::NUMBERS;
use crate::mirror::mirror;

/// Changes that the audit log keeps; the oldest go. About 300 bytes each.
pub const AUDITED_CHANGES_MAX: u64 = 10_000;
/// Refusals that it keeps; apart, so that whoever is refused cannot push out what was changed.
pub const AUDITED_REFUSALS_MAX: u64 = 1_000;

/// User name → record.
pub(super) const USERS: JsonTable<&'static str> = TableDefinition::new("users");
/// Access key id → record.
pub(super) const ACCESS_KEYS: JsonTable<&'static str> = TableDefinition::new("access_keys");
/// Token name → record.
pub(super) const TOKENS: JsonTable<&'static str> = TableDefinition::new("tokens");
/// Number → what was changed.
pub(super) const AUDIT: JsonTable<u64> = TableDefinition::new("audit");
/// Number → what was refused. Numbers are given once for both.
pub(super) const AUDIT_REFUSED: JsonTable<u64> = TableDefinition::new("audit_refused");

/// In the table of numbers: entries of the audit log that went.
const AUDIT_FORGOTTEN: &str = "audit_forgotten";

/// Key material as it is stored. Nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyMaterial(String);

impl KeyMaterial {
    /// Wraps `text`.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text. Whoever calls this must not print it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A user of the user list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRecord {
    /// The name.
    pub name: String,
    /// The hash of the password, in PHC form.
    pub password_hash: KeyMaterial,
    /// UNIX milliseconds.
    pub created_at_ms: u64,
    /// When the password was set, UNIX milliseconds.
    pub updated_at_ms: u64,
}

/// What an access key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccessKeyUse {
    /// MQTT connections, by signature.
    Mqtt,
    /// The compatible actions of the API.
    Api,
}

mirror!(StoredUse of AccessKeyUse { Mqtt, Api });

impl AccessKeyUse {
    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Api => "api",
        }
    }

    /// The use with this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Mqtt, Self::Api]
            .into_iter()
            .find(|it| it.as_str() == text)
    }
}

/// An access key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKeyRecord {
    /// Its id.
    pub id: String,
    /// What it opens.
    pub opens: AccessKeyUse,
    /// What it signs with.
    pub secret: KeyMaterial,
    /// UNIX milliseconds.
    pub created_at_ms: u64,
}

/// A token of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// Its name.
    pub name: String,
    /// The name of its role.
    pub role: String,
    /// SHA-256 of the token, in hexadecimal.
    pub hash: KeyMaterial,
    /// Who made it.
    pub created_by: Actor,
    /// UNIX milliseconds.
    pub created_at_ms: u64,
    /// From then on it opens nothing, UNIX milliseconds.
    pub expires_at_ms: Option<u64>,
    /// UNIX milliseconds; some minutes late.
    pub last_used_at_ms: Option<u64>,
}

/// What became of a request that wanted a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuditOutcome {
    /// The change was made.
    Done,
    /// The role of who asked does not allow it.
    Refused,
    /// The host failed; the change may have been made.
    Failed,
}

mirror!(StoredOutcome of AuditOutcome { Done, Refused, Failed });

impl AuditOutcome {
    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }

    /// The outcome with this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Done, Self::Refused, Self::Failed]
            .into_iter()
            .find(|it| it.as_str() == text)
    }
}

/// One entry of the audit log. Holds no secret: whoever makes one sees to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// UNIX milliseconds.
    pub at_ms: u64,
    /// Who.
    pub actor: Actor,
    /// From where; empty if it was not a request.
    pub peer: String,
    /// How, such as `PUT`.
    pub method: String,
    /// What, such as `/v1/rules/a`.
    pub resource: String,
    /// What became of it.
    pub outcome: AuditOutcome,
    /// The request; empty if it was none.
    pub request_id: String,
    /// The revision that it made.
    pub revision: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredUser {
    password_hash: String,
    created_at_ms: u64,
    updated_at_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredAccessKey {
    #[serde(rename = "use")]
    opens: StoredUse,
    secret: String,
    created_at_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredToken {
    role: String,
    hash: String,
    created_by: String,
    created_at_ms: u64,
    expires_at_ms: Option<u64>,
    last_used_at_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredAudit {
    at_ms: u64,
    actor: String,
    peer: String,
    method: String,
    resource: String,
    outcome: StoredOutcome,
    request_id: String,
    revision: Option<u64>,
}

fn user(name: &str, json: &[u8]) -> Result<UserRecord, MetaStoreError> {
    record::read("user", name, json, |stored: StoredUser| {
        Ok(UserRecord {
            name: name.to_owned(),
            password_hash: KeyMaterial(stored.password_hash),
            created_at_ms: stored.created_at_ms,
            updated_at_ms: stored.updated_at_ms,
        })
    })
}

fn access_key(id: &str, json: &[u8]) -> Result<AccessKeyRecord, MetaStoreError> {
    record::read("access key", id, json, |stored: StoredAccessKey| {
        Ok(AccessKeyRecord {
            id: id.to_owned(),
            opens: stored.opens.into(),
            secret: KeyMaterial(stored.secret),
            created_at_ms: stored.created_at_ms,
        })
    })
}

fn token(name: &str, json: &[u8]) -> Result<TokenRecord, MetaStoreError> {
    record::read("token", name, json, |stored: StoredToken| {
        Ok(TokenRecord {
            name: name.to_owned(),
            role: stored.role,
            hash: KeyMaterial(stored.hash),
            created_by: Actor::stored(&stored.created_by),
            created_at_ms: stored.created_at_ms,
            expires_at_ms: stored.expires_at_ms,
            last_used_at_ms: stored.last_used_at_ms,
        })
    })
}

fn audit(number: u64, json: &[u8]) -> Result<(u64, AuditRecord), MetaStoreError> {
    let key = number.to_string();
    record::read("audit entry", &key, json, |stored: StoredAudit| {
        let record = AuditRecord {
            at_ms: stored.at_ms,
            actor: Actor::stored(&stored.actor),
            peer: stored.peer,
            method: stored.method,
            resource: stored.resource,
            outcome: stored.outcome.into(),
            request_id: stored.request_id,
            revision: stored.revision,
        };
        Ok((number, record))
    })
}

impl MetaStore {
    /// All users, sorted by name.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or a record is damaged.
    pub fn users(&self) -> Result<Vec<UserRecord>, MetaStoreError> {
        self.records(USERS, user)
    }

    /// All access keys, sorted by id.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or a record is damaged.
    pub fn access_keys(&self) -> Result<Vec<AccessKeyRecord>, MetaStoreError> {
        self.records(ACCESS_KEYS, access_key)
    }

    /// All tokens, sorted by name.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or a record is damaged.
    pub fn tokens(&self) -> Result<Vec<TokenRecord>, MetaStoreError> {
        self.records(TOKENS, token)
    }

    /// The audit log with the number of each entry, newest first: at most 11,000.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or a record is damaged.
    pub fn audit(&self) -> Result<Vec<(u64, AuditRecord)>, MetaStoreError> {
        let mut all = self.records(AUDIT, audit)?;
        all.extend(self.records(AUDIT_REFUSED, audit)?);
        all.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        Ok(all)
    }

    /// How many entries the audit log has forgotten.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn audit_forgotten(&self) -> Result<u64, MetaStoreError> {
        self.read(|database| {
            let table = database.begin_read()?.open_table(NUMBERS)?;
            let number = table.get(AUDIT_FORGOTTEN)?;
            Ok(number.map_or(0, |number| number.value()))
        })
    }
}

impl MetaWrite<'_> {
    fn put<T: Serialize>(
        &mut self,
        table: JsonTable<&'static str>,
        key: &str,
        stored: &T,
    ) -> Result<(), WriteMetaError> {
        let json = serde_json::to_vec(stored)?;
        self.transaction
            .open_table(table)?
            .insert(key, json.as_slice())?;
        Ok(())
    }

    fn remove(&mut self, table: JsonTable<&'static str>, key: &str) -> Result<(), WriteMetaError> {
        self.transaction.open_table(table)?.remove(key)?;
        Ok(())
    }

    /// Stores a user.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn put_user(&mut self, record: &UserRecord) -> Result<(), WriteMetaError> {
        let stored = StoredUser {
            password_hash: record.password_hash.0.clone(),
            created_at_ms: record.created_at_ms,
            updated_at_ms: record.updated_at_ms,
        };
        self.put(USERS, &record.name, &stored)
    }

    /// Removes a user; fine if there is none.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn remove_user(&mut self, name: &str) -> Result<(), WriteMetaError> {
        self.remove(USERS, name)
    }

    /// Stores an access key.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn put_access_key(&mut self, record: &AccessKeyRecord) -> Result<(), WriteMetaError> {
        let stored = StoredAccessKey {
            opens: record.opens.into(),
            secret: record.secret.0.clone(),
            created_at_ms: record.created_at_ms,
        };
        self.put(ACCESS_KEYS, &record.id, &stored)
    }

    /// Removes an access key; fine if there is none.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn remove_access_key(&mut self, id: &str) -> Result<(), WriteMetaError> {
        self.remove(ACCESS_KEYS, id)
    }

    /// Stores a token.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn put_token(&mut self, record: &TokenRecord) -> Result<(), WriteMetaError> {
        let stored = StoredToken {
            role: record.role.clone(),
            hash: record.hash.0.clone(),
            created_by: record.created_by.as_str().to_owned(),
            created_at_ms: record.created_at_ms,
            expires_at_ms: record.expires_at_ms,
            last_used_at_ms: record.last_used_at_ms,
        };
        self.put(TOKENS, &record.name, &stored)
    }

    /// Removes a token; fine if there is none.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn remove_token(&mut self, name: &str) -> Result<(), WriteMetaError> {
        self.remove(TOKENS, name)
    }

    /// Adds an entry to the audit log; beyond the limit the oldest of its kind goes, and is counted.
    /// Returns the number of the entry, which is never given again.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn add_audit(&mut self, entry: &AuditRecord) -> Result<u64, WriteMetaError> {
        let stored = StoredAudit {
            at_ms: entry.at_ms,
            actor: entry.actor.as_str().to_owned(),
            peer: entry.peer.clone(),
            method: entry.method.clone(),
            resource: entry.resource.clone(),
            outcome: entry.outcome.into(),
            request_id: entry.request_id.clone(),
            revision: entry.revision,
        };
        let json = serde_json::to_vec(&stored)?;
        let mut changes = self.transaction.open_table(AUDIT)?;
        let mut refusals = self.transaction.open_table(AUDIT_REFUSED)?;
        // The newest entry is never removed, so its number is the largest ever given.
        let mut last = 0;
        for table in [&changes, &refusals] {
            last = last.max(table.last()?.map_or(0, |(number, _)| number.value()));
        }
        let number = last.saturating_add(1);
        let (table, max) = if entry.outcome == AuditOutcome::Refused {
            (&mut refusals, AUDITED_REFUSALS_MAX)
        } else {
            (&mut changes, AUDITED_CHANGES_MAX)
        };
        table.insert(number, json.as_slice())?;
        let mut gone = 0_u64;
        while table.len()? > max && table.pop_first()?.is_some() {
            gone += 1;
        }
        if gone > 0 {
            let mut numbers = self.transaction.open_table(NUMBERS)?;
            let before = numbers.get(AUDIT_FORGOTTEN)?.map_or(0, |it| it.value());
            numbers.insert(AUDIT_FORGOTTEN, before.saturating_add(gone))?;
        }
        Ok(number)
    }
}

#[cfg(test)]
mod tests;
