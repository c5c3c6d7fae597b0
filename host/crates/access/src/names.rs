//! Names of those who may connect. Neither holds `|`, which separates the parts of a user name of
//! `ApsaraMQ`, so that no user can be mistaken for a method.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use domain::ParseNameError;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $length_max:literal, $marks:literal, $problem:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and keeps it.
            ///
            /// # Errors
            ///
            /// Says what is wrong with `text` and what would be right.
            pub fn parse(text: &str) -> Result<Self, ParseNameError> {
                if Self::is_valid(text) {
                    return Ok(Self(text.into()));
                }
                Err(ParseNameError {
                    kind: $kind,
                    value: text.chars().take(80).collect(),
                    problem: $problem,
                })
            }

            pub(crate) fn is_valid(text: &str) -> bool {
                let is_allowed = |b: u8| b.is_ascii_alphanumeric() || $marks.contains(&b);
                (1..=$length_max).contains(&text.len()) && text.bytes().all(is_allowed)
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        // As a key of a table it can be looked up by its text: both hash alike.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name!(
    /// An access key's id: 1 to 128 of letters, digits, `-`, `_`, `.`.
    AccessKeyId,
    "access key id",
    128,
    b"-_.",
    "must have 1 to 128 letters, digits, -, _ and ."
);

name!(
    /// A user of the user list: 1 to 64 of letters, digits, `-`, `_`, `.`, `@`, `+`, `:`.
    UserName,
    "user name",
    64,
    b"-_.@+:",
    "must have 1 to 64 letters, digits, -, _, ., @, + and :"
);
