//! The client of the HTTP API.

use std::io::{self, BufRead, BufReader};
use std::time::Duration;

use serde_json::Value;
use ureq::http::{Method, Request, Response};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector as _, TcpConnector};
use ureq::{Agent, AsSendBody, Body};

use super::failure::{Exit, Failure};
use super::tls::TlsConnector;

/// A local host answers at once; one that does not within this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Compiling a large plugin takes the longest.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// Compiling may take `plugins.compile-time` (120 s) of CPU time at a low priority, after other uploads.
const PUSH_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// A page of a thousand rules with large configurations.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A host, reached by HTTP.
#[derive(Debug)]
pub(super) struct Api {
    agent: Agent,
    base: String,
    authorization: String,
}

/// A resource and the revision that it has.
#[derive(Debug)]
pub(super) struct Tagged {
    pub(super) value: Value,
    pub(super) etag: Option<String>,
}

impl Api {
    /// `tls` is for `https` addresses.
    pub(super) fn new(base: String, token: &str, tls: Option<TlsConnector>) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A proxy of the environment must not see the token.
            .proxy(None)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .build();
        let agent = match tls {
            Some(tls) => {
                let connector = ().chain(TcpConnector::default()).chain(tls);
                Agent::with_parts(config, connector, DefaultResolver::default())
            }
            None => config.new_agent(),
        };
        Self {
            agent,
            base,
            authorization: format!("Bearer {token}"),
        }
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        Ok(self.get_tagged(path)?.value)
    }

    pub(super) fn get_tagged(&self, path: &str) -> Result<Tagged, Failure> {
        let response = self.send(self.request(Method::GET, path), (), ANSWER_TIMEOUT)?;
        let etag = response
            .headers()
            .get("etag")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        Ok(Tagged {
            value: read_json(response)?,
            etag,
        })
    }

    /// All items of a list, page after page. `path` has no query.
    pub(super) fn list(&self, path: &str) -> Result<Vec<Value>, Failure> {
        let mut items = Vec::new();
        let mut token = String::new();
        loop {
            let mut page = self.get(&format!("{path}?limit=1000&pageToken={token}"))?;
            if let Some(Value::Array(more)) = page.get_mut("items").map(Value::take) {
                items.extend(more);
            }
            match page.get("nextPageToken").and_then(Value::as_str) {
                Some(next) => next.clone_into(&mut token),
                None => return Ok(items),
            }
        }
    }

    pub(super) fn post(&self, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        self.write(Method::POST, path, body, None)
    }

    /// `if_match` is the `ETag` of what is replaced.
    pub(super) fn put(
        &self,
        path: &str,
        body: &Value,
        if_match: Option<&str>,
    ) -> Result<Value, Failure> {
        self.write(Method::PUT, path, Some(body), if_match)
    }

    pub(super) fn delete(&self, path: &str) -> Result<(), Failure> {
        self.send(self.request(Method::DELETE, path), (), ANSWER_TIMEOUT)
            .map(drop)
    }

    /// Deletes several things and says what became of it.
    pub(super) fn delete_many(&self, path: &str) -> Result<Value, Failure> {
        read_json(self.send(self.request(Method::DELETE, path), (), ANSWER_TIMEOUT)?)
    }

    /// Uploads a component.
    pub(super) fn push(&self, path: &str, bytes: &[u8]) -> Result<Value, Failure> {
        let request = self
            .request(Method::POST, path)
            .header("content-type", "application/wasm")
            // So that a component beyond the limit is refused before it is sent.
            .header("expect", "100-continue");
        read_json(self.send(request, bytes, PUSH_TIMEOUT)?)
    }

    /// The lines of an answer as they come, for at most `timeout`.
    pub(super) fn lines(
        &self,
        path: &str,
        timeout: Duration,
    ) -> Result<impl Iterator<Item = io::Result<String>> + use<>, Failure> {
        let response = self.send(self.request(Method::GET, path), (), timeout)?;
        Ok(BufReader::new(response.into_body().into_reader()).lines())
    }

    fn write(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        if_match: Option<&str>,
    ) -> Result<Value, Failure> {
        let mut request = self.request(method, path);
        if let Some(etag) = if_match {
            request = request.header("if-match", etag);
        }
        let response = match body {
            Some(body) => {
                let request = request.header("content-type", "application/json");
                self.send(request, body.to_string(), ANSWER_TIMEOUT)?
            }
            None => self.send(request, "", ANSWER_TIMEOUT)?,
        };
        read_json(response)
    }

    fn request(&self, method: Method, path: &str) -> ureq::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("authorization", &self.authorization)
    }

    /// Sends and turns an error status into a failure.
    fn send(
        &self,
        request: ureq::http::request::Builder,
        body: impl AsSendBody,
        timeout: Duration,
    ) -> Result<Response<Body>, Failure> {
        let request = request
            .body(body)
            .map_err(|error| Failure::usage(format!("{}: {error}", self.base)))?;
        let request = self
            .agent
            .configure_request(request)
            .timeout_global(Some(timeout))
            .build();
        let response = self
            .agent
            .run(request)
            .map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let answer = read_json(response).unwrap_or(Value::Null);
        if let Some(lines) = several_problems(&answer) {
            return Err(Failure::of_status(status.as_u16(), String::new()).with_messages(lines));
        }
        let text = |name: &str| answer.get(name).and_then(Value::as_str);
        let message = match (text("message"), text("code")) {
            (Some(message), Some(code)) => format!("{message} ({code})"),
            _ => format!(
                "{} answered {status}, not as a rulemill host does; check --server",
                self.base
            ),
        };
        Err(Failure::of_status(status.as_u16(), message))
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let base = &self.base;
        let message = match error {
            ureq::Error::Timeout(ureq::Timeout::Global) => format!(
                "{base} took the request and did not answer in time: it is busy, and may still do what was asked; look before you try again"
            ),
            _ => format!(
                "{base} does not answer: {error}; start the host with `rulemill serve`, or name it with --server"
            ),
        };
        Failure::new(Exit::Unreachable, message)
    }
}

/// The problems of an answer that has more than one, a line each.
fn several_problems(answer: &Value) -> Option<Vec<String>> {
    let problems = answer
        .get("problems")?
        .as_array()
        .filter(|it| it.len() > 1)?;
    let line = |problem: &Value| {
        let text = |name: &str| {
            problem
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let subject = text("subject");
        let gap = if subject.is_empty() { "" } else { ": " };
        format!("{subject}{gap}{} ({})", text("message"), text("code"))
    };
    Some(problems.iter().map(line).collect())
}

fn read_json(response: Response<Body>) -> Result<Value, Failure> {
    let text = response
        .into_body()
        .into_with_config()
        .limit(ANSWER_BYTES_MAX)
        .read_to_string();
    let text = text.map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("the host's answer broke off: {error}"),
        )
    })?;
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text).map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("the host's answer is not JSON: {error}; check --server"),
        )
    })
}

/// Percent-encodes one part of a path or query.
pub(super) fn encode(part: &str) -> String {
    let mut encoded = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn every_name_stays_one_part_of_a_path() {
        assert_eq!(encode("GID_A@@@d-1"), "GID_A%40%40%40d-1");
        assert_eq!(encode("../a?b%ä"), "..%2Fa%3Fb%25%C3%A4");
    }
}
