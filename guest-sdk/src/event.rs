//! What an event says beside its fields.

use crate::{Event, EventType};

impl EventType {
    /// The name on the wire: `connect`, `disconnect` or `tcpclean`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::Tcpclean => "tcpclean",
        }
    }
}

impl Event {
    /// The attribute called `name`, such as `reason` or `protocol`.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find_map(|(key, value)| (key == name).then_some(value.as_str()))
    }

    /// The usual message keys: client id and channel id. A client id with a blank is left out, since
    /// `RocketMQ` splits keys at blanks; a channel id has none.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let client_id =
            Some(self.client_id.as_str()).filter(|id| !id.contains(char::is_whitespace));
        client_id.into_iter().chain([self.channel_id.as_str()])
    }
}

#[cfg(test)]
mod tests {
    use crate::{Event, EventType};

    fn event() -> Event {
        Event {
            event_type: EventType::Tcpclean,
            client_id: "GID_A@@@d1".into(),
            group_id: "GID_A".into(),
            channel_id: "00".into(),
            client_ip: "192.0.2.7:50312".into(),
            time: 1,
            sequence: 2,
            event_id: "01".into(),
            attributes: vec![
                ("reason".into(), "kicked".into()),
                ("node".into(), "n".into()),
            ],
        }
    }

    #[test]
    fn an_attribute_is_found_by_its_whole_name() {
        assert_eq!(event().attribute("node"), Some("n"));
        assert_eq!(event().attribute("nod"), None);
    }

    #[test]
    fn event_types_have_the_names_of_the_wire() {
        let all = [
            EventType::Connect,
            EventType::Disconnect,
            EventType::Tcpclean,
        ];
        assert_eq!(
            all.map(EventType::as_str),
            ["connect", "disconnect", "tcpclean"]
        );
    }
}
