//! The reviewed list of errors: every code with its status, what it means and what to do about it.
//!
//! The OpenAPI document and the manual are made of it; a test compares it with the codes of the code.

/// A code as the API answers it.
#[derive(Debug)]
pub(crate) struct ListedError {
    pub(crate) code: &'static str,
    pub(crate) status: u16,
    /// What was wrong.
    pub(crate) meaning: &'static str,
    /// What to do.
    pub(crate) remedy: &'static str,
}

macro_rules! errors {
    ($($code:literal $status:literal: $meaning:literal, $remedy:literal;)*) => {
        pub(crate) const ERRORS: &[ListedError] = &[$(
            ListedError { code: $code, status: $status, meaning: $meaning, remedy: $remedy },
        )*];
    };
}

errors! {
    // What every request may be answered.
    "invalid_json" 400: "The body is no JSON, or not the object that this operation takes.",
        "Correct the field or the place that the message names.";
    "invalid_query" 400: "A parameter of the query is unknown, of the wrong type, or out of its range.",
        "Correct the parameter that the message names.";
    "invalid_path" 400: "A part of the path is not what it should be, such as a dead letter id that is no number.",
        "Correct the part that the message names.";
    "invalid_if_match" 400: "`If-Match` is neither an entity tag in double quotes nor `*`.",
        "Send the `ETag` of the last answer as it is, such as `\"3\"`, or leave the header out.";
    "invalid_request" 400: "The request is not one that the server can read.",
        "Send it as the OpenAPI document says.";
    "unauthorized" 401: "There is no token, or it is wrong, revoked or expired.",
        "Send `Authorization: Bearer` with the content of `<data-dir>/admin-token`, or with a token of `rulemill token create`.";
    "invalid_sign_in_code" 401: "The one-time code was used, has expired, or never was one.",
        "Get a new link with `rulemill token sign-in`.";
    "not_allowed" 403: "The role of the token does not allow it.",
        "Use a token of the role that the message names.";
    "forbidden_host" 403: "`Host` or `Origin` names another server: a page of a foreign site may be asking.",
        "Use the address of the listener, a loopback name, or a name of its certificate.";
    "not_found" 404: "There is no such resource.",
        "Correct the path; all of the API is under `/v1`.";
    "method_not_allowed" 405: "The resource does not have this method.",
        "Use one of the methods in the `Allow` header.";
    "request_timeout" 408: "The body did not come within 60 seconds.",
        "Send it again over a connection that is not stuck.";
    "payload_too_large" 413: "The body is larger than this operation takes.",
        "Send less than the limit that the message names, in several requests if need be.";
    "unsupported_media_type" 415: "A component was sent with another content type.",
        "Send it with `Content-Type: application/wasm`.";
    "too_many_failures" 429: "Too many failed authentications came from this address.",
        "Wait as long as `Retry-After` says, and correct the token.";
    "internal" 500: "The host failed.",
        "Look for the request id in the host's log; try again, and report it if it stays.";
    "not_ready" 503: "The host takes no events now; `reason` says why.",
        "Wait until `/readyz` answers 200, or remove the reason.";
    "invalid_page_token" 422: "The page token is not one that this list gave.",
        "Start without `pageToken`, and send the `nextPageToken` of each answer as it is.";
    "invalid_selection" 422: "The request does not say which of them, says it twice, or names too many.",
        "Say it in exactly one of the ways that the message names.";

    // Rules.
    "invalid_rule_id" 422: "The rule id is none: 3 to 64 letters, digits, `-` and `_`, with a letter or digit.",
        "Choose another id.";
    "invalid_rule" 422: "A field of the rule is missing, unknown, or has a value that cannot be.",
        "Correct the field that the message names; it says what would be right.";
    "rule_exists" 409: "There is a rule with this id already.",
        "Choose another id, or change the rule that is there with PUT.";
    "group_has_rule" 409: "The group has a client status rule already, and may have one.",
        "Change or delete the rule that the message names.";
    "topic_has_rule" 409: "The MQTT topic has a data rule of this direction already, and may have one.",
        "Change or delete the rule that the message names.";
    "too_many_rules" 409: "There are as many rules as `limits.rules` allows.",
        "Delete a rule, or raise `limits.rules`.";
    "rule_not_found" 404: "There is no rule with this id.",
        "See `rulemill rule list`.";
    "stale_revision" 412: "The rule has another revision than `If-Match` says: somebody changed it in between.",
        "Read the rule again, make the change on what it is now, and send its new `ETag`.";
    "revision_not_found" 404: "The rule never had this revision, or it is too old to be kept.",
        "Choose a revision of `rulemill rule history`.";
    "managed_by_file" 409: "The rule comes from a file of the folder of rules.",
        "Change the file that the message names.";
    "data_rule_held" 422: "This version keeps data rules, and does not carry messages for them.",
        "Leave the data rule disabled.";
    "sample_not_found" 404: "The rule has no sampled event with this number.",
        "Choose one of the samples that there are (`GET` on `…/sample`), or send the event itself.";
    "invalid_event" 422: "The event of a dry run cannot be.",
        "Correct the field that the message names.";
    "invalid_queue" 422: "The queue is not a broker's name and a number.",
        "Name it as `broker-a:3`.";
    "queue_not_found" 404: "The rule's topic has no such queue.",
        "Choose one of the queues that the message names.";
    "only_queue" 409: "It is the last queue that can store, so it cannot be retired.",
        "Add a queue to the topic first.";
    "queue_busy" 409: "The rule does not know its queues yet, or its clients have not left the queue in time.",
        "Try again when the rule is `running`.";

    // Plugins.
    "invalid_plugin_name" 422: "The plugin name is none: 1 to 64 lower-case letters, digits and `-`.",
        "Choose another name.";
    "plugin_not_found" 404: "There is no plugin with this name.",
        "See `rulemill plugin list`.";
    "plugin_version_not_found" 404: "The plugin has no such version.",
        "See `rulemill plugin show`.";
    "unknown_plugin" 422: "The rule or the file names a plugin or a version that is not there.",
        "Upload it first with `rulemill plugin push`, or choose one of `rulemill plugin list`.";
    "plugin_in_use" 409: "A rule uses the plugin or the version, or still owes events that it maps.",
        "Change the rules that the message names first, or wait for what it names.";
    "plugin_built_in" 409: "The plugin came with the host and stays.",
        "Upload yours under another name.";
    "too_many_plugin_versions" 409: "There are as many plugin versions as there may be.",
        "Delete some that no rule uses: `rulemill plugin delete NAME --plugin-version N`.";
    "no_earlier_version" 409: "There is no earlier good version to go back to.",
        "Upload a corrected version.";
    "rollback_impossible" 409: "The rule's version is not chosen by uploads, or it does not work now.",
        "Do what the message says: edit the rule's version, or enable the rule.";
    "component_too_large" 422: "The component is larger than `plugins.component-max`.",
        "Build it with optimisation and stripped, or raise the limit.";
    "not_a_component" 422: "The bytes are no WebAssembly component.",
        "Build the plugin with `rulemill plugin build`.";
    "unsupported_contract" 422: "The component lacks what the contract `rulemill:rule` wants, or is of another version of it.",
        "Build it against the contract that the message names.";
    "forbidden_import" 422: "The component imports what no plugin gets.",
        "Remove the import that the message names, or the library that needs it.";
    "compile_limit_exceeded" 422: "Compiling the component takes more time or memory than one may.",
        "Make the component smaller.";
    "compiler_failed" 500: "The compiler could not be run.",
        "See the message and the host's log; it is not the component's fault.";
    "canary_failed" 422: "The component failed on the events that every version is tried with, or on its own tests.",
        "Correct it; `rulemill plugin check` tries the same events and tests, `rulemill plugin test` shows what is different in each test.";
    "host_busy" 503: "The host had too little time or memory to try the component out; that says nothing of the component.",
        "Try again later. If it stays: give the machine less to do, or raise `plugins.memory-total`.";
    "plugin_config_refused" 422: "The plugin does not take the rule's `mapping.config`.",
        "Correct the configuration; the message is the plugin's own.";

    // Groups and clients.
    "invalid_group_id" 422: "The group id is none: `GID_` or `GID-`, then letters, digits, `-` and `_`, 7 to 64 in all.",
        "Choose another id.";
    "unknown_group" 422: "The group of the rule does not exist and is not to be created.",
        "Create it with `rulemill group create`, or set `groups.auto-create`.";
    "group_exists" 409: "There is such a group already.",
        "Use it, or choose another id.";
    "group_not_found" 404: "There is no such group.",
        "See `rulemill group list`.";
    "group_in_use" 409: "A rule names the group.",
        "Delete the rule that the message names, or give it another group.";
    "invalid_client_id" 422: "The client id is none: 1 to 256 bytes without control characters.",
        "Correct it.";
    "client_not_found" 404: "The host does not know the client, or it is not online.",
        "See `rulemill client list`.";

    // RocketMQ.
    "instance_not_found" 404: "The configuration has no RocketMQ instance of this name.",
        "Choose one of those that the message names, or configure it.";
    "unknown_instance" 422: "The destination names an instance that the configuration does not have.",
        "Choose one of those that the message names, or configure it.";
    "invalid_topic" 422: "The topic is none: 1 to 127 letters, digits, `%`, `|`, `-` and `_`; or the number of its queues is out of range.",
        "Correct what the message names.";
    "topic_not_found" 404: "The topic of the path does not exist, or has no queue.",
        "Create it, or correct the name.";
    "topic_not_found" 422: "The topic does not exist and is not to be created, or no queue of it can be written.",
        "Create it in RocketMQ, set `create-topics` for the instance, or save the rule all the same with `force=true`.";
    "topics_not_listed" 422: "The instance's servers do not list topics.",
        "Give the topic by its name.";
    "rocketmq_unreachable" 422: "No name server, or no broker of the topic, answered.",
        "Start it, correct `name-servers`, or save the rule all the same with `force=true`.";
    "rocketmq_denied" 422: "RocketMQ does not allow it.",
        "Check the access key of the instance and what it may do with the topic.";

    // Dead letters and live events.
    "dead_letter_not_found" 404: "There is no such dead letter: it was replayed or deleted, or never was one.",
        "See `rulemill dead-letter list`.";
    "rule_gone" 409: "The rule of the dead letter was deleted.",
        "Create a rule with its id, or delete the letter.";
    "too_many_readers" 409: "There are as many readers of live events as there may be.",
        "Close another one first.";

    // Access.
    "invalid_user_name" 422: "The user name is none: 1 to 64 letters, digits, `-`, `_`, `.`, `@`, `+` and `:`.",
        "Choose another name.";
    "user_exists" 409: "There is such a user already.",
        "Change the password with PUT, or choose another name.";
    "user_not_found" 404: "There is no such user.",
        "See `rulemill user list`.";
    "too_many_users" 409: "There are as many users as there may be.",
        "Delete one first.";
    "invalid_access_key_id" 422: "The access key id is none: 1 to 128 letters, digits, `-`, `_` and `.`.",
        "Choose another id.";
    "invalid_use" 422: "An access key opens `mqtt` or `api`.",
        "Choose one of them.";
    "access_key_exists" 409: "There is such an access key already.",
        "Delete it first, or choose another id.";
    "access_key_not_found" 404: "There is no such access key.",
        "See `rulemill access-key list`.";
    "too_many_access_keys" 409: "There are as many access keys as there may be.",
        "Delete one first.";
    "invalid_token_name" 422: "The token's name is none, or is reserved: 1 to 64 letters, digits, `-`, `_` and `.`.",
        "Choose another name.";
    "invalid_role" 422: "A role is `viewer`, `operator` or `admin`.",
        "Choose one of them.";
    "invalid_expiry" 422: "The token would have expired already.",
        "Give a later time, in UNIX milliseconds.";
    "token_exists" 409: "There is such a token already.",
        "Revoke it first, or choose another name.";
    "token_not_found" 404: "There is no such token.",
        "See `rulemill token list`.";
    "too_many_tokens" 409: "There are as many tokens as there may be.",
        "Revoke one first.";
    "invalid_secret" 422: "The password or secret cannot be one: it is empty, too long, or has characters that it may not have.",
        "Choose one as the message says.";
    "hash_failed" 500: "The password could not be hashed: the machine lacks memory or random numbers.",
        "Try again; see the host's log.";
    "store_failed" 500: "The host's store failed; what was asked for may not be there.",
        "See the host's log and the disk; then look whether the change was made.";
}

