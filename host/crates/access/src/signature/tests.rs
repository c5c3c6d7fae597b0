use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{InstanceId, RefuseAccessError};
use proptest::prelude::*;

use super::{NAME_FORM, NO_CLIENT_ID, OTHER_INSTANCE, PASSWORD_FORM, Signature, sign};
use crate::chain::{Method as _, Presented};
use crate::{AccessKeyId, AccessKeySecret, CredentialTable, Credentials};

const SECRET: &str = "S3cretOfTheKey";
const CLIENT: &str = "GID_A@@@d1";
/// Made by another implementation (Python's `hmac`).
const PASSWORD: &str = "JrFFn8zLaZWtOvDytxQoSuUJfH4=";

fn signature() -> Signature {
    let mut credentials = Credentials::default();
    for (id, secret) in [("AK1", SECRET), ("AK2", "another")] {
        let secret = AccessKeySecret::parse(secret).unwrap();
        credentials
            .put_access_key(AccessKeyId::parse(id).unwrap(), secret)
            .unwrap();
    }
    let store = Arc::new(CredentialTable::new(credentials));
    Signature::new(InstanceId::parse("mqtt-local").unwrap(), store)
}

/// `None`: not this method's.
fn ask(
    client_id: &str,
    username: &str,
    password: &[u8],
) -> Option<Result<bool, RefuseAccessError>> {
    let signature = signature();
    let claim = signature.claim(Presented {
        client_id,
        username,
        password,
    })?;
    Some(claim.and_then(|claim| {
        // It never waits.
        let mut verification = claim.verification;
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match verification.as_mut().poll(&mut context) {
            std::task::Poll::Ready(is_right) => is_right,
            std::task::Poll::Pending => panic!("a signature waits"),
        }
    }))
}

fn password_of(secret: &str, client_id: &str) -> String {
    STANDARD.encode(sign(&AccessKeySecret::parse(secret).unwrap(), client_id))
}

#[test]
fn the_mac_is_the_one_of_rfc_2202() {
    assert_eq!(
        password_of("Jefe", "what do ya want for nothing?"),
        "7/zfauXrL6LSdBbV8YTfnCWafHk="
    );
}

#[test]
fn right_wrong_unknown_and_replayed() {
    let name = "Signature|AK1|mqtt-local";
    let by_other_key = password_of("another", CLIENT);
    let cases: [(&str, &str, &str, bool); 8] = [
        ("right", CLIENT, name, true),
        ("under another client id", "GID_A@@@d2", name, false),
        ("under a longer client id", "GID_A@@@d11", name, false),
        ("under a client id in other case", "GID_a@@@d1", name, false),
        (
            "with another key",
            CLIENT,
            "Signature|AK2|mqtt-local",
            false,
        ),
        (
            "with an unknown key",
            CLIENT,
            "Signature|AK3|mqtt-local",
            false,
        ),
        (
            "with a key in other case",
            CLIENT,
            "Signature|ak1|mqtt-local",
            false,
        ),
        (
            "with a longer key",
            CLIENT,
            "Signature|AK11|mqtt-local",
            false,
        ),
    ];
    for (what, client_id, username, is_right) in cases {
        let answer = ask(client_id, username, PASSWORD.as_bytes());
        assert_eq!(answer, Some(Ok(is_right)), "{what}");
    }
    assert_eq!(ask(CLIENT, name, by_other_key.as_bytes()), Some(Ok(false)));
    // Nobody's secret opens nothing.
    let nobody = STANDARD.encode(sign(&AccessKeySecret::of_nobody(), CLIENT));
    let unknown = "Signature|AK3|mqtt-local";
    assert_eq!(ask(CLIENT, unknown, nobody.as_bytes()), Some(Ok(false)));
    // Neither does the key, nor the secret as it is, nor the HMAC over the group (very old clients).
    assert_eq!(ask(CLIENT, "AK1", PASSWORD.as_bytes()), None);
    let of_group = password_of(SECRET, "GID_A");
    assert_eq!(ask(CLIENT, name, of_group.as_bytes()), Some(Ok(false)));
}

#[test]
fn a_user_name_of_another_form_is_malformed_or_not_a_signature() {
    let malformed = [
        ("Signature|", NAME_FORM),
        ("Signature|AK1", NAME_FORM),
        ("Signature||mqtt-local", NAME_FORM),
        ("Signature|AK1|mqtt-local|", NAME_FORM),
        ("Signature|AK1|mqtt-local|x", NAME_FORM),
        ("Signature|AK 1|mqtt-local", NAME_FORM),
        ("Signature|AK1 |mqtt-local", NAME_FORM),
        ("Signature| AK1|mqtt-local", NAME_FORM),
        ("Signature|ÄK|mqtt-local", NAME_FORM),
        ("Signature|AK1|", OTHER_INSTANCE),
        ("Signature|AK1|mqtt-loca", OTHER_INSTANCE),
        ("Signature|AK1|mqtt-local ", OTHER_INSTANCE),
        ("Signature|AK1|MQTT-local", OTHER_INSTANCE),
        ("Signature|AK1|post-cn-other", OTHER_INSTANCE),
    ];
    for (username, error) in malformed {
        let answer = ask(CLIENT, username, PASSWORD.as_bytes());
        assert_eq!(answer, Some(Err(error)), "{username}");
    }
    for username in [
        "signature|AK1|mqtt-local",
        "Signature",
        "Token|AK1|mqtt-local",
        "",
    ] {
        assert_eq!(
            ask(CLIENT, username, PASSWORD.as_bytes()),
            None,
            "{username}"
        );
    }
}

