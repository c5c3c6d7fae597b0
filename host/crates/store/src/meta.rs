//! `meta.redb`: rules, their incarnations, plugins, groups and small settings.
//!
//! All calls block; a write is durable when it returns. One closure is one transaction, so that a
//! number is never given to something that was not stored. A record that cannot be read is an
//! error, never left out: a rule must not vanish.

mod access;
mod generations;
mod history;
mod record;
mod write;

use std::path::{Path, PathBuf};

use domain::{
    Actor, AnyRule, Destination, GroupId, IncarnationId, Mapped, Ordering, PluginDigest,
    PluginName, RuleId,
};
use redb::{Database, Key, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition};

use crate::disk::{Disk, OpenFile};
use crate::{EngineError, OpenStoreError, ReadStoreError};

pub use self::access::{
    AUDITED_CHANGES_MAX, AUDITED_REFUSALS_MAX, AccessKeyRecord, AccessKeyUse, AuditOutcome,
    AuditRecord, KeyMaterial, TokenRecord, UserRecord,
};
pub use self::generations::{
    ACTIVATIONS_MAX, Activation, ActivationOutcome, EARLIER_MAX, EarlierVersion, GenerationsRecord,
    WITHDRAWN_MAX, WithdrawnVersion,
};
pub use self::history::{ChangeKind, REVISIONS_MAX, RevisionRecord};
pub use self::write::{MetaWrite, WriteMetaError};

/// Version of the tables.
pub(crate) const SCHEMA: u64 = 1;

/// Memory for pages of the file, bytes.
const CACHE_BYTES: usize = 8 << 20;

type JsonTable<K> = TableDefinition<'static, K, &'static [u8]>;

/// Rule id → record.
const RULES: JsonTable<&'static str> = TableDefinition::new("rules");
/// Rule id and revision → record; the last [`REVISIONS_MAX`] of each rule.
const HISTORY: JsonTable<(&'static str, u64)> = TableDefinition::new("rule_history");
/// Incarnation → record.
const INCARNATIONS: JsonTable<u32> = TableDefinition::new("incarnations");
/// Plugin name and version → record.
const PLUGINS: JsonTable<(&'static str, u32)> = TableDefinition::new("plugins");
/// Rule id → its generations.
const GENERATIONS: JsonTable<&'static str> = TableDefinition::new("rule_generations");
/// Digest → component.
const PLUGIN_BYTES: JsonTable<&'static [u8; 32]> = TableDefinition::new("plugin_bytes");
/// Group id → record.
const GROUPS: JsonTable<&'static str> = TableDefinition::new("groups");
/// Name → value.
const SETTINGS: TableDefinition<'static, &'static str, &'static str> =
    TableDefinition::new("settings");

/// A rule with one source and destination, kept as long as it may have events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncarnationRecord {
    /// Its number.
    pub id: IncarnationId,
    /// The rule; it may be deleted.
    pub rule_id: RuleId,
    /// Whose events.
    pub group_id: GroupId,
    /// Where to.
    pub destination: Destination,
    /// When a queue of the destination cannot store.
    pub ordering: Ordering,
    /// The rule's revision that `mapping` comes from.
    pub revision: u64,
    /// As what.
    pub mapping: Mapped,
    /// The rule has a newer incarnation, or is deleted: this one only drains.
    pub is_retired: bool,
    /// What it still has pending is dropped.
    pub is_discarding: bool,
}

/// One version of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginRecord {
    /// The plugin.
    pub name: PluginName,
    /// From 1.
    pub version: u32,
    /// Of its bytes.
    pub digest: PluginDigest,
    /// Of its bytes.
    pub size_bytes: u64,
    /// Interfaces that it exports.
    pub exports: Vec<String>,
    /// Interfaces that it imports.
    pub imports: Vec<String>,
    /// UNIX milliseconds.
    pub created_at_ms: u64,
    /// Who uploaded it.
    pub created_by: Actor,
    /// It came with the host.
    pub is_built_in: bool,
}

