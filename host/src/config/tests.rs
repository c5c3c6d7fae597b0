use std::path::PathBuf;
use std::time::Duration;

use super::{Config, Problem, RocketmqInstance, load, print};

/// Every key, with another value than its default.
const SAMPLE: &str = r#"
[node]
id = "node-7"
data-dir = "/var/lib/rulemill"
[instance]
id = "mqtt-test"
[mqtt]
tcp = ["127.0.0.1:0", "[::1]:1883"]
ws = []
tls = ["127.0.0.1:8883"]
wss = ["127.0.0.1:8084"]
tls-cert = "CERT"
tls-key = "KEY"
max-connections = 2_000
max-packet = "128KiB"
max-payload = "32KiB"
connect-timeout = "2s"
max-keep-alive = "4m"
client-ids = "any"
[groups]
auto-create = false
[access]
anonymous = "never"
[admin]
listen = "0.0.0.0:0"
tls-cert = "CERT"
tls-key = "KEY"
[rocketmq.instances.far]
kind = "remote"
name-servers = ["rocketmq.example:9876", "127.0.0.1:9877"]
namespace = "MQ_INST_1"
access-key-file = "ACCESS"
secret-key-file = "SECRET"
security-token-file = "TOKEN"
tls = true
create-topics = true
topic-queues = 8
send-timeout = "1s"
batch-max = 64
batch-bytes-max = "512KiB"
[delivery]
commit-interval = "2ms"
connack = "after-commit"
retry-max-age = "1h"
shutdown-grace = "3s"
[outbox]
max-bytes = "1GiB"
rule-share = 0.5
max-age = "24h"
dead-letters-max-bytes = "8MiB"
[plugins]
watch-dir = "/var/lib/rulemill-plugins"
component-max = "16MiB"
memory = "8MiB"
call-deadline = "20ms"
init-deadline = "2s"
output-max = "1MiB"
messages-max = 4
memory-total = "64MiB"
compile-time = "1m"
compile-memory = "2GiB"
compiled-functions = "16MiB"
[rules]
dir = "/var/lib/rulemill-rules"
[limits]
rules = 10
[telemetry]
log = "info,pipeline=debug"
log-format = "json"
"#;

const EMBEDDED: &str = r#"
[rocketmq.instances.near]
kind = "embedded"
name-server-listen = "127.0.0.1:0"
broker-listen = "127.0.0.1:0"
create-topics = false
topic-queues = 2
"#;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn load(&self, text: &str) -> Result<Config, Vec<Problem>> {
        load(
            Some(&self.file("rulemill.toml", text)),
            std::iter::empty(),
            &[],
        )
    }

    fn sample(&self) -> String {
        let mut text = SAMPLE.to_owned();
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        for (name, content) in [
            ("ACCESS", "ak-content\n"),
            ("SECRET", "sk-content"),
            ("TOKEN", "st-content"),
            ("CERT", pair.cert.pem().as_str()),
            ("KEY", pair.signing_key.serialize_pem().as_str()),
        ] {
            let path = self.file(name, content);
            text = text.replace(
                &format!("\"{name}\""),
                &format!("{:?}", path.display().to_string()),
            );
        }
        text
    }
}

