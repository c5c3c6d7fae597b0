//! Stands between the client library and the wire: completes the routes of RocketMQ 4.x, which the
//! library refuses otherwise, tells refusals apart, and signs requests.
//!
//! No 4.x name server sends `enableActingMaster`, and those before 4.9.0 call `topicSysFlag`
//! `topicSynFlag`; the library requires both. The library also hides what a broker said, so the last
//! refusal is kept here.

use std::fmt;
use std::net::SocketAddr;

use parking_lot::Mutex;
use rocketmq_client_rust::{AclClientRPCHook, SessionCredentials};
use rocketmq_error::SharedError;
use rocketmq_protocol::protocol::remoting_command::RemotingCommand;
use rocketmq_transport::api::RPCHook;
use serde_json::{Map, Value, json};

use crate::config::Credentials;
use crate::lenient_json;

/// Codes of RocketMQ's remoting protocol.
pub(crate) mod code {
    pub(crate) const SUCCESS: i32 = 0;
    pub(crate) const SYSTEM_ERROR: i32 = 1;
    pub(crate) const SYSTEM_BUSY: i32 = 2;
    pub(crate) const MESSAGE_ILLEGAL: i32 = 13;
    pub(crate) const SERVICE_NOT_AVAILABLE: i32 = 14;
    pub(crate) const NO_PERMISSION: i32 = 16;
    pub(crate) const TOPIC_NOT_EXIST: i32 = 17;
    pub(crate) const PULL_NOT_FOUND: i32 = 19;
    pub(crate) const PULL_RETRY_IMMEDIATELY: i32 = 20;
    pub(crate) const PULL_OFFSET_MOVED: i32 = 21;

    pub(crate) const SEND_MESSAGE: i32 = 10;
    pub(crate) const PULL_MESSAGE: i32 = 11;
    pub(crate) const UPDATE_AND_CREATE_TOPIC: i32 = 17;
    pub(crate) const GET_MAX_OFFSET: i32 = 30;
    pub(crate) const GET_MIN_OFFSET: i32 = 31;
    pub(crate) const GET_ROUTE_BY_TOPIC: i32 = 105;
    pub(crate) const GET_CLUSTER: i32 = 106;
    pub(crate) const GET_ALL_TOPICS: i32 = 206;
}

/// Flush and replication timeouts, with which a message is stored all the same.
const STORED_CODES: std::ops::RangeInclusive<i32> = 10..=12;

/// What a server said when it refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: i32,
    pub(crate) remark: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "code {}: {}", self.code, self.remark)
    }
}

impl Refusal {
    /// Reads a response that is not a success; the code is one that says what is meant.
    pub(crate) fn of(response: &RemotingCommand) -> Self {
        let remark = response.remark().map_or("", |remark| remark.as_str());
        Self {
            code: meant_code(response.code(), remark),
            remark: first_line(remark),
        }
    }
}

/// One per instance, shared by its producers and its own requests.
pub(crate) struct CompatibilityHook {
    signer: Option<AclClientRPCHook>,
    last_refusal: Mutex<Option<Refusal>>,
}

impl fmt::Debug for CompatibilityHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompatibilityHook")
            .field("signs", &self.signer.is_some())
            .finish_non_exhaustive()
    }
}

impl CompatibilityHook {
    pub(crate) fn new(credentials: Option<&Credentials>) -> Self {
        let signer = credentials.map(|keys| {
            let (access, secret) = (keys.access_key.as_str(), keys.secret_key.as_str());
            AclClientRPCHook::new(match &keys.security_token {
                Some(token) => SessionCredentials::with_token(access, secret, token.as_str()),
                None => SessionCredentials::with_keys(access, secret),
            })
        });
        Self {
            signer,
            last_refusal: Mutex::new(None),
        }
    }

