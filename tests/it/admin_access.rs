//! Who may use the API: tokens and their roles, signing in, throttling, TLS, the audit log, and that no
//! secret is shown anywhere.

#![expect(
    clippy::indexing_slicing,
    reason = "a field that a JSON value lacks reads as null"
)]

pub(crate) mod audit;
pub(crate) mod credentials;
pub(crate) mod roles;
pub(crate) mod secrets;
pub(crate) mod tls;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use acceptance::eventually::eventually;
use acceptance::host::{HostSpec, TestHost};
use acceptance::metrics::Metrics;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Request;

const SOON: Duration = Duration::from_secs(30);
/// What is revoked is dead by then.
const A_SECOND: Duration = Duration::from_secs(1);

/// The API, with any token or none.
struct Http {
    agent: Agent,
    base: String,
}

struct Answer {
    /// Method and path.
    asked: String,
    status: u16,
    text: String,
    json: Value,
    retry_after: Option<u64>,
}

impl Http {
    fn of(host: &TestHost) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(SOON))
            .build();
        Self {
            agent: config.into(),
            base: format!("http://{}", host.addresses().admin),
        }
    }

    fn ask(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> Result<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut response = self.agent.run(request.body(body.to_owned())?)?;
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let text = response.body_mut().read_to_string()?;
        Ok(Answer {
            asked: format!("{method} {path}"),
            status: response.status().as_u16(),
            json: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
            retry_after,
        })
    }
}

impl Answer {
    fn expect(self, status: u16) -> Result<Self> {
        ensure!(
            self.status == status,
            "{}: expected {status}, got {}: {}",
            self.asked,
            self.status,
            self.text
        );
        Ok(self)
    }
}

fn make_token(host: &TestHost, name: &str, role: &str) -> Result<String> {
    let made = host
        .cli(&["token", "create", name, "--role", role])?
        .expect(0)?;
    let token = made.stdout.trim().to_owned();
    ensure!(token.len() > 40, "no token: {}", made.stdout);
    Ok(token)
}

