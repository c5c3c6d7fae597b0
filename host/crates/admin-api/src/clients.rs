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
use crate::openapi::words;
use crate::page::{Page, PageRequest};
use crate::server::Served;

/// Client ids of one query; as many as a page has at most.
const QUERY_IDS_MAX: usize = 1000;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only clients of this group.
    #[param(value_type = Option<words::GroupIdText>)]
    group_id: Option<String>,
    /// Only those that are, or are not, connected.
    online: Option<bool>,
    /// Items of the page, at most; 100 by default.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `nextPageToken` of the page before; none: the first page.
    page_token: Option<String>,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = ClientQuery)]
pub(crate) struct QueryIn {
    /// At most 1,000.
    #[schema(value_type = Vec<words::ClientIdText>, max_items = 1000)]
    client_ids: Vec<String>,
}

/// A client. One that the broker does not know has only the fields of its id.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Client)]
pub(crate) struct ClientOut {
    #[schema(value_type = words::ClientIdText)]
    client_id: String,
    #[schema(value_type = Option<words::GroupIdText>)]
    group_id: Option<String>,
    /// Whether it is connected.
    online: bool,
    /// Names its present, or last, connection: 32 hex characters.
    channel_id: Option<String>,
    /// Of its last event.
    sequence: Option<u64>,
    #[schema(value_type = Option<words::ProtocolWord>)]
    protocol: Option<&'static str>,
    /// When it came online, or went.
    #[schema(value_type = Option<words::TimeMs>)]
    since: Option<u64>,
    /// `address:port`.
    client_ip: Option<String>,
    username: Option<String>,
}

/// The answer of a query, in the order of its ids.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ClientAnswers)]
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

#[utoipa::path(
    get, path = "/v1/clients", tag = "Clients", operation_id = "listClients",
    summary = "Clients that are connected, and those that were as far as the host remembers, sorted by id",
    params(ListQuery),
    responses((status = 200, description = "A page", body = Page<ClientOut>)),
    extensions(("x-errors" = json!(["invalid_group_id", "invalid_client_id", "invalid_page_token"]))),
)]
pub(crate) async fn list(
    State(served): State<Served>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<ClientOut>>, ApiError> {
    let request = PageRequest::new(query.limit, query.page_token.as_deref())?;
    let not_given = |_| {
        ApiError::invalid_page_token("pageToken is not one that this list gave; start without it")
    };
    let after = request.after.as_deref().map(parse_client_id).transpose();
    let after = after.map_err(not_given)?;
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

#[utoipa::path(
    post, path = "/v1/clients:query", tag = "Clients", operation_id = "queryClients",
    summary = "Clients by id, also those that the host does not know",
    request_body(content = QueryIn),
    responses((status = 200, description = "In the order of the ids", body = QueryOut)),
    extensions(("x-errors" = json!(["invalid_client_id", "invalid_selection"]))),
)]
pub(crate) async fn query(
    State(served): State<Served>,
    JsonBody(body): JsonBody<QueryIn>,
) -> Result<Json<QueryOut>, ApiError> {
    if body.client_ids.len() > QUERY_IDS_MAX {
        return Err(ApiError::invalid_selection(format!(
            "clientIds has {} ids; it may have {QUERY_IDS_MAX} at most, so ask in several requests",
            body.client_ids.len()
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

#[utoipa::path(
    get, path = "/v1/clients/{clientId}", tag = "Clients", operation_id = "showClient",
    summary = "A client that the host knows",
    params(("clientId" = words::ClientIdText, Path, description = "The client")),
    responses((status = 200, description = "The client", body = ClientOut)),
    extensions(("x-errors" = json!(["invalid_client_id", "client_not_found"]))),
)]
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

#[utoipa::path(
    delete, path = "/v1/clients/{clientId}", tag = "Clients", operation_id = "closeClient",
    summary = "Closes a client's connection; its events say `kicked`",
    params(("clientId" = words::ClientIdText, Path, description = "The client")),
    responses((status = 204, description = "It is closed")),
    extensions(("x-errors" = json!(["invalid_client_id", "client_not_found"]))),
)]
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
