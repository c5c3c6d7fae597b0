//! What all operations have in common, added to what each says of itself.

#![expect(
    clippy::indexing_slicing,
    reason = "the document is made of this program's own operations, the same each time: its tests meet every field"
)]

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use pipeline::control::Role;
use serde_json::{Map, Value, json};

use crate::error_list::{ERRORS, ListedError};
use crate::permission;

const JSON: &str = "application/json";
/// Answers of more codes than this are not shared: their names would be too long.
const SHARED_CODES_MAX: usize = 4;
/// Where an operation names the codes of its own errors; not in the document itself.
const OWN_ERRORS: &str = "x-errors";

const ABOUT: &str = "Rules, plugins, groups, clients and access of a Rulemill host.\n\n\
    Every request of `/v1` needs `Authorization: Bearer` with a token whose role allows it; each operation names the role. \
    Times are UNIX milliseconds, sizes bytes. A failed request is answered by the schema `Error`; its code is from a closed \
    set, which the manual lists with a remedy for each. Lists are pages: `limit` and `pageToken` in, `items`, `nextPageToken` \
    and `total` out. An `ETag` carries the revision of a rule; a change with an old one in `If-Match` is answered 412. \
    `HEAD` is answered wherever `GET` is.\n\n\
    Beside this API, `POST` and `GET` on `/` with an `Action` are the actions of the ApsaraMQ for MQTT OpenAPI (2020-04-20), for its \
    SDKs: they have their own signatures and error shapes and are not described here.";

/// Codes that belong together, as an operation may name them.
fn group_of_codes(name: &str) -> Option<&'static [&'static str]> {
    const LOAD: &[&str] = &[
        "unknown_plugin",
        "not_a_component",
        "unsupported_contract",
        "forbidden_import",
        "component_too_large",
        "compile_limit_exceeded",
        "compiler_failed",
        "canary_failed",
        "host_busy",
        "plugin_config_refused",
        "invalid_rule",
    ];
    const SAVE: &[&str] = &[
        "invalid_rule_id",
        "invalid_group_id",
        "invalid_plugin_name",
        "unknown_group",
        "unknown_instance",
        "topic_not_found",
        "rocketmq_unreachable",
        "rocketmq_denied",
        "data_rule_held",
        "group_has_rule",
        "topic_has_rule",
        "managed_by_file",
    ];
    match name {
        // A version is compiled, tried and given the rule's configuration.
        "@load" => Some(LOAD),
        // A rule is checked against the others and its destination.
        "@save" => Some(SAVE),
        _ => None,
    }
}

fn listed(code: &str) -> Option<&'static ListedError> {
    // `404 topic_not_found` where a code has two statuses; else the last one.
    let (status, code): (Option<u16>, &str) = match code.split_once(' ') {
        Some((status, code)) => (status.parse().ok(), code),
        None => (None, code),
    };
    let fits =
        |it: &&ListedError| it.code == code && status.is_none_or(|status| it.status == status);
    ERRORS.iter().rev().find(fits)
}

/// The document as it is shown.
pub(super) fn finish(mut document: Value) -> Value {
    document["info"] = json!({
        "title": "Rulemill",
        "version": env!("CARGO_PKG_VERSION"),
        "description": ABOUT,
        "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
    });
    // Whoever reads it has just asked the server.
    document["servers"] = json!([{ "url": "/" }]);
    let mut shared = Map::new();
    if let Some(paths) = document["paths"].as_object_mut() {
        for (path, item) in paths {
            let Some(item) = item.as_object_mut() else {
                continue;
            };
            for (method, operation) in item {
                finish_operation(path, method, operation, &mut shared);
            }
        }
    }
    bound_integers(&mut document);
    add_links(&mut document);
    let components = &mut document["components"];
    components["responses"] = Value::Object(shared);
    components["headers"] = json!({
        "RequestId": {
            "description": "Names the request in the host's log.",
            "schema": { "type": "string", "pattern": "^[0-9a-f]{16}$" },
        },
        "Authenticate": {
            "description": "How to say who asks.", "schema": { "type": "string", "enum": ["Bearer"] },
        },
        "RetryAfter": {
            "description": "When to try again, seconds.", "schema": { "type": "integer", "minimum": 1 },
        },
    });
    components["securitySchemes"] = json!({ "token": {
        "type": "http", "scheme": "bearer",
        "description": "The content of `<data-dir>/admin-token`, a token of `rulemill token create`, or of a sign-in.",
    } });
    let mut codes: Vec<&str> = ERRORS.iter().map(|it| it.code).collect();
    codes.sort_unstable();
    codes.dedup();
    components["schemas"]["ErrorCode"] = json!({
        "type": "string", "enum": codes,
        "description": about_codes(),
    });
    components["schemas"]["Error"] = json!({
        "type": "object",
        "description": "A failed request.",
        "required": ["code", "message", "details", "requestId"],
        "properties": {
            "code": { "$ref": "#/components/schemas/ErrorCode" },
            "message": { "type": "string", "description": "For people: what was wrong, where, and what would be right, in one line." },
            "details": { "type": "object", "description": "More about it; nothing has details yet." },
            "requestId": { "type": "string", "pattern": "^[0-9a-f]{16}$", "description": "As in the header `x-request-id` and in the host's log." },
            "retryAfterSeconds": { "type": "integer", "minimum": 1, "description": "Of `too_many_failures`: when to try again." },
            "problems": {
                "type": "array", "description": "Of `apply`: everything that is wrong; the error itself is the first.",
                "items": {
                    "type": "object", "required": ["subject", "code", "message"],
                    "properties": {
                        "subject": { "type": "string", "description": "Such as `rule status-to-topicb`." },
                        "code": { "$ref": "#/components/schemas/ErrorCode" },
                        "message": { "type": "string" },
                    },
                },
            },
        },
    });
    document
}

