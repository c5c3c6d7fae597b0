//! The whole chain, from both sides of each of its rules.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{
    AuthenticationMethod, Authenticator as _, ConnectAttempt, InstanceId, ListenerFacts, Principal,
    RefuseAccessError,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use tokio::runtime::Handle;

use crate::{
    AccessConfig, AccessKeyId, AccessKeySecret, Anonymous, AuthenticatorChain, CredentialTable,
    Credentials, FailureRate, PasswordHash, UserName,
};

const KEY: &str = "LTAI5tExample";
const SECRET: &str = "kept-by-nobody-else";
const CLIENT: &str = "GID_A@@@d1";
const SIGNED_NAME: &str = "Signature|LTAI5tExample|mqtt-local";
const LOOPBACK: &str = "127.0.0.1:1883";
const PUBLIC: &str = "0.0.0.0:1883";
const PEER: &str = "192.0.2.1:50000";

/// So slow that nothing is forgiven while a test runs.
const RATE: FailureRate = FailureRate {
    burst: NonZeroU32::new(5).unwrap(),
    interval: Duration::from_secs(3_600),
};

fn credentials() -> Credentials {
    let mut credentials = Credentials::default();
    let secret = AccessKeySecret::parse(SECRET).unwrap();
    credentials
        .put_access_key(AccessKeyId::parse(KEY).unwrap(), secret)
        .unwrap();
    let hash = PasswordHash::of(b"right").unwrap();
    credentials
        .put_user(UserName::parse("ann").unwrap(), hash)
        .unwrap();
    credentials
}

fn config(anonymous: Anonymous) -> AccessConfig {
    let instance = InstanceId::parse("mqtt-local").unwrap();
    AccessConfig::with_cores(instance, anonymous, NonZeroUsize::MIN)
}

fn chain_of(config: AccessConfig, table: &Arc<CredentialTable>) -> AuthenticatorChain {
    let store = Arc::clone(table);
    AuthenticatorChain::new(config, store, Handle::current()).unwrap()
}

fn chain(anonymous: Anonymous) -> AuthenticatorChain {
    let table = Arc::new(CredentialTable::new(credentials()));
    chain_of(config(anonymous), &table)
}

fn attempt<'a>(username: Option<&'a str>, password: Option<&'a str>) -> ConnectAttempt<'a> {
    ConnectAttempt {
        client_id: CLIENT,
        username: username.map(str::as_bytes),
        password: password.map(str::as_bytes),
        peer: PEER.parse().unwrap(),
        listener: ListenerFacts {
            kind: "tcp",
            address: PUBLIC.parse().unwrap(),
        },
    }
}

