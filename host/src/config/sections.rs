//! Reads each section of the configuration; the only place that knows the names of keys.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use domain::{ErrorChain, InstanceId, SystemClock};
use mqtt_server::CertificateFiles;
use tracing_subscriber::EnvFilter;

use super::reader::Section;
use super::tree::Leaf;
use super::values::{
    choice, duration, flag, folder, list, number, parsed, path, share, size, small_number,
    socket_address, text,
};
use super::{
    Anonymous, Certificate, ClientIds, Config, Connack, Delivery, LogFormat, Mqtt, Node, Outbox,
    Plugins, Telemetry, defaults, rocketmq,
};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const TIB: u64 = 1024 * GIB;
/// The largest packet that MQTT can express [MQTT-1.5.5].
const MQTT_PACKET_BYTES_MAX: u64 = 268_435_455;
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads everything. `None` only together with a problem.
pub(super) fn read(mut root: Section<'_>) -> Option<Config> {
    let node = node(root.section("node"));
    let instance_id = instance_id(root.section("instance"));
    let mqtt = mqtt(root.section("mqtt"));
    let groups_auto_create = groups(root.section("groups"));
    let anonymous = access(root.section("access"));
    let (admin_listen, admin_certificate) = admin(root.section("admin"));
    let rocketmq = rocketmq::read(root.section("rocketmq"));
    let delivery = delivery(root.section("delivery"));
    let outbox = outbox(root.section("outbox"));
    let plugins = plugins(root.section("plugins"));
    let rules_dir = rules(root.section("rules"));
    let rules_max = limits(root.section("limits"));
    let telemetry = telemetry(root.section("telemetry"));
    root.finish();
    Some(Config {
        node: node?,
        instance_id: instance_id?,
        mqtt,
        groups_auto_create,
        anonymous,
        admin_listen,
        admin_certificate,
        rocketmq,
        delivery,
        outbox,
        plugins,
        rules_dir,
        rules_max,
        telemetry,
    })
}

/// The platform's folder for the data of programs; `None` if this user has no home.
pub(crate) fn default_data_dir() -> Option<PathBuf> {
    directories::ProjectDirs::from("", "", "rulemill").map(|dirs| dirs.data_dir().to_owned())
}

fn node(mut section: Section<'_>) -> Option<Node> {
    let id = section.optional("id", parsed(node_id)).unwrap_or_else(|| {
        let name = gethostname::gethostname().to_string_lossy().into_owned();
        node_id(&name).unwrap_or_else(|_| "rulemill".to_owned())
    });
    let data_dir = section.optional("data-dir", path).or_else(default_data_dir);
    if data_dir.is_none() {
        let name = section.name("data-dir");
        section.findings().problem(format!(
            "{name} must be set, because this user has no home folder"
        ));
    }
    section.finish();
    Some(Node {
        id,
        data_dir: data_dir?,
    })
}

fn node_id(text: &str) -> Result<String, &'static str> {
    let is_right = (1..=128).contains(&text.len())
        && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    if is_right {
        Ok(text.to_owned())
    } else {
        Err("it must have 1 to 128 bytes without blanks")
    }
}

fn instance_id(mut section: Section<'_>) -> Option<InstanceId> {
    let id = section
        .optional("id", parsed(InstanceId::parse))
        .or_else(|| InstanceId::parse(defaults::INSTANCE_ID).ok());
    section.finish();
    id
}

