//! The body of an upload.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::header;
use pipeline::control::ControlCode;
use tokio::sync::OwnedSemaphorePermit;

use crate::api_error::ApiError;
use crate::extract::read_body;
use crate::server::Served;

const CONTENT_TYPE: &str = "application/wasm";
/// What clients send that know the bytes only.
const BYTES: &str = "application/octet-stream";

/// Reads a component, one upload at a time: each holds its bytes in memory until it is compiled. The
/// permit is the caller's until then.
pub(crate) async fn read_component(
    served: &Served,
    request: Request,
) -> Result<(Vec<u8>, OwnedSemaphorePermit), ApiError> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    if content_type
        .is_none_or(|value| ![CONTENT_TYPE, BYTES].contains(&value.to_str().unwrap_or_default()))
    {
        return Err(ApiError::unsupported_media_type(format!(
            "the body must be a component, sent with Content-Type: {CONTENT_TYPE}"
        )));
    }
    let permit = Arc::clone(&served.uploads)
        .acquire_owned()
        .await
        .map_err(|_| ApiError::internal("the host is shutting down"))?;
    let bytes_max = served.component_bytes_max;
    let too_large = || {
        ApiError::of(
            ControlCode::ComponentTooLarge,
            format!(
                "the component has more than {bytes_max} bytes, the limit plugins.component-max; build it with optimisation and stripped, or raise the limit"
            ),
        )
    };
    Ok((read_body(request, bytes_max, too_large).await?, permit))
}
