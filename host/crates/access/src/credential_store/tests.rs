use super::{
    ACCESS_KEYS_MAX, AddCredentialError, CredentialStore as _, CredentialTable, Credentials,
    USERS_MAX,
};
use crate::{AccessKeyId, AccessKeySecret, PasswordHash, UserName};

fn secret(text: &str) -> AccessKeySecret {
    AccessKeySecret::parse(text).unwrap()
}

#[test]
fn a_replaced_table_counts_at_once() {
    let table = CredentialTable::default();
    assert!(table.is_empty());
    let mut credentials = Credentials::default();
    let id = AccessKeyId::parse("AK1").unwrap();
    credentials
        .put_access_key(id.clone(), secret("one"))
        .unwrap();
    credentials.put_access_key(id, secret("two")).unwrap();
    table.replace(credentials);
    assert!(!table.is_empty());
    assert_eq!(table.access_key_secret("AK1").unwrap().reveal(), b"two");
    assert!(table.access_key_secret("ak1").is_none());
    assert!(table.password_hash("AK1").is_none());

    let mut credentials = Credentials::default();
    let ann = UserName::parse("ann").unwrap();
    credentials
        .put_user(ann, PasswordHash::of_nobody())
        .unwrap();
    table.replace(credentials);
    assert!(table.access_key_secret("AK1").is_none());
    assert!(table.password_hash("ann").is_some());
    assert!(!table.is_empty());
}

#[test]
fn the_tables_are_bounded_and_full_ones_still_take_changes() {
    let mut credentials = Credentials::default();
    let key = |n: usize| AccessKeyId::parse(&format!("AK{n}")).unwrap();
    for n in 0..ACCESS_KEYS_MAX {
        credentials.put_access_key(key(n), secret("x")).unwrap();
    }
    assert_eq!(
        credentials.put_access_key(key(ACCESS_KEYS_MAX), secret("x")),
        Err(AddCredentialError::AccessKeysMax)
    );
    credentials.put_access_key(key(0), secret("new")).unwrap();

    let user = |n: usize| UserName::parse(&format!("u{n}")).unwrap();
    for n in 0..USERS_MAX {
        credentials
            .put_user(user(n), PasswordHash::of_nobody())
            .unwrap();
    }
    assert_eq!(
        credentials.put_user(user(USERS_MAX), PasswordHash::of_nobody()),
        Err(AddCredentialError::UsersMax)
    );
    credentials
        .put_user(user(0), PasswordHash::of_nobody())
        .unwrap();
}

#[test]
fn names_and_secrets_have_their_forms() {
    let names = [
        ("LTAI5tExample", true, true),
        ("a", true, true),
        ("a.b-c_d", true, true),
        ("ann@example.org", false, true),
        ("aa:bb:cc+1", false, true),
        ("", false, false),
        ("a|b", false, false),
        ("a b", false, false),
        ("Zoë", false, false),
        ("a\n", false, false),
        ("a/b", false, false),
    ];
    for (text, is_key, is_user) in names {
        assert_eq!(AccessKeyId::parse(text).is_ok(), is_key, "{text:?}");
        assert_eq!(UserName::parse(text).is_ok(), is_user, "{text:?}");
    }
    assert!(AccessKeyId::parse(&"a".repeat(128)).is_ok());
    assert!(AccessKeyId::parse(&"a".repeat(129)).is_err());
    assert!(UserName::parse(&"a".repeat(64)).is_ok());
    assert!(UserName::parse(&"a".repeat(65)).is_err());
    for (text, is_right) in [
        ("x", true),
        ("~!@#", true),
        ("", false),
        ("a b", false),
        ("a\n", false),
        ("ä", false),
    ] {
        assert_eq!(AccessKeySecret::parse(text).is_ok(), is_right, "{text:?}");
    }
    assert!(AccessKeySecret::parse(&"a".repeat(64)).is_ok());
    assert!(AccessKeySecret::parse(&"a".repeat(65)).is_err());
}
