//! What an apply changes, or why it cannot.

use std::fmt;

use domain::{AnyRuleDraft, GroupId, PluginDigest, PluginName, RuleId};

use super::super::{ControlCode, ControlError};

/// One thing that an apply changes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are rules, and there is one list of them while it is planned"
)]
pub enum PlannedChange {
    /// The group is made.
    Group(GroupId),
    /// The plugin gets this version.
    Plugin {
        /// The plugin.
        name: PluginName,
        /// The number of its new version.
        version: u32,
        /// Of the component.
        digest: PluginDigest,
    },
    /// The rule is created, changed or deleted.
    Rule {
        /// What it was; `None`: it is new.
        before: Option<AnyRuleDraft>,
        /// What it becomes; `None`: it is deleted.
        after: Option<AnyRuleDraft>,
    },
}

/// All that an apply changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplyPlan {
    /// The changes, each with what the user should know of it.
    pub changes: Vec<(PlannedChange, Vec<String>)>,
    /// Declared things that are as declared already.
    pub unchanged: usize,
    /// What the user should know of those.
    pub warnings: Vec<String>,
    /// Whether the changes were made.
    pub is_applied: bool,
}

/// One thing that stands in the way of an apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyProblem {
    /// Of what it is said, such as `rule a`; empty: of all.
    pub subject: String,
    /// What is wrong.
    pub error: ControlError,
}

impl ApplyProblem {
    pub(super) fn of_rule(rule_id: &RuleId, error: ControlError) -> Self {
        Self {
            subject: format!("rule {rule_id}"),
            error,
        }
    }

    pub(super) fn of_plugin(name: &PluginName, error: ControlError) -> Self {
        Self {
            subject: format!("plugin {name}"),
            error,
        }
    }

    pub(super) fn of_all(error: ControlError) -> Self {
        Self {
            subject: String::new(),
            error,
        }
    }
}

/// Why nothing was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyError {
    /// The first problem: what a single change would have been answered.
    pub first: ApplyProblem,
    /// The others.
    pub others: Vec<ApplyProblem>,
}

impl ApplyError {
    pub(super) fn of(problems: Vec<ApplyProblem>) -> Option<Self> {
        let mut problems = problems.into_iter();
        problems.next().map(|first| Self {
            first,
            others: problems.collect(),
        })
    }

    /// The code of the first problem.
    #[must_use]
    pub fn code(&self) -> ControlCode {
        self.first.error.code
    }
}

impl From<ControlError> for ApplyError {
    fn from(error: ControlError) -> Self {
        Self {
            first: ApplyProblem::of_all(error),
            others: Vec::new(),
        }
    }
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first.error.message)?;
        match self.others.len() {
            0 => Ok(()),
            1 => f.write_str("; and one more problem"),
            more => write!(f, "; and {more} more problems"),
        }
    }
}

impl std::error::Error for ApplyError {}
