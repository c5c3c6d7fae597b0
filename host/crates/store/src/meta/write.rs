//! What can be written to `meta.redb`, as parts of one transaction.

use domain::{AnyRule, IncarnationId, PluginName, RuleId};
use redb::{Database, ReadableTable, WriteTransaction};
use serde::Serialize;

use super::access;
use super::record::{StoredGroup, StoredIncarnation, StoredPlugin, rule_json};
use super::{
    GENERATIONS, GROUPS, GroupRecord, HISTORY, INCARNATIONS, IncarnationRecord, PLUGIN_BYTES,
    PLUGINS, PluginRecord, RULES, SETTINGS,
};
use crate::database::NUMBERS;
use crate::{EngineError, OpenStoreError, ReadStoreError};

const REVISION: &str = "revision";
const INCARNATION: &str = "incarnation";

/// Why something was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteMetaError {
    /// The file.
    #[error("meta store cannot be written")]
    Store(#[source] ReadStoreError),
    /// The engine.
    #[error("meta store cannot be written")]
    Engine(#[from] EngineError),
    /// It was closed after an I/O error and does not open again.
    #[error("meta store cannot be opened again")]
    Reopen(#[source] OpenStoreError),
    /// A record has no JSON form.
    #[error("the record cannot be encoded")]
    Encode(#[from] serde_json::Error),
    /// All numbers of this kind were given.
    #[error("there is no {what} left to give")]
    NoNumberLeft {
        /// The kind.
        what: &'static str,
    },
}

macro_rules! write_errors {
    ($($error:ty),*) => {
        $(impl From<$error> for WriteMetaError {
            fn from(error: $error) -> Self {
                Self::Engine(error.into())
            }
        })*
    };
}

write_errors!(redb::StorageError, redb::TableError);

/// One transaction.
#[expect(
    missing_debug_implementations,
    reason = "a transaction has nothing to show"
)]
pub struct MetaWrite<'a> {
    pub(super) transaction: &'a WriteTransaction,
}