/// What an operation makes, and the operations that take it: of which, parameter and where it is, to which.
type Link = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);
const LINKS: &[Link] = &[
    (
        "createRule",
        &[("ruleId", "$response.body#/ruleId")],
        &[
            "showRule",
            "replaceRule",
            "deleteRule",
            "enableRule",
            "disableRule",
            "retireQueue",
            "listRuleHistory",
            "rollBackRule",
            "listRuleSamples",
            "testRule",
        ],
    ),
    (
        "pushPluginVersion",
        &[("name", "$response.body#/name")],
        &[
            "showPlugin",
            "listPluginVersions",
            "rollBackPlugin",
            "deletePlugin",
        ],
    ),
    (
        "pushPluginVersion",
        &[
            ("name", "$response.body#/name"),
            ("version", "$response.body#/version"),
        ],
        &["showPluginVersion", "deletePluginVersion"],
    ),
    (
        "createGroup",
        &[("groupId", "$response.body#/groupId")],
        &["showGroup", "deleteGroup"],
    ),
    (
        "createToken",
        &[("name", "$response.body#/name")],
        &["showToken", "revokeToken"],
    ),
    (
        "addUser",
        &[("name", "$response.body#/name")],
        &["showUser", "setPassword", "deleteUser"],
    ),
    (
        "addAccessKey",
        &[("accessKeyId", "$response.body#/accessKeyId")],
        &["showAccessKey", "deleteAccessKey"],
    ),
    (
        "createTopic",
        &[
            ("instanceId", "$request.path.instanceId"),
            ("topic", "$response.body#/topic"),
        ],
        &["readMessages"],
    ),
];

/// Says of what was made where it can be used.
fn add_links(document: &mut Value) {
    for operation in document["paths"]
        .as_object_mut()
        .into_iter()
        .flat_map(Map::values_mut)
    {
        for operation in operation
            .as_object_mut()
            .into_iter()
            .flat_map(Map::values_mut)
        {
            let id = operation["operationId"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            for (_, parameters, targets) in LINKS.iter().filter(|(from, ..)| *from == id) {
                let parameters: Map<String, Value> = parameters
                    .iter()
                    .map(|(name, place)| ((*name).to_owned(), json!(place)))
                    .collect();
                for target in *targets {
                    operation["responses"]["201"]["links"][*target] =
                        json!({ "operationId": target, "parameters": parameters });
                }
            }
        }
    }
}

/// What each code means and what to do.
fn about_codes() -> String {
    let mut text = String::from("Why a request failed. A closed set:\n");
    for it in ERRORS {
        text += &format!(
            "\n- `{}` ({}): {} {}",
            it.code, it.status, it.meaning, it.remedy
        );
    }
    text
}

fn finish_operation(
    path: &str,
    method: &str,
    operation: &mut Value,
    shared: &mut Map<String, Value>,
) {
    let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).unwrap_or_default();
    let mut codes: Vec<String> = vec!["internal".to_owned(), "forbidden_host".to_owned()];
    let mut add = |more: &[&str]| codes.extend(more.iter().map(|it| (*it).to_owned()));
    let is_open = operation.get("security").is_some();
    if !is_open {
        let role = permission::needed(&method, path);
        operation["security"] = json!([{ "token": [] }]);
        operation["x-role"] = json!(role.as_str());
        let before = operation["description"]
            .as_str()
            .map_or_else(String::new, |it| format!("{it}\n\n"));
        operation["description"] = json!(format!("{before}Needs the role `{role}`."));
        add(&["unauthorized", "too_many_failures"]);
        if role != Role::Viewer {
            add(&["not_allowed"]);
        }
    }
    if !permission::is_safe(&method) {
        add(&["store_failed"]);
    }
    let places = finish_parameters(operation);
    if places.contains(&"path".to_owned()) {
        add(&["invalid_path", "not_found"]);
    }
    if places.contains(&"query".to_owned()) {
        add(&["invalid_query"]);
    }
    // The only header that is read.
    if places.contains(&"header".to_owned()) {
        add(&["invalid_if_match"]);
    }
    if operation.get("requestBody").is_some() {
        add(&["request_timeout", "payload_too_large"]);
        if operation["requestBody"]["content"].get(JSON).is_some() {
            add(&["invalid_json"]);
        }
    }
    let own = operation
        .as_object_mut()
        .and_then(|it| it.remove(OWN_ERRORS));
    for code in own.as_ref().and_then(Value::as_array).into_iter().flatten() {
        let code = code.as_str().unwrap_or_default();
        match group_of_codes(code) {
            Some(group) => add(group),
            None => add(&[code]),
        }
    }
    add_responses(operation, &codes, shared);
}

