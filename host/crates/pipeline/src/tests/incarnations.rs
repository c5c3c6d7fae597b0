//! Events of earlier incarnations: they are shown where somebody looks, they take of their rule's share,
//! and nobody else gets them.

use std::fs;

use domain::{AnyRule, IncarnationId, Rule, TopicName};
use store::MetaStore;

use super::{Host, assert_all_sums, put_rule, record, rule_id};
use crate::control::{DrainingStatus, PendingEvents};
use crate::health::Health;
use crate::view::PipelineStatus;

const ONE: IncarnationId = IncarnationId(1);
const TWO: IncarnationId = IncarnationId(2);

/// What an edit of the destination of `rule-1` stores.
async fn move_rule(host: &Host, topic: &str, is_enabled: bool) {
    let old = host.intent.load().rules[&rule_id(1)].clone();
    host.meta
        .write(|tx| {
            let retired = &host.intent.load().incarnations[&old.incarnation];
            let mut retired = retired.clone();
            retired.is_retired = true;
            tx.put_incarnation(&retired)?;
            let id = tx.next_incarnation()?;
            let mut draft = old.draft.clone();
            draft.destination.topic = TopicName::parse(topic).unwrap();
            draft.enabled = is_enabled;
            let mut present = record(1, id);
            present.destination = draft.destination.clone();
            tx.put_incarnation(&present)?;
            tx.put_rule(&AnyRule::Status(Rule {
                draft,
                incarnation: id,
                ..old.clone()
            }))
        })
        .map_err(|error: store::WriteMetaError| error.to_string())
        .unwrap();
    host.reload().await.unwrap();
}

/// Clients of `rule-1` visit until none is let in, also when all that was recorded is committed and takes what
/// it takes; returns how many were.
async fn fill(host: &Host) -> usize {
    let mut all = 0;
    loop {
        let visits = (0..1_000).map(|number| host.connect(&format!("GID_rule1@@@{number}")));
        let accepted = visits.map_while(Result::ok).map(super::Channel::close);
        let accepted = accepted.count();
        host.committed().await;
        all += accepted;
        if accepted == 0 {
            return all;
        }
    }
}

