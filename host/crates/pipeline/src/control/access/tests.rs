use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use access::{AccessKeyId, AccessKeySecret, CredentialStore as _, CredentialTable, UserName};
use domain::{Actor, Clock};
use store::{AccessKeyUse, AuditOutcome, MetaStore};
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::{
    AccessControl, AuditFilter, ControlCode, ControlError, NewAuditEntry, NewToken, Role, TokenHash,
};

#[derive(Debug)]
struct HandClock(AtomicU64);

impl Clock for HandClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Rig {
    folder: TempDir,
    clock: Arc<HandClock>,
    credentials: Arc<CredentialTable>,
    access: AccessControl,
}

impl Rig {
    fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap())
    }

    fn on(folder: TempDir) -> Self {
        let clock = Arc::new(HandClock(AtomicU64::new(1_000)));
        let credentials = Arc::<CredentialTable>::default();
        let meta = Arc::new(MetaStore::open(folder.path().join("meta.redb")).unwrap());
        let time = Arc::clone(&clock) as Arc<dyn Clock>;
        let access = AccessControl::open(meta, time, Arc::clone(&credentials)).unwrap();
        Self {
            folder,
            clock,
            credentials,
            access,
        }
    }

    fn restarted(self) -> Self {
        let Self { folder, access, .. } = self;
        drop(access);
        Self::on(folder)
    }
}

