//! The admin token: made at the first start, kept in a file that only its owner reads, compared by
//! hash and in constant time.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pipeline::control;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// What is kept of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl From<TokenHash> for control::TokenHash {
    fn from(hash: TokenHash) -> Self {
        Self(hash.0)
    }
}

impl TokenHash {
    /// SHA-256 of the token. A random token of 256 bits needs no slow hash.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Whether `token` is the one; takes as long either way.
    pub(crate) fn matches(&self, token: &str) -> bool {
        self.0.ct_eq(&Self::of(token).0).into()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(***)")
    }
}

/// The token in `<data_dir>/admin-token`; makes one of 32 random bytes, readable by its owner only,
/// if there is none.
///
/// # Errors
///
/// When the file cannot be read or written, or is empty.
pub fn ensure_admin_token(data_dir: &Path) -> io::Result<String> {
    let path = data_dir.join("admin-token");
    match fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the token file is empty; remove it to get a new token",
        )),
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create_token(data_dir, &path),
        Err(error) => Err(error),
    }
}

/// 256 random bits as text, after `prefix`, by which a leaked one is recognised.
pub(crate) fn random_text(prefix: &str) -> io::Result<String> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

fn create_token(data_dir: &Path, path: &Path) -> io::Result<String> {
    let token = random_text("")?;
    // Written aside and renamed, so that a crash leaves no empty token behind.
    let draft = data_dir.join("admin-token.new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::{TokenHash, ensure_admin_token};

    #[test]
    fn the_token_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let token = ensure_admin_token(folder.path()).unwrap();
        assert_eq!(token.len(), 43);
        assert_eq!(ensure_admin_token(folder.path()).unwrap(), token);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(folder.path().join("admin-token"))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert!(TokenHash::of(&token).matches(&token));
        assert!(!TokenHash::of(&token).matches("other"));
    }

    #[test]
    fn an_empty_token_file_is_no_token() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("admin-token"), "\n").unwrap();
        assert!(ensure_admin_token(folder.path()).is_err());
    }
}
