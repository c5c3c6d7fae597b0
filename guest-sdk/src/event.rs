//! What an event says beside its fields.

use crate::{CloseReason, Event, EventType};

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

    /// Why the connection ended; none for a `connect`, or when this SDK is older than the reason.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        CloseReason::from_name(self.attribute("reason")?)
    }

    /// The usual message keys: client id and channel id. A client id with a blank is left out, since
    /// `RocketMQ` splits keys at blanks; a channel id has none.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        // Nearly all are plain ASCII, and bytes are quicker to look at than characters.
        let has_blank = |id: &str| {
            !id.bytes().all(|byte| byte.is_ascii_graphic()) && id.contains(char::is_whitespace)
        };
        let client_id = Some(self.client_id.as_str()).filter(|id| !has_blank(id));
        client_id.into_iter().chain([self.channel_id.as_str()])
    }
}

#[cfg(test)]
mod tests {
    use crate::{CloseReason, EventType, testing};

    #[test]
    fn an_attribute_is_found_by_its_whole_name() {
        let event = testing::tcpclean().attribute("node", "n").build();
        assert_eq!(event.attribute("node"), Some("n"));
        assert_eq!(event.attribute("nod"), None);
    }

    #[test]
    fn a_reason_that_is_not_known_is_none() {
        let kicked = testing::tcpclean().attribute("reason", "kicked").build();
        assert_eq!(kicked.close_reason(), Some(CloseReason::Kicked));
        let new = testing::tcpclean().attribute("reason", "bored").build();
        assert_eq!(new.close_reason(), None);
        assert_eq!(testing::connect().build().close_reason(), None);
    }

    #[test]
    fn a_client_id_with_a_blank_is_no_key() {
        let event = testing::connect().client_id("GID_A@@@two words").build();
        assert_eq!(
            event.keys().collect::<Vec<_>>(),
            [event.channel_id.as_str()]
        );
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
