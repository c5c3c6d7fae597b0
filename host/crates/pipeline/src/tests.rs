//! A whole pipeline without plugins and without RocketMQ: events come in and wait; tests end them by hand.

mod accounting;
mod dead_letters;
mod deleting_plugins;
mod housekeeping;
mod incarnations;
mod plugin_versions;
mod pushing;
mod refusals;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domain::{
    AnyRule, ChannelFacts, ChannelId, ChannelTicket, ClientId, Clock, CloseReason, Destination,
    EventType, GroupId, IncarnationId, InstanceId, Mapped, MappingLimits, MqttVersion, OnActivate,
    OnFault, OnReject, Ordering, PluginName, RefuseConnectError, Rule, RuleDraft, RuleId, Sequence,
    Slot, StatusSink, SystemClock, TopicName, VersionSelector,
};
use plugin_runtime::{CodeConfig, RuntimeConfig};
use store::{IncarnationRecord, MetaStore, Outcome, PendingEvent, Settlement};
use tempfile::TempDir;

use crate::config::{DeliveryConfig, PipelineConfig};
use crate::control::Control;
use crate::pipeline::Pipeline;
use crate::view::{EventCounts, PipelineStatus};

/// Beyond it a test has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A pipeline with the rules that were put into its folder before.
struct Host {
    folder: TempDir,
    pipeline: Pipeline,
}

impl std::ops::Deref for Host {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.pipeline.control
    }
}

pub(crate) fn config(data_dir: &Path) -> PipelineConfig {
    PipelineConfig {
        data_dir: data_dir.to_owned(),
        commit_interval: Duration::from_millis(1),
        uncommitted_events_max: 100_000,
        outbox_bytes_max: 64 << 20,
        rule_share: 0.5,
        dead_letters_bytes_max: 1 << 20,
        delivery: DeliveryConfig {
            retry_age_max: Duration::from_secs(3600),
            age_max: Duration::from_secs(3600),
        },
        instances: HashMap::new(),
        runtime: RuntimeConfig {
            mapper_threads: NonZeroUsize::MIN,
            memory_bytes_max: 1 << 24,
            memory_total_bytes_max: 1 << 26,
            call_deadline: Duration::from_millis(10),
            init_deadline: Duration::from_secs(1),
            output_bytes_max: 1 << 20,
            messages_max: 16,
            component_bytes_max: 1 << 20,
            node: "node".into(),
            instance: "instance".into(),
        },
        code: CodeConfig::default(),
        credentials: Arc::default(),
        built_in: Vec::new(),
        plugin_folder: None,
        is_group_auto_create: true,
        rules_max: 100,
    }
}

impl Host {
    /// With enabled rules `rule-1`, … for groups `GID_rule1`, … and incarnations 1, ….
    async fn start(rules: u32) -> Self {
        Self::start_with(rules, |_| {}).await
    }

    async fn start_with(rules: u32, change: impl FnOnce(&mut PipelineConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let meta = MetaStore::open(folder.path().join("meta.redb")).unwrap();
        for number in 1..=rules {
            put_rule(&meta, number);
        }
        drop(meta);
        Self::open(folder, change).await
    }

    async fn open(folder: TempDir, change: impl FnOnce(&mut PipelineConfig)) -> Self {
        let mut config = config(folder.path());
        change(&mut config);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let pipeline = Pipeline::open(config, clock).await.unwrap();
        Self { folder, pipeline }
    }

    /// Ends it and starts another one in the same folder.
    async fn restart(self) -> Self {
        let Self { folder, pipeline } = self;
        pipeline.shutdown(Duration::ZERO).await;
        Self::open(folder, |_| {}).await
    }

    fn connect(&self, client_id: &str) -> Result<Channel<'_>, RefuseConnectError> {
        let facts = facts(client_id);
        let recorder = &self.pipeline.recorder;
        let admission = recorder.admit(facts.group_id.as_ref())?;
        let ticket = recorder.opened(admission, &facts);
        Ok(Channel {
            host: self,
            facts,
            ticket,
        })
    }

    async fn committed(&self) {
        assert!(self.pipeline.recorder.committed().await);
    }

