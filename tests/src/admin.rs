//! The host's HTTP API, as a program of its user would call it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use ureq::Agent;

use crate::eventually::eventually;

/// A client with an admin token.
#[derive(Clone, Debug)]
pub struct Admin {
    agent: Agent,
    base: String,
    token: String,
}

/// What the host answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body; null when it is no JSON.
    pub json: Value,
    /// The body as it came.
    pub text: String,
    /// The header `ETag`.
    pub etag: Option<String>,
}

impl Reply {
    /// This reply, if it has the status.
    ///
    /// # Errors
    ///
    /// When it has another.
    pub fn expect(self, status: u16) -> Result<Self> {
        ensure!(
            self.status == status,
            "expected {status}, got {}: {}",
            self.status,
            self.text
        );
        Ok(self)
    }

    /// Checks a refusal: status, code, and a message of one line.
    ///
    /// # Errors
    ///
    /// When one of them differs.
    pub fn expect_error(&self, status: u16, code: &str) -> Result<()> {
        let field = |name: &str| {
            self.json
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        ensure!(
            self.status == status && field("code") == code,
            "expected {status} {code}, got {}: {}",
            self.status,
            self.text
        );
        let message = field("message");
        ensure!(
            !message.is_empty() && !message.contains('\n'),
            "the message is not one line: {message:?}"
        );
        ensure!(
            !field("requestId").is_empty(),
            "no requestId: {}",
            self.text
        );
        Ok(())
    }

    /// A value of the body by JSON pointer.
    #[must_use]
    pub fn at(&self, pointer: &str) -> &Value {
        self.json.pointer(pointer).unwrap_or(&Value::Null)
    }
}

fn agent(patience: Duration) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(patience));
    config.build().into()
}

