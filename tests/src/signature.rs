//! `ApsaraMQ` Signature, as a device computes it.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

/// The user name for an access key.
#[must_use]
pub fn username(access_key: &str, instance: &str) -> String {
    format!("Signature|{access_key}|{instance}")
}

/// The password for a client id.
///
/// # Errors
///
/// When the secret is no key.
pub fn password(secret: &str, client_id: &str) -> Result<String> {
    let mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes())?;
    Ok(STANDARD.encode(mac.chain_update(client_id).finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    /// `printf %s GID_Demo@@@device1 | openssl sha1 -hmac secret-of-the-manual -binary | base64`
    #[test]
    fn it_is_what_openssl_computes() {
        let password = super::password("secret-of-the-manual", "GID_Demo@@@device1").unwrap();
        assert_eq!(password, "qHJTz0AM7THsHslK3OvAdh0hpZ8=");
    }
}
