//! `/v1/tokens`.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pipeline::control::{ControlCode, NewToken, Role, TokenView};
use serde::{Deserialize, Serialize};

use crate::api_error::ApiError;
use crate::extract::{By, JsonBody, Path, Query};
use crate::openapi::words;
use crate::page::{Page, PageQuery, page_of};
use crate::server::Served;
use crate::token::{TokenHash, random_text};

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = TokenRequest)]
pub(crate) struct TokenIn {
    #[schema(value_type = words::TokenNameText)]
    name: String,
    #[schema(value_type = words::RoleWord)]
    role: String,
    /// When it stops opening anything; never if it is left out.
    #[schema(value_type = Option<words::TimeMs>)]
    expires_at: Option<u64>,
}

/// A token, without what it opens with.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Token)]
pub(crate) struct TokenOut {
    #[schema(value_type = words::TokenNameText)]
    name: String,
    #[schema(value_type = words::RoleWord)]
    role: &'static str,
    created_by: String,
    #[schema(value_type = words::TimeMs)]
    created_at: u64,
    #[schema(value_type = Option<words::TimeMs>)]
    expires_at: Option<u64>,
    #[schema(value_type = Option<words::TimeMs>)]
    last_used_at: Option<u64>,
}

/// The answer to who makes one: the only time that the token itself is shown.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = NewToken)]
pub(crate) struct NewTokenOut {
    /// What it opens with; kept by nobody but you.
    token: String,
    #[serde(flatten)]
    about: TokenOut,
}

impl From<TokenView> for TokenOut {
    fn from(view: TokenView) -> Self {
        Self {
            name: view.name,
            role: view.role.as_str(),
            created_by: view.created_by.to_string(),
            created_at: view.created_at_ms,
            expires_at: view.expires_at_ms,
            last_used_at: view.last_used_at_ms,
        }
    }
}

#[utoipa::path(
    get, path = "/v1/tokens", tag = "Access", operation_id = "listTokens",
    summary = "Tokens, sorted by name",
    params(PageQuery),
    responses((status = 200, description = "A page", body = Page<TokenOut>)),
    extensions(("x-errors" = json!(["invalid_page_token"]))),
)]
pub(crate) async fn list(
    State(served): State<Served>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<TokenOut>>, ApiError> {
    let request = query.request()?;
    let access = served.control.access();
    let found = access.tokens(request.after.as_deref(), request.limit + 1);
    Ok(Json(page_of(found, request.limit, |token: &TokenOut| {
        &token.name
    })))
}

#[utoipa::path(
    get, path = "/v1/tokens/{name}", tag = "Access", operation_id = "showToken",
    summary = "A token, without what it opens with",
    params(("name" = words::TokenNameText, Path, description = "The token's name")),
    responses((status = 200, description = "The token", body = TokenOut)),
    extensions(("x-errors" = json!(["token_not_found"]))),
)]
pub(crate) async fn show(
    State(served): State<Served>,
    Path(name): Path<String>,
) -> Result<Json<TokenOut>, ApiError> {
    Ok(Json(served.control.access().token(&name)?.into()))
}

#[utoipa::path(
    post, path = "/v1/tokens", tag = "Access", operation_id = "createToken",
    summary = "Makes a token",
    request_body(content = TokenIn),
    responses((status = 201, description = "The token; what it opens with is shown this once", body = NewTokenOut, headers(("Location" = String, description = "Where it is")))),
    extensions(("x-errors" = json!(["invalid_token_name", "invalid_role", "invalid_expiry", "token_exists", "too_many_tokens"]))),
)]
pub(crate) async fn create(
    State(served): State<Served>,
    By(by): By,
    JsonBody(body): JsonBody<TokenIn>,
) -> Result<Response, ApiError> {
    let role = Role::parse(&body.role).ok_or_else(|| {
        let names = Role::ALL.map(Role::as_str).join(", ");
        ApiError::of(
            ControlCode::InvalidRole,
            format!("role is {:?}; it must be one of {names}", body.role),
        )
    })?;
    let token = random_text("rmt_").map_err(|error| {
        ApiError::internal(format!("the machine gives no random numbers: {error}"))
    })?;
    let new = NewToken {
        name: body.name,
        role,
        expires_at_ms: body.expires_at,
        hash: TokenHash::of(&token).into(),
    };
    let view = served.control.access().create_token(new, &by).await?;
    let headers = [
        (header::LOCATION, format!("/v1/tokens/{}", view.name)),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    let about = view.into();
    Ok(created(headers, NewTokenOut { token, about }))
}

pub(crate) fn created<const N: usize>(
    headers: [(HeaderName, String); N],
    body: impl Serialize,
) -> Response {
    (StatusCode::CREATED, headers, Json(body)).into_response()
}

#[utoipa::path(
    delete, path = "/v1/tokens/{name}", tag = "Access", operation_id = "revokeToken",
    summary = "Revokes a token, at once",
    params(("name" = words::TokenNameText, Path, description = "The token's name")),
    responses((status = 204, description = "It is gone")),
    extensions(("x-errors" = json!(["token_not_found"]))),
)]
pub(crate) async fn revoke(
    State(served): State<Served>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    served.control.access().revoke_token(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}