fn mqtt(mut section: Section<'_>) -> Mqtt {
    let has_certificate = section.has("tls-cert") || section.has("tls-key");
    let mqtt = Mqtt {
        tcp: section.value("tcp", vec![defaults::MQTT_TCP], list(socket_address)),
        ws: section.value("ws", vec![defaults::MQTT_WS], list(socket_address)),
        tls: section.value("tls", Vec::new(), list(socket_address)),
        wss: section.value("wss", Vec::new(), list(socket_address)),
        certificate: certificate(&mut section),
        connections_max: section.value(
            "max-connections",
            defaults::CONNECTIONS_MAX,
            number(1..=100_000_000),
        ),
        packet_bytes_max: packet_size(&mut section, "max-packet", defaults::PACKET_BYTES_MAX),
        payload_bytes_max: packet_size(&mut section, "max-payload", defaults::PAYLOAD_BYTES_MAX),
        connect_timeout: section.value(
            "connect-timeout",
            defaults::CONNECT_TIMEOUT,
            duration(MILLISECOND * 100..=HOUR),
        ),
        // MQTT's keep alive has 16 bits.
        keep_alive_max: section.value(
            "max-keep-alive",
            defaults::KEEP_ALIVE_MAX,
            duration(SECOND..=SECOND * 65_535),
        ),
        client_ids: section.value(
            "client-ids",
            ClientIds::Apsaramq,
            choice(&[("apsaramq", ClientIds::Apsaramq), ("any", ClientIds::Any)]),
        ),
    };
    if mqtt.payload_bytes_max > mqtt.packet_bytes_max {
        section.findings().problem(format!(
            "{} must not be larger than {}",
            section.name("max-payload"),
            section.name("max-packet")
        ));
    }
    let is_encrypted = !mqtt.tls.is_empty() || !mqtt.wss.is_empty();
    if mqtt.tcp.is_empty() && mqtt.ws.is_empty() && !is_encrypted {
        section.findings().problem(format!(
            "{}, {}, {} and {} are all empty: no client could connect",
            section.name("tcp"),
            section.name("ws"),
            section.name("tls"),
            section.name("wss")
        ));
    }
    if is_encrypted && !has_certificate {
        section.findings().problem(format!(
            "{} and {} need {} and {}, the PEM files of a certificate and its private key",
            section.name("tls"),
            section.name("wss"),
            section.name("tls-cert"),
            section.name("tls-key")
        ));
    }
    section.finish();
    mqtt
}

/// Read and checked at once, so that `config check` knows what a start would say.
fn certificate(section: &mut Section<'_>) -> Option<Certificate> {
    let certificate = section.optional("tls-cert", path);
    let key = section.optional("tls-key", path);
    let (Some(certificate), Some(key)) = (&certificate, &key) else {
        if certificate.is_some() != key.is_some() {
            section.findings().problem(format!(
                "{} and {} must be given together",
                section.name("tls-cert"),
                section.name("tls-key")
            ));
        }
        return None;
    };
    let files = CertificateFiles {
        certificate: certificate.clone(),
        key: key.clone(),
    };
    if let Err(error) = files.check(&SystemClock) {
        section.findings().problem(format!(
            "{} and {} cannot be used: {}",
            section.name("tls-cert"),
            section.name("tls-key"),
            ErrorChain(&error)
        ));
    }
    Some(Certificate {
        certificate: files.certificate,
        key: files.key,
    })
}

