//! What a rule would make of an event, without sending anything.

use std::sync::Arc;
use std::time::Duration;

use domain::{
    Destination, Mapping, OutboundMessage, PluginDigest, RejectEvent, RuleId, StatusEvent,
};
use plugin_runtime::{Answer, GuestLine, MapperSpec};

use super::rules::not_found;
use super::{Control, ControlCode, ControlError};
use crate::control_errors;
use crate::stamp::stamp;

/// The event of a dry run.
#[derive(Clone, Debug)]
pub enum DryRunEvent {
    /// This one.
    Given(Arc<StatusEvent>),
    /// One of the rule's last events: 1 is the last.
    Sampled(usize),
}

/// What would become of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DryRunOutcome {
    /// These messages, with what the host adds to them; none: the plugin skips the event.
    Mapped(Vec<OutboundMessage>),
    /// The plugin rejects it.
    Rejected(String),
    /// The plugin wants it again later.
    Retry(String),
    /// The plugin refuses the rule's configuration.
    ConfigRefused(String),
    /// The plugin fails: the kind of fault and its report.
    Fault(&'static str, String),
}

/// The answer of a dry run.
#[derive(Clone, Debug)]
pub struct DryRun {
    /// The event.
    pub event: Arc<StatusEvent>,
    /// The version that mapped it.
    pub plugin_version: u32,
    /// Its digest.
    pub plugin_digest: PluginDigest,
    /// Where the messages would go.
    pub destination: Destination,
    /// What it came to.
    pub outcome: DryRunOutcome,
    /// What the plugin logged.
    pub lines: Vec<GuestLine>,
    /// Lines beyond those that are shown.
    pub lines_dropped: u64,
    /// The call of `map-event`.
    pub took: Duration,
    /// The most linear memory that the instance had, bytes.
    pub memory_bytes: u64,
}

impl Control {
    /// Maps one event as the rule would now, in an instance of its own, and sends nothing.
    ///
    /// # Errors
    ///
    /// When there is no such rule or sample, or its plugin is not there.
    pub async fn dry_run(
        &self,
        rule_id: &RuleId,
        event: DryRunEvent,
    ) -> Result<DryRun, ControlError> {
        let intent = self.intent.load_full();
        let Some(rule) = intent.rules.get(rule_id) else {
            return Err(match intent.data_rules.get(rule_id) {
                Some(_) => ControlError::new(
                    ControlCode::DataRuleHeld,
                    format!(
                        "rule {rule_id} is a data rule: no plugin maps its messages; try a client status rule"
                    ),
                ),
                None => not_found(rule_id),
            });
        };
        let event = self.find_event(rule_id, event)?;
        let mapping = rule.draft.mapping.clone();
        let resolved = intent.resolved.get(rule_id).copied();
        let record = intent.version(rule_id, &mapping, resolved).cloned().ok_or_else(|| {
            let message = format!(
                "there is no plugin {} version {}; push it first, or see `rulemill plugin list`",
                mapping.plugin, mapping.version
            );
            ControlError::new(ControlCode::UnknownPlugin, message)
        })?;
        let (reloader, runtime) = (Arc::clone(&self.reloader), Arc::clone(&self.runtime));
        let (version, tried) = (record.clone(), Arc::clone(&event));
        let trial = self
            .blocking(move || {
                let plugin = reloader.stored(&version)?;
                let spec = MapperSpec {
                    config: mapping.config,
                    limits: mapping.limits,
                    samples: Vec::new(),
                };
                runtime
                    .try_event(&plugin, spec, &tried)
                    .map_err(|error| control_errors::prepare(&version.name, &error))
            })
            .await?;
        let outcome = match trial.answer {
            Answer::Mapped(Mapping::Deliver(messages)) => {
                DryRunOutcome::Mapped(stamp(&rule.draft.group_id, &event, messages))
            }
            Answer::Mapped(Mapping::Reject(RejectEvent::Rejected(reason))) => {
                DryRunOutcome::Rejected(reason)
            }
            Answer::Mapped(Mapping::Reject(RejectEvent::Retry(reason))) => {
                DryRunOutcome::Retry(reason)
            }
            Answer::ConfigRefused(reason) => DryRunOutcome::ConfigRefused(reason),
            Answer::Fault(fault) => DryRunOutcome::Fault(fault.kind(), fault.to_string()),
        };
        Ok(DryRun {
            event,
            plugin_version: record.version,
            plugin_digest: record.digest,
            destination: rule.draft.destination.clone(),
            outcome,
            lines: trial.lines,
            lines_dropped: trial.lines_dropped,
            took: trial.took,
            memory_bytes: trial.memory_bytes,
        })
    }

    fn find_event(
        &self,
        rule_id: &RuleId,
        event: DryRunEvent,
    ) -> Result<Arc<StatusEvent>, ControlError> {
        let number = match event {
            DryRunEvent::Given(event) => return Ok(event),
            DryRunEvent::Sampled(number) => number,
        };
        let samples = self.samples(rule_id);
        let sample = number.checked_sub(1).and_then(|index| samples.get(index));
        sample.map(|sample| Arc::clone(&sample.event)).ok_or_else(|| {
            let message = format!(
                "rule {rule_id} has no sample {number}: {} of its last events are kept since the host started, 1 is the last",
                samples.len()
            );
            ControlError::new(ControlCode::SampleNotFound, message)
        })
    }
}
