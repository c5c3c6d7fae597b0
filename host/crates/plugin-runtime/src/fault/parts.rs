//! What an instance may have only so many of. The limits are those of [`crate::budget`].

use std::fmt;

use crate::budget::{INSTANCES_MAX, MEMORIES_MAX, TABLES_MAX};

/// What the engine counts while it makes an instance of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountedPart {
    /// Linear memories.
    Memory,
    /// Tables.
    Table,
    /// Instances of core modules.
    Instance,
}

impl CountedPart {
    const ALL: [Self; 3] = [Self::Memory, Self::Table, Self::Instance];

    /// What there is too much of, and how many there would be, if `reason` says that.
    ///
    /// The engine has no type for it: the text is all there is.
    pub(super) fn exceeded(reason: &str) -> Option<(Self, usize)> {
        let reason = reason.strip_prefix("resource limit exceeded: ")?;
        let (name, count) = reason.split_once(" count too high at ")?;
        let part = Self::ALL.into_iter().find(|part| part.name() == name)?;
        Some((part, count.parse().ok()?))
    }

    /// As the engine calls one.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Table => "table",
            Self::Instance => "instance",
        }
    }

    /// How many an instance of a plugin may have.
    #[must_use]
    pub fn count_max(self) -> usize {
        match self {
            Self::Memory => MEMORIES_MAX,
            Self::Table => TABLES_MAX,
            Self::Instance => INSTANCES_MAX,
        }
    }

    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::Memory => "have fewer modules in the component, or fewer memories in them",
            Self::Table => "have fewer modules in the component, or fewer tables in them",
            Self::Instance => "have fewer modules in the component, or instantiate them less often",
        }
    }
}

/// Many of them.
impl fmt::Display for CountedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memories",
            Self::Table => "tables",
            Self::Instance => "core instances",
        })
    }
}