fn assert_all_pending_is_shown(status: &PipelineStatus) {
    let rules = status.rules.iter().map(|rule| rule.events.pending);
    let draining = status.draining.iter().map(|line| line.pending);
    assert_eq!(status.events.pending, rules.chain(draining).sum::<u64>());
    assert_all_sums(status);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_whose_earlier_destination_is_stuck_is_not_well() {
    let host = Host::start(1).await;
    host.connect("GID_rule1@@@a").unwrap().close();
    host.committed().await;
    move_rule(&host, "Better", false).await;
    // The present incarnation of a disabled rule has nothing queued, the earlier one does.
    let told = |status: &PipelineStatus| {
        let reason = status.rules[0].reason.clone().unwrap_or_default();
        reason.contains("the earlier destination none/Topic has 2 events pending: ")
    };
    let status = host.until("told", told).await;
    assert_ne!(status.rules[0].health, Health::Disabled);
    assert_eq!(host.readiness().degraded[0].0, Some(rule_id(1)));
    assert_all_pending_is_shown(&status);
    host.outbox.discard(ONE);
    let status = host.status();
    assert_eq!(status.rules[0].health, Health::Disabled);
    assert_eq!(status.rules[0].reason, None);
    assert_eq!(host.readiness().degraded, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_deleted_rule_left_behind_is_shown_until_it_is_gone() {
    let host = Host::start(2).await;
    host.connect("GID_rule1@@@a").unwrap().close();
    host.committed().await;
    move_rule(&host, "Better", true).await;
    host.connect("GID_rule1@@@b").unwrap().close();
    host.committed().await;
    let deliver = PendingEvents::Deliver;
    host.delete_rule(&rule_id(1), deliver, None).await.unwrap();
    let is_told = |status: &PipelineStatus| {
        let line = status.draining.first();
        line.is_some_and(|it| it.reason.is_some())
    };
    let status = host.until("told", is_told).await;
    assert_all_pending_is_shown(&status);
    let [line] = &*status.draining else {
        panic!("one line per rule: {status:?}");
    };
    assert_eq!((&line.rule_id, line.pending), (&Some(rule_id(1)), 4));
    assert!(line.pending_bytes > 0);
    let reason = line.reason.clone().unwrap();
    assert!(reason.contains("the rule is deleted"), "{reason}");
    assert!(reason.contains("(and 1 more like it)"), "{reason}");
    let of_deleted = |it: &(Option<domain::RuleId>, Health, String)| it.0 == Some(rule_id(1));
    assert!(host.readiness().degraded.iter().any(of_deleted));
    let series = "rulemill_rule_events_pending{rule_id=\"rule-1\"} 4\n";
    assert!(host.metrics_text().contains(series));
    // The way to get rid of them: a rule of that id is made and deleted with them.
    put_rule(&host.meta, 1);
    host.reload().await.unwrap();
    assert_eq!(host.status().draining, []);
    let discard = PendingEvents::Discard;
    host.delete_rule(&rule_id(1), discard, None).await.unwrap();
    let status = host.status();
    assert_eq!((status.draining.len(), status.events.discarded), (0, 4));
    assert!(!host.readiness().degraded.iter().any(of_deleted));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_the_destination_gives_a_rule_no_second_share() {
    let host = Host::start_with(1, |config| {
        config.outbox_bytes_max = 60_000;
        config.rule_share = 0.5;
    })
    .await;
    assert!(fill(&host).await > 10);
    move_rule(&host, "Better", true).await;
    assert_eq!(fill(&host).await, 0, "the share is the rule's");
    let reason = host.status().rules[0].reason.clone().unwrap();
    assert!(
        reason.contains("its share of the outbox is full"),
        "{reason}"
    );
    move_rule(&host, "Best", true).await;
    assert_eq!(fill(&host).await, 0);
    host.outbox.discard(ONE);
    assert!(fill(&host).await > 10, "there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_lost_meta_store_go_to_no_new_rule() {
    let host = Host::start(2).await;
    host.connect("GID_rule1@@@a").unwrap().close();
    host.connect("GID_rule2@@@a").unwrap().close();
    host.committed().await;
    let Host { folder, pipeline } = host;
    pipeline.shutdown(std::time::Duration::ZERO).await;
    // Its copy knows rule 1 only, as if it had been made before rule 2.
    let path = folder.path().join("meta.redb");
    fs::remove_file(&path).unwrap();
    put_rule(&MetaStore::open(&path).unwrap(), 1);
    let host = Host::open(folder, |_| {}).await;
    let status = host.status();
    assert_all_pending_is_shown(&status);
    let [
        DrainingStatus {
            rule_id: None,
            health: Health::Paused,
            reason: Some(reason),
            pending: 2,
            ..
        },
    ] = &*status.draining
    else {
        panic!("not shown: {status:?}");
    };
    assert!(reason.contains("outbox.max-age"), "{reason}");
    let degraded = host.readiness().degraded;
    assert!(degraded.iter().any(|it| it.0.is_none() && it.2 == *reason));
    // A new rule gets a number that the outbox does not know.
    put_rule(&host.meta, 3);
    host.reload().await.unwrap();
    let rule = host.intent.load().rules[&rule_id(3)].clone();
    assert!(rule.incarnation > TWO, "{:?}", rule.incarnation);
    assert_eq!(host.pending(TWO).len(), 2);
    // They are gone when they are too old.
    let host = {
        let Host { folder, pipeline } = host;
        pipeline.shutdown(std::time::Duration::ZERO).await;
        Host::open(folder, |config| {
            config.delivery.age_max = std::time::Duration::from_millis(1);
        })
        .await
    };
    let status = host
        .until("expired", |status| status.draining.is_empty())
        .await;
    assert_all_pending_is_shown(&status);
    assert!(status.events.expired >= 2);
}
