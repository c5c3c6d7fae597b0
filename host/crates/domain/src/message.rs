//! What goes to RocketMQ, and the verdict of a mapping.

/// A message on the way to RocketMQ. Its topic is the rule's destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundMessage {
    /// RocketMQ's TAGS.
    pub tag: Option<String>,
    /// RocketMQ's KEYS; none may hold a blank, since RocketMQ joins them with one.
    pub keys: Vec<String>,
    /// User properties.
    pub properties: Vec<(String, String)>,
    /// The payload; not empty.
    pub body: Vec<u8>,
}

/// A plugin's verdict on one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// Send these, in this order; none means: skip the event.
    Deliver(Vec<OutboundMessage>),
    /// The plugin said no.
    Reject(RejectEvent),
}

/// How a plugin said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RejectEvent {
    /// For good, with its reason.
    Rejected(String),
    /// For now, with its reason: the client waits.
    Retry(String),
}

/// What RocketMQ would refuse in a message; checked before it is sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckMessageError {
    /// RocketMQ refuses an empty body.
    #[error("the body is empty; RocketMQ wants at least one byte")]
    EmptyBody,
    /// The body is larger than RocketMQ's 4 MiB less a margin.
    #[error("the body has {bytes} bytes; the limit is {bytes_max}")]
    BodyTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// All properties together, as RocketMQ encodes them, are too large.
    #[error("tag, keys and properties take {bytes} bytes; the limit is {bytes_max}")]
    PropertiesTooLarge {
        /// Their size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// U+0001 and U+0002 separate properties in RocketMQ's format.
    #[error("{what} has U+0001 or U+0002, which RocketMQ uses as separators")]
    Separator {
        /// Which part.
        what: String,
    },
    /// A key with a blank would be read as two keys.
    #[error("key {key:?} is empty or has a blank, at which RocketMQ splits keys")]
    BlankInKey {
        /// The key.
        key: String,
    },
    /// A property that RocketMQ or the host sets itself.
    #[error("property {name:?} is reserved: RocketMQ or the host sets it")]
    ReservedProperty {
        /// Its name.
        name: String,
    },
    /// A property without a name.
    #[error("a property has an empty name")]
    EmptyPropertyName,
}

impl OutboundMessage {
    /// RocketMQ's default limit is 4 MiB for the stored record; a margin is kept for the rest.
    pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024 - 64 * 1024;
    /// RocketMQ stores their length in 15 bits; a margin is kept for what client and host add.
    pub const PROPERTIES_BYTES_MAX: usize = 30_000;
    /// Names that a plugin may not set: the client's and the host's own (RocketMQ 4.x, `MessageConst`).
    pub const RESERVED_PROPERTIES: &'static [&'static str] = &[
        "KEYS",
        "TAGS",
        "WAIT",
        "DELAY",
        "RETRY_TOPIC",
        "REAL_TOPIC",
        "REAL_QID",
        "TRAN_MSG",
        "PGROUP",
        "MIN_OFFSET",
        "MAX_OFFSET",
        "BUYER_ID",
        "ORIGIN_MESSAGE_ID",
        "TRANSFER_FLAG",
        "CORRECTION_FLAG",
        "MQ2_FLAG",
        "RECONSUME_TIME",
        "MSG_REGION",
        "TRACE_ON",
        "UNIQ_KEY",
        "MAX_RECONSUME_TIMES",
        "CONSUME_START_TIME",
        "TRAN_PREPARED_QUEUE_OFFSET",
        "TRANSACTION_CHECK_TIMES",
        "CHECK_IMMUNITY_TIME_IN_SECONDS",
        "INSTANCE_ID",
        "__SHARDINGKEY",
        "CORRELATION_ID",
        "REPLY_TO_CLIENT",
        "TTL",
        "ARRIVE_TIME",
        "PUSH_REPLY_TIME",
        "CLUSTER",
        "MSG_TYPE",
        "INNER_MULTI_QUEUE_OFFSET",
        "INNER_MULTI_DISPATCH",
        "INNER_BASE",
        "_INNER_NUM",
        "TIMER_DELAY_SEC",
        "eventId",
        "sequence",
        "groupId",
        "part",
        "synthetic",
        "replayed",
    ];

    /// Checks everything that RocketMQ would refuse, so that a refused send is always a surprise.
    ///
    /// # Errors
    ///
    /// Says what RocketMQ would refuse.
    pub fn check(&self) -> Result<(), CheckMessageError> {
        if self.body.is_empty() {
            return Err(CheckMessageError::EmptyBody);
        }
        if self.body.len() > Self::BODY_BYTES_MAX {
            return Err(CheckMessageError::BodyTooLarge {
                bytes: self.body.len(),
                bytes_max: Self::BODY_BYTES_MAX,
            });
        }
        let has_separator = |text: &str| text.bytes().any(|byte| matches!(byte, 1 | 2));
        if let Some(tag) = &self.tag
            && has_separator(tag)
        {
            return Err(CheckMessageError::Separator {
                what: "the tag".to_owned(),
            });
        }
        for key in &self.keys {
            // Nearly all are plain ASCII, and bytes are quicker to look at than characters.
            if !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic()) {
                continue;
            }
            if has_separator(key) {
                return Err(CheckMessageError::Separator {
                    what: format!("key {key:?}"),
                });
            }
            if key.is_empty() || key.contains(char::is_whitespace) {
                return Err(CheckMessageError::BlankInKey { key: key.clone() });
            }
        }
        for (name, value) in &self.properties {
            if name.is_empty() {
                return Err(CheckMessageError::EmptyPropertyName);
            }
            if Self::RESERVED_PROPERTIES.contains(&name.as_str()) {
                return Err(CheckMessageError::ReservedProperty { name: name.clone() });
            }
            if has_separator(name) || has_separator(value) {
                return Err(CheckMessageError::Separator {
                    what: format!("property {name:?}"),
                });
            }
        }
        let bytes = self.tag.as_ref().map_or(0, String::len)
            + self.keys.iter().map(|key| key.len() + 1).sum::<usize>()
            + self
                .properties
                .iter()
                .map(|(name, value)| name.len() + value.len() + 2)
                .sum::<usize>();
        if bytes > Self::PROPERTIES_BYTES_MAX {
            return Err(CheckMessageError::PropertiesTooLarge {
                bytes,
                bytes_max: Self::PROPERTIES_BYTES_MAX,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
