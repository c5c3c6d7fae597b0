//! Everything that must survive a restart: the outbox of status events, and rules, plugins, groups.
//!
//! The only crate that names the storage engine. Two files, so that an administrator's write
//! never waits behind the outbox and the other way round. Nothing here knows of plugins or RocketMQ.

#![warn(missing_docs, missing_debug_implementations)]

mod database;
mod disk;
pub mod fail_point;
mod meta;
mod mirror;
mod outbox;
mod record;
pub mod repair;

pub use database::{EngineError, OpenStoreError};
pub use disk::ReadStoreError;
pub use meta::{
    ACTIVATIONS_MAX, Activation, ActivationOutcome, EARLIER_MAX, EarlierVersion, GenerationsRecord,
    WITHDRAWN_MAX, WithdrawnVersion,
};
pub use meta::{
    AUDITED_CHANGES_MAX, AUDITED_REFUSALS_MAX, AccessKeyRecord, AccessKeyUse, AuditOutcome,
    AuditRecord, KeyMaterial, TokenRecord, UserRecord,
};
pub use meta::{
    ChangeKind, GroupRecord, IncarnationRecord, MetaStore, MetaStoreError, MetaWrite, PluginRecord,
    REVISIONS_MAX, RevisionRecord, WriteMetaError,
};
pub use outbox::{
    Burial, CommitListener, DeadLetter, DeadLetterFilter, DeadLetterReason, EditDeadLettersError,
    IncarnationCounts, OpenOutboxError, Outbox, OutboxConfig, OutboxCounts, OutboxStats, Outcome,
    PendingEvent, PutSlotMapError, RecoveredOutbox, ReplayDeadLetter, Settlement, TakeEventsError,
    UnmatchedListener,
};
