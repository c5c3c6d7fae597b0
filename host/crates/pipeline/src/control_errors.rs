//! Errors of the parts → the closed set of the control side. The one place that knows both.

use domain::{CreateTopicError, ErrorChain, PluginName, RouteError};
use plugin_runtime::{CompilePluginError, FailedCase, InspectPluginError, PrepareMapperError};

use crate::control_error::{ControlCode, ControlError};

/// Of what a plugin says.
const MESSAGE_CHARS_MAX: usize = 3000;
const TRY_LATER: &str =
    "the host is too busy to say whether that is the plugin's fault, try again later";
const CORRECT_CASE: &str = "correct the plugin or the case, see `rulemill plugin test`";

pub(crate) fn store(error: &(dyn std::error::Error + 'static)) -> ControlError {
    let chain = ErrorChain(error).to_string();
    tracing::error!(error = %chain, "store failed");
    ControlError::new(
        ControlCode::StoreFailed,
        format!("the store failed: {chain}; see the host's log and its disk"),
    )
}

pub(crate) fn inspect(error: &InspectPluginError) -> ControlError {
    let code = match error {
        InspectPluginError::TooLarge { .. } => ControlCode::ComponentTooLarge,
        InspectPluginError::NotAComponent { .. } => ControlCode::NotAComponent,
        InspectPluginError::UnsupportedContract { .. } => ControlCode::UnsupportedContract,
        InspectPluginError::ForbiddenImport { .. } => ControlCode::ForbiddenImport,
    };
    ControlError::new(code, ErrorChain(error).to_string())
}

pub(crate) fn compile(error: &CompilePluginError) -> ControlError {
    match error {
        CompilePluginError::Inspect(error) => inspect(error),
        other @ CompilePluginError::Compile { .. } => {
            ControlError::new(ControlCode::NotAComponent, ErrorChain(other).to_string())
        }
        other @ (CompilePluginError::BadCases { .. } | CompilePluginError::TableTooLarge) => {
            ControlError::new(ControlCode::CanaryFailed, ErrorChain(other).to_string())
        }
        other @ CompilePluginError::TooExpensive { .. } => ControlError::new(
            ControlCode::CompileLimitExceeded,
            ErrorChain(other).to_string(),
        ),
        other @ CompilePluginError::CompilerFailed { .. } => {
            ControlError::new(ControlCode::CompilerFailed, ErrorChain(other).to_string())
        }
    }
}

pub(crate) fn own_case(plugin: &PluginName, error: &FailedCase) -> ControlError {
    let staged = staged_case(error);
    ControlError::new(staged.code, format!("plugin {plugin}: {}", staged.message))
}

/// The same of a component that has no name yet.
pub(crate) fn staged_case(error: &FailedCase) -> ControlError {
    let text = one_line(&error.to_string());
    let (code, remedy) = if error.is_host_busy {
        (ControlCode::HostBusy, TRY_LATER)
    } else {
        (ControlCode::CanaryFailed, CORRECT_CASE)
    };
    ControlError::new(code, format!("{text}; {remedy}"))
}

pub(crate) fn prepare(plugin: &PluginName, error: &PrepareMapperError) -> ControlError {
    let chain = one_line(&ErrorChain(error).to_string());
    let code = match error {
        PrepareMapperError::ConfigRefused { .. } => ControlCode::ConfigRefused,
        PrepareMapperError::LimitTooHigh { .. } => ControlCode::InvalidRule,
        PrepareMapperError::CanaryFailed { .. } => ControlCode::CanaryFailed,
        PrepareMapperError::HostBusy { .. } => ControlCode::HostBusy,
    };
    ControlError::new(code, format!("plugin {plugin}: {chain}"))
}

/// A message of one line that can be read: what a plugin says may have line breaks, and any length.
fn one_line(text: &str) -> String {
    let mut line: String = text
        .chars()
        .take(MESSAGE_CHARS_MAX)
        .map(|it| if it.is_control() { ' ' } else { it })
        .collect();
    if line.len() < text.len() {
        line.push('…');
    }
    line
}

pub(crate) fn route(error: &RouteError) -> ControlError {
    match error {
        RouteError::TopicNotFound { topic } => ControlError::new(
            ControlCode::TopicNotFound,
            format!(
                "topic {topic} does not exist; create it in RocketMQ, set create-topics = true for the \
                 instance, or save the rule all the same with force=true (--force)"
            ),
        ),
        RouteError::NoWritableQueue { .. } => ControlError::new(
            ControlCode::TopicNotFound,
            format!(
                "{error}; make one writable, or save the rule all the same with force=true (--force)"
            ),
        ),
        RouteError::Unreachable { .. } => ControlError::new(
            ControlCode::RocketmqUnreachable,
            format!(
                "{error}; start it or correct name-servers, or save the rule all the same with force=true (--force)"
            ),
        ),
        RouteError::Denied { .. } => ControlError::new(
            ControlCode::RocketmqDenied,
            format!(
                "{error}; check the access key of the instance and its permission for the topic"
            ),
        ),
    }
}

pub(crate) fn create_topic(error: &CreateTopicError) -> ControlError {
    let (code, remedy) = match error {
        CreateTopicError::Unreachable { .. } => (
            ControlCode::RocketmqUnreachable,
            "start it or correct name-servers",
        ),
        CreateTopicError::NotOffered { .. } => (
            ControlCode::RocketmqUnreachable,
            "brokers tell the name servers again by themselves: do it again in a minute, or save the rule now with force=true \
             (--force); if it stays so, see whether the brokers reach the name servers",
        ),
        CreateTopicError::Refused { .. } => (
            ControlCode::RocketmqDenied,
            "create the topic in RocketMQ, or check the access key of the instance",
        ),
    };
    ControlError::new(code, format!("{error}; {remedy}"))
}
