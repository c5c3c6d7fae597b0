//! The RocketMQ instances: in this process or elsewhere.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use domain::InstanceId;

use super::reader::Section;
use super::values::{
    duration, flag, host_and_port, list, path, size, small_number, socket_address, text,
};
use super::{Secret, defaults};

const MIB: u64 = 1024 * 1024;
/// Larger than any secret; a wrong path should not read a whole disk.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// One RocketMQ instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RocketmqInstance {
    /// Name server and broker in this process.
    Embedded(EmbeddedInstance),
    /// A RocketMQ somewhere else.
    Remote(Box<RemoteInstance>),
}

/// Name server and broker in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EmbeddedInstance {
    pub(crate) name_server_listen: SocketAddr,
    pub(crate) broker_listen: SocketAddr,
    /// Whether a rule for a missing topic creates it.
    pub(crate) create_topics: bool,
    /// Queues of a topic that is created.
    pub(crate) topic_queues: u32,
}

/// A RocketMQ somewhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteInstance {
    /// `host:port` each; at least one.
    pub(crate) name_servers: Vec<String>,
    /// Empty for none.
    pub(crate) namespace: String,
    pub(crate) access_key: Option<SecretFile>,
    pub(crate) secret_key: Option<SecretFile>,
    pub(crate) security_token: Option<SecretFile>,
    pub(crate) tls: bool,
    /// Whether a rule for a missing topic creates it.
    pub(crate) create_topics: bool,
    /// Queues of a topic that is created.
    pub(crate) topic_queues: u32,
    pub(crate) send_timeout: Duration,
    /// Messages of one batch.
    pub(crate) batch_messages_max: u32,
    pub(crate) batch_bytes_max: u64,
}

/// A secret and the file that it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SecretFile {
    pub(crate) path: PathBuf,
    pub(crate) value: Secret,
}

#[derive(Clone, Copy)]
enum Kind {
    Embedded,
    Remote,
}

/// Reads `[rocketmq]`. Without any instance there is the embedded one, if it is built in.
pub(super) fn read(mut section: Section<'_>) -> BTreeMap<InstanceId, RocketmqInstance> {
    let mut instances = section.section("instances");
    section.finish();
    let mut all = BTreeMap::new();
    let mut names = instances.keys();
    #[cfg(feature = "embedded-rocketmq")]
    if names.is_empty() {
        names.push(defaults::EMBEDDED_INSTANCE.to_owned());
    }
    names.sort();
    for name in names {
        let instance = instances.section(&name);
        match InstanceId::parse(&name) {
            Ok(id) => {
                if let Some(read) = read_instance(&name, instance) {
                    all.insert(id, read);
                }
            }
            Err(error) => instances
                .findings()
                .problem(format!("rocketmq.instances: {error}")),
        }
    }
    instances.finish();
    all
}

fn read_instance(name: &str, mut section: Section<'_>) -> Option<RocketmqInstance> {
    let kinds = [("embedded", Kind::Embedded), ("remote", Kind::Remote)];
    // The default instance can be changed key by key without naming its kind again.
    let is_default = name == "embedded" && !section.has("kind");
    let kind = if is_default {
        Some(Kind::Embedded)
    } else if section.has("kind") {
        section.optional("kind", super::values::choice(&kinds))
    } else {
        let key = section.name("kind");
        section.findings().problem(format!(
            "{key} is missing; it must be \"embedded\" or \"remote\""
        ));
        None
    };
    match kind? {
        Kind::Embedded if cfg!(not(feature = "embedded-rocketmq")) => {
            let key = section.name("kind");
            section.findings().problem(format!(
                "{key} is \"embedded\", but this rulemill was built without the embedded RocketMQ; use \"remote\", or build with the feature embedded-rocketmq"
            ));
            None
        }
        Kind::Embedded => Some(embedded(section)),
        Kind::Remote => Some(remote(section)),
    }
}

fn embedded(mut section: Section<'_>) -> RocketmqInstance {
    let instance = EmbeddedInstance {
        name_server_listen: section.value(
            "name-server-listen",
            defaults::NAME_SERVER_LISTEN,
            socket_address,
        ),
        broker_listen: section.value("broker-listen", defaults::BROKER_LISTEN, socket_address),
        create_topics: section.value("create-topics", true, flag),
        topic_queues: section.value(
            "topic-queues",
            defaults::TOPIC_QUEUES,
            small_number(1..=1024),
        ),
    };
    section.finish();
    RocketmqInstance::Embedded(instance)
}

fn remote(mut section: Section<'_>) -> RocketmqInstance {
    let name = section.name("name-servers");
    let is_set = section.has("name-servers");
    let name_servers = section
        .optional("name-servers", list(host_and_port))
        .unwrap_or_default();
    if name_servers.is_empty() && !is_set {
        section.findings().problem(format!(
            "{name} is missing, such as [\"rocketmq.example:9876\"]"
        ));
    } else if name_servers.is_empty() {
        section
            .findings()
            .problem(format!("{name} must name at least one name server"));
    }
    let instance = RemoteInstance {
        name_servers,
        namespace: section.optional("namespace", text).unwrap_or_default(),
        access_key: section.optional("access-key-file", secret_file),
        secret_key: section.optional("secret-key-file", secret_file),
        security_token: section.optional("security-token-file", secret_file),
        tls: section.value("tls", false, flag),
        create_topics: section.value("create-topics", false, flag),
        topic_queues: section.value(
            "topic-queues",
            defaults::TOPIC_QUEUES,
            small_number(1..=1024),
        ),
        send_timeout: section.value(
            "send-timeout",
            defaults::SEND_TIMEOUT,
            duration(Duration::from_millis(100)..=Duration::from_secs(60)),
        ),
        batch_messages_max: section.value(
            "batch-max",
            defaults::BATCH_MESSAGES_MAX,
            small_number(1..=4096),
        ),
        batch_bytes_max: section.value(
            "batch-bytes-max",
            defaults::BATCH_BYTES_MAX,
            size(1024..=4 * MIB),
        ),
    };
    if instance.access_key.is_some() != instance.secret_key.is_some() {
        section.findings().problem(format!(
            "{} and {} must be given together",
            section.name("access-key-file"),
            section.name("secret-key-file")
        ));
    }
    section.finish();
    RocketmqInstance::Remote(Box::new(instance))
}

/// Reads the file that the leaf names. A line end at its end is not part of the secret.
fn secret_file(leaf: &super::tree::Leaf) -> Result<SecretFile, String> {
    let path = path(leaf)?;
    let fail = |problem: String| Err(format!("names {}, which {problem}", path.display()));
    match std::fs::metadata(&path) {
        Ok(file) if file.len() > SECRET_BYTES_MAX => {
            return fail(format!("is larger than {SECRET_BYTES_MAX} bytes"));
        }
        Ok(_) => {}
        Err(error) => return fail(format!("cannot be read: {error}")),
    }
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim_end().is_empty() => fail("is empty".to_owned()),
        Ok(text) => Ok(SecretFile {
            value: Secret::new(text.trim_end().to_owned()),
            path,
        }),
        Err(error) => fail(format!("cannot be read: {error}")),
    }
}
