use domain::Actor;

use super::{
    AUDITED_CHANGES_MAX, AUDITED_REFUSALS_MAX, AccessKeyRecord, AccessKeyUse, AuditOutcome,
    AuditRecord, KeyMaterial, TokenRecord, UserRecord,
};
use crate::{MetaStore, WriteMetaError};

fn entry(resource: &str, outcome: AuditOutcome) -> AuditRecord {
    AuditRecord {
        at_ms: 1,
        actor: Actor::token("ops"),
        peer: "127.0.0.1".to_owned(),
        method: "PUT".to_owned(),
        resource: resource.to_owned(),
        outcome,
        request_id: "0123".to_owned(),
        revision: Some(7),
    }
}

#[test]
fn users_keys_and_tokens_survive_a_restart_and_print_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("meta.redb");
    let secret = |text: &str| KeyMaterial::new(text.to_owned());
    let user = UserRecord {
        name: "ann".to_owned(),
        password_hash: secret("hidden-hash"),
        created_at_ms: 1,
        updated_at_ms: 2,
    };
    let key = AccessKeyRecord {
        id: "AK1".to_owned(),
        opens: AccessKeyUse::Api,
        secret: secret("hidden-secret"),
        created_at_ms: 3,
    };
    let token = TokenRecord {
        name: "ops".to_owned(),
        role: "operator".to_owned(),
        hash: secret("hidden-token"),
        created_by: Actor::token("admin"),
        created_at_ms: 4,
        expires_at_ms: Some(5),
        last_used_at_ms: None,
    };
    for shown in [
        format!("{user:?}"),
        format!("{key:?}"),
        format!("{token:?}"),
    ] {
        assert!(!shown.contains("hidden"), "{shown}");
    }
    let store = MetaStore::open(&path).unwrap();
    store
        .write(|tx| {
            tx.put_user(&user)?;
            tx.put_access_key(&key)?;
            tx.put_token(&token)
        })
        .unwrap();
    drop(store);
    let store = MetaStore::open(&path).unwrap();
    assert_eq!(store.users().unwrap(), [user]);
    assert_eq!(store.access_keys().unwrap(), [key]);
    assert_eq!(store.tokens().unwrap(), [token]);
    store
        .write(|tx| {
            tx.remove_user("ann")?;
            tx.remove_access_key("AK1")?;
            tx.remove_token("ops")
        })
        .unwrap();
    assert!(store.users().unwrap().is_empty());
    assert!(store.access_keys().unwrap().is_empty());
    assert!(store.tokens().unwrap().is_empty());
}

#[cfg(unix)]
#[test]
fn only_the_owner_reads_the_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("meta.redb");
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    drop(MetaStore::open(&path).unwrap());
    assert_eq!(mode(), 0o600);
    // One of an earlier version.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    drop(MetaStore::open(&path).unwrap());
    assert_eq!(mode(), 0o600);
}

#[test]
fn the_audit_log_keeps_the_newest_and_refusals_push_out_no_change() {
    let folder = tempfile::tempdir().unwrap();
    let store = MetaStore::open(folder.path().join("meta.redb")).unwrap();
    let add = |outcome: AuditOutcome, count: u64| {
        store
            .write(|tx| {
                for n in 0..count {
                    tx.add_audit(&entry(&format!("/{n}"), outcome))?;
                }
                Ok::<_, WriteMetaError>(())
            })
            .unwrap();
    };
    add(AuditOutcome::Done, AUDITED_CHANGES_MAX);
    assert_eq!(store.audit_forgotten().unwrap(), 0);
    add(AuditOutcome::Refused, AUDITED_REFUSALS_MAX + 5);
    assert_eq!(store.audit_forgotten().unwrap(), 5);
    let all = store.audit().unwrap();
    let changes = all
        .iter()
        .filter(|(_, it)| it.outcome == AuditOutcome::Done);
    assert_eq!(changes.count() as u64, AUDITED_CHANGES_MAX);
    add(AuditOutcome::Failed, 2);
    assert_eq!(store.audit_forgotten().unwrap(), 7);
    let all = store.audit().unwrap();
    assert_eq!(all.len() as u64, AUDITED_CHANGES_MAX + AUDITED_REFUSALS_MAX);
    assert!(all.is_sorted_by(|(a, _), (b, _)| a > b));
    assert_eq!(all[0].0, AUDITED_CHANGES_MAX + AUDITED_REFUSALS_MAX + 7);
    assert_eq!(all[0].1, entry("/1", AuditOutcome::Failed));
    // The first two changes went.
    assert_eq!(all.last().unwrap().0, 3);
}