/// An optional parameter is left out, never null. Returns where there are parameters.
fn finish_parameters(operation: &mut Value) -> Vec<String> {
    let mut places = Vec::new();
    for parameter in operation["parameters"].as_array_mut().into_iter().flatten() {
        places.push(parameter["in"].as_str().unwrap_or_default().to_owned());
        let schema = &mut parameter["schema"];
        let is_null = |it: &Value| it["type"] == "null" || it == "null";
        if let Some(types) = schema["type"].as_array() {
            schema["type"] = types
                .iter()
                .find(|it| !is_null(it))
                .cloned()
                .unwrap_or_default();
        }
        if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
            let choice = choices.iter().find(|it| !is_null(it)).cloned();
            *schema = choice.unwrap_or_default();
        }
    }
    if operation["parameters"].is_null()
        && let Some(operation) = operation.as_object_mut()
    {
        operation.remove("parameters");
    }
    places
}

/// Answers of errors, by status; those of few codes are shared by name.
fn add_responses(operation: &mut Value, codes: &[String], shared: &mut Map<String, Value>) {
    let mut by_status: BTreeMap<u16, BTreeSet<&str>> = BTreeMap::new();
    for code in codes {
        // One that is not listed stays visible: a test finds it.
        match listed(code) {
            Some(it) => {
                by_status.entry(it.status).or_default().insert(it.code);
            }
            None => operation[OWN_ERRORS] = json!([code]),
        }
    }
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    for response in responses.values_mut() {
        response["headers"]["x-request-id"] = header("RequestId");
    }
    for (status, codes) in by_status {
        let own = responses.get(&status.to_string());
        let own = own.and_then(|it| it.pointer("/content/application~1json/schema").cloned());
        let response = if own.is_none() && codes.len() <= SHARED_CODES_MAX {
            let codes: Vec<&str> = codes.iter().copied().collect();
            let name = format!("{status}.{}", codes.join("."));
            let reference = json!({ "$ref": format!("#/components/responses/{name}") });
            shared
                .entry(name)
                .or_insert_with(|| failure(status, &codes, None));
            reference
        } else {
            failure(status, &codes.into_iter().collect::<Vec<_>>(), own)
        };
        responses.insert(status.to_string(), response);
    }
}

fn header(name: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{name}") })
}

/// The answer of a failure; `own` is what else its body has.
fn failure(status: u16, codes: &[&str], own: Option<Value>) -> Value {
    let mut headers = Map::new();
    headers.insert("x-request-id".to_owned(), header("RequestId"));
    if status == 401 {
        headers.insert("WWW-Authenticate".to_owned(), header("Authenticate"));
    }
    if status == 429 {
        headers.insert("Retry-After".to_owned(), header("RetryAfter"));
    }
    let names: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
    let mut all_of = vec![
        json!({ "$ref": "#/components/schemas/Error" }),
        json!({ "properties": { "code": { "enum": codes } } }),
    ];
    all_of.extend(own);
    json!({
        "description": names.join(", "),
        "headers": headers,
        "content": { JSON: { "schema": { "allOf": all_of } } },
    })
}

/// Numbers of 64 bits have no sign here, so they end where those do; `int64` would say less.
fn bound_integers(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if object.get("format").is_some_and(|it| it == "int64") {
                object.remove("format");
                object.entry("maximum").or_insert(json!(u64::MAX));
            }
            object.values_mut().for_each(bound_integers);
        }
        Value::Array(items) => items.iter_mut().for_each(bound_integers),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
