//! Reads topics without belonging to a consumer group: nothing is committed, nobody is disturbed.
//!
//! Pulls go out as `TOOLS_CONSUMER`, the group that every broker has for its own tools, so that reading
//! makes no group on the broker.

use std::sync::Arc;

use bytes::Bytes;
use domain::{OutboundMessage, QueueName, ReadTopicError, TopicMessage, TopicName};
use futures_util::{StreamExt, TryStreamExt, stream};
use rocketmq_model::common::message::STRING_HASH_SET;
use rocketmq_model::common::sys_flag::message_sys_flag::MessageSysFlag;
use rocketmq_protocol::protocol::body::message_codec::{DecodedMessageFrame, decode_message_frame};
use rocketmq_protocol::protocol::remoting_command::RemotingCommand;

use crate::compatibility::code;
use crate::config::RocketmqConfig;
use crate::remoting::{CallError, RemotingClient, Request};
use crate::route::Route;
use crate::route_cache::RouteCache;

const GROUP: &str = "TOOLS_CONSUMER";
/// The request brings its own subscription; bits for committing and waiting stay clear.
const PULL_WITH_SUBSCRIPTION: &str = "4";
/// How many queues are asked for their offsets at a time.
const OFFSET_REQUESTS_MAX: usize = 8;
/// Reserved names that the host itself sets and that a reader wants to see.
const HOST_PROPERTIES: [&str; 5] = ["eventId", "sequence", "groupId", "part", "synthetic"];
/// Names that brokers add and neither list has.
const BROKER_PROPERTIES: [&str; 3] = ["CLUSTER", "MSG_REGION", "TRACE_ON"];

/// Reads topics of one instance.
pub(crate) struct Reader {
    config: Arc<RocketmqConfig>,
    remoting: Arc<RemotingClient>,
    routes: Arc<RouteCache>,
}

impl Reader {
    pub(crate) fn new(
        config: Arc<RocketmqConfig>,
        remoting: Arc<RemotingClient>,
        routes: Arc<RouteCache>,
    ) -> Self {
        Self {
            config,
            remoting,
            routes,
        }
    }

    pub(crate) async fn offsets(
        &self,
        topic: &TopicName,
    ) -> Result<Vec<(QueueName, u64, u64)>, ReadTopicError> {
        let route = self.routes.route(topic).await?;
        let requests: Vec<_> = route
            .readable
            .iter()
            .map(|queue| self.queue_offsets(topic, &route, queue))
            .collect();
        // `buffered` keeps the order of the queues.
        stream::iter(requests)
            .buffered(OFFSET_REQUESTS_MAX)
            .try_collect()
            .await
    }

    async fn queue_offsets(
        &self,
        topic: &TopicName,
        route: &Route,
        queue: &QueueName,
    ) -> Result<(QueueName, u64, u64), ReadTopicError> {
        let fields = [
            ("topic", self.config.wire_topic(topic)),
            ("queueId", queue.queue.to_string()),
        ];
        let address = address(route, queue)?;
        let mut offsets = [0; 2];
        for (offset, code) in offsets
            .iter_mut()
            .zip([code::GET_MIN_OFFSET, code::GET_MAX_OFFSET])
        {
            let response = self
                .remoting
                .call(
                    address,
                    Request {
                        code,
                        fields: &fields,
                    },
                    &[],
                )
                .await
                .map_err(|error| call_error(topic, queue, &error))?;
            *offset = offset_field(&response, "offset")
                .ok_or_else(|| broken(queue, "it has no offset"))?;
        }
        let [lowest, next] = offsets;
        Ok((queue.clone(), lowest, next))
    }

