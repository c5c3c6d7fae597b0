//! `/v1/access-keys`: what MQTT signatures and the compatible actions are checked with.

use access::{AccessKeyId, AccessKeySecret};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::Response;
use pipeline::control::{AccessKeyUse, AccessKeyView, ControlCode};
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
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = AccessKeyRequest)]
pub(crate) struct AccessKeyIn {
    #[schema(value_type = words::AccessKeyIdText)]
    access_key_id: String,
    #[schema(value_type = words::AccessKeyUseWord)]
    r#use: String,
    #[schema(value_type = words::AccessKeySecretText)]
    secret: String,
}

/// An access key, without its secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AccessKey)]
pub(crate) struct AccessKeyOut {
    #[schema(value_type = words::AccessKeyIdText)]
    access_key_id: String,
    #[schema(value_type = words::AccessKeyUseWord)]
    r#use: &'static str,
    #[schema(value_type = words::TimeMs)]
    created_at: u64,
}

impl From<AccessKeyView> for AccessKeyOut {
    fn from(view: AccessKeyView) -> Self {
        Self {
            access_key_id: view.id.to_string(),
            r#use: view.opens.as_str(),
            created_at: view.created_at_ms,
        }
    }
}

fn parse_id(text: &str) -> Result<AccessKeyId, ApiError> {
    AccessKeyId::parse(text)
        .map_err(|error| ApiError::name(ControlCode::InvalidAccessKeyId, "accessKeyId", &error))
}

#[utoipa::path(
    get, path = "/v1/access-keys", tag = "Access", operation_id = "listAccessKeys",
    summary = "Access keys, sorted by id",
    params(PageQuery),
    responses((status = 200, description = "A page", body = Page<AccessKeyOut>)),
    extensions(("x-errors" = json!(["invalid_page_token"]))),
)]
pub(crate) async fn list(
    State(served): State<Served>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<AccessKeyOut>>, ApiError> {
    let request = query.request()?;
    let access = served.control.access();
    let found = access.access_keys(request.after.as_deref(), request.limit + 1);
    Ok(Json(page_of(found, request.limit, |key: &AccessKeyOut| {
        &key.access_key_id
    })))
}

#[utoipa::path(
    get, path = "/v1/access-keys/{accessKeyId}", tag = "Access", operation_id = "showAccessKey",
    summary = "An access key, without its secret",
    params(("accessKeyId" = words::AccessKeyIdText, Path, description = "The access key")),
    responses((status = 200, description = "The access key", body = AccessKeyOut)),
    extensions(("x-errors" = json!(["invalid_access_key_id", "access_key_not_found"]))),
)]
pub(crate) async fn show(
    State(served): State<Served>,
    Path(id): Path<String>,
) -> Result<Json<AccessKeyOut>, ApiError> {
    let id = parse_id(&id)?;
    Ok(Json(served.control.access().access_key(&id)?.into()))
}

#[utoipa::path(
    post, path = "/v1/access-keys", tag = "Access", operation_id = "addAccessKey",
    summary = "Adds an access key",
    request_body(content = AccessKeyIn, description = "At most 16 KiB"),
    responses((status = 201, description = "The access key", body = AccessKeyOut, headers(("Location" = String, description = "Where it is")))),
    extensions(("x-errors" = json!(["invalid_access_key_id", "invalid_use", "invalid_secret", "access_key_exists", "too_many_access_keys"]))),
)]
pub(crate) async fn add(
    State(served): State<Served>,
    SecretBody(body): SecretBody<AccessKeyIn>,
) -> Result<Response, ApiError> {
    let secret = Zeroizing::new(body.secret);
    let id = parse_id(&body.access_key_id)?;
    let opens = AccessKeyUse::parse(&body.r#use).ok_or_else(|| {
        let message = format!(
            "use is {:?}; it must be mqtt, for devices, or api, for the compatible actions",
            body.r#use
        );
        ApiError::of(ControlCode::InvalidUse, message)
    })?;
    let secret = AccessKeySecret::parse(&secret)
        .map_err(|error| ApiError::of(ControlCode::InvalidSecret, format!("secret: {error}")))?;
    let access = served.control.access();
    let view = access.add_access_key(id, opens, secret).await?;
    let location = [(header::LOCATION, format!("/v1/access-keys/{}", view.id))];
    Ok(created(location, AccessKeyOut::from(view)))
}

#[utoipa::path(
    delete, path = "/v1/access-keys/{accessKeyId}", tag = "Access", operation_id = "deleteAccessKey",
    summary = "Deletes an access key",
    params(("accessKeyId" = words::AccessKeyIdText, Path, description = "The access key")),
    responses((status = 204, description = "It is gone")),
    extensions(("x-errors" = json!(["invalid_access_key_id", "access_key_not_found"]))),
)]
pub(crate) async fn delete(
    State(served): State<Served>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id = parse_id(&id)?;
    served.control.access().delete_access_key(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}
