//! The ApsaraMQ actions, called by Alibaba Cloud's own SDK with nothing changed but its endpoint.

#![expect(
    clippy::indexing_slicing,
    reason = "a field that a JSON value lacks reads as null"
)]

use std::process::Command;
use std::time::{Duration, SystemTime};

use acceptance::bare_client::{BareClient, Version};
use acceptance::certificate::{Authority, put};
use acceptance::host::{HostSpec, TestHost};
use acceptance::process::Talker;
use acceptance::signature;
use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use xtask::{places, requirements};

const KEY: &str = "LTAI-test-api";
const SECRET: &str = "api-secret-4711";
const DEVICE_KEY: &str = "LTAI-test-device";
const DEVICE_SECRET: &str = "device-secret-4711";
const INSTANCE: &str = "mqtt-local";
const GROUP: &str = "GID_Compatible";
/// Further than any test runs.
const LAST_YEAR: i32 = 4000;
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// The SDK in a process of its own.
struct Sdk(Talker);

impl Sdk {
    fn start(endpoint: &Endpoint, key: &str, secret: &str, signature: &str) -> Result<Self> {
        let mut command = Command::new(requirements::python());
        command
            .arg(places::root().join("tests/python/onsmqtt_client.py"))
            .args([endpoint.protocol, &endpoint.address, key, secret, signature])
            .args(&endpoint.ca);
        Ok(Self(Talker::start("onsmqtt", &mut command)?))
    }

    fn ask(&mut self, action: &str, request: Value) -> Result<Value> {
        let asked = Map::from_iter([
            ("action".to_owned(), action.into()),
            ("request".to_owned(), request),
        ]);
        self.0.say(&Value::Object(asked).to_string())?;
        let line = self
            .0
            .expect(|line| line.starts_with('{'), ANSWER_DEADLINE)?;
        Ok(serde_json::from_str(&line)?)
    }

    /// The body of an action that succeeds.
    fn done(&mut self, action: &str, request: Value) -> Result<Value> {
        let answer = self.ask(action, request)?;
        let body = answer.get("body").cloned();
        let body = body.with_context(|| format!("{action} failed: {answer}"))?;
        let id = body
            .get("RequestId")
            .and_then(Value::as_str)
            .unwrap_or_default();
        ensure!(!id.is_empty(), "{action} has no RequestId: {body}");
        Ok(body)
    }

    /// An action that is refused, in the documented shape.
    fn refused(&mut self, action: &str, request: Value, status: u64, code: &str) -> Result<()> {
        let answer = self.ask(action, request)?;
        let error = answer
            .get("error")
            .with_context(|| format!("{action} was not refused: {answer}"))?;
        ensure!(
            error.get("code").and_then(Value::as_str) == Some(code)
                && error.get("status").and_then(Value::as_u64) == Some(status),
            "{action}: expected {status} {code}, got {error}"
        );
        Ok(())
    }
}

/// Where the SDK sends to.
struct Endpoint {
    protocol: &'static str,
    address: String,
    ca: Option<String>,
}

/// Every supported action, by both signatures, over HTTP and then over HTTPS.
pub(crate) fn every_supported_action() -> Result<()> {
    let mut host = TestHost::start(HostSpec::default())?;
    add_keys(&host)?;
    let endpoint = Endpoint {
        protocol: "HTTP",
        address: host.addresses().admin.to_string(),
        ca: None,
    };
    every_action(&host, &endpoint)?;
    refusals(&endpoint)?;
    by_hand(&endpoint)?;
    let audit = host.admin()?.get("/v1/audit?limit=100")?.expect(200)?;
    ensure!(
        audit.text.contains("access-key:LTAI-test-api") && audit.text.contains("CreateGroupId"),
        "the actions are not in the audit log: {}",
        audit.text
    );
    for secret in [SECRET, DEVICE_SECRET] {
        ensure!(
            !audit.text.contains(secret) && !host.log().contains(secret),
            "a secret was written down"
        );
    }

    host.terminate(Duration::from_secs(30))?;
    let folder = tempfile::tempdir()?;
    let authority = Authority::new("compatible")?;
    put(folder.path(), "ca.pem", &authority.pem())?;
    authority.server(LAST_YEAR)?.put(folder.path())?;
    let file = |name: &str| folder.path().join(name).display().to_string();
    host.spec_mut().environment.extend([
        ("RULEMILL__ADMIN__TLS_CERT".to_owned(), file("cert.pem")),
        ("RULEMILL__ADMIN__TLS_KEY".to_owned(), file("key.pem")),
    ]);
    host.restart()?;
    let endpoint = Endpoint {
        protocol: "HTTPS",
        address: host.addresses().admin.to_string(),
        ca: Some(file("ca.pem")),
    };
    every_action(&host, &endpoint)
}

