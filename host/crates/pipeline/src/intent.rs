//! Stored intent in memory: rules, incarnations, plugins. Replaced as a whole after each change.

use std::collections::BTreeMap;

use domain::{GroupId, IncarnationId, Mapped, PluginName, Rule, RuleId, VersionSelector};
use store::{IncarnationRecord, MetaStore, MetaStoreError, PluginRecord};

/// Where the version is stored that `latest` means for a rule.
pub(crate) fn resolved_key(rule_id: &RuleId) -> String {
    format!("resolved/{rule_id}")
}

/// What the store says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Intent {
    pub(crate) rules: BTreeMap<RuleId, Rule>,
    pub(crate) incarnations: BTreeMap<IncarnationId, IncarnationRecord>,
    /// All versions of a plugin, oldest first.
    pub(crate) plugins: BTreeMap<PluginName, Vec<PluginRecord>>,
    /// What `latest` means, per rule.
    pub(crate) resolved: BTreeMap<RuleId, u32>,
}

impl Intent {
    /// Reads everything. Blocks.
    pub(crate) fn read(meta: &MetaStore) -> Result<Self, MetaStoreError> {
        let rules: BTreeMap<_, _> = meta
            .rules()?
            .into_iter()
            .map(|rule| (rule.draft.rule_id.clone(), rule))
            .collect();
        let incarnations = meta
            .incarnations()?
            .into_iter()
            .map(|it| (it.id, it))
            .collect();
        let mut plugins: BTreeMap<PluginName, Vec<PluginRecord>> = BTreeMap::new();
        for record in meta.plugins()? {
            plugins.entry(record.name.clone()).or_default().push(record);
        }
        for versions in plugins.values_mut() {
            versions.sort_by_key(|record| record.version);
        }
        let mut resolved = BTreeMap::new();
        for rule_id in rules.keys() {
            let stored = meta.setting(&resolved_key(rule_id))?;
            if let Some(version) = stored.and_then(|text| text.parse().ok()) {
                resolved.insert(rule_id.clone(), version);
            }
        }
        Ok(Self {
            rules,
            incarnations,
            plugins,
            resolved,
        })
    }

    /// The rule that records the events of `group`, enabled or not.
    pub(crate) fn rule_of_group(&self, group: &GroupId) -> Option<&Rule> {
        self.rules
            .values()
            .find(|rule| rule.draft.group_id == *group)
    }

    /// The version that `selector` names. `resolved` is what `latest` means; without it, the
    /// newest one.
    pub(crate) fn version(&self, mapping: &Mapped, resolved: Option<u32>) -> Option<&PluginRecord> {
        let versions = self.plugins.get(&mapping.plugin)?;
        let by_number = |number: u32| versions.iter().find(|record| record.version == number);
        match mapping.version {
            VersionSelector::Latest => resolved.and_then(by_number).or_else(|| versions.last()),
            VersionSelector::Number(number) => by_number(number),
            VersionSelector::Digest(digest) => versions.iter().find(|it| it.digest == digest),
        }
    }
}
