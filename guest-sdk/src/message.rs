//! Building a message piece by piece.

use crate::Message;

impl Message {
    /// A message with this payload and nothing else.
    #[must_use]
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        Self {
            tag: None,
            keys: Vec::new(),
            properties: Vec::new(),
            body: body.into(),
            attributes: Vec::new(),
        }
    }

    /// Sets RocketMQ's tag.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// Sets RocketMQ's keys; none may hold a blank.
    #[must_use]
    pub fn keys<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.keys = keys.into_iter().map(Into::into).collect();
        self
    }

    /// Adds a user property.
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.push((name.into(), value.into()));
        self
    }
}

#[cfg(test)]
mod tests {
    use crate::Message;

    #[test]
    fn a_message_has_what_was_put_in() {
        let message = Message::new("body")
            .tag("t")
            .keys(["a", "b"])
            .property("p", "1")
            .property("q", "2");
        assert_eq!(message.body, b"body");
        assert_eq!(message.tag.as_deref(), Some("t"));
        assert_eq!(message.keys, ["a", "b"]);
        assert_eq!(
            message.properties,
            [("p".into(), "1".into()), ("q".into(), "2".into())]
        );
    }
}
