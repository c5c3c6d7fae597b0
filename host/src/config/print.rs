//! The effective configuration as TOML. Secrets are shown as the files that hold them.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use super::values::bytes_text;
use super::{
    Anonymous, ClientIds, Config, Connack, EmbeddedInstance, LogFormat, RemoteInstance,
    RocketmqInstance,
};

/// Writes `config` so that loading the text gives it back.
pub(crate) fn print(config: &Config) -> String {
    let mut page = Page(String::new());
    page.section("node");
    page.text("id", &config.node.id);
    page.path("data-dir", &config.node.data_dir);
    page.section("instance");
    page.text("id", config.instance_id.as_str());
    mqtt(&mut page, config);
    page.section("groups");
    page.line("auto-create", config.groups_auto_create);
    page.section("access");
    let anonymous = match config.anonymous {
        Anonymous::Loopback => "loopback",
        Anonymous::Always => "always",
        Anonymous::Never => "never",
    };
    page.text("anonymous", anonymous);
    page.section("admin");
    page.text("listen", config.admin_listen);
    if let Some(files) = &config.admin_certificate {
        page.path("tls-cert", &files.certificate);
        page.path("tls-key", &files.key);
    }
    for (id, instance) in &config.rocketmq {
        page.section(&format!("rocketmq.instances.{id}"));
        match instance {
            RocketmqInstance::Embedded(instance) => embedded(&mut page, instance),
            RocketmqInstance::Remote(instance) => remote(&mut page, instance),
        }
    }
    delivery_and_limits(&mut page, config);
    page.0
}

fn mqtt(page: &mut Page, config: &Config) {
    let mqtt = &config.mqtt;
    page.section("mqtt");
    page.texts("tcp", &mqtt.tcp);
    page.texts("ws", &mqtt.ws);
    page.texts("tls", &mqtt.tls);
    page.texts("wss", &mqtt.wss);
    if let Some(files) = &mqtt.certificate {
        page.path("tls-cert", &files.certificate);
        page.path("tls-key", &files.key);
    }
    page.line("max-connections", mqtt.connections_max);
    page.size("max-packet", u64::from(mqtt.packet_bytes_max));
    page.size("max-payload", u64::from(mqtt.payload_bytes_max));
    page.duration("connect-timeout", mqtt.connect_timeout);
    page.duration("max-keep-alive", mqtt.keep_alive_max);
    let client_ids = match mqtt.client_ids {
        ClientIds::Apsaramq => "apsaramq",
        ClientIds::Any => "any",
    };
    page.text("client-ids", client_ids);
}

fn embedded(page: &mut Page, instance: &EmbeddedInstance) {
    page.text("kind", "embedded");
    page.text("name-server-listen", instance.name_server_listen);
    page.text("broker-listen", instance.broker_listen);
    page.line("create-topics", instance.create_topics);
    page.line("topic-queues", instance.topic_queues);
}

fn remote(page: &mut Page, instance: &RemoteInstance) {
    page.text("kind", "remote");
    page.texts("name-servers", &instance.name_servers);
    page.text("namespace", &instance.namespace);
    let secrets = [
        ("access-key-file", &instance.access_key),
        ("secret-key-file", &instance.secret_key),
        ("security-token-file", &instance.security_token),
    ];
    for (key, secret) in secrets {
        if let Some(secret) = secret {
            page.path(key, &secret.path);
        }
    }
    page.line("tls", instance.tls);
    page.line("create-topics", instance.create_topics);
    page.line("topic-queues", instance.topic_queues);
    page.duration("send-timeout", instance.send_timeout);
    page.line("batch-max", instance.batch_messages_max);
    page.size("batch-bytes-max", instance.batch_bytes_max);
}

fn delivery_and_limits(page: &mut Page, config: &Config) {
    page.section("delivery");
    page.duration("commit-interval", config.delivery.commit_interval);
    let connack = match config.delivery.connack {
        Connack::BeforeCommit => "before-commit",
        Connack::AfterCommit => "after-commit",
    };
    page.text("connack", connack);
    page.duration("retry-max-age", config.delivery.retry_age_max);
    page.duration("shutdown-grace", config.delivery.shutdown_grace);
    page.section("outbox");
    page.size("max-bytes", config.outbox.bytes_max);
    page.line("rule-share", format!("{:?}", config.outbox.rule_share));
    page.duration("max-age", config.outbox.age_max);
    page.size(
        "dead-letters-max-bytes",
        config.outbox.dead_letters_bytes_max,
    );
    let plugins = &config.plugins;
    page.section("plugins");
    if let Some(watch_dir) = &plugins.watch_dir {
        page.path("watch-dir", watch_dir);
    }
    page.size("component-max", plugins.component_bytes_max);
    page.size("memory", plugins.memory_bytes_max);
    page.duration("call-deadline", plugins.call_deadline);
    page.duration("init-deadline", plugins.init_deadline);
    page.size("output-max", plugins.output_bytes_max);
    page.line("messages-max", plugins.messages_max);
    page.size("memory-total", plugins.memory_total_bytes);
    page.duration("compile-time", plugins.compile_time);
    page.size("compile-memory", plugins.compile_memory_bytes);
    page.size("compiled-functions", plugins.function_bytes_max);
    if let Some(rules_dir) = &config.rules_dir {
        page.section("rules");
        page.path("dir", rules_dir);
    }
    page.section("limits");
    page.line("rules", config.rules_max);
    page.section("telemetry");
    page.text("log", &config.telemetry.log);
    let format = match config.telemetry.log_format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    page.text("log-format", format);
}

struct Page(String);

impl Page {
    fn section(&mut self, name: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        self.push(format_args!("{gap}[{name}]"));
    }

    fn line(&mut self, key: &str, value: impl Display) {
        self.push(format_args!("{key} = {value}"));
    }

    fn text(&mut self, key: &str, value: impl Display) {
        self.line(key, quoted(&value.to_string()));
    }

    fn path(&mut self, key: &str, path: &Path) {
        self.text(key, path.display());
    }

    fn size(&mut self, key: &str, bytes: u64) {
        self.text(key, bytes_text(bytes));
    }

    fn duration(&mut self, key: &str, duration: Duration) {
        self.text(key, humantime::format_duration(duration));
    }

    fn texts(&mut self, key: &str, values: &[impl Display]) {
        let texts: Vec<String> = values
            .iter()
            .map(|value| quoted(&value.to_string()))
            .collect();
        self.line(key, format!("[{}]", texts.join(", ")));
    }

    fn push(&mut self, line: std::fmt::Arguments<'_>) {
        self.0.push_str(&line.to_string());
        self.0.push('\n');
    }
}

/// TOML's basic string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