/// Runs `work` in a transaction and commits it. `is_broken` tells that the engine failed.
pub(super) fn transact<T, E: From<WriteMetaError>>(
    database: &Database,
    work: impl FnOnce(&mut MetaWrite<'_>) -> Result<T, E>,
    is_broken: &mut bool,
) -> Result<T, E> {
    let mut engine = |error: EngineError| {
        *is_broken = true;
        E::from(WriteMetaError::Engine(error))
    };
    let transaction = database
        .begin_write()
        .map_err(|error| engine(error.into()))?;
    let value = work(&mut MetaWrite {
        transaction: &transaction,
    })?;
    transaction.commit().map_err(|error| engine(error.into()))?;
    Ok(value)
}

pub(super) fn create_tables(database: &Database) -> Result<(), EngineError> {
    let transaction = database.begin_write()?;
    transaction.open_table(RULES)?;
    transaction.open_table(HISTORY)?;
    transaction.open_table(INCARNATIONS)?;
    transaction.open_table(PLUGINS)?;
    transaction.open_table(PLUGIN_BYTES)?;
    transaction.open_table(GENERATIONS)?;
    transaction.open_table(GROUPS)?;
    transaction.open_table(SETTINGS)?;
    for table in [access::USERS, access::ACCESS_KEYS, access::TOKENS] {
        transaction.open_table(table)?;
    }
    for table in [access::AUDIT, access::AUDIT_REFUSED] {
        transaction.open_table(table)?;
    }
    transaction.commit()?;
    Ok(())
}

impl MetaWrite<'_> {
    /// Stores a rule.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn put_rule(&mut self, rule: &AnyRule) -> Result<(), WriteMetaError> {
        let json = rule_json(rule)?;
        self.transaction
            .open_table(RULES)?
            .insert(rule.rule_id().as_str(), json.as_slice())?;
        Ok(())
    }

    /// Removes a rule with its history; fine if there is none.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn remove_rule(&mut self, rule_id: &RuleId) -> Result<(), WriteMetaError> {
        self.transaction
            .open_table(RULES)?
            .remove(rule_id.as_str())?;
        self.remove_generations(rule_id)?;
        self.remove_history(rule_id)
    }

    /// The number of a change, from 1; never given twice.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn next_revision(&mut self) -> Result<u64, WriteMetaError> {
        self.next_number(REVISION, u64::MAX)
    }

    /// The number of an incarnation, from 1; never given twice.
    ///
    /// # Errors
    ///
    /// When the file cannot be written, or four thousand million were given.
    pub fn next_incarnation(&mut self) -> Result<IncarnationId, WriteMetaError> {
        let number = self.next_number(INCARNATION, u64::from(u32::MAX))?;
        u32::try_from(number)
            .map(IncarnationId)
            .map_err(|_| WriteMetaError::NoNumberLeft { what: INCARNATION })
    }

    /// Makes every number of an incarnation that is given from now on larger than `used`; says whether
    /// the next one would not have been.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn skip_incarnations(&mut self, used: IncarnationId) -> Result<bool, WriteMetaError> {
        let mut table = self.transaction.open_table(NUMBERS)?;
        let last = table.get(INCARNATION)?.map_or(0, |guard| guard.value());
        let is_behind = last < u64::from(used.0);
        if is_behind {
            table.insert(INCARNATION, u64::from(used.0))?;
        }
        Ok(is_behind)
    }

    fn next_number(&mut self, what: &'static str, number_max: u64) -> Result<u64, WriteMetaError> {
        let mut table = self.transaction.open_table(NUMBERS)?;
        let last = table.get(what)?.map_or(0, |guard| guard.value());
        if last >= number_max {
            return Err(WriteMetaError::NoNumberLeft { what });
        }
        table.insert(what, last + 1)?;
        Ok(last + 1)
    }

    /// Stores an incarnation.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn put_incarnation(&mut self, record: &IncarnationRecord) -> Result<(), WriteMetaError> {
        let json = json(&StoredIncarnation::of(record))?;
        self.transaction
            .open_table(INCARNATIONS)?
            .insert(record.id.0, json.as_slice())?;
        Ok(())
    }

    /// Removes an incarnation; fine if there is none.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn remove_incarnation(&mut self, id: IncarnationId) -> Result<(), WriteMetaError> {
        self.transaction.open_table(INCARNATIONS)?.remove(id.0)?;
        Ok(())
    }

    /// Stores one version of a plugin and its component.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn put_plugin(
        &mut self,
        record: &PluginRecord,
        bytes: &[u8],
    ) -> Result<(), WriteMetaError> {
        let json = json(&StoredPlugin::of(record))?;
        let key = (record.name.as_str(), record.version);
        self.transaction
            .open_table(PLUGINS)?
            .insert(key, json.as_slice())?;
        self.transaction
            .open_table(PLUGIN_BYTES)?
            .insert(&record.digest.0, bytes)?;
        Ok(())
    }

    /// Removes one version of a plugin; fine if there is none.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn remove_plugin_version(
        &mut self,
        name: &PluginName,
        version: u32,
    ) -> Result<(), WriteMetaError> {
        let mut plugins = self.transaction.open_table(PLUGINS)?;
        plugins.remove((name.as_str(), version))?;
        self.remove_unused_bytes(&plugins)
    }

    /// Removes a plugin with all its versions; fine if there is none.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn remove_plugin(&mut self, name: &PluginName) -> Result<(), WriteMetaError> {
        let mut plugins = self.transaction.open_table(PLUGINS)?;
        let name = name.as_str();
        plugins.retain(|(plugin, _), _| plugin != name)?;
        self.remove_unused_bytes(&plugins)
    }

    /// Another plugin may have the same bytes.
    fn remove_unused_bytes(
        &self,
        plugins: &impl ReadableTable<(&'static str, u32), &'static [u8]>,
    ) -> Result<(), WriteMetaError> {
        let mut kept = Vec::new();
        for row in plugins.iter()? {
            let (_, json) = row?;
            kept.push(serde_json::from_slice::<StoredPlugin>(json.value())?.digest);
        }
        let is_kept = |digest: &[u8; 32]| kept.contains(&domain::PluginDigest(*digest).to_string());
        self.transaction
            .open_table(PLUGIN_BYTES)?
            .retain(|digest, _| is_kept(digest))?;
        Ok(())
    }

    /// Stores a group.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn put_group(&mut self, record: &GroupRecord) -> Result<(), WriteMetaError> {
        let json = json(&StoredGroup::of(record))?;
        self.transaction
            .open_table(GROUPS)?
            .insert(record.group_id.as_str(), json.as_slice())?;
        Ok(())
    }

    /// Stores a setting.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn put_setting(&mut self, key: &str, value: &str) -> Result<(), WriteMetaError> {
        self.transaction.open_table(SETTINGS)?.insert(key, value)?;
        Ok(())
    }

    /// Removes a setting; fine if there is none.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn remove_setting(&mut self, key: &str) -> Result<(), WriteMetaError> {
        self.transaction.open_table(SETTINGS)?.remove(key)?;
        Ok(())
    }
}

fn json<T: Serialize>(record: &T) -> Result<Vec<u8>, WriteMetaError> {
    Ok(serde_json::to_vec(record)?)
}