#[test]
fn a_password_of_another_form_is_malformed() {
    let name = "Signature|AK1|mqtt-local";
    let url_safe = STANDARD.encode([0xff; 20]).replace('/', "_");
    let unpadded = PASSWORD.trim_end_matches('=');
    let newline = format!("{PASSWORD}\n");
    let blank = format!(" {PASSWORD}");
    let sha256 = STANDARD.encode([7; 32]);
    let short = STANDARD.encode([7; 19]);
    let long = STANDARD.encode([7; 21]);
    // The last character of 20 bytes carries two bits that must be 0.
    let loose_bits = "/".repeat(26) + "9=";
    let hex = "00".repeat(14);
    for password in [
        "",
        SECRET,
        unpadded,
        &newline,
        &blank,
        &sha256,
        &short,
        &long,
        &loose_bits,
        &hex,
        &url_safe,
    ] {
        assert_eq!(
            ask(CLIENT, name, password.as_bytes()),
            Some(Err(PASSWORD_FORM)),
            "{password:?}"
        );
    }
    assert_eq!(ask(CLIENT, name, &[0xff; 28]), Some(Err(PASSWORD_FORM)));
}

#[test]
fn an_empty_client_id_cannot_be_signed() {
    let password = password_of(SECRET, "");
    let answer = ask("", "Signature|AK1|mqtt-local", password.as_bytes());
    assert_eq!(answer, Some(Err(NO_CLIENT_ID)));
}

#[test]
fn the_subject_is_the_client_of_the_key() {
    let signature = signature();
    let presented = Presented {
        client_id: CLIENT,
        username: "Signature|AK1|mqtt-local",
        password: PASSWORD.as_bytes(),
    };
    let claim = signature.claim(presented).unwrap().ok().unwrap();
    assert_eq!(claim.subject.name, "AK1");
    assert_eq!(claim.subject.client_id, Some(CLIENT));
    assert_eq!(claim.principal.name.as_deref(), Some("AK1"));
}

proptest! {
    #[test]
    fn every_client_gets_in_with_its_own_password_only(
        client in "[A-Za-z0-9@_-]{1,64}",
        other in "[A-Za-z0-9@_-]{1,64}",
    ) {
        let name = "Signature|AK1|mqtt-local";
        let password = password_of(SECRET, &client);
        prop_assert_eq!(ask(&client, name, password.as_bytes()), Some(Ok(true)));
        let replayed = ask(&other, name, password.as_bytes());
        prop_assert_eq!(replayed, Some(Ok(client == other)));
    }

    #[test]
    fn one_changed_byte_of_the_password_lets_nobody_in(at in 0..28_usize, by in any::<u8>()) {
        let mut password = PASSWORD.as_bytes().to_vec();
        prop_assume!(password[at] != by);
        password[at] = by;
        let answer = ask(CLIENT, "Signature|AK1|mqtt-local", &password);
        prop_assert_ne!(answer, Some(Ok(true)));
    }

    #[test]
    fn one_changed_character_of_the_user_name_lets_nobody_in(at in 0..24_usize, by in 0_u8..0x80) {
        let mut name = b"Signature|AK1|mqtt-local".to_vec();
        prop_assume!(name[at] != by);
        name[at] = by;
        let name = String::from_utf8(name).unwrap();
        prop_assert_ne!(ask(CLIENT, &name, PASSWORD.as_bytes()), Some(Ok(true)));
    }

    #[test]
    fn whatever_is_presented_is_answered(
        client in "\\PC{0,80}",
        name in "(Signature\\||Token\\|)?\\PC{0,40}",
        password in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        prop_assert_ne!(ask(&client, &name, &password), Some(Ok(true)));
    }

    #[test]
    fn a_signature_has_three_parts_of_which_none_has_a_bar(
        parts in proptest::collection::vec("[a-z0-9-]{0,12}", 0..5),
    ) {
        let name = format!("Signature|{}", parts.join("|"));
        let is_of_form = matches!(
            parts.as_slice(),
            [key, instance] if !key.is_empty() && instance == "mqtt-local"
        );
        let answer = ask(CLIENT, &name, PASSWORD.as_bytes()).unwrap();
        prop_assert_eq!(answer.is_ok(), is_of_form);
    }
}