/// The page of the manual.
#[cfg(test)]
pub(crate) fn manual() -> String {
    let mut page = String::from(
        "# Errors of the HTTP API\n\n\
         Made by `cargo xtask openapi` from `host/crates/admin-api/src/error_list.rs`, the reviewed list; a test fails when a code is\n\
         missing or this page is an old one.\n\n\
         A failed request is answered `{\"code\", \"message\", \"details\", \"requestId\"}`. The code is for programs and from the closed\n\
         set below; the message is for people and says in one line what was wrong, where, and what would be right. The request id is\n\
         in the header `x-request-id` as well, and in the host's log. The command line prints the message and exits with the code of\n\
         the last column.\n\n\
         | Code | Status | What was wrong | What to do | Exit |\n|---|---|---|---|---|\n",
    );
    let mut all: Vec<&ListedError> = ERRORS.iter().collect();
    all.sort_by_key(|it| (it.code, it.status));
    for ListedError {
        code,
        status,
        meaning,
        remedy,
    } in all
    {
        let exit = match status {
            401 | 403 => 6,
            404 => 3,
            409 | 412 => 4,
            _ => 1,
        };
        let (meaning, remedy) = (meaning.replace('|', "\\|"), remedy.replace('|', "\\|"));
        page += &format!("| `{code}` | {status} | {meaning} | {remedy} | {exit} |\n");
    }
    page
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::http::StatusCode;
    use pipeline::control::{ControlCode, ControlErrorKind};

    use super::ERRORS;
    use crate::api_error::OWN_CODES;

    fn status(kind: ControlErrorKind) -> StatusCode {
        match kind {
            ControlErrorKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            ControlErrorKind::NotFound => StatusCode::NOT_FOUND,
            ControlErrorKind::Conflict => StatusCode::CONFLICT,
            ControlErrorKind::Stale => StatusCode::PRECONDITION_FAILED,
            ControlErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            ControlErrorKind::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    #[test]
    fn the_list_has_every_code_that_there_is_and_no_other() {
        let mut expected: BTreeSet<(&str, u16)> = ControlCode::ALL
            .iter()
            .map(|code| (code.as_str(), status(code.kind()).as_u16()))
            .collect();
        expected.extend(
            OWN_CODES
                .iter()
                .map(|(code, status)| (*code, status.as_u16())),
        );
        expected.extend([("invalid_request", 400), ("topic_not_found", 404)]);
        let listed: Vec<(&str, u16)> = ERRORS.iter().map(|it| (it.code, it.status)).collect();
        let set: BTreeSet<_> = listed.iter().copied().collect();
        assert_eq!(set.len(), listed.len(), "a code is listed twice");
        let missing: Vec<_> = expected.difference(&set).collect();
        let stale: Vec<_> = set.difference(&expected).collect();
        assert!(
            missing.is_empty() && stale.is_empty(),
            "missing {missing:?}, stale {stale:?}"
        );
    }

    #[test]
    fn each_line_says_what_was_wrong_and_what_to_do() {
        for it in ERRORS {
            for text in [it.meaning, it.remedy] {
                assert!(
                    text.len() > 8 && text.ends_with('.') && !text.contains('\n'),
                    "{}",
                    it.code
                );
            }
        }
    }
}
