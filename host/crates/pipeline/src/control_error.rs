//! Why a change was not made: a closed set of codes, each with a message that names the remedy.

use std::fmt;

/// Of a longer message the log has only the beginning, bytes; the API has all of it.
const BRIEF_BYTES_MAX: usize = 500;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $kind:ident;)*) => {
        /// The code of a refused change; part of the API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ControlCode {
            $($(#[$doc])* $name,)*
        }

        impl ControlCode {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code in the API.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What kind of problem it is; decides the HTTP status and the exit code.
            #[must_use]
            pub fn kind(self) -> ControlErrorKind {
                match self { $(Self::$name => ControlErrorKind::$kind,)* }
            }
        }
    };
}

/// Kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ControlErrorKind {
    /// The request is well formed, but cannot be carried out: 422.
    Invalid,
    /// There is no such thing: 404.
    NotFound,
    /// Something is in the way: 409.
    Conflict,
    /// The revision is an old one: 412.
    Stale,
    /// The host failed: 500.
    Internal,
    /// The host has too much to do now: 503.
    Busy,
}

codes! {
    /// A group id that is none.
    InvalidGroupId = "invalid_group_id", Invalid;
    /// A rule id that is none.
    InvalidRuleId = "invalid_rule_id", Invalid;
    /// A rule with another wrong part.
    InvalidRule = "invalid_rule", Invalid;
    /// A plugin name that is none.
    InvalidPluginName = "invalid_plugin_name", Invalid;
    /// The group has a status rule already.
    GroupHasRule = "group_has_rule", Conflict;
    /// The MQTT topic has a data rule of this direction already.
    TopicHasRule = "topic_has_rule", Conflict;
    /// There is a rule with this id already.
    RuleExists = "rule_exists", Conflict;
    /// As many rules as are allowed.
    TooManyRules = "too_many_rules", Conflict;
    /// Data rules are kept and not carried out.
    DataRuleHeld = "data_rule_held", Invalid;
    /// The rule comes from a file of the folder of rules.
    ManagedByFile = "managed_by_file", Conflict;
    /// The rule never had this revision, or it is too old to be kept.
    RevisionNotFound = "revision_not_found", NotFound;
    /// As many readers of live events as there may be.
    TooManyReaders = "too_many_readers", Conflict;
    /// The rule has no such sampled event.
    SampleNotFound = "sample_not_found", NotFound;
    /// The event of a dry run cannot be.
    InvalidEvent = "invalid_event", Invalid;
    /// No such rule.
    RuleNotFound = "rule_not_found", NotFound;
    /// No such plugin.
    PluginNotFound = "plugin_not_found", NotFound;
    /// The rule names a plugin or version that is not there.
    UnknownPlugin = "unknown_plugin", Invalid;
    /// A rule uses the plugin.
    PluginInUse = "plugin_in_use", Conflict;
    /// The plugin has no such version.
    PluginVersionNotFound = "plugin_version_not_found", NotFound;
    /// There is no earlier good version to go back to.
    NoEarlierVersion = "no_earlier_version", Conflict;
    /// The rule's version is not chosen by the plugin's uploads, so it cannot be rolled back.
    RollbackImpossible = "rollback_impossible", Conflict;
    /// As many plugin versions as there may be.
    TooManyVersions = "too_many_plugin_versions", Conflict;
    /// The plugin came with the host and cannot be deleted.
    PluginBuiltIn = "plugin_built_in", Conflict;
    /// The bytes are larger than a component may be.
    ComponentTooLarge = "component_too_large", Invalid;
    /// The bytes are not a WebAssembly component.
    NotAComponent = "not_a_component", Invalid;
    /// The component lacks the exports of the contract.
    UnsupportedContract = "unsupported_contract", Invalid;
    /// The component wants what no plugin gets.
    ForbiddenImport = "forbidden_import", Invalid;
    /// Compiling it takes more time or memory than a component may.
    CompileLimitExceeded = "compile_limit_exceeded", Invalid;
    /// The compiler could not be run.
    CompilerFailed = "compiler_failed", Internal;
    /// It failed when it was tried.
    CanaryFailed = "canary_failed", Invalid;
    /// The host had too little time or memory to try it.
    HostBusy = "host_busy", Busy;
    /// The plugin's `init` refused the rule's configuration.
    ConfigRefused = "plugin_config_refused", Invalid;
    /// The group does not exist and is not to be created.
    UnknownGroup = "unknown_group", Invalid;
    /// The destination names an instance that is not configured.
    UnknownInstance = "unknown_instance", Invalid;
    /// The instance's servers do not list topics.
    TopicsNotListed = "topics_not_listed", Invalid;
    /// The topic does not exist and is not to be created.
    TopicNotFound = "topic_not_found", Invalid;
    /// No name server answered.
    RocketmqUnreachable = "rocketmq_unreachable", Invalid;
    /// RocketMQ does not allow it.
    RocketmqDenied = "rocketmq_denied", Invalid;
    /// There is such a group already.
    GroupExists = "group_exists", Conflict;
    /// No such group.
    GroupNotFound = "group_not_found", NotFound;
    /// A rule names the group.
    GroupInUse = "group_in_use", Conflict;
    /// No such dead letter.
    DeadLetterNotFound = "dead_letter_not_found", NotFound;
    /// The rule of a dead letter was deleted.
    RuleGone = "rule_gone", Conflict;
    /// The revision given is not the present one.
    StaleRevision = "stale_revision", Stale;
    /// The rule has no such queue.
    QueueNotFound = "queue_not_found", NotFound;
    /// The last queue that can store cannot be retired.
    OnlyQueue = "only_queue", Conflict;
    /// The rule does not know its queues yet, or its slots have not left in time.
    QueueBusy = "queue_busy", Conflict;
    /// A user name that is none.
    InvalidUserName = "invalid_user_name", Invalid;
    /// The id of an access key that is none.
    InvalidAccessKeyId = "invalid_access_key_id", Invalid;
    /// The name of a token that is none, or is reserved.
    InvalidTokenName = "invalid_token_name", Invalid;
    /// A password or secret that is none.
    InvalidSecret = "invalid_secret", Invalid;
    /// There is no such use of an access key.
    InvalidUse = "invalid_use", Invalid;
    /// There is no such role.
    InvalidRole = "invalid_role", Invalid;
    /// A token that would have expired already.
    InvalidExpiry = "invalid_expiry", Invalid;
    /// There is such a user already.
    UserExists = "user_exists", Conflict;
    /// There is such an access key already.
    AccessKeyExists = "access_key_exists", Conflict;
    /// There is such a token already.
    TokenExists = "token_exists", Conflict;
    /// As many users as there may be.
    TooManyUsers = "too_many_users", Conflict;
    /// As many access keys as there may be.
    TooManyAccessKeys = "too_many_access_keys", Conflict;
    /// As many tokens as there may be.
    TooManyTokens = "too_many_tokens", Conflict;
    /// No such user.
    UserNotFound = "user_not_found", NotFound;
    /// No such access key.
    AccessKeyNotFound = "access_key_not_found", NotFound;
    /// No such token.
    TokenNotFound = "token_not_found", NotFound;
    /// A password could not be hashed.
    HashFailed = "hash_failed", Internal;
    /// The store failed.
    StoreFailed = "store_failed", Internal;
}

/// Why a change was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlError {
    /// For programs.
    pub code: ControlCode,
    /// For people: what is wrong, where, and what would be right.
    pub message: String,
}

impl ControlErrorKind {
    /// Whether the same request may well be carried out later.
    pub(crate) fn may_pass(self) -> bool {
        matches!(self, Self::Internal | Self::Busy)
    }
}

impl ControlError {
    /// Pairs a code with its message.
    #[must_use]
    pub fn new(code: ControlCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// Whether it says nothing of the plugin that was tried: the host lacked what it needs to try it.
    pub(crate) fn is_of_host(&self) -> bool {
        matches!(
            self.code,
            ControlCode::HostBusy | ControlCode::CompilerFailed
        )
    }

    /// The beginning of the message, for one line of the log: it may hold what a plugin said.
    pub(crate) fn brief(&self) -> &str {
        let end = self.message.floor_char_boundary(BRIEF_BYTES_MAX);
        self.message.get(..end).unwrap_or(&self.message)
    }
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ControlError {}
