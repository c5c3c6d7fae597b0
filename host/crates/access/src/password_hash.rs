//! Passwords at rest: argon2id in PHC form, `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>`.
//!
//! The parameters of new hashes are OWASP's first choice for argon2id below 20 MiB. All hashes of one
//! version cost the same, and so does the one of nobody, by which an unknown user is told apart by
//! nothing.

use std::fmt;

use argon2::password_hash::phc;
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// KiB of a new hash.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const OUTPUT_BYTES: usize = 32;
const SALT_BYTES: usize = 16;
/// Longer ones are no passwords; hashing them would cost the more the longer they are.
pub(crate) const PASSWORD_BYTES_MAX: usize = 1_024;

/// OWASP's weakest equivalent has 7 MiB (and five passes).
const MEMORY_KIB_RANGE: std::ops::RangeInclusive<u32> = 7_168..=65_536;
const PASSES_MAX: u32 = 10;
const LANES_MAX: u32 = 4;

/// Why a text is not the hash of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePasswordHashError {
    /// Not of the form, or a part is missing.
    #[error("a password hash has the form $argon2id$v=19$m=…,t=…,p=…$<salt>$<hash of 32 bytes>")]
    Form,
    /// A hash of another kind.
    #[error("the password hash is not argon2id, version 19")]
    Algorithm,
    /// Parameters that are too weak, or would cost too much.
    #[error("the password hash must have m=7168 to 65536, t=1 to 10, p=1 to 4 and nothing else")]
    Parameters,
}

/// Why a password cannot be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashPasswordError {
    /// Empty or too long.
    #[error("a password has 1 to 1024 bytes")]
    Length,
    /// The machine gives no random numbers.
    #[error("no random salt")]
    Salt,
    /// There is no memory for it.
    #[error("no memory to hash a password")]
    Memory,
}

/// The hash of a password.
#[derive(Clone)]
pub struct PasswordHash {
    params: Params,
    salt: Vec<u8>,
    output: Zeroizing<[u8; OUTPUT_BYTES]>,
}

impl PasswordHash {
    /// Hashes `password` with a random salt. Takes about 20 ms and 19 MiB: not for socket threads.
    ///
    /// # Errors
    ///
    /// When `password` is empty or longer than 1,024 bytes, or the machine lacks random numbers or memory.
    pub fn of(password: &[u8]) -> Result<Self, HashPasswordError> {
        if !(1..=PASSWORD_BYTES_MAX).contains(&password.len()) {
            return Err(HashPasswordError::Length);
        }
        let mut hash = Self::of_nobody();
        getrandom::fill(&mut hash.salt).map_err(|_| HashPasswordError::Salt)?;
        hash.output = hash.output_of(password)?;
        Ok(hash)
    }

    /// Reads the PHC form.
    ///
    /// # Errors
    ///
    /// Says what a hash must be. Never prints `text`.
    pub fn parse(text: &str) -> Result<Self, ParsePasswordHashError> {
        let hash = phc::PasswordHash::new(text).map_err(|_| ParsePasswordHashError::Form)?;
        let version = hash.version.map(Version::try_from);
        if hash.algorithm != ARGON2ID_IDENT || !matches!(version, Some(Ok(Version::V0x13))) {
            return Err(ParsePasswordHashError::Algorithm);
        }
        let params = Params::try_from(&hash).map_err(|_| ParsePasswordHashError::Parameters)?;
        let is_fit = MEMORY_KIB_RANGE.contains(&params.m_cost())
            && params.t_cost() <= PASSES_MAX
            && params.p_cost() <= LANES_MAX
            && params.keyid().is_empty()
            && params.data().is_empty();
        if !is_fit {
            return Err(ParsePasswordHashError::Parameters);
        }
        let (Some(salt), Some(output)) = (hash.salt, hash.hash) else {
            return Err(ParsePasswordHashError::Form);
        };
        let output = <[u8; OUTPUT_BYTES]>::try_from(output.as_bytes())
            .map_err(|_| ParsePasswordHashError::Form)?;
        Ok(Self {
            params,
            salt: salt.to_vec(),
            output: Zeroizing::new(output),
        })
    }

    /// The PHC form, for storing.
    #[must_use]
    pub fn to_phc(&self) -> Zeroizing<String> {
        let (memory, passes, lanes) = (
            self.params.m_cost(),
            self.params.t_cost(),
            self.params.p_cost(),
        );
        let salt = STANDARD_NO_PAD.encode(&self.salt);
        let output = Zeroizing::new(STANDARD_NO_PAD.encode(self.output.as_slice()));
        Zeroizing::new(format!(
            "$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${}",
            output.as_str()
        ))
    }

    /// A hash that no password has, with the cost of any other.
    pub(crate) fn of_nobody() -> Self {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(OUTPUT_BYTES));
        Self {
            params: params.unwrap_or_default(),
            salt: vec![0; SALT_BYTES],
            output: Zeroizing::new([0; OUTPUT_BYTES]),
        }
    }

    /// Whether `password` is the one; takes as long either way. Not for socket threads.
    pub(crate) fn is_of(&self, password: &[u8]) -> Result<bool, HashPasswordError> {
        let output = self.output_of(password)?;
        Ok(output.ct_eq(self.output.as_slice()).into())
    }

    /// What tells this hash from every other: a changed password is another hash.
    pub(crate) fn identity(&self) -> [&[u8]; 2] {
        [&self.salt, self.output.as_slice()]
    }

    fn output_of(
        &self,
        password: &[u8],
    ) -> Result<Zeroizing<[u8; OUTPUT_BYTES]>, HashPasswordError> {
        let mut output = Zeroizing::new([0; OUTPUT_BYTES]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone())
            .hash_password_into(password, &self.salt, output.as_mut_slice())
            .map_err(|_| HashPasswordError::Memory)?;
        Ok(output)
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(***)")
    }
}

#[cfg(test)]
mod tests;
