use proptest::prelude::*;

use super::{HashPasswordError, ParsePasswordHashError, PasswordHash};

/// The reference implementation's test vector of argon2id: 64 MiB, two passes, "somesalt".
const VECTOR: &str =
    "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

#[test]
fn the_reference_vector_verifies_and_no_other_password_does() {
    let hash = PasswordHash::parse(VECTOR).unwrap();
    assert!(hash.is_of(b"password").unwrap());
    assert!(!hash.is_of(b"Password").unwrap());
    assert_eq!(*hash.to_phc(), VECTOR);
}

#[test]
fn a_new_hash_has_the_stated_parameters_and_a_salt_of_its_own() {
    let one = PasswordHash::of(b"secret").unwrap();
    let other = PasswordHash::of(b"secret").unwrap();
    assert!(one.to_phc().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    assert_ne!(one.to_phc(), other.to_phc());
    let read = PasswordHash::parse(&one.to_phc()).unwrap();
    assert!(read.is_of(b"secret").unwrap());
    assert!(!read.is_of(b"secret ").unwrap());
    assert!(!read.is_of(b"").unwrap());
}

#[test]
fn nobody_has_a_password() {
    let nobody = PasswordHash::of_nobody();
    assert!(!nobody.is_of(b"password").unwrap());
    // The same cost as a hash of a user.
    let parameters = "$argon2id$v=19$m=19456,t=2,p=1$";
    assert!(nobody.to_phc().starts_with(parameters));
}

#[test]
fn a_password_has_1_to_1024_bytes() {
    assert_eq!(
        PasswordHash::of(b"").unwrap_err(),
        HashPasswordError::Length
    );
    assert_eq!(
        PasswordHash::of(&[b'x'; 1_025]).unwrap_err(),
        HashPasswordError::Length
    );
    assert!(PasswordHash::of(&[b'x'; 1_024]).is_ok());
    assert!(PasswordHash::of(b"x").is_ok());
}

#[test]
fn only_argon2id_of_fit_cost_is_a_hash() {
    use ParsePasswordHashError::{Algorithm, Form, Parameters};
    let rest = "c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    let cases = [
        ("$argon2id$v=19$m=7168,t=5,p=1$", rest, None),
        ("$argon2id$v=19$m=65536,t=10,p=4$", rest, None),
        ("$argon2id$v=19$m=7167,t=5,p=1$", rest, Some(Parameters)),
        ("$argon2id$v=19$m=65537,t=2,p=1$", rest, Some(Parameters)),
        ("$argon2id$v=19$m=4194304,t=2,p=1$", rest, Some(Parameters)),
        ("$argon2id$v=19$m=19456,t=11,p=1$", rest, Some(Parameters)),
        ("$argon2id$v=19$m=19456,t=2,p=5$", rest, Some(Parameters)),
        ("$argon2id$v=19$m=19456,t=0,p=1$", rest, Some(Parameters)),
        ("$argon2id$v=16$m=19456,t=2,p=1$", rest, Some(Algorithm)),
        ("$argon2id$m=19456,t=2,p=1$", rest, Some(Algorithm)),
        ("$argon2i$v=19$m=19456,t=2,p=1$", rest, Some(Algorithm)),
        (
            "$2b$12$",
            "R9h.cIPz0gi.URNNX3kh2OPST9.PgBkqquzi.Ss7KIUgO2t0jWMUW",
            Some(Form),
        ),
        ("argon2id$v=19$m=19456,t=2,p=1$", rest, Some(Form)),
        ("$argon2id$v=19$m=19456,t=2,p=1$", "c29tZXNhbHQ", Some(Form)),
        (
            "$argon2id$v=19$m=19456,t=2,p=1$",
            "c29tZXNhbHQ$CTFhFdXPJO0",
            Some(Form),
        ),
        ("", "", Some(Form)),
        ("password", "", Some(Form)),
    ];
    for (head, tail, error) in cases {
        let text = format!("{head}{tail}");
        assert_eq!(PasswordHash::parse(&text).err(), error, "{text}");
    }
}

#[test]
fn a_hash_is_not_printed() {
    let hash = PasswordHash::parse(VECTOR).unwrap();
    assert_eq!(format!("{hash:?}"), "PasswordHash(***)");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,120}") {
        if let Ok(hash) = PasswordHash::parse(&text) {
            prop_assert!(PasswordHash::parse(&hash.to_phc()).is_ok());
        }
    }

    #[test]
    fn any_damage_is_read_or_refused(at in 0..VECTOR.len(), by in 0x20_u8..0x7f) {
        let mut bytes = VECTOR.as_bytes().to_vec();
        bytes[at] = by;
        let text = String::from_utf8(bytes).unwrap();
        if let Ok(hash) = PasswordHash::parse(&text) {
            prop_assert!(PasswordHash::parse(&hash.to_phc()).is_ok());
        }
    }
}
