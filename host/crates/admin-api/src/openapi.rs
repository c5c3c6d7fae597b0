//! `/openapi.json`: the API in `OpenAPI` 3.1, made of the annotations beside the handlers and their types.
//!
//! A handler says what is its own: parameters, bodies, and the codes of its errors (`x-errors`). What all
//! share is added by [`finish`]: errors of the token and of the host, headers, the security, the role.

mod finish;
pub(crate) mod words;

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use utoipa::OpenApi;

use crate::{access_keys, audit, sign_in, tokens, users};
use crate::{
    apply, clients, dead_letters, events, groups, instances, messages, plugin_versions, plugins,
    rule_history, rule_test, rules, status,
};

#[derive(OpenApi)]
#[openapi(
    paths(
        rules::list, rules::create, rules::show, rules::replace, rules::delete, rules::enable,
        rules::disable, rules::retire_queue, rule_history::history, rule_history::rollback,
        rule_test::sample, rule_test::test,
        plugins::list, plugins::show, plugins::delete, plugins::versions, plugins::push,
        plugin_versions::show, plugin_versions::delete, plugin_versions::roll_back,
        apply::apply, apply::export, apply::stage,
        groups::list, groups::create, groups::show, groups::delete,
        clients::list, clients::query, clients::show, clients::close,
        instances::list, instances::probe, instances::topics, instances::create_topic, messages::read,
        dead_letters::list, dead_letters::delete_many, dead_letters::replay_many, dead_letters::show,
        dead_letters::delete, dead_letters::replay,
        events::events, status::show,
        tokens::list, tokens::create, tokens::show, tokens::revoke,
        users::list, users::add, users::show, users::set_password, users::delete,
        access_keys::list, access_keys::add, access_keys::show, access_keys::delete,
        audit::list, sign_in::exchange, sign_in::end, sign_in::create_code,
        sign_in::page, sign_in::script, status::live, status::ready, status::metrics, show,
    ),
    components(schemas(
        dead_letters::EventOut, events::RuleStateOut, events::MissedOut,
    )),
    tags(
        (name = "Rules", description = "What becomes of which events"),
        (name = "Plugins", description = "Components that map events to messages"),
        (name = "Configuration", description = "All groups, plugins and rules at once"),
        (name = "Groups", description = "Groups of devices"),
        (name = "Clients", description = "Who is connected"),
        (name = "RocketMQ", description = "Configured instances, their topics and messages"),
        (name = "Dead letters", description = "Events that could not be mapped or sent"),
        (name = "Host", description = "How the host is, and what happens"),
        (name = "Access", description = "Who may administer, and who may connect"),
    ),
)]
struct Document;

static TEXT: LazyLock<String> = LazyLock::new(|| {
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
});

fn document() -> Value {
    let mut document = Document::openapi();
    let components = document.components.get_or_insert_default();
    components.schemas.extend(words::all());
    finish::finish(serde_json::to_value(document).unwrap_or_default())
}

/// The document itself.
#[utoipa::path(
    get, path = "/openapi.json", tag = "Host", operation_id = "showOpenApi",
    summary = "The document that you read",
    responses((status = 200, description = "The document", body = Object, content_type = "application/json")),
    security(()),
)]
pub(crate) async fn show() -> Response {
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (content_type, TEXT.as_str()).into_response()
}

#[cfg(test)]
mod tests;
