//! Which version of its plugin maps for a rule, which ones did before, and which never is to again.

use domain::{Actor, PluginDigest, PluginName, RuleId};
use serde::{Deserialize, Serialize};

use super::{GENERATIONS, MetaStore, MetaStoreError, MetaWrite, WriteMetaError, record};
use crate::mirror::mirror;

/// Activations that are kept of each rule; older ones are forgotten.
pub const ACTIVATIONS_MAX: usize = 32;
/// Earlier versions that a rule can go back to, one after the other.
pub const EARLIER_MAX: usize = 8;
/// Withdrawn versions that are kept of each rule; beyond it the oldest one is forgotten. By then as
/// many newer ones were withdrawn, so that `latest` would not mean it anyway.
pub const WITHDRAWN_MAX: usize = 64;

/// What became of a version that was to map for a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActivationOutcome {
    /// It maps.
    Activated,
    /// The rule went back to it, and the version before it is withdrawn.
    RolledBack,
    /// It failed its canary; the rule kept the version that it had.
    Rejected,
}

mirror!(StoredOutcome of ActivationOutcome { Activated, RolledBack, Rejected });

impl ActivationOutcome {
    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Activated => "activated",
            Self::RolledBack => "rolledBack",
            Self::Rejected => "rejected",
        }
    }
}

/// One line of a rule's activation history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// The plugin.
    pub plugin: PluginName,
    /// The version that was to map.
    pub version: u32,
    /// Of its bytes.
    pub digest: PluginDigest,
    /// When, UNIX milliseconds.
    pub at_ms: u64,
    /// Who wanted it.
    pub by: Actor,
    /// What became of it.
    pub outcome: ActivationOutcome,
    /// Why, if it was rejected or gone back to.
    pub reason: Option<String>,
}

/// A version that a rule went back from: `latest` never means it for this rule by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithdrawnVersion {
    /// The plugin.
    pub plugin: PluginName,
    /// Its number then.
    pub version: u32,
    /// Of its bytes: what is withdrawn.
    pub digest: PluginDigest,
    /// When, UNIX milliseconds.
    pub at_ms: u64,
    /// Who did it.
    pub by: Actor,
    /// Why.
    pub reason: String,
}

/// A version that mapped for a rule before the present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlierVersion {
    /// Its number.
    pub version: u32,
    /// Of its bytes.
    pub digest: PluginDigest,
    /// It mapped many events and failed on none.
    pub is_proven: bool,
}

/// The generations of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationsRecord {
    /// The rule.
    pub rule_id: RuleId,
    /// The plugin that it has.
    pub plugin: PluginName,
    /// The version that maps.
    pub active: EarlierVersion,
    /// Those that did before and were not withdrawn, oldest first; [`EARLIER_MAX`] at most.
    pub earlier: Vec<EarlierVersion>,
    /// Also of other plugins that it had; oldest first, [`WITHDRAWN_MAX`] at most.
    pub withdrawn: Vec<WithdrawnVersion>,
    /// Also of other plugins that it had; oldest first, [`ACTIVATIONS_MAX`] at most.
    pub activations: Vec<Activation>,
}

