//! Secrets of access keys. They are wiped when they go and never printed.

use std::fmt;

use zeroize::Zeroizing;

/// One block of SHA-1: a longer key would be hashed first, and take longer than others.
const SECRET_BYTES_MAX: usize = 64;

/// Why a text is no secret. Says nothing about the text itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseSecretError {
    /// Empty or too long.
    #[error("a secret has 1 to 64 characters")]
    Length,
    /// Blanks, control characters, or not ASCII.
    #[error("a secret may have visible ASCII characters only")]
    Characters,
}

/// What an access key signs with: 1 to 64 visible ASCII characters.
#[derive(Clone)]
pub struct AccessKeySecret(Zeroizing<Vec<u8>>);

impl AccessKeySecret {
    /// Checks `text` and keeps a copy. Wiping `text` is up to the caller.
    ///
    /// # Errors
    ///
    /// Says what a secret has to be.
    pub fn parse(text: &str) -> Result<Self, ParseSecretError> {
        if !(1..=SECRET_BYTES_MAX).contains(&text.len()) {
            return Err(ParseSecretError::Length);
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ParseSecretError::Characters);
        }
        Ok(Self(Zeroizing::new(text.as_bytes().to_vec())))
    }

    /// A secret that nobody has, for computing in vain.
    pub(crate) fn of_nobody() -> Self {
        Self(Zeroizing::new(vec![0; 30]))
    }

    /// The secret itself, for storing and signing.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for AccessKeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessKeySecret(***)")
    }
}
