//! Who signed a request, by either of the two ways.
//!
//! Both sign action, parameters, time and nonce with the access key's secret, so none of them can be
//! changed and no request can be sent twice. The comparison takes the same time for every wrong one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use access::AccessKeySecret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::call::{ACTION_HEADER, Call};
use super::failure::Failure;
use super::replay::Nonces;
use super::time_window;

const ACS3: &str = "ACS3-HMAC-SHA256";
const CONTENT_HEADER: &str = "x-acs-content-sha256";
const DATE_HEADER: &str = "x-acs-date";
const NONCE_HEADER: &str = "x-acs-signature-nonce";
/// Without these in the signature, somebody could change what the request means.
const SIGNED_ALWAYS: [&str; 6] = [
    "host",
    ACTION_HEADER,
    "x-acs-version",
    DATE_HEADER,
    NONCE_HEADER,
    CONTENT_HEADER,
];
/// Signed headers of a request.
const SIGNED_HEADERS_MAX: usize = 50;
/// All but what RFC 3986 calls unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The id of the access key that signed the request.
pub(crate) fn verify(
    call: &Call,
    body: &[u8],
    secret: impl Fn(&str) -> Option<Arc<AccessKeySecret>>,
    now_ms: u64,
    nonces: &Nonces,
) -> Result<String, Failure> {
    let signed = match call.header("authorization") {
        Some(value) => by_header(call, body, value, secret)?,
        None => by_parameter(call, secret)?,
    };
    time_window::check(&signed.time, now_ms)?;
    nonces.take(&signed.key, &signed.nonce, now_ms)?;
    Ok(signed.key)
}

struct Signed {
    key: String,
    time: String,
    nonce: String,
}

/// `ACS3-HMAC-SHA256 Credential=…,SignedHeaders=…,Signature=…`
fn by_header(
    call: &Call,
    body: &[u8],
    value: &str,
    secret: impl Fn(&str) -> Option<Arc<AccessKeySecret>>,
) -> Result<Signed, Failure> {
    let form = || {
        Failure::incomplete_signature(format!(
            "Authorization has to be {ACS3} Credential=ID,SignedHeaders=a;b,Signature=HEX."
        ))
    };
    let (algorithm, fields) = value.split_once(' ').ok_or_else(form)?;
    if algorithm != ACS3 {
        return Err(form());
    }
    let fields: BTreeMap<&str, &str> = fields
        .split(',')
        .filter_map(|field| field.trim().split_once('='))
        .collect();
    let field = |name: &str| fields.get(name).copied().ok_or_else(form);
    let (key, names, signature) = (
        field("Credential")?,
        field("SignedHeaders")?,
        field("Signature")?,
    );
    let names: Vec<&str> = names.split(';').collect();
    if names.len() > SIGNED_HEADERS_MAX {
        return Err(Failure::incomplete_signature(format!(
            "More than {SIGNED_HEADERS_MAX} headers are signed."
        )));
    }
    if let Some(missing) = SIGNED_ALWAYS.iter().find(|name| !names.contains(name)) {
        return Err(Failure::incomplete_signature(format!(
            "The header {missing} has to be among SignedHeaders."
        )));
    }
    let digest = hex(&Sha256::digest(body));
    if call.header(CONTENT_HEADER) != Some(digest.as_str()) {
        return Err(Failure::incomplete_signature(format!(
            "{CONTENT_HEADER} is not the SHA-256 of the body."
        )));
    }
    let request = canonical_request(call, &names, &digest)?;
    let text = format!("{ACS3}\n{}", hex(&Sha256::digest(&request)));
    let secret = secret(key).ok_or_else(Failure::access_key)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.reveal()).map_err(|_| form())?;
    mac.update(text.as_bytes());
    let ours = hex(&mac.finalize().into_bytes());
    if !bool::from(ours.as_bytes().ct_eq(signature.as_bytes())) {
        return Err(Failure::signature(&text.replace('\n', " ")));
    }
    let needed = |name: &str| call.header(name).map(str::to_owned).ok_or_else(form);
    Ok(Signed {
        key: key.to_owned(),
        time: needed(DATE_HEADER)?,
        nonce: needed(NONCE_HEADER)?,
    })
}

fn canonical_request(call: &Call, names: &[&str], digest: &str) -> Result<String, Failure> {
    let mut headers = String::new();
    for name in names {
        let values: Option<Vec<&str>> = call
            .headers
            .get_all(*name)
            .iter()
            .map(|value| value.to_str().ok().map(str::trim))
            .collect();
        let mut values = values.filter(|values| !values.is_empty()).ok_or_else(|| {
            Failure::incomplete_signature(format!("The signed header {name} is missing."))
        })?;
        values.sort_unstable();
        // Writing to a String does not fail.
        let _ok = writeln!(headers, "{name}:{}", values.join(","));
    }
    Ok(format!(
        "{}\n/\n{}\n{headers}\n{}\n{digest}",
        call.method,
        canonical_query(&call.query),
        names.join(";")
    ))
}

/// `Signature` among the parameters, of the older SDKs.
fn by_parameter(
    call: &Call,
    secret: impl Fn(&str) -> Option<Arc<AccessKeySecret>>,
) -> Result<Signed, Failure> {
    let field = |name: &str| {
        call.parameters.get(name).cloned().ok_or_else(|| {
            Failure::incomplete_signature(format!(
                "{name} is missing: a request is signed by the header Authorization ({ACS3}) or by the parameters AccessKeyId, Signature, SignatureMethod, SignatureVersion, SignatureNonce and Timestamp."
            ))
        })
    };
    let (key, signature) = (field("AccessKeyId")?, field("Signature")?);
    let (method, version) = (field("SignatureMethod")?, field("SignatureVersion")?);
    if method != "HMAC-SHA1" || version != "1.0" {
        return Err(Failure::incomplete_signature(
            "SignatureMethod has to be HMAC-SHA1 and SignatureVersion 1.0.",
        ));
    }
    let mut signed = call.parameters.clone();
    signed.remove("Signature");
    let text = format!(
        "{}&{}&{}",
        call.method,
        encoded("/"),
        encoded(&canonical_query(&signed))
    );
    let secret = secret(&key).ok_or_else(Failure::access_key)?;
    let mut signing_key = secret.reveal().to_vec();
    signing_key.push(b'&');
    let mac = Hmac::<Sha1>::new_from_slice(&signing_key);
    signing_key.fill(0);
    let mut mac = mac.map_err(|_| Failure::access_key())?;
    mac.update(text.as_bytes());
    let ours = STANDARD.encode(mac.finalize().into_bytes());
    if !bool::from(ours.as_bytes().ct_eq(signature.as_bytes())) {
        return Err(Failure::signature(&text));
    }
    Ok(Signed {
        key,
        time: field("Timestamp")?,
        nonce: field("SignatureNonce")?,
    })
}

fn canonical_query(parameters: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = parameters
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
        .collect();
    pairs.join("&")
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ok = write!(text, "{byte:02x}");
        text
    })
}
