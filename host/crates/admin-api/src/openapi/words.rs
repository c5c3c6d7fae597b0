//! Names and texts of the API as schemas: words of a closed set come from the code that knows them.

use std::borrow::Cow;

use domain::{
    CloseReason, EventType, MqttVersion, OnActivate, OnFault, OnReject, Ordering, RuleType,
};
use pipeline::control::{AccessKeyUse, AuditOutcome, Health, Role};
use serde_json::{Value, json};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

macro_rules! schemas {
    ($($(#[doc = $doc:literal])+ $name:ident = $schema:expr;)*) => {
        $(
            $(#[doc = $doc])+
            pub(crate) struct $name;

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    let about = [$($doc.trim()),+].join(" ");
                    let builder: ObjectBuilder = $schema;
                    builder.description(Some(about)).into()
                }
            }

            impl ToSchema for $name {
                fn name() -> Cow<'static, str> {
                    Cow::Borrowed(stringify!($name))
                }
            }
        )*

        /// All of them, by name.
        pub(super) fn all() -> Vec<(String, RefOr<Schema>)> {
            vec![$((stringify!($name).to_owned(), $name::schema()),)*]
        }
    };
}

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// One of these.
fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> ObjectBuilder {
    let words: Vec<Value> = words.into_iter().map(Value::from).collect();
    string().enum_values(Some(words))
}

fn text(pattern: &str, chars: std::ops::RangeInclusive<usize>, example: &str) -> ObjectBuilder {
    string()
        .pattern(Some(pattern))
        .min_length(Some(*chars.start()))
        .max_length(Some(*chars.end()))
        .examples([json!(example)])
}

fn integer(range: std::ops::RangeInclusive<usize>) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(*range.start()))
        .maximum(Some(*range.end()))
}

/// The largest number that every JSON reader can hold.
const SEQUENCE_MAX: usize = (1 << 53) - 1;

