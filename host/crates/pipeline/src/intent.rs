//! Stored intent in memory: rules, incarnations, plugins. Replaced as a whole after each change.

use std::collections::BTreeMap;

use domain::{
    AnyRule, DataRule, GroupId, IncarnationId, Mapped, PluginDigest, PluginName, Rule, RuleId,
    VersionSelector,
};
use store::{GenerationsRecord, IncarnationRecord, MetaStore, MetaStoreError, PluginRecord};

/// Where the version is stored that `latest` means for a rule.
pub(crate) fn resolved_key(rule_id: &RuleId) -> String {
    format!("resolved/{rule_id}")
}

/// Where the name of the file is stored that a rule comes from and is changed in only.
pub(crate) fn managed_key(rule_id: &RuleId) -> String {
    format!("managed/{rule_id}")
}

/// What the store says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Intent {
    /// Status rules.
    pub(crate) rules: BTreeMap<RuleId, Rule>,
    /// Data rules, which are held only.
    pub(crate) data_rules: BTreeMap<RuleId, DataRule>,
    /// The file that a rule comes from, of those that come from one.
    pub(crate) managed: BTreeMap<RuleId, String>,
    pub(crate) incarnations: BTreeMap<IncarnationId, IncarnationRecord>,
    /// All versions of a plugin, oldest first.
    pub(crate) plugins: BTreeMap<PluginName, Vec<PluginRecord>>,
    /// What `latest` means, per rule.
    pub(crate) resolved: BTreeMap<RuleId, u32>,
    /// The ways of rules through the versions of their plugins.
    pub(crate) generations: BTreeMap<RuleId, GenerationsRecord>,
}

/// A version that was deleted is no way back, and must not stand before one that is. The same bytes pushed again are
/// another version.
fn forget_deleted(
    record: &mut GenerationsRecord,
    plugins: &BTreeMap<PluginName, Vec<PluginRecord>>,
) {
    let versions = plugins.get(&record.plugin);
    record.earlier.retain(|earlier| {
        let mut stored = versions.into_iter().flatten();
        stored.any(|it| it.version == earlier.version && it.digest == earlier.digest)
    });
}

impl Intent {
    /// Reads everything. Blocks.
    pub(crate) fn read(meta: &MetaStore) -> Result<Self, MetaStoreError> {
        let (mut rules, mut data_rules, mut managed) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for rule in meta.rules()? {
            let rule_id = rule.rule_id().clone();
            if let Some(file) = meta.setting(&managed_key(&rule_id))? {
                managed.insert(rule_id.clone(), file);
            }
            match rule {
                AnyRule::Status(rule) => drop(rules.insert(rule_id, rule)),
                AnyRule::Data(rule) => drop(data_rules.insert(rule_id, rule)),
            }
        }
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
        let mut generations = BTreeMap::new();
        for mut record in meta.generations()? {
            forget_deleted(&mut record, &plugins);
            generations.insert(record.rule_id.clone(), record);
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
            data_rules,
            managed,
            incarnations,
            plugins,
            resolved,
            generations,
        })
    }

    /// The rule that records the events of `group`, enabled or not.
    pub(crate) fn rule_of_group(&self, group: &GroupId) -> Option<&Rule> {
        self.rules
            .values()
            .find(|rule| rule.draft.group_id == *group)
    }

    /// A rule of any type.
    pub(crate) fn any_rule(&self, rule_id: &RuleId) -> Option<AnyRule> {
        let status = self.rules.get(rule_id).cloned().map(AnyRule::Status);
        status.or_else(|| self.data_rules.get(rule_id).cloned().map(AnyRule::Data))
    }

    /// The rules of all types by id.
    pub(crate) fn any_rules(&self) -> BTreeMap<RuleId, AnyRule> {
        let status = self.rules.iter();
        let status = status.map(|(id, rule)| (id.clone(), AnyRule::Status(rule.clone())));
        let data = self.data_rules.iter();
        let data = data.map(|(id, rule)| (id.clone(), AnyRule::Data(rule.clone())));
        status.chain(data).collect()
    }

    /// The version of `plugin` that has these bytes.
    pub(crate) fn version_with(
        &self,
        plugin: &PluginName,
        digest: PluginDigest,
    ) -> Option<&PluginRecord> {
        let mut versions = self.plugins.get(plugin)?.iter();
        versions.find(|record| record.digest == digest)
    }

    /// How many versions all plugins have together.
    pub(crate) fn versions_count(&self) -> usize {
        self.plugins.values().map(Vec::len).sum()
    }

    /// The version that a rule's `mapping` names. `resolved` is what `latest` means; without it, the
    /// newest one that was not withdrawn for the rule.
    pub(crate) fn version(
        &self,
        rule_id: &RuleId,
        mapping: &Mapped,
        resolved: Option<u32>,
    ) -> Option<&PluginRecord> {
        let generations = self.generations.get(rule_id);
        let is_withdrawn = |record: &&PluginRecord| {
            generations.is_some_and(|it| it.withdrawal(&record.digest).is_some())
        };
        let versions = self.plugins.get(&mapping.plugin)?;
        let by_number = |number: u32| versions.iter().find(|record| record.version == number);
        match mapping.version {
            VersionSelector::Latest => resolved
                .and_then(by_number)
                .or_else(|| versions.iter().rev().find(|it| !is_withdrawn(it))),
            VersionSelector::Number(number) => by_number(number),
            VersionSelector::Digest(digest) => self.version_with(&mapping.plugin, digest),
        }
    }
}
