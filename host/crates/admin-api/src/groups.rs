//! `/v1/groups`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::GroupId;
use pipeline::control::{ControlCode, GroupView};
use serde::{Deserialize, Serialize};

use crate::api_error::ApiError;
use crate::extract::{JsonBody, Path, Query};
use crate::page::{Page, PageQuery};
use crate::server::Served;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GroupIn {
    group_id: String,
}

/// A group.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GroupOut {
    group_id: String,
    created_at: u64,
}

impl From<GroupView> for GroupOut {
    fn from(view: GroupView) -> Self {
        Self {
            group_id: view.group_id.to_string(),
            created_at: view.created_at_ms,
        }
    }
}

pub(crate) fn parse_group_id(text: &str) -> Result<GroupId, ApiError> {
    GroupId::parse(text)
        .map_err(|error| ApiError::name(ControlCode::InvalidGroupId, "groupId", &error))
}

pub(crate) async fn list(
    State(served): State<Served>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<GroupOut>>, ApiError> {
    let request = query.request()?;
    // The control side sorts by id.
    let groups = served.control.groups();
    let groups = groups.into_iter().map(GroupOut::from).collect();
    Ok(Json(Page::cut(groups, &request, |group: &GroupOut| {
        &group.group_id
    })))
}

pub(crate) async fn create(
    State(served): State<Served>,
    JsonBody(body): JsonBody<GroupIn>,
) -> Result<(StatusCode, Json<GroupOut>), ApiError> {
    let view = served
        .control
        .create_group(parse_group_id(&body.group_id)?)
        .await?;
    Ok((StatusCode::CREATED, Json(view.into())))
}

pub(crate) async fn show(
    State(served): State<Served>,
    Path(id): Path<String>,
) -> Result<Json<GroupOut>, ApiError> {
    let id = parse_group_id(&id)?;
    match served
        .control
        .groups()
        .into_iter()
        .find(|view| view.group_id == id)
    {
        Some(view) => Ok(Json(view.into())),
        None => Err(ApiError::of(
            ControlCode::GroupNotFound,
            format!("there is no group {id}; see `rulemill group list`"),
        )),
    }
}

pub(crate) async fn delete(
    State(served): State<Served>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    served.control.delete_group(&parse_group_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