fn packet_size(section: &mut Section<'_>, key: &str, default: u64) -> u32 {
    let bytes = section.value(key, default, size(KIB..=MQTT_PACKET_BYTES_MAX));
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn groups(mut section: Section<'_>) -> bool {
    let auto_create = section.value("auto-create", defaults::GROUPS_AUTO_CREATE, flag);
    section.finish();
    auto_create
}

fn access(mut section: Section<'_>) -> Anonymous {
    let choices = [
        ("loopback", Anonymous::Loopback),
        ("always", Anonymous::Always),
        ("never", Anonymous::Never),
    ];
    let anonymous = section.value("anonymous", Anonymous::Loopback, choice(&choices));
    section.finish();
    anonymous
}

fn admin(mut section: Section<'_>) -> (SocketAddr, Option<Certificate>) {
    let has_certificate = section.has("tls-cert") || section.has("tls-key");
    let listen = section.value("listen", defaults::ADMIN_LISTEN, socket_address);
    let certificate = certificate(&mut section);
    if !listen.ip().is_loopback() && !has_certificate {
        section.findings().problem(format!(
            "{} is {listen}: beyond loopback the API needs TLS; set {} and {}, the PEM files of a certificate and its private key, or listen on {}",
            section.name("listen"),
            section.name("tls-cert"),
            section.name("tls-key"),
            defaults::ADMIN_LISTEN
        ));
    }
    section.finish();
    (listen, certificate)
}

fn delivery(mut section: Section<'_>) -> Delivery {
    let connack = [
        ("before-commit", Connack::BeforeCommit),
        ("after-commit", Connack::AfterCommit),
    ];
    let delivery = Delivery {
        commit_interval: section.value(
            "commit-interval",
            defaults::COMMIT_INTERVAL,
            duration(MILLISECOND..=SECOND),
        ),
        connack: section.value("connack", Connack::BeforeCommit, choice(&connack)),
        retry_age_max: section.value(
            "retry-max-age",
            defaults::RETRY_AGE_MAX,
            duration(SECOND..=YEAR),
        ),
        shutdown_grace: section.value(
            "shutdown-grace",
            defaults::SHUTDOWN_GRACE,
            duration(Duration::ZERO..=HOUR),
        ),
    };
    section.finish();
    delivery
}

fn outbox(mut section: Section<'_>) -> Outbox {
    let outbox = Outbox {
        bytes_max: section.value("max-bytes", defaults::OUTBOX_BYTES_MAX, size(MIB..=TIB)),
        rule_share: section.value("rule-share", defaults::OUTBOX_RULE_SHARE, share),
        age_max: section.value("max-age", defaults::OUTBOX_AGE_MAX, duration(SECOND..=YEAR)),
        dead_letters_bytes_max: section.value(
            "dead-letters-max-bytes",
            defaults::DEAD_LETTERS_BYTES_MAX,
            size(MIB..=TIB),
        ),
    };
    section.finish();
    outbox
}

fn plugins(mut section: Section<'_>) -> Plugins {
    let plugins = Plugins {
        watch_dir: section.optional("watch-dir", folder),
        component_bytes_max: section.value(
            "component-max",
            defaults::COMPONENT_BYTES_MAX,
            size(KIB..=256 * MIB),
        ),
        memory_bytes_max: section.value(
            "memory",
            defaults::PLUGIN_MEMORY_BYTES_MAX,
            size(64 * KIB..=4096 * MIB),
        ),
        call_deadline: section.value(
            "call-deadline",
            defaults::CALL_DEADLINE,
            duration(MILLISECOND..=SECOND * 60),
        ),
        init_deadline: section.value(
            "init-deadline",
            defaults::INIT_DEADLINE,
            duration(MILLISECOND..=SECOND * 60),
        ),
        output_bytes_max: section.value(
            "output-max",
            defaults::OUTPUT_BYTES_MAX,
            size(KIB..=64 * MIB),
        ),
        messages_max: section.value(
            "messages-max",
            defaults::MESSAGES_MAX,
            small_number(1..=1024),
        ),
        memory_total_bytes: section.value(
            "memory-total",
            defaults::PLUGIN_MEMORY_TOTAL_BYTES,
            size(MIB..=TIB),
        ),
        compile_time: section.value(
            "compile-time",
            defaults::COMPILE_TIME,
            duration(SECOND..=SECOND * 3600),
        ),
        compile_memory_bytes: section.value(
            "compile-memory",
            defaults::COMPILE_MEMORY_BYTES,
            size(256 * MIB..=TIB),
        ),
        function_bytes_max: section.value(
            "compiled-functions",
            defaults::FUNCTION_BYTES_MAX,
            size(0..=GIB),
        ),
    };
    if plugins.memory_bytes_max > plugins.memory_total_bytes {
        section.findings().problem(format!(
            "{0} must not be larger than {1}: lower it, or raise {1}",
            section.name("memory"),
            section.name("memory-total")
        ));
    }
    // The compiler is given all of them, and what it compiles.
    if plugins.function_bytes_max > plugins.compile_memory_bytes / 8 {
        section.findings().problem(format!(
            "{0} must not be larger than an eighth of {1}: lower it, or raise {1}",
            section.name("compiled-functions"),
            section.name("compile-memory")
        ));
    }
    section.finish();
    plugins
}

fn rules(mut section: Section<'_>) -> Option<PathBuf> {
    let dir = section.optional("dir", folder);
    section.finish();
    dir
}

fn limits(mut section: Section<'_>) -> u32 {
    let rules = section.value("rules", defaults::RULES_MAX, small_number(1..=10_000));
    section.finish();
    rules
}

fn telemetry(mut section: Section<'_>) -> Telemetry {
    let filter = |leaf: &Leaf| {
        let log = text(leaf)?;
        match EnvFilter::builder().parse(&log) {
            Ok(_) => Ok(log),
            Err(error) => Err(format!(
                "must be a level such as \"info\" or a filter: {error}"
            )),
        }
    };
    let telemetry = Telemetry {
        log: section
            .optional("log", filter)
            .unwrap_or_else(|| defaults::LOG.to_owned()),
        log_format: section.value(
            "log-format",
            LogFormat::Text,
            choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]),
        ),
    };
    section.finish();
    telemetry
}
