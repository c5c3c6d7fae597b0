//! `/v1/users`: who may connect over MQTT with a name and a password.

use access::UserName;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::Response;
use pipeline::control::{ControlCode, UserView};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::api_error::ApiError;
use crate::extract::{Path, Query};
use crate::openapi::words;
use crate::page::{Page, PageQuery, page_of};
use crate::secret_body::SecretBody;
use crate::server::Served;
use crate::tokens::created;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UserRequest)]
pub(crate) struct UserIn {
    #[schema(value_type = words::UserNameText)]
    name: String,
    #[schema(value_type = words::PasswordText)]
    secret: String,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PasswordRequest)]
pub(crate) struct PasswordIn {
    #[schema(value_type = words::PasswordText)]
    secret: String,
}

/// A user, without the password.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = User)]
pub(crate) struct UserOut {
    #[schema(value_type = words::UserNameText)]
    name: String,
    #[schema(value_type = words::TimeMs)]
    created_at: u64,
    #[schema(value_type = words::TimeMs)]
    updated_at: u64,
}

impl From<UserView> for UserOut {
    fn from(view: UserView) -> Self {
        Self {
            name: view.name.to_string(),
            created_at: view.created_at_ms,
            updated_at: view.updated_at_ms,
        }
    }
}

fn parse_name(text: &str) -> Result<UserName, ApiError> {
    UserName::parse(text)
        .map_err(|error| ApiError::name(ControlCode::InvalidUserName, "name", &error))
}

#[utoipa::path(
    get, path = "/v1/users", tag = "Access", operation_id = "listUsers",
    summary = "Users that may connect with a password, sorted by name",
    params(PageQuery),
    responses((status = 200, description = "A page", body = Page<UserOut>)),
    extensions(("x-errors" = json!(["invalid_page_token"]))),
)]
pub(crate) async fn list(
    State(served): State<Served>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<UserOut>>, ApiError> {
    let request = query.request()?;
    let access = served.control.access();
    let found = access.users(request.after.as_deref(), request.limit + 1);
    Ok(Json(page_of(found, request.limit, |user: &UserOut| {
        &user.name
    })))
}

#[utoipa::path(
    get, path = "/v1/users/{name}", tag = "Access", operation_id = "showUser",
    summary = "A user, without the password",
    params(("name" = words::UserNameText, Path, description = "The user")),
    responses((status = 200, description = "The user", body = UserOut)),
    extensions(("x-errors" = json!(["invalid_user_name", "user_not_found"]))),
)]
pub(crate) async fn show(
    State(served): State<Served>,
    Path(name): Path<String>,
) -> Result<Json<UserOut>, ApiError> {
    let name = parse_name(&name)?;
    Ok(Json(served.control.access().user(&name)?.into()))
}

#[utoipa::path(
    post, path = "/v1/users", tag = "Access", operation_id = "addUser",
    summary = "Adds a user",
    request_body(content = UserIn, description = "At most 16 KiB"),
    responses((status = 201, description = "The user", body = UserOut, headers(("Location" = String, description = "Where it is")))),
    extensions(("x-errors" = json!(["invalid_user_name", "invalid_secret", "user_exists", "too_many_users", "hash_failed"]))),
)]
pub(crate) async fn add(
    State(served): State<Served>,
    SecretBody(body): SecretBody<UserIn>,
) -> Result<Response, ApiError> {
    let password = Zeroizing::new(body.secret);
    let name = parse_name(&body.name)?;
    let view = served.control.access().add_user(name, password).await?;
    let location = [(header::LOCATION, format!("/v1/users/{}", view.name))];
    Ok(created(location, UserOut::from(view)))
}

#[utoipa::path(
    put, path = "/v1/users/{name}", tag = "Access", operation_id = "setPassword",
    summary = "Sets the password of a user",
    params(("name" = words::UserNameText, Path, description = "The user")),
    request_body(content = PasswordIn, description = "At most 16 KiB"),
    responses((status = 200, description = "The user", body = UserOut)),
    extensions(("x-errors" = json!(["invalid_user_name", "invalid_secret", "user_not_found", "hash_failed", "too_many_users"]))),
)]
pub(crate) async fn set_password(
    State(served): State<Served>,
    Path(name): Path<String>,
    SecretBody(body): SecretBody<PasswordIn>,
) -> Result<Json<UserOut>, ApiError> {
    let password = Zeroizing::new(body.secret);
    let name = parse_name(&name)?;
    let access = served.control.access();
    Ok(Json(access.set_password(name, password).await?.into()))
}

#[utoipa::path(
    delete, path = "/v1/users/{name}", tag = "Access", operation_id = "deleteUser",
    summary = "Deletes a user",
    params(("name" = words::UserNameText, Path, description = "The user")),
    responses((status = 204, description = "It is gone")),
    extensions(("x-errors" = json!(["invalid_user_name", "user_not_found"]))),
)]
pub(crate) async fn delete(
    State(served): State<Served>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    let name = parse_name(&name)?;
    served.control.access().delete_user(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}