fn on(listener: &str, attempt: ConnectAttempt<'static>) -> ConnectAttempt<'static> {
    let address: SocketAddr = listener.parse().unwrap();
    let listener = ListenerFacts {
        address,
        ..attempt.listener
    };
    ConnectAttempt {
        listener,
        ..attempt
    }
}

fn signed(secret: &str, client_id: &str) -> String {
    let mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    STANDARD.encode(mac.chain_update(client_id).finalize().into_bytes())
}

fn principal(name: &str, method: AuthenticationMethod) -> Principal {
    Principal {
        name: Some(name.into()),
        method,
    }
}

#[tokio::test]
async fn who_presents_nothing_is_let_in_by_policy_and_listener() {
    let ok = Ok(Principal::anonymous());
    let refused = Err(RefuseAccessError::Anonymous);
    let cases = [
        (Anonymous::Loopback, LOOPBACK, &ok),
        (Anonymous::Loopback, "[::1]:1883", &ok),
        (Anonymous::Loopback, PUBLIC, &refused),
        (Anonymous::Loopback, "192.0.2.9:1883", &refused),
        (Anonymous::Always, LOOPBACK, &ok),
        (Anonymous::Always, PUBLIC, &ok),
        (Anonymous::Never, LOOPBACK, &refused),
        (Anonymous::Never, PUBLIC, &refused),
    ];
    let nothing = [
        (None, None),
        (Some(""), None),
        (Some(""), Some("")),
        (None, Some("")),
    ];
    for (policy, listener, expected) in cases {
        let named = chain(policy);
        let nobody_named = chain_of(config(policy), &Arc::default());
        for (username, password) in nothing {
            for chain in [&named, &nobody_named] {
                let answer = chain.authenticate(on(listener, attempt(username, password)));
                assert_eq!(
                    &answer.await,
                    expected,
                    "{policy:?} {listener} {username:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn what_is_presented_counts_as_soon_as_anybody_is_named() {
    let wrong = || on(LOOPBACK, attempt(Some("ann"), Some("wrong")));
    let table = Arc::new(CredentialTable::default());
    let chain = chain_of(config(Anonymous::Loopback), &table);
    // Nothing it could be checked against: as good as anonymous, where that is allowed.
    assert_eq!(
        chain.authenticate(wrong()).await,
        Ok(Principal::anonymous())
    );
    let elsewhere = on(PUBLIC, wrong());
    let refused = Err(RefuseAccessError::BadCredentials);
    assert_eq!(chain.authenticate(elsewhere).await, refused);
    table.replace(credentials());
    assert_eq!(chain.authenticate(wrong()).await, refused);
    let right = on(LOOPBACK, attempt(Some("ann"), Some("right")));
    let ann = principal("ann", AuthenticationMethod::UserList);
    assert_eq!(chain.authenticate(right).await, Ok(ann));
}

#[tokio::test]
async fn each_form_of_a_user_name_is_judged_by_its_method() {
    let chain = chain(Anonymous::Never);
    let password = signed(SECRET, CLIENT);
    let key = principal(KEY, AuthenticationMethod::Signature);
    let ann = principal("ann", AuthenticationMethod::UserList);
    let bad = Err(RefuseAccessError::BadCredentials);
    let unknown = Err(RefuseAccessError::UnknownMethod);
    let cases = [
        (SIGNED_NAME, &*password, Ok(key)),
        (SIGNED_NAME, &*signed("other", CLIENT), bad.clone()),
        (SIGNED_NAME, &*signed(SECRET, "GID_A@@@d2"), bad.clone()),
        ("Signature|nobody|mqtt-local", &*password, bad.clone()),
        ("ann", "right", Ok(ann)),
        ("ann", "wrong", bad.clone()),
        ("ann", &*password, bad.clone()),
        ("nobody", "right", bad.clone()),
        (KEY, &*password, bad.clone()),
        (KEY, SECRET, bad),
        ("Token|LTAI5tExample|mqtt-local", "RW|abc", unknown.clone()),
        (
            "DeviceCredential|DC.1|mqtt-local",
            &*password,
            unknown.clone(),
        ),
        (
            "signature|LTAI5tExample|mqtt-local",
            &*password,
            unknown.clone(),
        ),
        ("|LTAI5tExample|mqtt-local", &*password, unknown.clone()),
        ("ann|", "right", unknown),
    ];
    for (username, password, expected) in cases {
        let answer = chain.authenticate(attempt(Some(username), Some(password)));
        assert_eq!(answer.await, expected, "{username}");
    }
}

#[tokio::test]
async fn what_has_no_form_is_malformed() {
    let chain = chain(Anonymous::Always);
    let bytes = ConnectAttempt {
        username: Some(b"ann\xff"),
        ..attempt(None, Some("right"))
    };
    let malformed = [
        bytes,
        attempt(None, Some("right")),
        attempt(Some(""), Some("right")),
        attempt(Some("ann"), None),
        attempt(Some("ann"), Some("")),
        attempt(Some("ann bell"), Some("right")),
        attempt(Some(SIGNED_NAME), None),
        attempt(Some(SIGNED_NAME), Some("right")),
        attempt(Some("Signature|LTAI5tExample"), Some("right")),
    ];
    for one in malformed {
        let answer = chain.authenticate(one).await;
        assert!(
            matches!(answer, Err(RefuseAccessError::Malformed(_))),
            "{one:?}"
        );
    }
    // They cost no hash and count against nobody.
    assert_eq!((chain.stats().hashed, chain.stats().accounts), (0, 0));
}

#[tokio::test]
async fn of_a_thousand_wrong_signatures_none_gets_in_and_few_are_looked_at() {
    let table = Arc::new(CredentialTable::new(credentials()));
    let config = AccessConfig {
        failures_per_user: RATE,
        ..config(Anonymous::Never)
    };
    let chain = chain_of(config, &table);
    let wrong: Vec<String> = (0..1_000)
        .map(|n| signed(&format!("guess{n}"), CLIENT))
        .collect();
    let mut counts = (0, 0);
    for password in &wrong {
        match chain
            .authenticate(attempt(Some(SIGNED_NAME), Some(password)))
            .await
        {
            Err(RefuseAccessError::BadCredentials) => counts.0 += 1,
            Err(RefuseAccessError::Throttled) => counts.1 += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(counts, (5, 995));
    // Even the right one has to wait now; the device beside it has not.
    let right = signed(SECRET, CLIENT);
    let answer = chain.authenticate(attempt(Some(SIGNED_NAME), Some(&right)));
    assert_eq!(answer.await, Err(RefuseAccessError::Throttled));
    let password = signed(SECRET, "GID_A@@@d2");
    let neighbour = ConnectAttempt {
        client_id: "GID_A@@@d2",
        ..attempt(Some(SIGNED_NAME), Some(&password))
    };
    assert!(chain.authenticate(neighbour).await.is_ok());
}

#[tokio::test]
async fn a_new_device_gets_in_while_its_address_guesses_signatures() {
    let table = Arc::new(CredentialTable::new(credentials()));
    let config = AccessConfig {
        failures_per_peer: RATE,
        ..config(Anonymous::Never)
    };
    let chain = chain_of(config, &table);
    let mut throttled = 0;
    for n in 0..100 {
        let client_id = format!("GID_A@@@guess{n}");
        let password = signed("guess", &client_id);
        let wrong = ConnectAttempt {
            client_id: &client_id,
            ..attempt(Some(SIGNED_NAME), Some(&password))
        };
        match chain.authenticate(wrong).await {
            Err(RefuseAccessError::Throttled) => throttled += 1,
            Err(RefuseAccessError::BadCredentials) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(throttled, 95);
    let right = signed(SECRET, CLIENT);
    let answer = chain.authenticate(attempt(Some(SIGNED_NAME), Some(&right)));
    assert!(answer.await.is_ok());
}

#[tokio::test]
async fn of_a_thousand_wrong_passwords_at_once_few_are_hashed() {
    let table = Arc::new(CredentialTable::new(credentials()));
    let config = AccessConfig {
        failures_per_peer: RATE,
        ..config(Anonymous::Never)
    };
    let chain = Arc::new(chain_of(config, &table));
    let mut clients = tokio::task::JoinSet::new();
    for n in 0..1_000 {
        let chain = Arc::clone(&chain);
        clients.spawn(async move {
            let name = format!("user{n}");
            chain
                .authenticate(attempt(Some(&name), Some("wrong")))
                .await
        });
    }
    let answers = clients.join_all().await;
    let count = |error| {
        answers
            .iter()
            .filter(|answer| **answer == Err(error))
            .count()
    };
    assert_eq!(count(RefuseAccessError::BadCredentials), 5);
    assert_eq!(count(RefuseAccessError::Throttled), 995);
    assert_eq!(chain.stats().hashed, 5);
    assert_eq!(chain.stats().hashing, 0);
}

#[tokio::test]
async fn who_was_right_before_gets_in_while_its_address_guesses() {
    let table = Arc::new(CredentialTable::new(credentials()));
    let config = AccessConfig {
        failures_per_peer: RATE,
        failures_per_user: RATE,
        ..config(Anonymous::Never)
    };
    let chain = chain_of(config, &table);
    let right = || chain.authenticate(attempt(Some("ann"), Some("right")));
    assert!(right().await.is_ok());
    for n in 0..100 {
        let name = format!("user{n}");
        let wrong = chain.authenticate(attempt(Some(&name), Some("wrong")));
        assert!(wrong.await.is_err());
    }
    // A thousand times, and hashed once (the five others were guesses).
    for _ in 0..1_000 {
        assert!(right().await.is_ok());
    }
    assert_eq!(chain.stats().hashed, 6);
}

#[tokio::test]
async fn what_is_revoked_is_dead_with_the_next_connect() {
    let table = Arc::new(CredentialTable::new(credentials()));
    let chain = chain_of(config(Anonymous::Never), &table);
    let password = signed(SECRET, CLIENT);
    let by_key = || chain.authenticate(attempt(Some(SIGNED_NAME), Some(&password)));
    let by_user = || chain.authenticate(attempt(Some("ann"), Some("right")));
    assert!(by_key().await.is_ok());
    assert!(by_user().await.is_ok());
    table.replace(Credentials::default());
    let dead = Err(RefuseAccessError::BadCredentials);
    assert_eq!(by_key().await, dead);
    // Remembered as right, and yet.
    assert_eq!(by_user().await, dead);
}

#[tokio::test]
async fn every_decision_is_counted() {
    let chain = chain(Anonymous::Loopback);
    let password = signed(SECRET, CLIENT);
    let attempts = [
        on(LOOPBACK, attempt(None, None)),
        attempt(None, None),
        attempt(Some("ann"), None),
        attempt(Some("a|b"), None),
    ];
    for one in attempts {
        drop(chain.authenticate(one).await);
    }
    for (username, password) in [
        (SIGNED_NAME, &*password),
        ("ann", "right"),
        ("ann", "wrong"),
    ] {
        drop(
            chain
                .authenticate(attempt(Some(username), Some(password)))
                .await,
        );
    }
    let stats = chain.stats();
    let allowed: Vec<_> = stats
        .allowed
        .iter()
        .map(|(method, n)| (method.as_str(), *n))
        .collect();
    assert_eq!(
        allowed,
        [("anonymous", 1), ("signature", 1), ("user-list", 1)]
    );
    assert_eq!(
        stats.refused,
        [
            ("bad-credentials", 1),
            ("malformed", 1),
            ("unknown-method", 1),
            ("throttled", 0),
            ("anonymous", 1),
            ("unavailable", 0),
        ]
    );
    // The wrong password is charged to the user at the address where it succeeded before.
    assert_eq!(stats.accounts, 1);
}

#[tokio::test]
async fn nothing_secret_is_printed() {
    let table = Arc::new(CredentialTable::new(credentials()));
    let chain = chain_of(config(Anonymous::Never), &table);
    let password = signed(SECRET, CLIENT);
    let one = attempt(Some(SIGNED_NAME), Some(&password));
    let answer = chain.authenticate(one).await;
    let printed = format!("{table:?} {chain:?} {one:?} {answer:?} {:?}", credentials());
    let output = credentials_output(&table);
    for secret in [SECRET, &password, "right", &output] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

/// The last part of the user's PHC form.
fn credentials_output(table: &CredentialTable) -> String {
    use crate::CredentialStore as _;
    let phc = table.password_hash("ann").unwrap().to_phc();
    phc.rsplit('$').next().unwrap().to_owned()
}