schemas! {
    /// A group: `GID_…` or `GID-…`, 7 to 64 letters, digits, `-` and `_`.
    GroupIdText = text("^GID[_-][A-Za-z0-9_-]{3,60}$", 7..=64, "GID_Example");
    /// A client: 1 to 256 bytes without control characters; `<GroupID>@@@<DeviceID>` for clients of a group.
    ClientIdText = text(r"^[^\u0000-\u001f\u007f-\u009f]+$", 1..=256, "GID_Example@@@device-1");
    /// A rule: 3 to 64 letters, digits, `-` and `_`, at least one of them a letter or digit. A longer one is cut to
    /// 64 characters, with a warning.
    RuleIdText = string().min_length(Some(3)).examples([json!("status-to-topicb")])
        .pattern(Some("^[-_]*[A-Za-z0-9][A-Za-z0-9_-]*$"));
    /// A plugin: 1 to 64 lower-case letters, digits and `-`.
    PluginNameText = text("^[a-z0-9-]{1,64}$", 1..=64, "apsaramq-status");
    /// SHA-256 of a component: `sha256:` and 64 hex digits.
    PluginDigestText = string().pattern(Some("^sha256:[0-9a-fA-F]{64}$"));
    /// A configured RocketMQ instance: 1 to 64 letters, digits, `-` and `_`.
    InstanceIdText = text("^[A-Za-z0-9_-]{1,64}$", 1..=64, "embedded");
    /// A RocketMQ topic: 1 to 127 letters, digits, `%`, `|`, `-` and `_`.
    TopicText = text("^[A-Za-z0-9%|_-]{1,127}$", 1..=127, "TopicB");
    /// A parent topic of MQTT: 3 to 64 letters, digits, `-` and `_`.
    MqttTopicText = text("^[A-Za-z0-9_-]{3,64}$", 3..=64, "ParentTopic");
    /// A user of the user list: 1 to 64 letters, digits, `-`, `_`, `.`, `@`, `+` and `:`.
    UserNameText = text("^[A-Za-z0-9._@+:-]{1,64}$", 1..=64, "device-1");
    /// A password: 1 to 1024 bytes. Never shown again.
    PasswordText = string().min_length(Some(1)).max_length(Some(1024)).write_only(Some(true));
    /// The id of an access key: 1 to 128 letters, digits, `-`, `_` and `.`.
    AccessKeyIdText = text("^[A-Za-z0-9._-]{1,128}$", 1..=128, "LTAI-example");
    /// What an access key signs with: 1 to 64 visible ASCII characters. Never shown again.
    AccessKeySecretText = string().pattern(Some("^[!-~]{1,64}$")).write_only(Some(true));
    /// A token's name: 1 to 64 letters, digits, `-`, `_` and `.`; some names are reserved.
    TokenNameText = text("^[A-Za-z0-9._-]{1,64}$", 1..=64, "console");
    /// What a rule is for.
    RuleTypeWord = words(RuleType::ALL.map(RuleType::as_str));
    /// Whether a rule works.
    RuleStatusWord = words(["enabled", "disabled"]);
    /// How a rule is.
    HealthWord = words([
        Health::Running, Health::Disabled, Health::Paused, Health::Faulted, Health::Retrying, Health::Draining,
    ].map(Health::as_str));
    /// Whether the events of a client wait for each other.
    OrderingWord = words([Ordering::Strict, Ordering::Available].map(Ordering::as_str));
    /// The other end of a rule.
    ServiceWord = words(["rocketmq"]);
    /// What a rule does when it begins to work: nothing, or an event `connect` for each client that is online.
    OnActivateWord = words([OnActivate::None, OnActivate::Snapshot].map(OnActivate::as_str));
    /// What becomes of an event on which the plugin fails.
    OnFaultWord = words(
        [OnFault::DeadLetter, OnFault::Retry, OnFault::Skip, OnFault::Default].map(OnFault::as_str));
    /// What becomes of an event that the plugin rejects.
    OnRejectWord = words([OnReject::DeadLetter, OnReject::Skip].map(OnReject::as_str));
    /// What happened to a client.
    EventTypeWord = words(EventType::ALL.map(EventType::as_str));
    /// Why a connection ended.
    CloseReasonWord = words(CloseReason::ALL.iter().map(|it| it.as_str()));
    /// The version of MQTT.
    ProtocolWord = words([MqttVersion::V311, MqttVersion::V5].map(MqttVersion::as_str));
    /// What a token may do: a viewer reads, an operator changes, an admin decides about access as well.
    RoleWord = words(Role::ALL.map(Role::as_str));
    /// What an access key opens: MQTT for devices, or the compatible actions.
    AccessKeyUseWord = words([AccessKeyUse::Mqtt, AccessKeyUse::Api].map(AccessKeyUse::as_str));
    /// What became of a change.
    AuditOutcomeWord = words([AuditOutcome::Done, AuditOutcome::Refused, AuditOutcome::Failed].map(AuditOutcome::as_str));
    /// What became of the events of a deleted rule that were still queued.
    PendingWord = words(["deliver", "discard"]);
    /// Why an event is a dead letter.
    DeadLetterReasonWord = words(["rejected", "fault", "refused"]);
    /// What a change of a rule was.
    ChangeWord = words(["created", "edited", "enabled", "disabled", "rolledBack"]);
    /// What became of a sampled event.
    SampleOutcomeWord = words(["delivered", "skipped", "buried", "retried"]);
    /// What a dry run came to.
    TestOutcomeWord = words(["mapped", "skipped", "rejected", "retry", "configRefused", "fault"]);
    /// What an apply changes.
    ChangeKindWord = words(["group", "plugin", "rule"]);
    /// How an apply changes it.
    ChangeActionWord = words(["create", "change", "delete"]);
    /// `up`: all servers answer; `degraded`: some do; `down`: no name server or no broker does.
    InstanceHealthWord = words(["up", "degraded", "down"]);
    /// A step of a probe.
    ProbeStepWord = words(["nameServer", "route", "writableQueue", "roundTrip", "permission"]);
    /// A version of a plugin: `latest`, a number from 1 (as such or as text), or a digest.
    VersionChoice = ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Integer]))
        .minimum(Some(1)).maximum(Some(u32::MAX as usize))
        .pattern(Some("^(latest|[1-9][0-9]{0,8}|sha256:[0-9a-fA-F]{64})$"))
        .examples([json!("latest"), json!(2)]);
    /// The configuration of a plugin: an object, or the JSON text of one.
    ConfigChoice = ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Object]))
        .examples([json!({ "remark": true })]);
    /// A revision in double quotes, or `*`.
    EntityTag = string().pattern(Some(r#"^(\*|"[^"]*")$"#)).examples([json!("\"3\"")]);
    /// UNIX milliseconds.
    TimeMs = integer(0..=usize::MAX);
    /// The number of a dead letter.
    DeadLetterIdNumber = integer(0..=usize::MAX);
    /// The number of an event: each client counts its own.
    SequenceNumber = integer(0..=SEQUENCE_MAX);
    /// A WebAssembly component.
    ComponentBytes = string().format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)));
    /// The number of a plugin's version.
    VersionNumber = integer(1..=u32::MAX as usize);
}