/// A group of devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRecord {
    /// Its name.
    pub group_id: GroupId,
    /// UNIX milliseconds.
    pub created_at_ms: u64,
    /// It was deleted: it does not appear by itself again.
    pub is_deleted: bool,
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MetaStoreError {
    /// The file.
    #[error("meta store cannot be read")]
    Read(#[from] ReadStoreError),
    /// It was closed after an I/O error and does not open again.
    #[error("meta store cannot be opened again")]
    Reopen(#[source] OpenStoreError),
    /// A record is not what was written.
    #[error("stored {what} {key:?} is damaged: {detail}")]
    Damaged {
        /// The kind of record.
        what: &'static str,
        /// Its key.
        key: String,
        /// What is wrong.
        detail: String,
    },
}

/// The file. Shared by `Arc`.
#[derive(Debug)]
pub struct MetaStore {
    disk: Disk,
}

impl MetaStore {
    /// Opens or creates the file at `path`.
    ///
    /// # Errors
    ///
    /// When it is in use, damaged, of a newer version or not writable.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, OpenStoreError> {
        let path = path.into();
        let open: OpenFile =
            Box::new(|path: &Path| crate::database::open(path, CACHE_BYTES, SCHEMA));
        let file = open(&path)?;
        keep_private(&path).map_err(|error| OpenStoreError::of(&path, error))?;
        write::create_tables(&file.database).map_err(|error| OpenStoreError::of(&path, error))?;
        Ok(Self {
            disk: Disk::new(path, open, file.database),
        })
    }

    /// All rules of all types, sorted by id.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or a record is damaged.
    pub fn rules(&self) -> Result<Vec<AnyRule>, MetaStoreError> {
        self.records(RULES, record::rule)
    }

    /// All incarnations, also those of deleted rules, in ascending order.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or a record is damaged.
    pub fn incarnations(&self) -> Result<Vec<IncarnationRecord>, MetaStoreError> {
        self.records(INCARNATIONS, record::incarnation)
    }

    /// All versions of all plugins, sorted by name and version.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or a record is damaged.
    pub fn plugins(&self) -> Result<Vec<PluginRecord>, MetaStoreError> {
        self.records(PLUGINS, |(name, version), json| {
            record::plugin(name, version, json)
        })
    }

    /// The versions of one plugin, oldest first.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or a record is damaged.
    pub fn plugin_versions(&self, name: &PluginName) -> Result<Vec<PluginRecord>, MetaStoreError> {
        let name = name.as_str();
        self.read(|database| {
            let table = database.begin_read()?.open_table(PLUGINS)?;
            let mut records = Vec::new();
            for row in table.range((name, 0)..=(name, u32::MAX))? {
                let (key, json) = row?;
                records.push(record::plugin(name, key.value().1, json.value()));
            }
            Ok(records)
        })?
        .into_iter()
        .collect()
    }

    /// All groups, also deleted ones, sorted by id.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or a record is damaged.
    pub fn groups(&self) -> Result<Vec<GroupRecord>, MetaStoreError> {
        self.records(GROUPS, record::group)
    }

    /// The component with this digest. Whoever loads it checks the digest.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn plugin_bytes(&self, digest: &PluginDigest) -> Result<Option<Vec<u8>>, MetaStoreError> {
        self.read(|database| {
            let table = database.begin_read()?.open_table(PLUGIN_BYTES)?;
            let bytes = table.get(&digest.0)?;
            Ok(bytes.map(|bytes| bytes.value().to_vec()))
        })
    }

    /// The value of a setting.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn setting(&self, key: &str) -> Result<Option<String>, MetaStoreError> {
        self.read(|database| {
            let table = database.begin_read()?.open_table(SETTINGS)?;
            let value = table.get(key)?;
            Ok(value.map(|value| value.value().to_owned()))
        })
    }

    /// Runs `work` in one transaction; durable when it returns. If `work` fails, nothing is written.
    ///
    /// # Errors
    ///
    /// Those of `work`, or the file cannot be written.
    pub fn write<T, E: From<WriteMetaError>>(
        &self,
        work: impl FnOnce(&mut MetaWrite<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.reopen_if_closed()
            .map_err(|error| E::from(WriteMetaError::Reopen(error)))?;
        let mut is_broken = false;
        let result = self
            .disk
            .run(|database| Ok(write::transact(database, work, &mut is_broken)));
        if is_broken {
            // The engine wants the file opened again, which the next call does.
            self.disk.close();
        }
        result.map_err(|error| E::from(WriteMetaError::Store(error)))?
    }

    /// Stores one setting.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn put_setting(&self, key: &str, value: &str) -> Result<(), WriteMetaError> {
        self.write(|tx| tx.put_setting(key, value))
    }

    /// Removes one setting; fine if there is none.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn remove_setting(&self, key: &str) -> Result<(), WriteMetaError> {
        self.write(|tx| tx.remove_setting(key))
    }

    fn records<K: Key + 'static, T>(
        &self,
        table: JsonTable<K>,
        read: impl Fn(K::SelfType<'_>, &[u8]) -> Result<T, MetaStoreError>,
    ) -> Result<Vec<T>, MetaStoreError> {
        self.read(|database| {
            let table: ReadOnlyTable<K, &'static [u8]> =
                database.begin_read()?.open_table(table)?;
            let mut records = Vec::new();
            for row in table.iter()? {
                let (key, json) = row?;
                records.push(read(key.value(), json.value()));
            }
            Ok(records)
        })?
        .into_iter()
        .collect()
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, EngineError>,
    ) -> Result<T, MetaStoreError> {
        self.reopen_if_closed().map_err(MetaStoreError::Reopen)?;
        Ok(self.disk.run(work)?)
    }

    fn reopen_if_closed(&self) -> Result<(), OpenStoreError> {
        if self.disk.with(|database| database.is_some()) {
            Ok(())
        } else {
            self.disk.reopen()
        }
    }
}

/// Secrets of access keys are in it as they are: only its owner may read it.
fn keep_private(path: &Path) -> Result<(), redb::StorageError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(path, mode).map_err(redb::StorageError::Io)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