/// An answer that goes on: live events, in a connection of its own.
fn open_events(host: &TestHost, token: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(host.addresses().admin)?;
    stream.set_read_timeout(Some(SOON))?;
    write!(
        stream,
        "GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    )?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    ensure!(
        head.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    Ok(stream)
}

pub(crate) fn revoked_token_is_dead() -> Result<()> {
    let mut host = TestHost::start(HostSpec::default())?;
    let http = Http::of(&host);
    let token = make_token(&host, "short-lived", "viewer")?;
    let kept = make_token(&host, "kept", "operator")?;
    http.ask("GET", "/v1/rules", Some(&token), "")?
        .expect(200)?;
    let mut events = open_events(&host, &token)?;
    host.cli(&["token", "revoke", "short-lived"])?.expect(2)?;
    host.cli(&["token", "revoke", "short-lived", "--yes"])?
        .expect(0)?;
    let revoked = Instant::now();
    http.ask("GET", "/v1/rules", Some(&token), "")?
        .expect(401)?;
    let mut rest = Vec::new();
    events.read_to_end(&mut rest)?;
    ensure!(
        revoked.elapsed() < A_SECOND,
        "it went on for {:?}",
        revoked.elapsed()
    );
    host.cli(&["token", "revoke", "short-lived", "--yes"])?
        .expect(3)?;
    // One that expires is dead from then on.
    let made = host
        .cli(&[
            "token",
            "create",
            "brief",
            "--role",
            "viewer",
            "--expires-in",
            "1s",
        ])?
        .expect(0)?;
    let brief = made.stdout.trim().to_owned();
    eventually("the end of a token", SOON, || {
        let answer = http.ask("GET", "/v1/rules", Some(&brief), "")?;
        Ok((answer.status == 401).then_some(()))
    })?;
    // The others outlive the host; the file of the store holds no token, and is its owner's.
    host.terminate(SOON)?;
    host.restart()?;
    let http = Http::of(&host);
    http.ask("GET", "/v1/rules", Some(&kept), "")?.expect(200)?;
    http.ask("GET", "/v1/rules", Some(&token), "")?
        .expect(401)?;
    let listed = host
        .cli(&["token", "list", "--output", "json"])?
        .expect(0)?;
    let listed: Value = serde_json::from_str(&listed.stdout)?;
    let kept = listed.as_array().and_then(|all| {
        all.iter()
            .find(|it| it["name"] == "kept")
            .map(|it| it["lastUsedAt"].is_u64())
    });
    ensure!(kept == Some(true), "the last use is not known: {listed}");
    Ok(())
}

pub(crate) fn wrong_tokens_are_throttled() -> Result<()> {
    let host = TestHost::start(HostSpec::default())?;
    let (admin, http) = (host.admin()?, Http::of(&host));
    let mut statuses = BTreeSet::new();
    let mut told_to_wait = false;
    for number in 0..200 {
        let wrong = format!("wrong-token-{number}");
        let answer = http.ask("GET", "/v1/rules", Some(&wrong), "")?;
        statuses.insert(answer.status);
        if answer.status == 429 {
            ensure!(
                answer.json["code"] == "too_many_failures",
                "{}",
                answer.text
            );
            told_to_wait |= answer.retry_after.is_some_and(|seconds| seconds >= 1);
        }
    }
    ensure!(
        statuses == BTreeSet::from([401, 429]) && told_to_wait,
        "{statuses:?}"
    );
    // Codes have an account of their own.
    let code = json!({ "code": "wrong-code" }).to_string();
    let mut statuses = BTreeSet::new();
    for _ in 0..200 {
        statuses.insert(http.ask("POST", "/v1/sign-in", None, &code)?.status);
    }
    ensure!(
        statuses == BTreeSet::from([401, 429]),
        "codes: {statuses:?}"
    );
    // Whoever has the right one is not locked out by a neighbour.
    http.ask("GET", "/v1/rules", Some(admin.token()), "")?
        .expect(200)?;
    let metrics = Metrics::read(&admin)?;
    let refused = metrics.total("rulemill_admin_requests_refused_total");
    ensure!(refused >= 201.0, "only {refused} refusals were counted");
    ensure!(!host.log().contains("wrong-token"), "a guess is in the log");
    Ok(())
}

fn code_in(text: &str) -> Result<String> {
    let link = text
        .lines()
        .find_map(|line| line.split("/#code=").nth(1))
        .context("no sign-in link")?;
    Ok(link.trim().to_owned())
}

pub(crate) fn code_works_once() -> Result<()> {
    let host = TestHost::start(HostSpec::default())?;
    let http = Http::of(&host);
    let page = http.ask("GET", "/", None, "")?.expect(200)?;
    ensure!(page.text.contains("/sign-in.js"), "{}", page.text);
    http.ask("GET", "/sign-in.js", None, "")?.expect(200)?;
    let printed = code_in(&host.log())?;
    let asked = code_in(&host.cli(&["token", "sign-in"])?.expect(0)?.stdout)?;
    for code in [printed, asked] {
        let body = json!({ "code": code }).to_string();
        let session = http.ask("POST", "/v1/sign-in", None, &body)?.expect(200)?;
        let token = session.json["token"].as_str().context("no token")?;
        let again = http.ask("POST", "/v1/sign-in", None, &body)?.expect(401)?;
        ensure!(
            again.json["code"] == "invalid_sign_in_code",
            "{}",
            again.text
        );
        http.ask("GET", "/v1/tokens", Some(token), "")?
            .expect(200)?;
        http.ask("DELETE", "/v1/sign-in", Some(token), "")?
            .expect(204)?;
        http.ask("GET", "/v1/tokens", Some(token), "")?
            .expect(401)?;
    }
    http.ask("POST", "/v1/sign-in", None, "{}")?.expect(400)?;
    http.ask("POST", "/v1/sign-in-codes", None, "")?
        .expect(401)?;
    Ok(())
}