impl GenerationsRecord {
    /// How the version with this digest was withdrawn for the rule, if it was.
    #[must_use]
    pub fn withdrawal(&self, digest: &PluginDigest) -> Option<&WithdrawnVersion> {
        self.withdrawn.iter().find(|it| it.digest == *digest)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredActivation {
    plugin: String,
    version: u32,
    digest: String,
    at_ms: u64,
    by: String,
    outcome: StoredOutcome,
    reason: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredWithdrawn {
    plugin: String,
    version: u32,
    digest: String,
    at_ms: u64,
    by: String,
    reason: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredVersion {
    version: u32,
    digest: String,
    is_proven: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredGenerations {
    plugin: String,
    active: StoredVersion,
    earlier: Vec<StoredVersion>,
    withdrawn: Vec<StoredWithdrawn>,
    activations: Vec<StoredActivation>,
}

impl StoredVersion {
    fn of(version: &EarlierVersion) -> Self {
        Self {
            version: version.version,
            digest: version.digest.to_string(),
            is_proven: version.is_proven,
        }
    }

    fn restore(&self) -> Result<EarlierVersion, domain::ParseNameError> {
        Ok(EarlierVersion {
            version: self.version,
            digest: PluginDigest::parse(&self.digest)?,
            is_proven: self.is_proven,
        })
    }
}

impl StoredWithdrawn {
    fn of(withdrawn: &WithdrawnVersion) -> Self {
        Self {
            plugin: withdrawn.plugin.as_str().to_owned(),
            version: withdrawn.version,
            digest: withdrawn.digest.to_string(),
            at_ms: withdrawn.at_ms,
            by: withdrawn.by.as_str().to_owned(),
            reason: withdrawn.reason.clone(),
        }
    }

    fn restore(self) -> Result<WithdrawnVersion, domain::ParseNameError> {
        Ok(WithdrawnVersion {
            plugin: PluginName::parse(&self.plugin)?,
            version: self.version,
            digest: PluginDigest::parse(&self.digest)?,
            at_ms: self.at_ms,
            by: Actor::stored(&self.by),
            reason: self.reason,
        })
    }
}

impl StoredActivation {
    fn of(activation: &Activation) -> Self {
        Self {
            plugin: activation.plugin.as_str().to_owned(),
            version: activation.version,
            digest: activation.digest.to_string(),
            at_ms: activation.at_ms,
            by: activation.by.as_str().to_owned(),
            outcome: activation.outcome.into(),
            reason: activation.reason.clone(),
        }
    }

    fn restore(self) -> Result<Activation, domain::ParseNameError> {
        Ok(Activation {
            plugin: PluginName::parse(&self.plugin)?,
            version: self.version,
            digest: PluginDigest::parse(&self.digest)?,
            at_ms: self.at_ms,
            by: Actor::stored(&self.by),
            outcome: self.outcome.into(),
            reason: self.reason,
        })
    }
}

impl StoredGenerations {
    fn of(record: &GenerationsRecord) -> Self {
        Self {
            plugin: record.plugin.as_str().to_owned(),
            active: StoredVersion::of(&record.active),
            earlier: record.earlier.iter().map(StoredVersion::of).collect(),
            withdrawn: record.withdrawn.iter().map(StoredWithdrawn::of).collect(),
            activations: record
                .activations
                .iter()
                .map(StoredActivation::of)
                .collect(),
        }
    }

    fn restore(self, rule_id: &str) -> Result<GenerationsRecord, domain::ParseNameError> {
        let earlier = self.earlier.iter().map(StoredVersion::restore);
        let withdrawn = self.withdrawn.into_iter().map(StoredWithdrawn::restore);
        let activations = self.activations.into_iter().map(StoredActivation::restore);
        Ok(GenerationsRecord {
            rule_id: RuleId::parse(rule_id)?,
            plugin: PluginName::parse(&self.plugin)?,
            active: self.active.restore()?,
            earlier: earlier.collect::<Result<_, _>>()?,
            withdrawn: withdrawn.collect::<Result<_, _>>()?,
            activations: activations.collect::<Result<_, _>>()?,
        })
    }
}

impl MetaStore {
    /// The generations of all rules that ever had a plugin, sorted by rule.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or a record is damaged.
    pub fn generations(&self) -> Result<Vec<GenerationsRecord>, MetaStoreError> {
        self.records(GENERATIONS, |rule_id, json| {
            record::read("generations", rule_id, json, |it: StoredGenerations| {
                it.restore(rule_id)
            })
        })
    }
}

impl MetaWrite<'_> {
    /// Stores the generations of a rule, without what is beyond the limits.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn put_generations(&mut self, record: &GenerationsRecord) -> Result<(), WriteMetaError> {
        let mut stored = StoredGenerations::of(record);
        forget_oldest(&mut stored.activations, ACTIVATIONS_MAX);
        forget_oldest(&mut stored.withdrawn, WITHDRAWN_MAX);
        forget_oldest(&mut stored.earlier, EARLIER_MAX);
        let json = serde_json::to_vec(&stored)?;
        self.transaction
            .open_table(GENERATIONS)?
            .insert(record.rule_id.as_str(), json.as_slice())?;
        Ok(())
    }

    /// Forgets the generations of a rule; fine if there are none.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn remove_generations(&mut self, rule_id: &RuleId) -> Result<(), WriteMetaError> {
        self.transaction
            .open_table(GENERATIONS)?
            .remove(rule_id.as_str())?;
        Ok(())
    }
}

fn forget_oldest<T>(items: &mut Vec<T>, kept: usize) {
    items.drain(..items.len().saturating_sub(kept));
}

#[cfg(test)]
mod tests;