    /// What is pending of an incarnation, in sequence order.
    fn pending(&self, incarnation: IncarnationId) -> Vec<Arc<PendingEvent>> {
        let slots = self.outbox.pending_slots(incarnation).into_iter();
        let take = |(slot, _): (Slot, u64)| {
            self.outbox
                .take(incarnation, slot, Sequence::default(), usize::MAX)
                .unwrap()
        };
        let mut events: Vec<_> = slots.flat_map(take).collect();
        events.sort_by_key(|event| event.position);
        events
    }

    /// Ends everything that is pending of an incarnation, in one way.
    fn settle(&self, incarnation: IncarnationId, outcome: &Outcome) {
        let pending = self.pending(incarnation);
        let settled = pending.iter().map(|event| Settlement {
            incarnation,
            slot: event.slot,
            position: event.position,
            outcome: outcome.clone(),
        });
        self.outbox.settle(settled.collect());
    }

    async fn until(&self, what: &str, is_so: impl Fn(&PipelineStatus) -> bool) -> PipelineStatus {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if is_so(&status) {
                return status;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "not {what}: {status:?}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// An open channel.
struct Channel<'a> {
    host: &'a Host,
    facts: Arc<ChannelFacts>,
    ticket: ChannelTicket,
}

impl Channel<'_> {
    fn close(self) {
        self.host.pipeline.recorder.closing(
            self.ticket,
            &self.facts,
            EventType::TcpClean,
            CloseReason::ConnectionLost,
        );
    }
}

fn facts(client_id: &str) -> Arc<ChannelFacts> {
    let client_id = ClientId::parse(client_id).unwrap();
    Arc::new(ChannelFacts {
        group_id: client_id.group(),
        client_id,
        channel_id: ChannelId::random(),
        client_address: SocketAddr::from(([192, 0, 2, 7], 50312)),
        protocol: MqttVersion::V5,
        listener: "tcp",
        username: None,
        keep_alive_seconds: 60,
        clean_start: true,
        session_present: false,
    })
}

fn rule_id(number: u32) -> RuleId {
    RuleId::parse(&format!("rule-{number}")).unwrap()
}

fn draft(number: u32) -> RuleDraft {
    RuleDraft {
        rule_id: rule_id(number),
        description: String::new(),
        enabled: true,
        group_id: GroupId::parse(&format!("GID_rule{number}")).unwrap(),
        destination: Destination {
            instance_id: InstanceId::parse("none").unwrap(),
            topic: TopicName::parse("Topic").unwrap(),
        },
        ordering: Ordering::Strict,
        mapping: Mapped {
            plugin: PluginName::parse("none").unwrap(),
            version: VersionSelector::Latest,
            config: "{}".to_owned(),
            limits: MappingLimits::default(),
            on_fault: OnFault::DeadLetter,
            on_reject: OnReject::DeadLetter,
        },
        on_activate: OnActivate::None,
    }
}

fn record(number: u32, id: IncarnationId) -> IncarnationRecord {
    let draft = draft(number);
    IncarnationRecord {
        id,
        rule_id: draft.rule_id,
        group_id: draft.group_id,
        destination: draft.destination,
        ordering: draft.ordering,
        revision: 1,
        mapping: draft.mapping,
        is_retired: false,
        is_discarding: false,
    }
}

/// Puts `rule-N` with its incarnation into the store; no plugin and no instance is there for it.
fn put_rule(meta: &MetaStore, number: u32) {
    let written: Result<(), store::WriteMetaError> = meta.write(|tx| {
        let revision = tx.next_revision()?;
        let incarnation = tx.next_incarnation()?;
        tx.put_incarnation(&record(number, incarnation))?;
        tx.put_rule(&AnyRule::Status(Rule {
            draft: draft(number),
            revision,
            incarnation,
            created_at_ms: 0,
            updated_at_ms: 0,
        }))
    });
    written.unwrap();
}

/// The three sums.
fn assert_sums(counts: &EventCounts) {
    assert_eq!(
        counts.observed,
        counts.matched + counts.unmatched,
        "{counts:?}"
    );
    assert_eq!(
        counts.matched,
        counts.recorded_since_start + counts.refused,
        "{counts:?}"
    );
    let ended =
        counts.delivered + counts.skipped + counts.buried + counts.expired + counts.discarded;
    assert_eq!(
        counts.recorded + counts.replayed,
        ended + counts.pending,
        "{counts:?}"
    );
}

fn assert_all_sums(status: &PipelineStatus) {
    assert_sums(&status.events);
    status
        .rules
        .iter()
        .for_each(|rule| assert_sums(&rule.events));
}
