//! `ApsaraMQ` Signature: user name `Signature|<AccessKeyId>|<InstanceId>`, password
//! Base64(HMAC-SHA1(secret of the access key, client id)).
//!
//! The password belongs to the client id, so it opens nothing under another one. An unknown access key
//! is computed with a secret of nobody: what is done, and for how long, is the same as for a known one.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{AuthenticationMethod, InstanceId, Principal, RefuseAccessError};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::chain::{Claim, Method, Presented};
use crate::throttle::Subject;
use crate::{AccessKeyId, AccessKeySecret, CredentialStore};

const PREFIX: &str = "Signature|";
const TAG_BYTES: usize = 20;
/// What 20 bytes are in Base64, with the padding.
const TAG_CHARACTERS: usize = 28;

const NAME_FORM: RefuseAccessError =
    RefuseAccessError::Malformed("the user name must be Signature|<access key id>|<instance id>");
const OTHER_INSTANCE: RefuseAccessError = RefuseAccessError::Malformed(
    "the instance id in the user name is not the one of this instance",
);
const NO_CLIENT_ID: RefuseAccessError =
    RefuseAccessError::Malformed("a signature needs a client id of the client's own");
const PASSWORD_FORM: RefuseAccessError = RefuseAccessError::Malformed(
    "the password must be the Base64 form of HMAC-SHA1 over the client id, 28 characters",
);

/// The method.
pub(crate) struct Signature {
    instance: InstanceId,
    store: Arc<dyn CredentialStore>,
    nobody: AccessKeySecret,
}

impl Signature {
    pub(crate) fn new(instance: InstanceId, store: Arc<dyn CredentialStore>) -> Self {
        Self {
            instance,
            store,
            nobody: AccessKeySecret::of_nobody(),
        }
    }

    fn parse<'a>(
        &self,
        parts: &'a str,
        presented: Presented<'a>,
    ) -> Result<(&'a str, [u8; TAG_BYTES]), RefuseAccessError> {
        let (access_key, instance) = parts.split_once('|').ok_or(NAME_FORM)?;
        if !AccessKeyId::is_valid(access_key) || instance.contains('|') {
            return Err(NAME_FORM);
        }
        if instance != self.instance.as_str() {
            return Err(OTHER_INSTANCE);
        }
        if presented.client_id.is_empty() {
            return Err(NO_CLIENT_ID);
        }
        let tag = decode(presented.password).ok_or(PASSWORD_FORM)?;
        Ok((access_key, tag))
    }

    fn is_right(&self, access_key: &str, client_id: &str, tag: &[u8; TAG_BYTES]) -> bool {
        let known = self.store.access_key_secret(access_key);
        let secret = known.as_deref().unwrap_or(&self.nobody);
        let is_equal = sign(secret, client_id).as_slice().ct_eq(tag.as_slice());
        bool::from(is_equal) & known.is_some()
    }
}

/// HMAC-SHA1 of `client_id`.
fn sign(secret: &AccessKeySecret, client_id: &str) -> [u8; TAG_BYTES] {
    // The key as HMAC pads it; a secret is never longer than this block.
    let mut block = Zeroizing::new([0; 64]);
    for (to, from) in block.iter_mut().zip(secret.reveal()) {
        *to = *from;
    }
    let mac = Hmac::<Sha1>::new((&*block).into());
    mac.chain_update(client_id).finalize().into_bytes().into()
}

fn decode(password: &[u8]) -> Option<[u8; TAG_BYTES]> {
    if password.len() != TAG_CHARACTERS {
        return None;
    }
    STANDARD.decode(password).ok()?.try_into().ok()
}

impl Method for Signature {
    fn claim<'a>(
        &'a self,
        presented: Presented<'a>,
    ) -> Option<Result<Claim<'a>, RefuseAccessError>> {
        let parts = presented.username.strip_prefix(PREFIX)?;
        let claim = self.parse(parts, presented).map(|(access_key, tag)| Claim {
            subject: Subject {
                method: AuthenticationMethod::Signature,
                name: access_key,
                client_id: Some(presented.client_id),
            },
            principal: Principal {
                name: Some(access_key.into()),
                method: AuthenticationMethod::Signature,
            },
            verification: Box::pin(async move {
                Ok(self.is_right(access_key, presented.client_id, &tag))
            }),
        });
        Some(claim)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signature")
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