impl Admin {
    /// Reads the token in the data folder.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn open(address: &str, data_dir: &Path) -> Result<Self> {
        let path = data_dir.join("admin-token");
        let token =
            std::fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))?;
        Ok(Self {
            agent: agent(Duration::from_secs(60)),
            base: format!("http://{address}"),
            token: token.trim().to_owned(),
        })
    }

    /// The same, waiting so long for each answer.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.agent = agent(patience);
        self
    }

    /// The address for `RULEMILL_SERVER`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    /// GET.
    ///
    /// # Errors
    ///
    /// When nobody answers.
    pub fn get(&self, path: &str) -> Result<Reply> {
        let request = self
            .agent
            .get(format!("{}{path}", self.base))
            .header("Authorization", self.bearer());
        reply(request.call())
    }

    /// POST of JSON.
    ///
    /// # Errors
    ///
    /// When nobody answers.
    pub fn post(&self, path: &str, body: &Value) -> Result<Reply> {
        let request = self
            .agent
            .post(format!("{}{path}", self.base))
            .header("Authorization", self.bearer());
        reply(request.send_json(body))
    }

    /// PUT of JSON, for the revision `etag`.
    ///
    /// # Errors
    ///
    /// When nobody answers.
    pub fn put(&self, path: &str, etag: Option<&str>, body: &Value) -> Result<Reply> {
        let mut request = self
            .agent
            .put(format!("{}{path}", self.base))
            .header("Authorization", self.bearer());
        if let Some(etag) = etag {
            request = request.header("If-Match", etag);
        }
        reply(request.send_json(body))
    }

    /// DELETE.
    ///
    /// # Errors
    ///
    /// When nobody answers.
    pub fn delete(&self, path: &str) -> Result<Reply> {
        let request = self
            .agent
            .delete(format!("{}{path}", self.base))
            .header("Authorization", self.bearer());
        reply(request.call())
    }

    /// Uploads a component as a new version of the plugin `name`.
    ///
    /// # Errors
    ///
    /// When nobody answers.
    pub fn upload(&self, name: &str, component: &[u8]) -> Result<Reply> {
        let request = self
            .agent
            .post(format!("{}/v1/plugins/{name}/versions", self.base))
            .header("Authorization", self.bearer())
            .header("Content-Type", "application/wasm");
        reply(request.send(component))
    }

    /// Creates a rule.
    ///
    /// # Errors
    ///
    /// When the host refuses.
    pub fn create_rule(&self, rule: &Value) -> Result<Reply> {
        self.post("/v1/rules", rule)?.expect(201)
    }

    /// Changes fields of a rule, at its present revision.
    ///
    /// # Errors
    ///
    /// When the host refuses.
    pub fn edit_rule(&self, rule_id: &str, change: impl FnOnce(&mut Value)) -> Result<Reply> {
        let path = format!("/v1/rules/{rule_id}");
        let mut current = self.get(&path)?.expect(200)?;
        change(&mut current.json);
        if let Some(fields) = current.json.as_object_mut() {
            // What the host says about a rule is no part of what is asked of it.
            for name in [
                "ruleId",
                "revision",
                "createdAt",
                "updatedAt",
                "warnings",
                "state",
            ] {
                fields.remove(name);
            }
        }
        self.put(&path, current.etag.as_deref(), &current.json)?
            .expect(200)
    }

    /// A count of the events of all rules, such as `recorded`.
    ///
    /// # Errors
    ///
    /// When there is no such count.
    pub fn events(&self, name: &str) -> Result<u64> {
        self.get("/v1/status")?
            .expect(200)?
            .at(&format!("/events/{name}"))
            .as_u64()
            .with_context(|| format!("no events.{name}"))
    }

    /// Checks the sums of `/v1/status`, of all rules together and of each: what was observed was matched or not, and
    /// what was recorded is still there or became something. Counts move while events do, so it asks for a while.
    ///
    /// # Errors
    ///
    /// When a sum does not hold; with the counts.
    pub fn expect_conservation(&self) -> Result<()> {
        let mut last = String::new();
        let done = eventually("the sums to hold", Duration::from_secs(5), || {
            let status = self.get("/v1/status")?.expect(200)?;
            last.clone_from(&status.text);
            let rules = status.at("/rules").as_array().cloned().unwrap_or_default();
            let mut all = rules.iter().filter_map(|rule| rule.pointer("/events"));
            let holds = sums_hold(status.at("/events")) && all.all(sums_hold);
            Ok(holds.then_some(()))
        });
        done.with_context(|| format!("last counts: {last}"))
    }

    /// Waits until a rule has the health.
    ///
    /// # Errors
    ///
    /// When it has not within the deadline; with what it has.
    pub fn wait_for_health(&self, rule_id: &str, health: &str, deadline: Duration) -> Result<()> {
        let mut last = String::new();
        let done = eventually(
            &format!("health {health} of rule {rule_id}"),
            deadline,
            || {
                let rule = self.get(&format!("/v1/rules/{rule_id}"))?.expect(200)?;
                last = rule.at("/state").to_string();
                Ok((rule.at("/state/health") == health).then_some(()))
            },
        );
        done.with_context(|| format!("last state: {last}"))
    }

    /// Waits until nothing is queued for any rule.
    ///
    /// # Errors
    ///
    /// When something still is at the deadline.
    pub fn wait_until_delivered(&self, deadline: Duration) -> Result<()> {
        let mut last = String::new();
        let done = eventually("delivery of all events", deadline, || {
            let status = self.get("/v1/status")?.expect(200)?;
            last = status.at("/events").to_string();
            Ok((status.at("/events/pending") == 0).then_some(()))
        });
        done.with_context(|| format!("last counts: {last}"))
    }
}

fn sums_hold(events: &Value) -> bool {
    let sum = |names: &[&str]| -> Option<u64> {
        names
            .iter()
            .map(|name| events.get(name).and_then(Value::as_u64))
            .sum()
    };
    let became = [
        "delivered",
        "skipped",
        "buried",
        "expired",
        "discarded",
        "pending",
    ];
    let entered = sum(&["recorded", "replayed"]);
    entered.is_some()
        && entered == sum(&became)
        && sum(&["observed"]) == sum(&["matched", "unmatched"])
        && sum(&["matched"]) == sum(&["recordedSinceStart", "refused"])
}

fn reply(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Reply> {
    let mut response = match result {
        Ok(response) => response,
        Err(error) => bail!("no answer from the admin API: {error}"),
    };
    let etag = response
        .headers()
        .get("etag")
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let text = response
        .body_mut()
        .read_to_string()
        .context("the answer is no text")?;
    let json = serde_json::from_str(&text).unwrap_or(Value::Null);
    Ok(Reply {
        status: response.status().as_u16(),
        json,
        text,
        etag,
    })
}

/// A rule with everything but its mapping at its default.
#[must_use]
pub fn status_rule(rule_id: &str, group_id: &str, instance_id: &str, topic: &str) -> Value {
    serde_json::json!({
        "ruleId": rule_id,
        "type": "clientStatusNotification",
        "source": { "groupId": group_id },
        "destination": { "service": "rocketmq", "instanceId": instance_id, "topic": topic },
    })
}