fn add_keys(host: &TestHost) -> Result<()> {
    for (id, secret, opens) in [(KEY, SECRET, "api"), (DEVICE_KEY, DEVICE_SECRET, "mqtt")] {
        host.cli_with_secret(&["access-key", "add", id, "--use", opens], secret)?
            .expect(0)?;
    }
    Ok(())
}

fn every_action(host: &TestHost, endpoint: &Endpoint) -> Result<()> {
    for signature in ["v3", "v2"] {
        let mut sdk = Sdk::start(endpoint, KEY, SECRET, signature)?;
        let group = format!("{GROUP}_{signature}");
        let in_group = json!({ "InstanceId": INSTANCE, "GroupId": group });

        sdk.done("CreateGroupId", in_group.clone())?;
        sdk.refused(
            "CreateGroupId",
            in_group.clone(),
            400,
            "GroupIdAlreadyExsited",
        )?;
        let groups = sdk.done("ListGroupId", json!({ "InstanceId": INSTANCE }))?;
        let found = groups
            .pointer("/Data")
            .and_then(Value::as_array)
            .is_some_and(|groups| groups.iter().any(|it| it["GroupId"] == group.as_str()));
        ensure!(found, "the group is not listed: {groups}");

        let client = format!("{group}@@@device-1");
        let absent = format!("{group}@@@absent");
        let about = json!({ "InstanceId": INSTANCE, "ClientId": client });
        let connection = BareClient::connect(host.mqtt()?, Version::V3, &client)?;
        let one = sdk.done("QuerySessionByClientId", about.clone())?;
        ensure!(one["OnlineStatus"] == true, "not online: {one}");
        let both = sdk.done(
            "BatchQuerySessionByClientIds",
            json!({ "InstanceId": INSTANCE, "ClientIdList": [client, absent] }),
        )?;
        let expected = json!([
            { "ClientId": client, "OnlineStatus": true },
            { "ClientId": absent, "OnlineStatus": false },
        ]);
        ensure!(both["OnlineStatusList"] == expected, "{both}");
        let closed = sdk.done("CloseConnection", about.clone())?;
        ensure!(
            closed["Success"] == true && closed["Code"] == 200,
            "{closed}"
        );
        drop(connection);
        let gone = sdk.done("QuerySessionByClientId", about.clone())?;
        ensure!(gone["OnlineStatus"] == false, "still online: {gone}");
        let again = sdk.done("CloseConnection", about)?;
        ensure!(again["Success"] == false, "{again}");

        sdk.done("DeleteGroupId", in_group.clone())?;
        sdk.refused("DeleteGroupId", in_group, 400, "PermissionCheckFailed")?;
        let instances = sdk.done("ListInstances", json!({}))?;
        ensure!(
            instances["Instances"][0]["InstanceId"] == INSTANCE
                && instances["Instances"][0]["InstanceStatus"] == 5,
            "{instances}"
        );
    }
    Ok(())
}

