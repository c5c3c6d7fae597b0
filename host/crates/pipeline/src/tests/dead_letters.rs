//! Dead letters through the control side.

use domain::{ClientId, EventType, IncarnationId, StatusSink};
use store::{Burial, DeadLetterFilter, DeadLetterReason, Outcome};

use super::{Host, assert_all_sums, rule_id};
use crate::control::{ChosenDeadLetters, ControlCode, PendingEvents};

const ONE: IncarnationId = IncarnationId(1);

fn burial(rule: u32, reason: DeadLetterReason) -> Outcome {
    Outcome::Buried(Burial {
        reason,
        detail: "it is so".to_owned(),
        rule_id: rule_id(rule),
        revision: 1,
        plugin_digest: None,
    })
}

async fn bury(host: &Host, rule: u32, reason: DeadLetterReason, buried: u64) {
    host.committed().await;
    host.settle(IncarnationId(rule), &burial(rule, reason));
    host.until("buried", |status| status.events.buried == buried)
        .await;
}

fn all_of(rule: u32) -> ChosenDeadLetters {
    ChosenDeadLetters::Filter(DeadLetterFilter {
        rule_id: Some(rule_id(rule)),
        ..DeadLetterFilter::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_listed_newest_first_by_filter_and_page() {
    let host = Host::start(2).await;
    host.connect("GID_rule1@@@a").unwrap().close();
    bury(&host, 1, DeadLetterReason::Rejected, 2).await;
    host.connect("GID_rule2@@@b").unwrap().close();
    bury(&host, 2, DeadLetterReason::Refused, 4).await;
    let list =
        async |filter: DeadLetterFilter, limit| host.dead_letters(filter, limit).await.unwrap();
    let page = list(DeadLetterFilter::default(), 3).await;
    assert_eq!(
        (page.letters.len(), page.has_more, page.total),
        (3, true, 4)
    );
    assert!(page.letters.windows(2).all(|pair| pair[0].id > pair[1].id));
    let before = Some(page.letters[2].id);
    let rest = list(
        DeadLetterFilter {
            before,
            ..DeadLetterFilter::default()
        },
        3,
    )
    .await;
    assert_eq!(
        (rest.letters.len(), rest.has_more, rest.total),
        (1, false, 4)
    );
    let of = |filter| list(filter, 10);
    let by_rule = of(DeadLetterFilter {
        rule_id: Some(rule_id(2)),
        ..DeadLetterFilter::default()
    })
    .await;
    assert_eq!(by_rule.total, 2);
    let client_id = Some(ClientId::parse("GID_rule1@@@a").unwrap());
    let by_client = of(DeadLetterFilter {
        client_id,
        ..DeadLetterFilter::default()
    })
    .await;
    assert!(
        by_client
            .letters
            .iter()
            .all(|it| it.burial.rule_id == rule_id(1))
    );
    let reason = Some(DeadLetterReason::Fault);
    let by_reason = of(DeadLetterFilter {
        reason,
        ..DeadLetterFilter::default()
    })
    .await;
    assert_eq!(by_reason.total, 0);
    let one = host.dead_letter(page.letters[0].id).await.unwrap();
    assert_eq!(one.burial.detail, "it is so");
    let deleted = host.delete_dead_letters(all_of(2)).await.unwrap();
    assert_eq!((deleted, host.outbox.stats().dead_letters), (2, 2));
    let gone = host.dead_letter(page.letters[0].id).await.unwrap_err();
    assert_eq!(gone.code, ControlCode::DeadLetterNotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_in_order_and_leaves_the_connect_of_a_closed_channel() {
    let host = Host::start(1).await;
    let open = host.connect("GID_rule1@@@open").unwrap();
    host.connect("GID_rule1@@@gone").unwrap().close();
    bury(&host, 1, DeadLetterReason::Fault, 3).await;
    let answer = host.replay_dead_letters(all_of(1), false).await.unwrap();
    assert_eq!((answer.replayed, answer.skipped), (2, 1));
    assert!(answer.reasons[0].reason.contains("closed"), "{answer:?}");
    let status = host
        .until("replayed", |status| status.events.pending == 2)
        .await;
    assert_all_sums(&status);
    assert_eq!(status.events.replayed, 2);
    let pending = host.pending(ONE);
    let sequences: Vec<_> = pending.iter().map(|it| it.event.sequence).collect();
    assert!(sequences.is_sorted());
    assert!(pending.iter().all(|it| it.is_replay()));
    let left = host
        .dead_letters(DeadLetterFilter::default(), 10)
        .await
        .unwrap();
    assert_eq!(left.letters[0].event.event_type, EventType::Connect);
    let id = left.letters[0].id;
    let again = ChosenDeadLetters::Ids(vec![id, 4711]);
    let forced = host.replay_dead_letters(again, true).await.unwrap();
    assert_eq!((forced.replayed, forced.skipped), (1, 1));
    assert_eq!(forced.reasons[0].id, 4711);
    host.settle(ONE, &Outcome::Delivered);
    let status = host
        .until("delivered", |status| status.events.delivered == 3)
        .await;
    assert_all_sums(&status);
    assert_eq!((status.events.buried, status.events.pending), (3, 0));
    open.close();
    assert!(host.pipeline.recorder.committed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_of_a_deleted_rule_stay_and_cannot_be_replayed() {
    let host = Host::start(1).await;
    host.connect("GID_rule1@@@a").unwrap().close();
    bury(&host, 1, DeadLetterReason::Rejected, 2).await;
    host.delete_rule(&rule_id(1), PendingEvents::Deliver, None)
        .await
        .unwrap();
    let refused = host
        .replay_dead_letters(all_of(1), false)
        .await
        .unwrap_err();
    assert_eq!(refused.code, ControlCode::RuleNotFound);
    let letters = host
        .dead_letters(DeadLetterFilter::default(), 10)
        .await
        .unwrap()
        .letters;
    let ids = letters.iter().map(|letter| letter.id).collect();
    let skipped = host
        .replay_dead_letters(ChosenDeadLetters::Ids(ids), true)
        .await
        .unwrap();
    assert_eq!((skipped.replayed, skipped.skipped), (0, 2));
    assert!(skipped.reasons[0].reason.contains("rule rule-1 is gone"));
}
