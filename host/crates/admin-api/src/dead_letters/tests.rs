//! Dead letters, status and readiness over HTTP, with a whole pipeline behind it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use broker::{Broker, BrokerConfig};
use domain::{
    ChannelFacts, ChannelId, ClientId, CloseReason, EventId, EventType, IncarnationId, MqttVersion,
    RuleId, Sequence, Slot, StatusEvent, StatusSink, SystemClock,
};
use pipeline::control::{Burial, DeadLetter, DeadLetterReason};
use pipeline::{DeliveryConfig, Pipeline, PipelineConfig};
use plugin_runtime::{CodeConfig, RuntimeConfig};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::DeadLetterOut;
use crate::{AdminConfig, AdminServer, Probes, TokenHash};

/// A host without rules.
struct Host {
    address: SocketAddr,
    is_ending: Arc<AtomicBool>,
    _folder: TempDir,
    _pipeline: Pipeline,
    _tasks: JoinSet<()>,
}

fn pipeline_config(data_dir: &Path) -> PipelineConfig {
    PipelineConfig {
        data_dir: data_dir.to_owned(),
        commit_interval: Duration::from_millis(1),
        uncommitted_events_max: 1000,
        outbox_bytes_max: 1 << 20,
        rule_share: 0.5,
        dead_letters_bytes_max: 1 << 20,
        delivery: DeliveryConfig {
            retry_age_max: Duration::from_secs(60),
            age_max: Duration::from_secs(60),
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
        rules_max: 10,
    }
}

impl Host {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock);
        let config = pipeline_config(folder.path());
        let pipeline = Pipeline::open(config, clock.clone()).await.unwrap();
        let sink = Arc::clone(&pipeline.recorder) as Arc<dyn StatusSink>;
        let broker = Broker::new(BrokerConfig::with_connections_max(10), sink, clock);
        let is_ending = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&is_ending);
        let probes = Probes {
            not_ready: Box::new(move || {
                let is_ending = ending.load(Ordering::SeqCst);
                is_ending.then(|| "the host is shutting down".to_owned())
            }),
            metrics: Box::new(String::new),
        };
        let config = AdminConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            token: TokenHash::of("token"),
            component_bytes_max: 1000,
            node: "node".to_owned(),
            instance: "instance".to_owned(),
            version: "1".to_owned(),
            certificate: None,
            rules_folder: None,
        };
        let control = Arc::clone(&pipeline.control);
        let server = AdminServer::bind(config, control, broker, probes);
        let server = server.await.unwrap();
        let address = server.address();
        let mut tasks = JoinSet::new();
        tasks.spawn(server.run(CancellationToken::new()));
        Self {
            address,
            is_ending,
            _folder: folder,
            _pipeline: pipeline,
            _tasks: tasks,
        }
    }

    /// Status and body.
    async fn ask(&self, line: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer token\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split("\r\n\r\n").nth(1).unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_about_dead_letters_have_their_answers() {
    let host = Host::start().await;
    let list = "/v1/dead-letters";
    for (line, body, status, code) in [
        (format!("GET {list}/7"), "", 404, "dead_letter_not_found"),
        (format!("GET {list}/x"), "", 400, "invalid_path"),
        (format!("DELETE {list}/7"), "", 404, "dead_letter_not_found"),
        (
            format!("POST {list}/7/replay"),
            "",
            404,
            "dead_letter_not_found",
        ),
        (
            format!("POST {list}/7/replay"),
            "{\"forced\":1}",
            400,
            "invalid_json",
        ),
        (format!("GET {list}?reason=bad"), "", 400, "invalid_query"),
        (format!("GET {list}?limit=0"), "", 400, "invalid_query"),
        (format!("GET {list}?ruleId=a"), "", 422, "invalid_rule_id"),
        // Deleting everything must be said in words.
        (format!("DELETE {list}"), "", 422, "invalid_selection"),
        (
            format!("DELETE {list}?all=true&reason=fault"),
            "",
            422,
            "invalid_selection",
        ),
        (
            format!("POST {list}:replay"),
            "{}",
            422,
            "invalid_selection",
        ),
        (
            format!("POST {list}:replay"),
            "{\"ids\":[1],\"ruleId\":\"abc\"}",
            422,
            "invalid_selection",
        ),
        (
            format!("POST {list}:replay"),
            "{\"ruleId\":\"abc\"}",
            404,
            "rule_not_found",
        ),
        (
            "POST /v1/rules/abc/retire-queue".to_owned(),
            "{\"queue\":\"broker\"}",
            422,
            "invalid_queue",
        ),
        (
            "POST /v1/rules/abc/retire-queue".to_owned(),
            "{\"queue\":\"broker-a:3\"}",
            404,
            "rule_not_found",
        ),
    ] {
        let (found, error) = host.ask(&line, body).await;
        assert_eq!(
            (found, error["code"].as_str()),
            (status, Some(code)),
            "{line} {body}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_dead_letters_there_is_nothing_to_list_delete_or_replay() {
    let host = Host::start().await;
    let list = "/v1/dead-letters";
    let (status, page) = host.ask(&format!("GET {list}?reason=fault"), "").await;
    assert_eq!(status, 200);
    assert_eq!(
        page,
        serde_json::json!({ "items": [], "nextPageToken": null, "total": 0 })
    );
    let (_, deleted) = host.ask(&format!("DELETE {list}?all=true"), "").await;
    assert_eq!(deleted, serde_json::json!({ "deleted": 0 }));
    let (status, replayed) = host
        .ask(&format!("POST {list}:replay"), "{\"ids\":[7]}")
        .await;
    assert_eq!((status, &replayed["skipped"]), (200, &Value::from(1)));
    assert_eq!(replayed["reasons"][0]["id"], 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_says_why_and_is_an_error_only_when_nothing_is_taken() {
    let host = Host::start().await;
    let (status, ready) = host.ask("GET /readyz", "").await;
    assert_eq!(status, 200);
    assert_eq!(
        ready,
        serde_json::json!({ "ready": true, "reason": null, "degraded": [] })
    );
    host.is_ending.store(true, Ordering::SeqCst);
    let (status, ready) = host.ask("GET /readyz", "").await;
    assert_eq!(status, 503);
    assert_eq!(ready["code"], "not_ready");
    assert_eq!(ready["ready"], false);
    assert_eq!(ready["reason"], "the host is shutting down");
    assert!(ready["degraded"].is_array() && ready["requestId"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_has_every_term_of_the_sums() {
    let host = Host::start().await;
    let (_, status) = host.ask("GET /v1/status", "").await;
    for name in [
        "observed",
        "matched",
        "unmatched",
        "recorded",
        "recordedSinceStart",
        "refused",
        "replayed",
        "delivered",
        "skipped",
        "buried",
        "expired",
        "discarded",
        "pending",
    ] {
        assert_eq!(status["events"][name], 0, "{name}");
    }
    for name in [
        "bytes",
        "bytesMax",
        "oldestMs",
        "uncommitted",
        "deadLetters",
    ] {
        assert!(status["outbox"][name].is_u64(), "{name}");
    }
}

#[test]
fn a_dead_letter_looks_as_documented() {
    let client_id = ClientId::parse("GID_Demo@@@d1").unwrap();
    let event = StatusEvent {
        event_id: EventId([7; 16]),
        event_type: EventType::TcpClean,
        time_ms: 1_795_573_125_000,
        sequence: Sequence(4711),
        reason: Some(CloseReason::KeepAliveTimeout),
        synthetic: None,
        connected_at_ms: 1_795_573_000_000,
        channel: Arc::new(ChannelFacts {
            group_id: client_id.group(),
            client_id,
            channel_id: ChannelId([1; 16]),
            client_address: SocketAddr::from(([192, 0, 2, 7], 50312)),
            protocol: MqttVersion::V5,
            listener: "tcp",
            username: None,
            keep_alive_seconds: 60,
            clean_start: true,
            session_present: false,
        }),
    };
    let letter = DeadLetter {
        id: 17,
        incarnation: IncarnationId(1),
        slot: Slot(3),
        event,
        burial: Burial {
            reason: DeadLetterReason::Rejected,
            detail: "no mapping".to_owned(),
            rule_id: RuleId::parse("my-rule").unwrap(),
            revision: 3,
            plugin_digest: None,
        },
        at_ms: 1_795_573_126_000,
    };
    let shown = serde_json::to_value(DeadLetterOut::of(&letter, "node", "mqtt-local")).unwrap();
    let expected = serde_json::json!({
        "id": 17,
        "event": {
            "eventId": "07".repeat(16), "eventType": "tcpclean", "clientId": "GID_Demo@@@d1", "groupId": "GID_Demo",
            "channelId": "01".repeat(16), "clientIp": "192.0.2.7:50312", "time": 1_795_573_125_000_u64,
            "sequence": 4711, "reason": "keep-alive-timeout",
            "attributes": { "reason": "keep-alive-timeout", "protocol": "mqtt5", "listener": "tcp", "keepAlive": "60",
                            "cleanStart": "true", "sessionPresent": "false", "connectedAt": "1795573000000",
                            "node": "node", "instance": "mqtt-local" },
        },
        "ruleId": "my-rule", "revision": 3, "pluginDigest": null, "reason": "rejected", "detail": "no mapping",
        "at": 1_795_573_126_000_u64,
    });
    assert_eq!(shown, expected);
}
