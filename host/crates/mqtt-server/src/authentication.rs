//! Asks who a client is, before the broker hears of it: whoever is refused here leaves no event.
//!
//! A worker awaits the answer and goes on with other connections meanwhile. What is logged of a refusal
//! is what the client says to be, cut and escaped, and never its password.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use domain::{ConnectAttempt, ListenerFacts, Principal, RefuseAccessError};
use tokio::time::{Instant, timeout};

use crate::admission::{Gate, Hello};
use crate::refusal::{self, Refusal};

/// Passwords wait at most three seconds for their turn; a client has given up after this.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Characters of a name in the log.
const NAME_CHARACTERS_MAX: usize = 80;

/// What a client says, as a log may show it.
struct Said<'a>(&'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = self.0.char_indices().nth(NAME_CHARACTERS_MAX);
        let (text, more) = match cut.and_then(|(at, _)| self.0.get(..at)) {
            Some(beginning) => (beginning, "…"),
            None => (self.0, ""),
        };
        write!(f, "{}{more}", text.escape_debug())
    }
}

impl Gate {
    /// Who the client is, or why that is not known. Counts and logs refusals.
    pub(crate) async fn authenticate(&self, hello: &Hello<'_>) -> Result<Principal, Refusal> {
        let attempt = ConnectAttempt {
            client_id: hello.client_id,
            username: hello.username.map(str::as_bytes),
            password: hello.password,
            peer: hello.peer_or_nowhere(),
            listener: ListenerFacts {
                kind: self.kind.as_str(),
                address: self.address,
            },
        };
        let decision = timeout(ANSWER_WITHIN, self.authenticator.authenticate(attempt)).await;
        decision
            .unwrap_or(Err(RefuseAccessError::Unavailable))
            .map_err(|error| {
                self.broker.stats().count_refused(refusal::reason(error));
                self.log_refusal(hello, error);
                error.into()
            })
    }

    fn log_refusal(&self, hello: &Hello<'_>, error: RefuseAccessError) {
        let Some(left_out) = self.refusal_log.line(Instant::now()) else {
            return;
        };
        let username = hello.username.map(Said);
        tracing::warn!(
            reason = error.kind(),
            detail = %error,
            peer = %hello.peer_or_nowhere(),
            listener = self.kind.as_str(),
            client_id = %Said(hello.client_id),
            username = username.as_ref().map(tracing::field::display),
            left_out,
            "authentication is refused"
        );
    }
}

impl Hello<'_> {
    pub(crate) fn peer_or_nowhere(&self) -> SocketAddr {
        self.peer
            .unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }
}

#[cfg(test)]
mod tests {
    use super::Said;

    #[test]
    fn what_a_client_says_makes_no_second_line_and_no_long_one() {
        assert_eq!(Said("a\n\u{1b}[31mb").to_string(), "a\\n\\u{1b}[31mb");
        let long = Said(&"ä".repeat(10_000)).to_string();
        assert_eq!(long.chars().count(), 81);
    }
}
