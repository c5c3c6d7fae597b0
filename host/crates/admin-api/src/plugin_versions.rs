//! `/v1/plugins/{name}/versions/{version}` and `/v1/plugins/{name}/rollback`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::RuleId;
use pipeline::control::{ControlCode, PluginRollback};
use serde::{Deserialize, Serialize};

use crate::api_error::ApiError;
use crate::extract::{By, JsonBody, Path};
use crate::openapi::words;
use crate::plugin_out::VersionOut;
use crate::plugins::parse_name;
use crate::server::Served;

/// Which rule is to go back.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = PluginRollback)]
pub(crate) struct RollbackIn {
    /// `None`: all that follow the plugin's latest version.
    #[serde(default)]
    #[schema(value_type = Option<words::RuleIdText>)]
    rule_id: Option<String>,
}

/// What a rollback did.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PluginRollbackResult)]
pub(crate) struct RollbackOut {
    /// The rules that went back.
    rolled_back: Vec<RolledBackOut>,
    /// The rules that did not, each with the reason.
    kept: Vec<KeptOut>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RolledBackRule)]
struct RolledBackOut {
    rule_id: String,
    from: u32,
    to: u32,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = KeptRule)]
struct KeptOut {
    rule_id: String,
    reason: String,
}

impl From<PluginRollback> for RollbackOut {
    fn from(done: PluginRollback) -> Self {
        let rolled_back = done.rolled_back.into_iter().map(|it| RolledBackOut {
            rule_id: it.rule_id.to_string(),
            from: it.from,
            to: it.to,
        });
        let kept = done.kept.into_iter().map(|it| KeptOut {
            rule_id: it.rule_id.to_string(),
            reason: it.reason,
        });
        Self {
            rolled_back: rolled_back.collect(),
            kept: kept.collect(),
        }
    }
}

fn parse_version(text: &str) -> Result<u32, ApiError> {
    text.parse().map_err(|_| {
        ApiError::of(
            ControlCode::PluginVersionNotFound,
            format!("{text:?} is no version; versions are numbers from 1"),
        )
    })
}

#[utoipa::path(
    get, path = "/v1/plugins/{name}/versions/{version}", tag = "Plugins", operation_id = "showPluginVersion",
    summary = "A version of a plugin",
    params(("name" = words::PluginNameText, Path, description = "The plugin"), ("version" = words::VersionNumber, Path, description = "Its version")),
    responses((status = 200, description = "The version", body = VersionOut)),
    extensions(("x-errors" = json!(["invalid_plugin_name", "plugin_not_found", "plugin_version_not_found"]))),
)]
pub(crate) async fn show(
    State(served): State<Served>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Json<VersionOut>, ApiError> {
    let (name, version) = (parse_name(&name)?, parse_version(&version)?);
    let view = served.control.plugin_version(&name, version)?;
    let activations = served.control.plugin_activations(&name);
    Ok(Json(VersionOut::from(view).with_activations(activations)))
}

#[utoipa::path(
    delete, path = "/v1/plugins/{name}/versions/{version}", tag = "Plugins", operation_id = "deletePluginVersion",
    summary = "Deletes a version of a plugin",
    params(("name" = words::PluginNameText, Path, description = "The plugin"), ("version" = words::VersionNumber, Path, description = "Its version")),
    responses((status = 204, description = "It is gone")),
    extensions(("x-errors" = json!(["invalid_plugin_name", "plugin_not_found", "plugin_version_not_found", "plugin_in_use", "plugin_built_in"]))),
)]
pub(crate) async fn delete(
    State(served): State<Served>,
    Path((name, version)): Path<(String, String)>,
    By(by): By,
) -> Result<StatusCode, ApiError> {
    let (name, version) = (parse_name(&name)?, parse_version(&version)?);
    served
        .control
        .delete_plugin_version(&name, version, &by)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(
    post, path = "/v1/plugins/{name}/rollback", tag = "Plugins", operation_id = "rollBackPlugin",
    summary = "Goes back to the previous good version, for one rule or for all that follow the latest",
    params(("name" = words::PluginNameText, Path, description = "The plugin")),
    request_body(content = RollbackIn),
    responses((status = 200, description = "What went back", body = RollbackOut)),
    extensions(("x-errors" = json!(["invalid_plugin_name", "plugin_not_found", "invalid_rule_id", "rule_not_found", "no_earlier_version", "rollback_impossible", "@load"]))),
)]
pub(crate) async fn roll_back(
    State(served): State<Served>,
    Path(name): Path<String>,
    By(by): By,
    JsonBody(body): JsonBody<RollbackIn>,
) -> Result<Json<RollbackOut>, ApiError> {
    let name = parse_name(&name)?;
    let rule_id = body.rule_id.as_deref().map(RuleId::parse).transpose();
    let rule_id =
        rule_id.map_err(|error| ApiError::name(ControlCode::InvalidRuleId, "ruleId", &error))?;
    let done = served
        .control
        .roll_back_plugin(&name, rule_id.as_ref(), &by)
        .await?;
    Ok(Json(done.into()))
}
