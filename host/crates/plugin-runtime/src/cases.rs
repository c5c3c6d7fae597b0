//! A plugin's own test cases: an event in, messages or a refusal out.
//!
//! `rulemill plugin build` puts them into the component as a custom section, so that every host that
//! the plugin is uploaded to tries them before any real event depends on it. A case compares only
//! what it names.

mod compare;
mod event_in;
mod section;

use std::sync::Arc;
use std::time::Duration;

use domain::{Mapping, MappingLimits};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::deadline::thread_cpu_time;
use crate::fault::MapperFault;
use crate::mapper::{CompiledPlugin, MapperSpec};
use crate::plain_text::plain;
use crate::room::with_room;
use crate::runtime::{PluginRuntime, PrepareMapperError};
use crate::trial::Attempt;

pub use compare::{ExpectedMessage, Mismatch};
pub use event_in::{EventIn, ReadEventError};
pub(crate) use section::read_cases;
pub use section::{EditSectionError, with_cases};

/// Cases of one plugin.
pub const CASES_MAX: usize = 200;
/// All own cases of a plugin: an upload holds up others for as long.
const CASES_TIME_MAX: Duration = Duration::from_secs(30);
/// All cases of a plugin as they are stored in it, bytes.
pub const CASES_BYTES_MAX: usize = 1 << 20;
/// What a message shows of a case's name, bytes.
const NAME_SHOWN_BYTES_MAX: usize = 200;
/// What it shows of the differences, bytes: with name and remedy it has less than 4 KiB.
const DETAIL_BYTES_MAX: usize = 2500;

/// One case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// What `init` gets; `{}` if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
    /// The event; fields left out get fixed values.
    #[serde(default)]
    pub event: EventIn,
    /// The messages, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub message: Vec<ExpectedMessage>,
    /// No message.
    #[serde(default, skip_serializing_if = "is_false")]
    pub skipped: bool,
    /// The plugin rejects the event with this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
    /// The plugin asks for a retry with this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<String>,
    /// `init` refuses the configuration with this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_refused: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes what it may skip by reference"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

/// What a plugin did with the event of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It mapped or rejected it.
    Mapped(Mapping),
    /// Its `init` refused the configuration.
    ConfigRefused(String),
    /// It misbehaved.
    Fault(MapperFault),
}

/// What came of a case.
#[derive(Clone, Debug)]
pub struct CaseReport {
    /// What the plugin did.
    pub answer: Answer,
    /// Where that is not what the case says; empty: the case holds.
    pub mismatches: Vec<Mismatch>,
    /// The call of `map-event`.
    pub took: Duration,
    /// Linear memory afterwards, bytes.
    pub memory_bytes: u64,
}

/// Why a case cannot be run at all.
#[derive(Debug, thiserror::Error)]
pub enum RunCaseError {
    /// It names no outcome, or more than one.
    #[error(
        "case {name:?} must say exactly one of message, skipped, rejected, retry and config-refused"
    )]
    Outcome {
        /// The case.
        name: String,
    },
    /// Its event cannot be.
    #[error("the event of case {name:?} is wrong")]
    Event {
        /// The case.
        name: String,
        /// What is wrong.
        #[source]
        source: ReadEventError,
    },
    /// Its limits are more than a rule may have.
    #[error(transparent)]
    Limits(#[from] PrepareMapperError),
}

/// A case of a plugin that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its own case {name:?} fails: {detail}")]
pub struct FailedCase {
    /// The case; the beginning of a long name, in one line.
    pub name: String,
    /// What is different, in one line of bounded length.
    pub detail: String,
    /// Whether the host's load may have caused it, so that it says nothing of the plugin.
    pub is_host_busy: bool,
}

impl PluginRuntime {
    /// Runs one case in a throw-away instance. Blocks for `init` and one call, up to their deadlines.
    ///
    /// # Errors
    ///
    /// When the case itself is wrong. What the plugin does is in the report.
    pub fn run_case(
        &self,
        plugin: &Arc<CompiledPlugin>,
        case: &Case,
        limits: MappingLimits,
    ) -> Result<CaseReport, RunCaseError> {
        case.check()?;
        let event = case.event.read().map_err(|source| RunCaseError::Event {
            name: case.name.clone(),
            source,
        })?;
        let config = case
            .config
            .as_ref()
            .map_or_else(|| "{}".to_owned(), Value::to_string);
        let spec = MapperSpec {
            config,
            limits,
            samples: Vec::new(),
        };
        let mapper = self.untried(plugin, spec)?;
        let _ticking = mapper.core.ticker.begin();
        let attempt = || Attempt::make(&mapper, &event);
        let Attempt {
            answer,
            took,
            memory_bytes,
        } = with_room(self.scheduler(), attempt, Attempt::fault);
        Ok(CaseReport {
            mismatches: compare::compare(case, &answer),
            answer,
            took,
            memory_bytes,
        })
    }

    /// Runs the cases that `plugin` brings along; returns how many there are.
    ///
    /// # Errors
    ///
    /// Names the first one that does not hold.
    pub fn run_own_cases(&self, plugin: &Arc<CompiledPlugin>) -> Result<usize, FailedCase> {
        let (started, cpu_before) = (tokio::time::Instant::now(), thread_cpu_time());
        for case in &plugin.cases {
            let failed = |detail: String| FailedCase {
                name: plain(&case.name, NAME_SHOWN_BYTES_MAX),
                detail: plain(&detail, DETAIL_BYTES_MAX),
                is_host_busy: false,
            };
            if started.elapsed() >= CASES_TIME_MAX {
                let detail = format!(
                    "it was not run, since the cases before it took {} s, the most that all together may; make init faster, or have fewer cases",
                    CASES_TIME_MAX.as_secs()
                );
                let cpu = thread_cpu_time().saturating_sub(cpu_before);
                return Err(FailedCase {
                    is_host_busy: cpu < CASES_TIME_MAX / 2,
                    ..failed(detail)
                });
            }
            let report = self
                .run_case(plugin, case, MappingLimits::default())
                .map_err(|error| failed(domain::ErrorChain(&error).to_string()))?;
            if !report.mismatches.is_empty() {
                let texts: Vec<_> = report.mismatches.iter().map(ToString::to_string).collect();
                let is_host_busy =
                    matches!(&report.answer, Answer::Fault(fault) if fault.may_be_load());
                return Err(FailedCase {
                    is_host_busy,
                    ..failed(texts.join("; "))
                });
            }
        }
        Ok(plugin.cases.len())
    }
}

impl Case {
    /// Checks that it says one outcome and that its event can be read.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn check(&self) -> Result<(), RunCaseError> {
        let outcomes = [
            !self.message.is_empty(),
            self.skipped,
            self.rejected.is_some(),
            self.retry.is_some(),
            self.config_refused.is_some(),
        ];
        if outcomes.into_iter().filter(|it| *it).count() != 1 {
            return Err(RunCaseError::Outcome {
                name: self.name.clone(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
