//! `/v1/groups`.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use domain::GroupId;
use pipeline::control::{ControlCode, GroupView};
use serde::{Deserialize, Serialize};

use crate::api_error::ApiError;
use crate::extract::{JsonBody, Path, Query};
use crate::openapi::words;
use crate::page::{Page, PageQuery};
use crate::server::Served;

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = GroupRequest)]
pub(crate) struct GroupIn {
    #[schema(value_type = words::GroupIdText)]
    group_id: String,
}

/// A group.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Group)]
pub(crate) struct GroupOut {
    #[schema(value_type = words::GroupIdText)]
    group_id: String,
    #[schema(value_type = words::TimeMs)]
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

#[utoipa::path(
    get, path = "/v1/groups", tag = "Groups", operation_id = "listGroups",
    summary = "Groups, sorted by id",
    params(PageQuery),
    responses((status = 200, description = "A page", body = Page<GroupOut>)),
    extensions(("x-errors" = json!(["invalid_page_token"]))),
)]
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

#[utoipa::path(
    post, path = "/v1/groups", tag = "Groups", operation_id = "createGroup",
    summary = "Creates a group",
    request_body(content = GroupIn),
    responses((status = 201, description = "The group", body = GroupOut, headers(("Location" = String, description = "Where it is")))),
    extensions(("x-errors" = json!(["invalid_group_id", "group_exists"]))),
)]
pub(crate) async fn create(
    State(served): State<Served>,
    JsonBody(body): JsonBody<GroupIn>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<GroupOut>), ApiError> {
    let view = served
        .control
        .create_group(parse_group_id(&body.group_id)?)
        .await?;
    let location = [(header::LOCATION, format!("/v1/groups/{}", view.group_id))];
    Ok((StatusCode::CREATED, location, Json(view.into())))
}

#[utoipa::path(
    get, path = "/v1/groups/{groupId}", tag = "Groups", operation_id = "showGroup",
    summary = "A group",
    params(("groupId" = words::GroupIdText, Path, description = "The group")),
    responses((status = 200, description = "The group", body = GroupOut)),
    extensions(("x-errors" = json!(["invalid_group_id", "group_not_found"]))),
)]
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

#[utoipa::path(
    delete, path = "/v1/groups/{groupId}", tag = "Groups", operation_id = "deleteGroup",
    summary = "Deletes a group: it refuses new connections, and leaves the present ones",
    params(("groupId" = words::GroupIdText, Path, description = "The group")),
    responses((status = 204, description = "It is gone")),
    extensions(("x-errors" = json!(["invalid_group_id", "group_not_found", "group_in_use"]))),
)]
pub(crate) async fn delete(
    State(served): State<Served>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    served.control.delete_group(&parse_group_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
