//! Who changes something.

use std::fmt;
use std::sync::Arc;

/// Who makes a change of rules, plugins, groups or access: shown in histories and in the audit log.
///
/// Never a secret: a token is named by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Actor(Arc<str>);

impl Actor {
    /// The holder of the token with this name.
    #[must_use]
    pub fn token(name: &str) -> Self {
        Self(format!("token:{name}").into())
    }

    /// The holder of the access key with this id, through the compatible ApsaraMQ actions.
    #[must_use]
    pub fn access_key(id: &str) -> Self {
        Self(format!("access-key:{id}").into())
    }

    /// A file that the host reads by itself: its watched plugin folder, or its folder of rules.
    #[must_use]
    pub fn file(name: &str) -> Self {
        Self(format!("file:{name}").into())
    }

    /// The host itself, for instance when it rolls a plugin back.
    #[must_use]
    pub fn host() -> Self {
        Self("host".into())
    }

    /// As it was stored.
    #[must_use]
    pub fn stored(name: &str) -> Self {
        Self(name.into())
    }

    /// The text that is stored and shown: `token:<name>`, `access-key:<id>`, `file:<name>` or `host`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
