//! `/v1/plugins`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use domain::PluginName;
use pipeline::control::{ControlCode, PluginVersionView};
use serde::Serialize;

use crate::api_error::ApiError;
use crate::extract::{Path, Query, read_body};
use crate::page::{Page, PageQuery};
use crate::server::Served;

const CONTENT_TYPE: &str = "application/wasm";

/// A plugin with its newest version.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PluginOut {
    name: String,
    /// How many versions there are.
    versions: usize,
    latest: VersionOut,
}

/// One version.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VersionOut {
    name: String,
    version: u32,
    digest: String,
    exports: Vec<String>,
    imports: Vec<String>,
    size: u64,
    created_at: u64,
    built_in: bool,
    /// The version as a page key: numbers as text would sort 10 before 9.
    #[serde(skip)]
    key: String,
}

impl From<PluginVersionView> for VersionOut {
    fn from(view: PluginVersionView) -> Self {
        Self {
            name: view.name.to_string(),
            version: view.version,
            digest: view.digest.to_string(),
            exports: view.exports,
            imports: view.imports,
            size: view.size_bytes,
            created_at: view.created_at_ms,
            built_in: view.is_built_in,
            key: format!("{:010}", view.version),
        }
    }
}

fn parse_name(text: &str) -> Result<PluginName, ApiError> {
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

pub(crate) async fn show(
    State(served): State<Served>,
    Path(name): Path<String>,
) -> Result<Json<PluginOut>, ApiError> {
    let name = parse_name(&name)?;
    plugins(&served, Some(&name))
        .pop()
        .map(Json)
        .ok_or_else(|| not_found(&name))
}

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
    let versions: Vec<VersionOut> = views.map(VersionOut::from).collect();
    if versions.is_empty() {
        return Err(not_found(&name));
    }
    Ok(Json(Page::cut(versions, &request, |version| &version.key)))
}

pub(crate) async fn push(
    State(served): State<Served>,
    Path(name): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<VersionOut>), ApiError> {
    let name = parse_name(&name)?;
    let content_type = request.headers().get(header::CONTENT_TYPE);
    if content_type.is_none_or(|value| value.as_bytes() != CONTENT_TYPE.as_bytes()) {
        return Err(ApiError::unsupported_media_type(format!(
            "the body must be a component, sent with Content-Type: {CONTENT_TYPE}"
        )));
    }
    // One upload at a time: each holds its bytes in memory until it is compiled.
    let uploads = Arc::clone(&served.uploads);
    let _upload = uploads
        .acquire()
        .await
        .map_err(|_| ApiError::internal("the host is shutting down"))?;
    let bytes_max = served.component_bytes_max;
    let too_large = || {
        ApiError::of(
            ControlCode::ComponentTooLarge,
            format!(
                "the component has more than {bytes_max} bytes, the limit plugins.component-max; build it with optimisation and stripped"
            ),
        )
    };
    let bytes = read_body(request, bytes_max, too_large).await?;
    let (view, is_new) = served.control.push_plugin(name, bytes).await?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(view.into())))
}

pub(crate) async fn delete(
    State(served): State<Served>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    served.control.delete_plugin(&parse_name(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
