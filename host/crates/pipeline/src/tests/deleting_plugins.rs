//! A plugin goes when nothing needs it any more: no rule, no way back, no event that waits or is still to come.

use domain::{AnyRuleDraft, IncarnationId, VersionSelector};
use store::Outcome;

use super::plugin_versions::{active, anna, back, plugin, push, start, version};
use super::{Channel, Host, rule_id};
use crate::control::{ControlCode, EditTerms, PendingEvents};
use crate::courier::rig::plugin::{TRAPS, component};

const ONE: IncarnationId = IncarnationId(1);

/// A client that is online, and whose `connect` event is delivered.
async fn online(host: &Host) -> Channel<'_> {
    let open = host.connect("GID_rule1@@@a").unwrap();
    host.committed().await;
    host.settle(ONE, &Outcome::Delivered);
    host.until("settled", |_| host.outbox.counts(ONE).pending == 0)
        .await;
    open
}

async fn drained(host: &Host) {
    host.settle(ONE, &Outcome::Delivered);
    host.until("drained", |_| !host.outbox.is_owed(ONE)).await;
}

/// Why the plugin cannot be deleted, and why version 1 cannot.
async fn refusals(host: &Host) -> [String; 2] {
    let whole = host.delete_plugin(&plugin(), &anna()).await.unwrap_err();
    let version = host.delete_plugin_version(&plugin(), 1, &anna()).await;
    let version = version.unwrap_err();
    assert_eq!(whole.code, ControlCode::PluginInUse, "{whole}");
    assert_eq!(version.code, ControlCode::PluginInUse, "{version}");
    [whole.message, version.message]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_stays_for_the_closing_events_of_open_channels() {
    let host = start(VersionSelector::Latest).await;
    push(&host, component(TRAPS, 1)).await;
    let open = online(&host).await;
    let deliver = PendingEvents::Deliver;
    host.delete_rule(&rule_id(1), deliver, None).await.unwrap();
    for refusal in refusals(&host).await {
        assert!(refusal.contains("closing events"), "{refusal}");
        assert!(refusal.contains("have disconnected"), "{refusal}");
    }
    open.close();
    host.committed().await;
    for refusal in refusals(&host).await {
        assert!(refusal.contains("still wait"), "{refusal}");
    }
    drained(&host).await;
    host.delete_plugin(&plugin(), &anna()).await.unwrap();
    assert!(host.plugins().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_a_deleted_rule_named_by_its_digest_stays_as_long() {
    let host = start(VersionSelector::Latest).await;
    push(&host, component(TRAPS, 1)).await;
    push(&host, component(TRAPS, 2)).await;
    let digest = host.plugin_version(&plugin(), 1).unwrap().digest;
    let AnyRuleDraft::Status(mut draft) = host.rule(&rule_id(1)).unwrap().rule.draft() else {
        panic!("another type of rule");
    };
    draft.mapping.version = VersionSelector::Digest(digest);
    let (draft, terms) = (AnyRuleDraft::Status(draft), EditTerms::default());
    host.replace_rule(draft, terms, &anna()).await.unwrap();
    let open = online(&host).await;
    let deliver = PendingEvents::Deliver;
    host.delete_rule(&rule_id(1), deliver, None).await.unwrap();
    refusals(&host).await;
    let delete = async |version| {
        host.delete_plugin_version(&plugin(), version, &anna())
            .await
    };
    delete(2).await.unwrap();
    open.close();
    host.committed().await;
    drained(&host).await;
    delete(1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_anyway_keeps_no_plugin() {
    let host = start(VersionSelector::Latest).await;
    push(&host, component(TRAPS, 1)).await;
    let open = online(&host).await;
    let discard = PendingEvents::Discard;
    host.delete_rule(&rule_id(1), discard, None).await.unwrap();
    assert!(host.outbox.is_owed(ONE));
    host.delete_plugin(&plugin(), &anna()).await.unwrap();
    open.close();
    let status = host
        .until("dropped", |status| status.events.discarded > 0)
        .await;
    super::assert_all_sums(&status);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_version_does_not_hide_the_way_back() {
    let host = start(VersionSelector::Latest).await;
    for label in 1..=4 {
        push(&host, component(TRAPS, label)).await;
        // It proves itself.
        active(&host).mapper.as_ref().unwrap().track.worked(1000);
    }
    let earlier = || -> Vec<u32> {
        let active = active(&host);
        active.earlier.iter().map(|it| it.version).collect()
    };
    let delete = async |version| {
        host.delete_plugin_version(&plugin(), version, &anna())
            .await
    };
    assert_eq!(earlier(), [3]);
    delete(2).await.unwrap();
    back(&host, &plugin(), None).await.unwrap();
    assert_eq!((version(&host), earlier()), (Some(3), vec![1]));
    let refused = delete(1).await.unwrap_err();
    assert_eq!(refused.code, ControlCode::PluginInUse);
    // Pushed again, its bytes are a version that the rule has never had.
    assert_eq!(push(&host, component(TRAPS, 2)).await, 5);
    assert_eq!(earlier(), [3]);
    for wanted in [3, 1] {
        back(&host, &plugin(), None).await.unwrap();
        assert_eq!(version(&host), Some(wanted));
    }
}
