//! `/v1/events`: status events and states of rules as they happen, as server-sent events.
//!
//! A reader that is too slow misses events and gets an event `missed` that says how many. What it missed
//! is not sent again: for that there is the topic in RocketMQ.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use domain::{ClientId, GroupId, StatusEvent};
use futures_util::stream;
use pipeline::control::{LiveEvent, LiveEvents};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::api_error::ApiError;
use crate::clients::parse_client_id;
use crate::dead_letters::EventOut;
use crate::extract::Query;
use crate::groups::parse_group_id;
use crate::openapi::words;
use crate::server::Served;

/// How often the states of rules are compared.
const RULES_EVERY: Duration = Duration::from_secs(1);
/// A connection that says nothing for longer may be cut by what is in between.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Only events of this group.
    #[param(value_type = Option<words::GroupIdText>)]
    group_id: Option<String>,
    /// Only events of this client.
    #[param(value_type = Option<words::ClientIdText>)]
    client_id: Option<String>,
    /// Whether states of rules are sent, too; yes by default.
    rules: Option<bool>,
}

/// Data of an event `rule`: the state that a rule has now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RuleStateEvent)]
pub(crate) struct RuleStateOut {
    rule_id: String,
    /// A health of a rule, or `deleted`.
    health: &'static str,
    reason: Option<String>,
}

/// Data of an event `missed`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = MissedEvents)]
pub(crate) struct MissedOut {
    missed: u64,
}

#[utoipa::path(
    get, path = "/v1/events", tag = "Host", operation_id = "streamEvents",
    summary = "Status events and states of rules as they happen",
    params(EventsQuery),
    responses((status = 200, description = "Server-sent events that do not end: `status` with a `StatusEvent`, `rule` with a `RuleStateEvent`, `missed` with `MissedEvents` if the reader was too slow", body = String, content_type = "text/event-stream")),
    extensions(("x-errors" = json!(["invalid_group_id", "invalid_client_id", "too_many_readers"]))),
)]
pub(crate) async fn events(
    State(served): State<Served>,
    Query(query): Query<EventsQuery>,
) -> Result<Response, ApiError> {
    let group_id = query.group_id.as_deref().map(parse_group_id).transpose()?;
    let client_id = query
        .client_id
        .as_deref()
        .map(parse_client_id)
        .transpose()?;
    let live = served.control.live_events()?;
    let mut tick = tokio::time::interval_at(Instant::now(), RULES_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let reader = Reader {
        served,
        live,
        group_id,
        client_id,
        rules: query.rules.unwrap_or(true).then(BTreeMap::new),
        tick,
        ready: VecDeque::new(),
    };
    let events = stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    let events = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok(events.into_response())
}

struct Reader {
    served: Served,
    live: LiveEvents,
    group_id: Option<GroupId>,
    client_id: Option<ClientId>,
    /// The states that were sent last; `None`: they are not wanted.
    rules: Option<BTreeMap<String, RuleStateOut>>,
    tick: Interval,
    ready: VecDeque<Event>,
}

impl Reader {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let is_wanting_rules = self.rules.is_some();
            tokio::select! {
                () = self.served.shutdown.cancelled() => return None,
                _ = self.tick.tick(), if is_wanting_rules => self.compare_rules(),
                event = self.live.next() => match event? {
                    LiveEvent::Status(event) => {
                        if let Some(event) = self.shown(&event) {
                            return Some(event);
                        }
                    }
                    LiveEvent::Missed(missed) => return Some(sent("missed", &MissedOut { missed })),
                },
            }
        }
    }

    fn shown(&self, event: &StatusEvent) -> Option<Event> {
        let channel = &event.channel;
        let is_wanted = (self.group_id.is_none() || self.group_id == channel.group_id)
            && self
                .client_id
                .as_ref()
                .is_none_or(|id| *id == channel.client_id);
        is_wanted.then(|| {
            let out = EventOut::of(event, &self.served.node, &self.served.instance);
            sent("status", &out).id(event.event_id.to_string())
        })
    }

    fn compare_rules(&mut self) {
        let Some(before) = &mut self.rules else {
            return;
        };
        let mut now = BTreeMap::new();
        for view in self.served.control.rules() {
            let state = RuleStateOut {
                rule_id: view.rule.rule_id().to_string(),
                health: view.state.health.as_str(),
                reason: view.state.reason,
            };
            if before.get(&state.rule_id) != Some(&state) {
                self.ready.push_back(sent("rule", &state));
            }
            now.insert(state.rule_id.clone(), state);
        }
        for gone in before.keys().filter(|id| !now.contains_key(*id)) {
            let state = RuleStateOut {
                rule_id: gone.clone(),
                health: "deleted",
                reason: None,
            };
            self.ready.push_back(sent("rule", &state));
        }
        *before = now;
    }
}

fn sent(name: &str, data: &impl Serialize) -> Event {
    // Text and numbers have a JSON form.
    let data = serde_json::to_string(data).unwrap_or_default();
    Event::default().event(name).data(data)
}
