//! Plugins, their versions and their history as the API shows them.

use std::collections::BTreeSet;

use pipeline::control::{PluginVersionView, RuleActivation, WithdrawnVersion};
use serde::Serialize;

use crate::openapi::words;

/// Lines of history that one answer shows of a plugin or of a version, newest first.
pub(crate) const ACTIVATIONS_SHOWN_MAX: usize = 100;

/// A plugin with its newest version.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Plugin)]
pub(crate) struct PluginOut {
    #[schema(value_type = words::PluginNameText)]
    pub(crate) name: String,
    /// How many versions there are.
    pub(crate) versions: usize,
    pub(crate) latest: VersionOut,
    /// What became of its versions in the rules that there are; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) activations: Option<Vec<ActivationOut>>,
}

/// One version.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PluginVersion)]
pub(crate) struct VersionOut {
    #[schema(value_type = words::PluginNameText)]
    name: String,
    version: u32,
    #[schema(value_type = words::PluginDigestText)]
    digest: String,
    /// What it exports.
    exports: Vec<String>,
    /// What it imports.
    imports: Vec<String>,
    /// Bytes.
    size: u64,
    #[schema(value_type = words::TimeMs)]
    created_at: u64,
    /// Who uploaded it.
    created_by: String,
    /// Whether it came with the host.
    built_in: bool,
    /// The rules that it maps for.
    active_for: Vec<String>,
    /// The rules that went back from it.
    withdrawn_for: Vec<WithdrawnOut>,
    /// What became of it in the rules that there are; only where one version is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    activations: Option<Vec<ActivationOut>>,
    /// What whoever pushed it should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    /// The version as a page key: numbers as text would sort 10 before 9.
    #[serde(skip)]
    pub(crate) key: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WithdrawnVersion)]
struct WithdrawnOut {
    rule_id: String,
    #[schema(value_type = words::TimeMs)]
    at: u64,
    by: String,
    reason: String,
}

/// A line of a rule's history of plugin versions.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PluginActivation)]
pub(crate) struct ActivationOut {
    rule_id: String,
    version: u32,
    #[schema(value_type = words::PluginDigestText)]
    digest: String,
    #[schema(value_type = words::TimeMs)]
    at: u64,
    by: String,
    outcome: &'static str,
    reason: Option<String>,
}

impl VersionOut {
    /// With its part of the plugin's history.
    pub(crate) fn with_activations(self, all: Vec<RuleActivation>) -> Self {
        let own = all
            .into_iter()
            .filter(|it| it.activation.digest.to_string() == self.digest);
        Self {
            activations: Some(
                own.map(ActivationOut::from)
                    .take(ACTIVATIONS_SHOWN_MAX)
                    .collect(),
            ),
            ..self
        }
    }

    /// As the answer to an upload: for which rules these bytes are withdrawn, also as another number.
    pub(crate) fn with_warnings(mut self) -> Self {
        self.warnings = self
            .withdrawn_for
            .iter()
            .map(|it| self.warning(it))
            .collect();
        self
    }

    /// As the answer to an upload: which rules keep the version that they have, and why. `all` is the
    /// plugin's history, newest first.
    pub(crate) fn kept_by(mut self, all: Vec<RuleActivation>) -> Self {
        let (number, mut seen) = (self.version, BTreeSet::new());
        for RuleActivation {
            rule_id,
            activation,
        } in all
        {
            let is_last = activation.version == number && seen.insert(rule_id.to_string());
            if is_last && activation.outcome.as_str() == "rejected" {
                let reason = activation.reason.unwrap_or_default();
                self.warnings.push(format!(
                    "rule {rule_id} keeps the version that it has: {reason}; correct the plugin and push it again, or correct mapping.config of the rule; if it still has the old version then, push this one with --again (?again=true)"
                ));
            }
        }
        self
    }

    fn warning(&self, withdrawn: &WithdrawnOut) -> String {
        let (name, version) = (&self.name, self.version);
        let WithdrawnOut {
            rule_id,
            by,
            reason,
            ..
        } = withdrawn;
        format!(
            "version {version} of plugin {name} is withdrawn for rule {rule_id} (by {by}: {reason}); push it with --again (?again=true) to have it tried there once more, or give the rule the version {version}"
        )
    }
}

impl From<PluginVersionView> for VersionOut {
    fn from(view: PluginVersionView) -> Self {
        let withdrawn = view.withdrawn_for.into_iter();
        Self {
            name: view.name.to_string(),
            version: view.version,
            digest: view.digest.to_string(),
            exports: view.exports,
            imports: view.imports,
            size: view.size_bytes,
            created_at: view.created_at_ms,
            created_by: view.created_by.to_string(),
            built_in: view.is_built_in,
            active_for: view.active_for.iter().map(ToString::to_string).collect(),
            withdrawn_for: withdrawn
                .map(|(rule_id, it)| withdrawn_out(rule_id.to_string(), it))
                .collect(),
            activations: None,
            warnings: Vec::new(),
            key: format!("{:010}", view.version),
        }
    }
}

fn withdrawn_out(rule_id: String, withdrawn: WithdrawnVersion) -> WithdrawnOut {
    WithdrawnOut {
        rule_id,
        at: withdrawn.at_ms,
        by: withdrawn.by.to_string(),
        reason: withdrawn.reason,
    }
}

impl From<RuleActivation> for ActivationOut {
    fn from(it: RuleActivation) -> Self {
        let activation = it.activation;
        Self {
            rule_id: it.rule_id.to_string(),
            version: activation.version,
            digest: activation.digest.to_string(),
            at: activation.at_ms,
            by: activation.by.to_string(),
            outcome: activation.outcome.as_str(),
            reason: activation.reason,
        }
    }
}
