//! A full share refuses the CONNECTs of its group only, says so, and recovers by itself.

use domain::{IncarnationId, RefuseConnectError};
use store::Outcome;

use super::{Host, assert_all_sums, rule_id};
use crate::health::Health;

const ONE: IncarnationId = IncarnationId(1);

/// Shares of about 30 channels in an outbox for two of them.
async fn small() -> Host {
    Host::start_with(2, |config| {
        config.outbox_bytes_max = 60_000;
        config.rule_share = 0.5;
    })
    .await
}

fn fill(host: &Host, group: &str) -> RefuseConnectError {
    for number in 0.. {
        match host.connect(&format!("{group}@@@{number}")) {
            Ok(channel) => channel.close(),
            Err(error) => return error,
        }
    }
    unreachable!("the share has an end")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_share_is_shown_everywhere_and_recovers_by_itself() {
    let host = small().await;
    assert_eq!(fill(&host, "GID_rule1"), RefuseConnectError::ShareFull);
    host.committed().await;
    assert!(host.connect("GID_rule2@@@a").is_ok());
    assert!(host.connect("GID_none@@@a").is_ok());
    let status = host.status();
    assert_all_sums(&status);
    let refused = |index: usize| status.rules[index].events.refused;
    assert_eq!((refused(0), refused(1), status.events.refused), (1, 0, 1));
    let reason = status.rules[0].reason.clone().unwrap();
    assert!(
        reason.contains("its share of the outbox is full"),
        "{reason}"
    );
    let readiness = host.readiness();
    assert_eq!(readiness.not_ready, None);
    let (id, _, reason) = &readiness.degraded[0];
    assert_eq!(*id, Some(rule_id(1)));
    assert!(
        reason.contains("connects of group GID_rule1 are refused"),
        "{reason}"
    );
    host.settle(ONE, &Outcome::Delivered);
    host.until("drained", |status| status.rules[0].events.pending == 0)
        .await;
    assert!(host.connect("GID_rule1@@@again").is_ok());
    host.until("told", |status| {
        let reason = status.rules[0].reason.as_deref();
        !reason.unwrap_or_default().contains("its share")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_outbox_is_no_readiness() {
    let host = Host::start_with(2, |config| {
        config.outbox_bytes_max = 30_000;
        config.rule_share = 1.0;
    })
    .await;
    assert_eq!(fill(&host, "GID_rule1"), RefuseConnectError::ShareFull);
    assert_eq!(
        host.readiness().not_ready,
        Some("the outbox is full".to_owned())
    );
    assert_eq!(fill(&host, "GID_rule2"), RefuseConnectError::OutboxFull);
    host.outbox.close();
    let reason = host.readiness().not_ready;
    assert_eq!(reason, Some("the host is shutting down".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_a_deleted_group_is_no_event() {
    let host = Host::start(1).await;
    let group = domain::GroupId::parse("GID_gone").unwrap();
    host.create_group(group.clone()).await.unwrap();
    host.delete_group(&group).await.unwrap();
    let refused = host.connect("GID_gone@@@a").err();
    assert_eq!(refused, Some(RefuseConnectError::UnknownGroup));
    assert_eq!(host.status().events.observed, 0);
    // Its plugin is missing, and it records all the same.
    let degraded = host.readiness().degraded;
    assert!(matches!(degraded[0].1, Health::Faulted | Health::Retrying));
}
