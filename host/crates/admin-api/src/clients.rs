//! `/v1/clients`: who is connected and who was, as far as the broker remembers.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use broker::{Broker, ClientFilter, ClientView};
use domain::{ClientId, CloseReason};
use serde::{Deserialize, Serialize};

use crate::api_error::ApiError;
use crate::extract::{JsonBody, Path, Query};
use crate::groups::parse_group_id;
use crate::page::{Page, PageRequest};
use crate::server::Served;

/// Client ids of one query; as many as a page has at most.
const QUERY_IDS_MAX: usize = 1000;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ListQuery {
    group_id: Option<String>,
    online: Option<bool>,
    limit: Option<usize>,
    page_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct QueryIn {
    client_ids: Vec<String>,
}

/// A client. One that the broker does not know has only the fields of its id.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClientOut {
    client_id: String,
    group_id: Option<String>,
    online: bool,
    channel_id: Option<String>,
    sequence: Option<u64>,
    protocol: Option<&'static str>,
    since: Option<u64>,
    client_ip: Option<String>,
    username: Option<String>,
}

/// The answer of a query, in the order of its ids.
#[derive(Debug, Serialize)]
pub(crate) struct QueryOut {
    items: Vec<ClientOut>,
}

impl From<ClientView> for ClientOut {
    fn from(view: ClientView) -> Self {
        Self {
            client_id: view.client_id.to_string(),
            group_id: view.group_id.map(|id| id.to_string()),
            online: view.online,
            channel_id: Some(view.channel_id.to_string()),
            sequence: Some(view.sequence.0),
            protocol: Some(view.protocol.as_str()),
            since: Some(view.since_ms),
            client_ip: Some(view.client_address.to_string()),
            username: view.username.map(|name| name.to_string()),
        }
    }
}

impl ClientOut {
    fn find(broker: &Broker, id: &ClientId) -> Self {
        broker.client(id).map_or_else(
            || Self {
                client_id: id.to_string(),
                group_id: id.group().map(|id| id.to_string()),
                online: false,
                channel_id: None,
                sequence: None,
                protocol: None,
                since: None,
                client_ip: None,
                username: None,
            },
            Self::from,
        )
    }
}

pub(crate) fn parse_client_id(text: &str) -> Result<ClientId, ApiError> {
    ClientId::parse(text).map_err(|error| ApiError::invalid_client_id(format!("clientId: {error}")))
}

pub(crate) async fn list(
    State(served): State<Served>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<ClientOut>>, ApiError> {
    let request = PageRequest::new(query.limit, query.page_token.as_deref())?;
    let after = request.after.as_deref().map(parse_client_id).transpose()?;
    let group_id = query.group_id.as_deref().map(parse_group_id).transpose()?;
    let filter = ClientFilter {
        group_id,
        online: query.online,
    };
    // It looks at every client: too long for a thread that others wait for.
    let find = move || {
        served
            .broker
            .clients(after.as_ref(), request.limit, &filter)
    };
    let page = tokio::task::spawn_blocking(find)
        .await
        .map_err(|_| ApiError::internal("the list of clients failed"))?;
    let next = page.next.as_ref().map(ClientId::as_str);
    let items = page.items.into_iter().map(ClientOut::from).collect();
    Ok(Json(Page::new(items, next, page.total)))
}

pub(crate) async fn query(
    State(served): State<Served>,
    JsonBody(body): JsonBody<QueryIn>,
) -> Result<Json<QueryOut>, ApiError> {
    if body.client_ids.len() > QUERY_IDS_MAX {
        return Err(ApiError::payload_too_large(format!(
            "clientIds has more than {QUERY_IDS_MAX} ids"
        )));
    }
    let find = |text: &String| Ok(ClientOut::find(&served.broker, &parse_client_id(text)?));
    let items = body
        .client_ids
        .iter()
        .map(find)
        .collect::<Result<_, ApiError>>()?;
    Ok(Json(QueryOut { items }))
}

fn not_found(id: &ClientId, what: &str) -> ApiError {
    ApiError::client_not_found(format!(
        "client {id} is not {what}; see `rulemill client list`"
    ))
}

pub(crate) async fn show(
    State(served): State<Served>,
    Path(id): Path<String>,
) -> Result<Json<ClientOut>, ApiError> {
    let id = parse_client_id(&id)?;
    match served.broker.client(&id) {
        Some(view) => Ok(Json(view.into())),
        None => Err(not_found(&id, "known")),
    }
}

pub(crate) async fn close(
    State(served): State<Served>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id = parse_client_id(&id)?;
    if served.broker.kick(&id, CloseReason::Kicked) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(not_found(&id, "online"))
    }
}
