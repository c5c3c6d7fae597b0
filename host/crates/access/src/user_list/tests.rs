use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use domain::RefuseAccessError;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::{NAME_FORM, PASSWORD_FORM, UserList};
use crate::chain::{Method as _, Presented};
use crate::success_cache::SuccessCache;
use crate::verifier::PasswordVerifier;
use crate::{AccessKeySecret, CredentialStore, PasswordHash};

/// One user, `ann`; counts the questions.
#[derive(Debug)]
struct OneUser {
    hash: Arc<PasswordHash>,
    asked: AtomicUsize,
}

impl CredentialStore for OneUser {
    fn access_key_secret(&self, _: &str) -> Option<Arc<AccessKeySecret>> {
        None
    }

    fn password_hash(&self, name: &str) -> Option<Arc<PasswordHash>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        (name == "ann").then(|| Arc::clone(&self.hash))
    }

    fn is_empty(&self) -> bool {
        false
    }
}

struct Fixture {
    users: UserList,
    verifier: Arc<PasswordVerifier>,
    store: Arc<OneUser>,
}

fn fixture() -> Fixture {
    let cache = SuccessCache::new(Instant::now()).unwrap();
    let (at_once, waiting_max) = (NonZeroUsize::MIN, 8);
    let verifier = PasswordVerifier::new(Handle::current(), cache, at_once, waiting_max);
    let (verifier, store) = (
        Arc::new(verifier),
        Arc::new(OneUser {
            hash: Arc::new(PasswordHash::of(b"right").unwrap()),
            asked: AtomicUsize::new(0),
        }),
    );
    Fixture {
        users: UserList::new(
            Arc::clone(&store) as Arc<dyn CredentialStore>,
            Arc::clone(&verifier),
        ),
        verifier,
        store,
    }
}

impl Fixture {
    async fn ask(
        &self,
        username: &str,
        password: &[u8],
    ) -> Option<Result<bool, RefuseAccessError>> {
        let claim = self.users.claim(Presented {
            client_id: "GID_A@@@d1",
            username,
            password,
        })?;
        match claim {
            Ok(claim) => Some(claim.verification.await),
            Err(error) => Some(Err(error)),
        }
    }
}

#[tokio::test]
async fn right_wrong_and_unknown() {
    let fixture = fixture();
    let cases: [(&str, &[u8], bool); 6] = [
        ("ann", b"right", true),
        ("ann", b"wrong", false),
        ("ann", b"right\0", false),
        ("bob", b"right", false),
        ("Ann", b"right", false),
        ("ann.", b"right", false),
    ];
    for (username, password, is_right) in cases {
        let answer = fixture.ask(username, password).await;
        assert_eq!(answer, Some(Ok(is_right)), "{username} {password:?}");
    }
}

#[tokio::test]
async fn an_unknown_user_costs_what_a_wrong_password_costs() {
    let fixture = fixture();
    assert_eq!(fixture.ask("ann", b"wrong").await, Some(Ok(false)));
    assert_eq!(fixture.verifier.hashed(), 1);
    assert_eq!(fixture.ask("bob", b"wrong").await, Some(Ok(false)));
    assert_eq!(fixture.verifier.hashed(), 2);
}

#[tokio::test]
async fn a_name_or_password_of_another_form_is_refused_before_any_look_at_the_users() {
    let fixture = fixture();
    let long_name = "a".repeat(65);
    for name in ["ann ", " ann", "a/b", "Zoë", "a\tb", &long_name] {
        assert_eq!(
            fixture.ask(name, b"right").await,
            Some(Err(NAME_FORM)),
            "{name:?}"
        );
    }
    for password in [&[][..], &[b'x'; 1_025]] {
        assert_eq!(fixture.ask("ann", password).await, Some(Err(PASSWORD_FORM)));
    }
    for name in ["|", "ann|", "Token|AK|mqtt-local"] {
        assert_eq!(fixture.ask(name, b"right").await, None, "{name}");
    }
    assert_eq!(fixture.store.asked.load(Ordering::Relaxed), 0);
    assert_eq!(fixture.verifier.hashed(), 0);
}