fn problems(result: Result<Config, Vec<Problem>>) -> Vec<String> {
    result
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn set(settings: &[&str]) -> Result<Config, Vec<Problem>> {
    let settings: Vec<String> = settings.iter().map(|text| (*text).to_owned()).collect();
    load(None, std::iter::empty(), &settings)
}

#[test]
fn without_a_file_everything_has_a_default() {
    let config = set(&[]).unwrap();
    assert_eq!(config.mqtt.tcp, ["127.0.0.1:1883".parse().unwrap()]);
    assert_eq!(config.admin_listen, "127.0.0.1:8180".parse().unwrap());
    assert_eq!(config.mqtt.packet_bytes_max, 256 * 1024);
    let instances: Vec<&str> = config.rocketmq.keys().map(|id| id.as_str()).collect();
    let expected: &[&str] = if cfg!(feature = "embedded-rocketmq") {
        &["embedded"]
    } else {
        &[]
    };
    assert_eq!(instances, expected);
}

#[test]
fn every_key_of_a_sample_takes_effect() {
    let folder = Folder::new();
    let config = folder.load(&folder.sample()).unwrap();
    let default = set(&[]).unwrap();
    assert_eq!(config.node.id, "node-7");
    assert_eq!(config.mqtt.tcp.len(), 2);
    assert_eq!(config.mqtt.connections_max, 2_000);
    assert_eq!(config.mqtt.keep_alive_max, Duration::from_secs(240));
    assert_eq!(config.delivery.commit_interval, Duration::from_millis(2));
    assert_eq!(config.plugins.memory_total_bytes, 64 * 1024 * 1024);
    let RocketmqInstance::Remote(remote) = config.rocketmq.values().next().unwrap() else {
        panic!("the instance is remote");
    };
    assert_eq!(
        remote.access_key.as_ref().unwrap().value.reveal(),
        "ak-content"
    );
    // Each line of the page must differ from the page of the defaults, so no key was ignored.
    let defaults = settings(&print(&default));
    for setting in settings(&print(&config)) {
        assert!(!defaults.contains(&setting), "{setting} has its default");
    }
    assert_eq!(settings(&print(&config)).len(), settings(SAMPLE).len());
}

/// `[section] key = value` for each key of a page.
fn settings(page: &str) -> Vec<String> {
    let mut section = "";
    let mut all = Vec::new();
    for line in page.lines() {
        if line.starts_with('[') {
            section = line;
        } else if line.contains(" = ") {
            all.push(format!("{section} {line}"));
        }
    }
    all
}

#[test]
fn the_printed_configuration_loads_as_the_same_one() {
    let folder = Folder::new();
    for text in [String::new(), folder.sample()] {
        let config = folder.load(&text).unwrap();
        assert_eq!(folder.load(&print(&config)).unwrap(), config);
    }
}

#[cfg(feature = "embedded-rocketmq")]
#[test]
fn an_embedded_instance_takes_its_own_keys_only() {
    let folder = Folder::new();
    let config = folder.load(EMBEDDED).unwrap();
    let RocketmqInstance::Embedded(near) = config.rocketmq.values().next().unwrap() else {
        panic!("the instance is embedded");
    };
    assert_eq!(
        (
            near.topic_queues,
            near.create_topics,
            near.name_server_listen.port()
        ),
        (2, false, 0)
    );
    assert_eq!(folder.load(&print(&config)).unwrap(), config);
    let wrong = problems(folder.load(&format!("{EMBEDDED}\nnamespace = \"x\"")));
    assert!(
        wrong[0].contains("unknown key rocketmq.instances.near.namespace"),
        "{wrong:?}"
    );
}

#[cfg(not(feature = "embedded-rocketmq"))]
#[test]
fn an_embedded_instance_is_refused_with_the_reason() {
    let wrong = problems(Folder::new().load(EMBEDDED));
    assert!(
        wrong[0].contains("built without the embedded RocketMQ"),
        "{wrong:?}"
    );
}

#[test]
fn no_secret_is_ever_printed() {
    let folder = Folder::new();
    let config = folder.load(&folder.sample()).unwrap();
    for text in [print(&config), format!("{config:?}")] {
        assert!(!text.contains("-content"), "{text}");
    }
    assert!(format!("{config:?}").contains("***"));
}

#[test]
fn later_layers_win() {
    let folder = Folder::new();
    let file = folder.file(
        "a.toml",
        "[limits]\nrules = 1\n[mqtt]\ntcp = [\"127.0.0.1:1\"]\nmax-connections = 5\n",
    );
    let environment = || {
        [
            ("RULEMILL__LIMITS__RULES", "2"),
            ("RULEMILL__MQTT__TCP", "127.0.0.1:2, 127.0.0.1:3"),
            ("HOME", "x"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let config = load(Some(&file), environment(), &["limits.rules=3".to_owned()]).unwrap();
    assert_eq!(config.rules_max, 3);
    assert_eq!(config.mqtt.tcp.len(), 2);
    assert_eq!(config.mqtt.connections_max, 5);
    assert_eq!(load(Some(&file), environment(), &[]).unwrap().rules_max, 2);
}

#[test]
fn the_environment_finds_keys_with_dashes_and_instances_of_any_case() {
    let folder = Folder::new();
    let file = folder.file(
        "a.toml",
        "[rocketmq.instances.MQ_INST-a]\nkind = \"remote\"\nname-servers = [\"a:1\"]\n",
    );
    let environment = [
        ("RULEMILL__MQTT__MAX_CONNECTIONS", "1_000"),
        (
            "RULEMILL__ROCKETMQ__INSTANCES__MQ_INST_A__NAME_SERVERS",
            "[\"b:2\"]",
        ),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = load(Some(&file), environment, &[]).unwrap();
    assert_eq!(config.mqtt.connections_max, 1_000);
    let RocketmqInstance::Remote(remote) = config.rocketmq.values().next().unwrap() else {
        panic!("the instance is remote");
    };
    assert_eq!(remote.name_servers, ["b:2"]);
}

#[test]
fn all_problems_come_at_once_with_place_and_nearest_name() {
    let folder = Folder::new();
    let found = problems(folder.load(
        "[mqtt]\ntcpp = [\"127.0.0.1:1\"]\nmax-packet = \"many\"\n[mqqt]\nws = []\n[outbox]\nmemory-total = \"1GiB\"\n[access]\nanonymous = \"maybe\"\n",
    ));
    let has = |parts: &[&str]| {
        assert!(
            found
                .iter()
                .any(|line| parts.iter().all(|part| line.contains(part))),
            "{parts:?} in {found:#?}"
        );
    };
    has(&[
        "rulemill.toml:2",
        "unknown key mqtt.tcpp",
        "did you mean mqtt.tcp?",
    ]);
    has(&[
        "rulemill.toml:3",
        "mqtt.max-packet must be a size",
        "\"many\"",
    ]);
    has(&[
        "rulemill.toml:4",
        "unknown section mqqt",
        "did you mean mqtt?",
    ]);
    has(&[
        "rulemill.toml:7",
        "unknown key outbox.memory-total",
        "did you mean plugins.memory-total?",
    ]);
    has(&[
        "rulemill.toml:9",
        "access.anonymous must be \"loopback\" or \"always\" or \"never\"",
    ]);
    assert_eq!(found.len(), 5);
}

#[test]
fn compiled_functions_leave_the_compiler_its_memory() {
    let with = |size: &str| {
        set(&[
            "plugins.compile-memory=256MiB",
            &format!("plugins.compiled-functions={size}"),
        ])
    };
    for (size, bytes) in [("0", 0), ("32MiB", 32 << 20)] {
        assert_eq!(with(size).unwrap().plugins.function_bytes_max, bytes);
    }
    let found = problems(with("33MiB"));
    assert!(
        found.len() == 1
            && found[0].contains("plugins.compiled-functions must not be larger than an eighth of plugins.compile-memory"),
        "{found:?}"
    );
}

#[test]
fn swapped_letters_find_their_key() {
    let found = problems(set(&["mqtt.tpc=127.0.0.1:1"]));
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("did you mean mqtt.tcp?"), "{found:?}");
}

#[test]
fn bad_values_are_refused_with_what_would_be_right() {
    let table = [
        ("admin.listen=0.0.0.0:8180", "needs TLS"),
        (
            "admin.tls-key=/none.pem",
            "admin.tls-cert and admin.tls-key must be given together",
        ),
        ("mqtt.tcp=localhost:1883", "IP address and a port"),
        (
            "mqtt.max-payload=1MiB",
            "mqtt.max-payload must not be larger than mqtt.max-packet",
        ),
        ("mqtt.max-keep-alive=1day", "from 1s to"),
        ("mqtt.max-connections=0", "whole number from 1"),
        ("outbox.rule-share=1.5", "at most 1"),
        ("telemetry.log=info,=", "filter"),
        ("plugins.watch-dir=Cargo.toml", "must be a folder"),
        (
            "rocketmq.instances.x.name-servers=a:1",
            "rocketmq.instances.x.kind is missing",
        ),
        (
            "rocketmq.instances.x.kind=remote",
            "rocketmq.instances.x.name-servers is missing",
        ),
        (
            "rocketmq.instances.x.kind=other",
            "\"embedded\" or \"remote\"",
        ),
        ("instance.id=a b", "letters, digits"),
        ("node=x", "node must be a section"),
        (
            "mqtt.tls=127.0.0.1:8883",
            "need mqtt.tls-cert and mqtt.tls-key",
        ),
        (
            "mqtt.wss=127.0.0.1:8084",
            "need mqtt.tls-cert and mqtt.tls-key",
        ),
        ("mqtt.tls=localhost", "mqtt.tls must be"),
        ("mqtt.tls-cert=/none.pem", "must be given together"),
        ("nonsense", "must be KEY=VALUE"),
    ];
    for (setting, expected) in table {
        let found = problems(set(&[setting]));
        assert!(
            found.iter().any(|line| line.contains(expected)),
            "{setting}: {found:?}"
        );
    }
}

#[test]
fn a_missing_file_and_broken_toml_name_the_file() {
    let folder = Folder::new();
    let missing = load(
        Some(&folder.0.path().join("none.toml")),
        std::iter::empty(),
        &[],
    );
    assert!(problems(missing)[0].contains("none.toml: cannot be read"));
    let broken = problems(folder.load("[mqtt]\ntcp = \n"));
    assert!(
        broken[0].contains("rulemill.toml:2: not valid TOML"),
        "{broken:?}"
    );
}

#[test]
fn a_certificate_that_a_start_would_refuse_is_a_problem_here() {
    let folder = Folder::new();
    let pair = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (one, other) = (pair(), pair());
    let expired = {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2020, 2, 29);
        params.self_signed(&one.signing_key).unwrap().pem()
    };
    let (cert, key) = (one.cert.pem(), one.signing_key.serialize_pem());
    let table = [
        (
            cert.clone(),
            other.signing_key.serialize_pem(),
            "does not belong",
        ),
        (expired, key.clone(), "expired on"),
        (key.clone(), key.clone(), "holds no certificate"),
        (cert.clone(), cert.clone(), "holds no private key"),
        (String::new(), key.clone(), "holds no certificate"),
        (cert.replace("MII", "MIX"), key.clone(), "cannot be read"),
    ];
    let check = |cert: &std::path::Path, key: &std::path::Path| {
        set(&[
            "mqtt.tls=127.0.0.1:0",
            &format!("mqtt.tls-cert={}", cert.display()),
            &format!("mqtt.tls-key={}", key.display()),
        ])
    };
    for (cert, key, expected) in table {
        let (cert, key) = (folder.file("cert.pem", &cert), folder.file("key.pem", &key));
        let found = problems(check(&cert, &key));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains("mqtt.tls-cert and mqtt.tls-key cannot be used")
                && found[0].contains(expected),
            "{expected}: {found:?}"
        );
        assert!(!found[0].contains("BEGIN PRIVATE KEY-----\n"), "{found:?}");
    }
    let (cert, key) = (folder.file("cert.pem", &cert), folder.file("key.pem", &key));
    check(&cert, &key).unwrap();
    let found = problems(check(&cert, &folder.0.path().join("none.pem")));
    assert!(found[0].contains("none.pem cannot be read"), "{found:?}");
}
