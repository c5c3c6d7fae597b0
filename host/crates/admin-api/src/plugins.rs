//! `/v1/plugins`.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use domain::PluginName;
use pipeline::control::ControlCode;
use serde::Deserialize;

use crate::api_error::ApiError;
use crate::component::read_component;
use crate::extract::{By, Path, Query};
use crate::openapi::words;
use crate::page::{Page, PageQuery};
use crate::plugin_out::{ACTIVATIONS_SHOWN_MAX, ActivationOut, PluginOut, VersionOut};
use crate::server::Served;

/// How a component is uploaded.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct PushQuery {
    /// Bytes that are a version already are tried once more, also where that version is withdrawn.
    #[serde(default)]
    again: bool,
}

pub(crate) fn parse_name(text: &str) -> Result<PluginName, ApiError> {
    PluginName::parse(text)
        .map_err(|error| ApiError::name(ControlCode::InvalidPluginName, "name", &error))
}

/// All plugins, or the one named `only`. The control side sorts by name, then version.
fn plugins(served: &Served, only: Option<&PluginName>) -> Vec<PluginOut> {
    let mut all: Vec<PluginOut> = Vec::new();
    for view in served.control.plugins() {
        if only.is_some_and(|name| *name != view.name) {
            continue;
        }
        match all.last_mut() {
            Some(plugin) if plugin.name == view.name.as_str() => {
                plugin.versions += 1;
                plugin.latest = view.into();
            }
            _ => all.push(PluginOut {
                name: view.name.to_string(),
                versions: 1,
                latest: view.into(),
                activations: None,
            }),
        }
    }
    all
}

fn not_found(name: &PluginName) -> ApiError {
    ApiError::of(
        ControlCode::PluginNotFound,
        format!("there is no plugin {name}; see `rulemill plugin list`"),
    )
}

#[utoipa::path(
    get, path = "/v1/plugins", tag = "Plugins", operation_id = "listPlugins",
    summary = "Plugins with their newest versions, sorted by name",
    params(PageQuery),
    responses((status = 200, description = "A page", body = Page<PluginOut>)),
    extensions(("x-errors" = json!(["invalid_page_token"]))),
)]
pub(crate) async fn list(
    State(served): State<Served>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<PluginOut>>, ApiError> {
    let request = query.request()?;
    Ok(Json(Page::cut(
        plugins(&served, None),
        &request,
        |plugin| &plugin.name,
    )))
}

#[utoipa::path(
    get, path = "/v1/plugins/{name}", tag = "Plugins", operation_id = "showPlugin",
    summary = "A plugin with what became of its versions",
    params(("name" = words::PluginNameText, Path, description = "The plugin")),
    responses((status = 200, description = "The plugin", body = PluginOut)),
    extensions(("x-errors" = json!(["invalid_plugin_name", "plugin_not_found"]))),
)]
pub(crate) async fn show(
    State(served): State<Served>,
    Path(name): Path<String>,
) -> Result<Json<PluginOut>, ApiError> {
    let name = parse_name(&name)?;
    let mut plugin = plugins(&served, Some(&name))
        .pop()
        .ok_or_else(|| not_found(&name))?;
    let activations = served.control.plugin_activations(&name).into_iter();
    let shown = activations
        .map(ActivationOut::from)
        .take(ACTIVATIONS_SHOWN_MAX);
    plugin.activations = Some(shown.collect());
    Ok(Json(plugin))
}

#[utoipa::path(
    get, path = "/v1/plugins/{name}/versions", tag = "Plugins", operation_id = "listPluginVersions",
    summary = "Versions of a plugin",
    params(("name" = words::PluginNameText, Path, description = "The plugin"), PageQuery),
    responses((status = 200, description = "A page", body = Page<VersionOut>)),
    extensions(("x-errors" = json!(["invalid_plugin_name", "plugin_not_found", "invalid_page_token"]))),
)]
pub(crate) async fn versions(
    State(served): State<Served>,
    Path(name): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<VersionOut>>, ApiError> {
    let name = parse_name(&name)?;
    let request = query.request()?;
    let views = served
        .control
        .plugins()
        .into_iter()
        .filter(|view| view.name == name);
    let activations = served.control.plugin_activations(&name);
    let versions: Vec<VersionOut> = views
        .map(|view| VersionOut::from(view).with_activations(activations.clone()))
        .collect();
    if versions.is_empty() {
        return Err(not_found(&name));
    }
    Ok(Json(Page::cut(versions, &request, |version| &version.key)))
}

#[utoipa::path(
    post, path = "/v1/plugins/{name}/versions", tag = "Plugins", operation_id = "pushPluginVersion",
    summary = "Uploads a component as a new version",
    params(("name" = words::PluginNameText, Path, description = "The plugin"), PushQuery),
    request_body(content((words::ComponentBytes = "application/wasm"), (words::ComponentBytes = "application/octet-stream")), description = "The component; at most `plugins.component-max` bytes"),
    responses((status = 201, description = "It is a new version, tried and active", body = VersionOut),
    (status = 200, description = "These bytes are a version already", body = VersionOut)),
    extensions(("x-errors" = json!(["invalid_plugin_name", "plugin_built_in", "plugin_config_refused", "unknown_plugin", "component_too_large", "not_a_component", "unsupported_contract", "forbidden_import", "compile_limit_exceeded", "compiler_failed", "canary_failed", "host_busy", "too_many_plugin_versions", "unsupported_media_type"]))),
)]
pub(crate) async fn push(
    State(served): State<Served>,
    Path(name): Path<String>,
    Query(query): Query<PushQuery>,
    By(by): By,
    request: Request,
) -> Result<(StatusCode, Json<VersionOut>), ApiError> {
    let name = parse_name(&name)?;
    let (bytes, _upload) = read_component(&served, request).await?;
    let (view, is_new) = if query.again {
        served.control.push_plugin_again(name, bytes, &by).await?
    } else {
        served.control.push_plugin(name, bytes, &by).await?
    };
    let history = served.control.plugin_activations(&view.name);
    let version = VersionOut::from(view).with_warnings().kept_by(history);
    let status = match is_new {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    Ok((status, Json(version)))
}

#[utoipa::path(
    delete, path = "/v1/plugins/{name}", tag = "Plugins", operation_id = "deletePlugin",
    summary = "Deletes a plugin with all its versions",
    params(("name" = words::PluginNameText, Path, description = "The plugin")),
    responses((status = 204, description = "It is gone")),
    extensions(("x-errors" = json!(["invalid_plugin_name", "plugin_not_found", "plugin_in_use", "plugin_built_in"]))),
)]
pub(crate) async fn delete(
    State(served): State<Served>,
    Path(name): Path<String>,
    By(by): By,
) -> Result<StatusCode, ApiError> {
    let name = parse_name(&name)?;
    served.control.delete_plugin(&name, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}