fn refusals(endpoint: &Endpoint) -> Result<()> {
    let query = json!({ "InstanceId": INSTANCE, "ClientId": "GID_A@@@d1" });
    for signature in ["v3", "v2"] {
        let wrong = [
            (KEY, "another secret", 400, "SignatureDoesNotMatch"),
            ("nobody", SECRET, 404, "InvalidAccessKeyId.NotFound"),
            // A device's key opens nothing here.
            (
                DEVICE_KEY,
                DEVICE_SECRET,
                404,
                "InvalidAccessKeyId.NotFound",
            ),
        ];
        for (key, secret, status, code) in wrong {
            let mut sdk = Sdk::start(endpoint, key, secret, signature)?;
            sdk.refused("QuerySessionByClientId", query.clone(), status, code)?;
        }
        let mut sdk = Sdk::start(endpoint, KEY, SECRET, signature)?;
        let elsewhere = json!({ "InstanceId": "mqtt-other", "ClientId": "GID_A@@@d1" });
        sdk.refused("QuerySessionByClientId", elsewhere, 400, "InstanceNotFound")?;
        let too_long = format!("GID_A@@@{}", "d".repeat(256));
        let bad = json!({ "InstanceId": INSTANCE, "ClientId": too_long });
        sdk.refused("QuerySessionByClientId", bad, 400, "ParameterCheckFailed")?;
        sdk.refused(
            "CreateGroupId",
            json!({ "InstanceId": INSTANCE, "GroupId": "wrong" }),
            400,
            "ParameterCheckFailed",
        )?;
        let many: Vec<String> = (0..11).map(|n| format!("GID_A@@@{n}")).collect();
        sdk.refused(
            "BatchQuerySessionByClientIds",
            json!({ "InstanceId": INSTANCE, "ClientIdList": many }),
            400,
            "ParameterCheckFailed",
        )?;
        sdk.refused(
            "QueryToken",
            json!({ "InstanceId": INSTANCE, "Token": "t" }),
            404,
            "ApiNotSupport",
        )?;
    }
    Ok(())
}

/// What the SDK cannot be made to send: the same request twice, and an action that nobody has.
fn by_hand(endpoint: &Endpoint) -> Result<()> {
    let signed = |action: &str, nonce: &str, time: &str| {
        let query = format!(
            "AccessKeyId={KEY}&Action={action}&Format=JSON&SignatureMethod=HMAC-SHA1&SignatureNonce={nonce}&SignatureVersion=1.0&Timestamp={}&Version=2020-04-20",
            time.replace(':', "%3A")
        );
        let encoded = query
            .replace('%', "%25")
            .replace('&', "%26")
            .replace('=', "%3D");
        let text = format!("GET&%2F&{encoded}");
        let signature = signature::password(&format!("{SECRET}&"), &text)?
            .replace('+', "%2B")
            .replace('/', "%2F")
            .replace('=', "%3D");
        let address = &endpoint.address;
        anyhow::Ok(format!("http://{address}/?{query}&Signature={signature}"))
    };
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let ask = |url: &str| -> Result<(u16, Value)> {
        let mut response = agent.get(url).call()?;
        let body = response.body_mut().read_to_string()?;
        Ok((response.status().as_u16(), serde_json::from_str(&body)?))
    };
    let expect = |(status, body): (u16, Value), wanted: u16, code: &str| {
        let fields = ["RequestId", "HostId", "Code", "Message"];
        let is_whole = fields
            .iter()
            .all(|field| body.get(*field).is_some_and(Value::is_string));
        ensure!(
            status == wanted && is_whole && body.get("Code").is_some_and(|it| it == code),
            "expected {wanted} {code}, got {status} {body}"
        );
        Ok(())
    };
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let once = signed("ListInstances", "nonce-1", &now)?;
    let (status, body) = ask(&once)?;
    ensure!(status == 200, "{status} {body}");
    expect(ask(&once)?, 400, "SignatureNonceUsed")?;
    let old = humantime::format_rfc3339_seconds(SystemTime::now() - Duration::from_secs(16 * 60));
    let old = signed("ListInstances", "nonce-2", &old.to_string())?;
    expect(ask(&old)?, 400, "InvalidTimeStamp.Expired")?;
    let unknown = signed("MakeCoffee", "nonce-3", &now)?;
    expect(ask(&unknown)?, 404, "InvalidAction.NotFound")?;
    let version = signed("ListInstances", "nonce-4", &now)?.replace("2020-04-20", "2019-01-01");
    expect(ask(&version)?, 400, "InvalidVersion")
}