fn password(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

fn user(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

fn key(id: &str) -> AccessKeyId {
    AccessKeyId::parse(id).unwrap()
}

fn secret(text: &str) -> AccessKeySecret {
    AccessKeySecret::parse(text).unwrap()
}

fn token(name: &str, byte: u8, expires_at_ms: Option<u64>) -> NewToken {
    NewToken {
        name: name.to_owned(),
        role: Role::Operator,
        expires_at_ms,
        hash: TokenHash([byte; 32]),
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, ControlError>) -> ControlCode {
    result.unwrap_err().code
}

#[tokio::test]
async fn a_user_counts_at_once_and_after_a_restart() {
    let rig = Rig::new();
    rig.access
        .add_user(user("ann"), password("p"))
        .await
        .unwrap();
    let first = rig.credentials.password_hash("ann").unwrap();
    let again = rig.access.add_user(user("ann"), password("q")).await;
    assert_eq!(code(again), ControlCode::UserExists);
    let none = rig.access.set_password(user("bob"), password("q")).await;
    assert_eq!(code(none), ControlCode::UserNotFound);
    rig.access
        .set_password(user("ann"), password("q"))
        .await
        .unwrap();
    let second = rig.credentials.password_hash("ann").unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    let empty = rig.access.add_user(user("cid"), password("")).await;
    assert_eq!(code(empty), ControlCode::InvalidSecret);
    let rig = rig.restarted();
    assert!(rig.credentials.password_hash("ann").is_some());
    assert_eq!(rig.access.users(None, 10).1, 1);
    rig.access.delete_user(&user("ann")).await.unwrap();
    assert!(rig.credentials.password_hash("ann").is_none());
    assert_eq!(
        code(rig.access.delete_user(&user("ann")).await),
        ControlCode::UserNotFound
    );
    assert!(rig.restarted().credentials.is_empty());
}

#[tokio::test]
async fn a_key_opens_what_it_is_for_and_nothing_else() {
    let rig = Rig::new();
    let add = |id: &'static str, opens, text: &'static str| {
        rig.access.add_access_key(key(id), opens, secret(text))
    };
    add("DEVICE", AccessKeyUse::Mqtt, "one").await.unwrap();
    add("PROGRAM", AccessKeyUse::Api, "two").await.unwrap();
    assert_eq!(
        code(add("DEVICE", AccessKeyUse::Api, "three").await),
        ControlCode::AccessKeyExists
    );
    let rig = rig.restarted();
    assert!(rig.credentials.access_key_secret("DEVICE").is_some());
    assert!(rig.credentials.access_key_secret("PROGRAM").is_none());
    assert!(rig.access.api_secret("DEVICE").is_none());
    assert_eq!(rig.access.api_secret("PROGRAM").unwrap().reveal(), b"two");
    let (page, total) = rig.access.access_keys(Some("DEVICE"), 10);
    assert_eq!((page.len(), total), (1, 2));
    for id in ["DEVICE", "PROGRAM"] {
        rig.access.delete_access_key(&key(id)).await.unwrap();
    }
    assert!(rig.credentials.is_empty());
    assert!(rig.access.api_secret("PROGRAM").is_none());
}

#[tokio::test]
async fn a_token_opens_until_it_expires_or_is_revoked() {
    let rig = Rig::new();
    let by = Actor::token("admin");
    rig.access
        .create_token(token("a", 1, None), &by)
        .await
        .unwrap();
    rig.access
        .create_token(token("b", 2, Some(2_000)), &by)
        .await
        .unwrap();
    for (new, wanted) in [
        (token("a", 3, None), ControlCode::TokenExists),
        (token("admin", 3, None), ControlCode::InvalidTokenName),
        (token("sign-in", 3, None), ControlCode::InvalidTokenName),
        (token("", 3, None), ControlCode::InvalidTokenName),
        (token("a b", 3, None), ControlCode::InvalidTokenName),
        (
            token(&"x".repeat(65), 3, None),
            ControlCode::InvalidTokenName,
        ),
        (token("c", 3, Some(1_000)), ControlCode::InvalidExpiry),
    ] {
        assert_eq!(code(rig.access.create_token(new, &by).await), wanted);
    }
    let opens = |rig: &Rig, byte: u8| rig.access.authenticate(TokenHash([byte; 32]));
    let found = opens(&rig, 1).unwrap();
    assert_eq!(
        (found.actor.as_str(), found.role),
        ("token:a", Role::Operator)
    );
    assert!(opens(&rig, 2).is_some());
    assert!(opens(&rig, 3).is_none());
    rig.clock.0.store(2_000, Ordering::Relaxed);
    assert!(opens(&rig, 2).is_none());
    assert!(opens(&rig, 1).is_some());
    rig.access.store_last_uses().await.unwrap();
    let rig = rig.restarted();
    assert_eq!(rig.access.token("a").unwrap().last_used_at_ms, Some(2_000));
    let held = opens(&rig, 1).unwrap();
    rig.access.revoke_token("a").await.unwrap();
    assert!(held.revoked.is_cancelled());
    assert!(opens(&rig, 1).is_none());
    // A late note of its last use does not bring it back.
    rig.access.store_last_uses().await.unwrap();
    assert!(opens(&rig.restarted(), 1).is_none());
}

#[tokio::test]
async fn the_1001st_token_is_refused() {
    let rig = Rig::new();
    let by = Actor::token("admin");
    for n in 0..1_000_u32 {
        let mut new = token(&format!("t{n}"), 0, None);
        new.hash.0[..4].copy_from_slice(&n.to_be_bytes());
        rig.access.create_token(new, &by).await.unwrap();
    }
    let one_more = rig.access.create_token(token("more", 255, None), &by).await;
    assert_eq!(code(one_more), ControlCode::TooManyTokens);
    rig.access.revoke_token("t7").await.unwrap();
    rig.access
        .create_token(token("more", 255, None), &by)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_audit_log_is_filtered_and_paged_newest_first() {
    let rig = Rig::new();
    for n in 0..5_u64 {
        rig.clock.0.store(n, Ordering::Relaxed);
        rig.access
            .note(NewAuditEntry {
                actor: Actor::token(if n % 2 == 0 { "even" } else { "odd" }),
                peer: "127.0.0.1".to_owned(),
                method: "PUT".to_owned(),
                resource: format!(
                    "/v1/rules/{}",
                    "x".repeat(usize::try_from(n).unwrap() * 200)
                ),
                outcome: AuditOutcome::Done,
                request_id: String::new(),
                revision: None,
            })
            .await;
    }
    let filter = |actor: &str, resource: &str| AuditFilter {
        actor: Some(actor.to_owned()),
        resource: Some(resource.to_owned()),
        ..AuditFilter::default()
    };
    let audit = async |filter: AuditFilter| rig.access.audit(filter, 2).await.unwrap();
    let page = audit(filter("token:even", "/v1/rules")).await;
    assert_eq!((page.total, page.has_more), (3, true));
    let ids: Vec<u64> = page.entries.iter().map(|it| it.id).collect();
    assert_eq!(ids, [5, 3]);
    assert_eq!(page.entries[0].record.resource.chars().count(), 301);
    let rest = audit(AuditFilter {
        before: Some(3),
        ..filter("token:even", "/v1/rules")
    })
    .await;
    assert_eq!(
        (rest.total, rest.has_more, rest.entries.len()),
        (3, false, 1)
    );
    assert_eq!(audit(filter("token:even", "/v1/rule")).await.total, 0);
    let recent = AuditFilter {
        since_ms: Some(3),
        until_ms: Some(4),
        ..AuditFilter::default()
    };
    assert_eq!(audit(recent).await.total, 1);
}