    pub(crate) async fn read(
        &self,
        topic: &TopicName,
        queue: &QueueName,
        offset: u64,
        count_max: u32,
    ) -> Result<(Vec<TopicMessage>, u64), ReadTopicError> {
        const NOTHING: [i32; 3] = [
            code::PULL_NOT_FOUND,
            code::PULL_RETRY_IMMEDIATELY,
            code::PULL_OFFSET_MOVED,
        ];
        let route = self.routes.route(topic).await?;
        let fields = [
            ("consumerGroup", self.config.with_namespace(GROUP)),
            ("topic", self.config.wire_topic(topic)),
            ("queueId", queue.queue.to_string()),
            ("queueOffset", offset.to_string()),
            ("maxMsgNums", count_max.max(1).to_string()),
            ("sysFlag", PULL_WITH_SUBSCRIPTION.to_owned()),
            ("commitOffset", "0".to_owned()),
            ("suspendTimeoutMillis", "0".to_owned()),
            ("subscription", "*".to_owned()),
            ("subVersion", "0".to_owned()),
            ("expressionType", "TAG".to_owned()),
        ];
        let request = Request {
            code: code::PULL_MESSAGE,
            fields: &fields,
        };
        let mut response = self
            .remoting
            .call(address(&route, queue)?, request, &NOTHING)
            .await
            .map_err(|error| call_error(topic, queue, &error))?;
        let next = offset_field(&response, "nextBeginOffset").unwrap_or(offset);
        if response.code() != code::SUCCESS {
            // The offset may have moved: what it names is deleted, or not written yet.
            return Ok((Vec::new(), next));
        }
        let messages = decode_all(queue, response.take_body().unwrap_or_default())?;
        Ok((messages, next))
    }
}

fn address<'a>(route: &'a Route, queue: &QueueName) -> Result<&'a str, ReadTopicError> {
    route
        .address(&queue.broker)
        .ok_or_else(|| broken(queue, "it is not in the topic's route"))
}

fn call_error(topic: &TopicName, queue: &QueueName, error: &CallError) -> ReadTopicError {
    error
        .topic_refusal(topic)
        .map_or_else(|| broken(queue, &error.to_string()), ReadTopicError::from)
}

fn broken(queue: &QueueName, detail: &str) -> ReadTopicError {
    ReadTopicError::Broker {
        broker: queue.broker.to_string(),
        detail: detail.to_owned(),
    }
}

fn offset_field(response: &RemotingCommand, name: &str) -> Option<u64> {
    let fields = response.ext_fields()?;
    let (_, value) = fields.iter().find(|(key, _)| key.as_str() == name)?;
    value.as_str().parse().ok()
}

fn decode_all(queue: &QueueName, mut body: Bytes) -> Result<Vec<TopicMessage>, ReadTopicError> {
    let mut messages = Vec::new();
    while !body.is_empty() {
        let frame = decode_message_frame(&mut body)
            .map_err(|error| broken(queue, &domain::ErrorChain(&error).to_string()))?;
        messages.push(decode(queue, frame)?);
    }
    Ok(messages)
}

#[expect(clippy::needless_pass_by_value, reason = "a frame is read once")]
fn decode(queue: &QueueName, frame: DecodedMessageFrame) -> Result<TopicMessage, ReadTopicError> {
    let mut message = TopicMessage {
        queue: queue.clone(),
        queue_offset: u64::try_from(frame.queue_offset)
            .map_err(|_| broken(queue, "negative offset"))?,
        tag: None,
        keys: Vec::new(),
        properties: Vec::new(),
        body: Vec::new(),
    };
    // The library's own map leaves out properties with an empty value.
    for property in frame.properties_string.as_str().split('\u{2}') {
        match property.split_once('\u{1}') {
            Some(("TAGS", tag)) => message.tag = Some(tag.to_owned()),
            Some(("KEYS", keys)) => {
                message.keys = keys
                    .split(' ')
                    .filter(|key| !key.is_empty())
                    .map(str::to_owned)
                    .collect();
            }
            Some((name, value)) if is_user_property(name) => {
                message.properties.push((name.to_owned(), value.to_owned()));
            }
            Some(_) | None => {}
        }
    }
    message.properties.sort();
    message.body = if frame.sys_flag & MessageSysFlag::COMPRESSED_FLAG == 0 {
        frame.body.to_vec()
    } else {
        MessageSysFlag::try_get_compression_type(frame.sys_flag)
            .and_then(|compression| compression.try_decompression(&frame.body))
            .map_err(|error| broken(queue, &domain::ErrorChain(&error).to_string()))?
            .to_vec()
    };
    Ok(message)
}

fn is_user_property(name: &str) -> bool {
    HOST_PROPERTIES.contains(&name)
        || !(OutboundMessage::RESERVED_PROPERTIES.contains(&name)
            || STRING_HASH_SET.contains(name)
            || BROKER_PROPERTIES.contains(&name))
}

#[cfg(test)]
mod tests;