    /// Signs `request` if there are credentials.
    pub(crate) fn sign(
        &self,
        to: SocketAddr,
        request: &mut RemotingCommand,
    ) -> Result<(), SharedError> {
        match &self.signer {
            Some(signer) => signer.do_before_request(to, request),
            None => Ok(()),
        }
    }

    /// What a server said last with `code`. With several sends at a time it may be another's answer;
    /// it only goes into messages for people.
    pub(crate) fn last_remark(&self, code: i32) -> Option<String> {
        let refusal = self.last_refusal.lock();
        refusal
            .as_ref()
            .filter(|refusal| refusal.code == code)
            .map(|refusal| refusal.remark.clone())
    }
}

impl RPCHook for CompatibilityHook {
    fn do_before_request(
        &self,
        to: SocketAddr,
        request: &mut RemotingCommand,
    ) -> Result<(), SharedError> {
        self.sign(to, request)
    }

    fn do_after_response(
        &self,
        _from: SocketAddr,
        request: &RemotingCommand,
        response: &mut RemotingCommand,
    ) -> Result<(), SharedError> {
        match response.code() {
            code::SUCCESS if request.code() == code::GET_ROUTE_BY_TOPIC => {
                let completed = response.body().and_then(|body| complete_route(body));
                if let Some(body) = completed {
                    response.set_body_mut_ref(body);
                }
            }
            code::SUCCESS => {}
            stored if STORED_CODES.contains(&stored) => {}
            _ => {
                let refusal = Refusal::of(response);
                response.set_code_ref(refusal.code);
                *self.last_refusal.lock() = Some(refusal);
            }
        }
        Ok(())
    }
}

/// RocketMQ 4.x says "system error" for refusals of its access control and for queues that it does not
/// have; this turns both into their own codes.
fn meant_code(code: i32, remark: &str) -> i32 {
    const ACCESS_WORDS: [&str; 4] = ["aclexception", "rocketmq.acl", "accesskey", "no permission"];
    if code != code::SYSTEM_ERROR {
        return code;
    }
    let remark = remark.to_ascii_lowercase();
    if ACCESS_WORDS.iter().any(|word| remark.contains(word)) {
        code::NO_PERMISSION
    } else if remark.contains("queueid") && remark.contains("illegal") {
        code::TOPIC_NOT_EXIST
    } else {
        code
    }
}

/// The servers append where in their source it happened, and help texts in further lines.
fn first_line(remark: &str) -> String {
    const CHARS_MAX: usize = 300;
    let line = remark.lines().next().unwrap_or_default();
    let message = match line.rsplit_once(", ") {
        Some((message, place)) if place.ends_with(')') && place.contains(".java:") => message,
        Some(_) | None => line,
    };
    message.chars().take(CHARS_MAX).collect()
}

/// None if nothing is missing, or if this is no route.
fn complete_route(body: &[u8]) -> Option<Vec<u8>> {
    let mut route = lenient_json::parse(body).ok()?;
    let fields = route.as_object_mut()?;
    insert_missing(fields, "filterServerTable", || json!({}));
    for broker in objects(fields, "brokerDatas")? {
        insert_missing(broker, "enableActingMaster", || json!(false));
    }
    for queue in objects(fields, "queueDatas")? {
        let old_name = queue.remove("topicSynFlag");
        insert_missing(queue, "topicSysFlag", || {
            old_name.unwrap_or_else(|| json!(0))
        });
    }
    let completed = route.to_string().into_bytes();
    (completed != body).then_some(completed)
}

fn objects<'a>(
    fields: &'a mut Map<String, Value>,
    name: &str,
) -> Option<impl Iterator<Item = &'a mut Map<String, Value>>> {
    let items = fields.get_mut(name)?.as_array_mut()?;
    Some(items.iter_mut().filter_map(Value::as_object_mut))
}

fn insert_missing(fields: &mut Map<String, Value>, name: &str, value: impl FnOnce() -> Value) {
    if !fields.contains_key(name) {
        fields.insert(name.to_owned(), value());
    }
}

#[cfg(test)]
mod tests;
