//! The API against its own document: Schemathesis makes requests out of `/openapi.json`, right and wrong
//! ones, and finds no 5xx, no undocumented answer and none of another shape.

use std::process::Command;
use std::time::Duration;

use acceptance::admin::{Admin, status_rule};
use acceptance::bare_client::{BareClient, Version};
use acceptance::fixture;
use acceptance::host::{HostSpec, TestHost};
use acceptance::scale;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xtask::{places, requirements};

/// Of the report of a run that found something.
const REPORT_LINES: usize = 150;
/// Methods of an operation in the document.
const METHODS: [&str; 4] = ["get", "post", "put", "delete"];

pub(crate) fn finds_nothing() -> Result<()> {
    let host = TestHost::start(HostSpec::default())?;
    let admin = host.admin()?;
    // Things that are there under the names that the document gives as examples, so that not every request
    // ends at 404. The client is online until somebody closes it.
    let client = BareClient::connect(host.mqtt()?, Version::V3, "GID_Example@@@device-1")?;
    let topic = json!({ "topic": "TopicB" });
    admin
        .post("/v1/rocketmq-instances/embedded/topics", &topic)?
        .expect(201)?;
    admin.create_rule(&status_rule(
        "fixed-rule",
        "GID_Fixed",
        "embedded",
        "TopicFixed",
    ))?;
    admin.create_rule(&status_rule(
        "other-rule",
        "GID_Other",
        "embedded",
        "TopicFixed",
    ))?;
    admin
        .upload("mapped", &fixture::built_in("cloudevents")?)?
        .expect(201)?;
    for (path, body) in [
        (
            "/v1/users",
            json!({ "name": "device-1", "secret": "a password" }),
        ),
        ("/v1/tokens", json!({ "name": "console", "role": "viewer" })),
    ] {
        admin.post(path, &body)?.expect(201)?;
    }
    no_operation_is_open_by_mistake(&host, &admin)?;
    run(
        &host,
        &admin,
        scale::pick(Duration::from_secs(40), Duration::from_secs(30 * 60)),
    )?;
    drop(client);
    admin.get("/v1/status")?.expect(200)?;
    ensure!(!host.log().contains("panicked"), "the host panicked");
    Ok(())
}

/// Each operation that the document says needs a token is answered 401 without one.
fn no_operation_is_open_by_mistake(host: &TestHost, admin: &Admin) -> Result<()> {
    let document = admin.get("/openapi.json")?.expect(200)?.json;
    let paths = document.get("paths").and_then(Value::as_object);
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let mut asked = 0;
    for (path, item) in paths.context("no paths")? {
        let address = format!(
            "http://{}{}",
            host.addresses().admin,
            path.replace(['{', '}'], "")
        );
        for method in METHODS {
            let Some(operation) = item.get(method) else {
                continue;
            };
            let is_open = operation
                .get("security")
                .and_then(Value::as_array)
                .is_some_and(|all| all.contains(&json!({})));
            if is_open {
                continue;
            }
            let request = ureq::http::Request::builder()
                .method(method.to_ascii_uppercase().as_str())
                .uri(&address)
                .body("")?;
            let status = agent.run(request)?.status().as_u16();
            ensure!(status == 401, "{method} {path} without a token: {status}");
            asked += 1;
        }
    }
    ensure!(asked > 50, "only {asked} operations need a token");
    Ok(())
}

fn run(host: &TestHost, admin: &Admin, time: Duration) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(requirements::python());
    command
        .args(["-m", "schemathesis.cli", "--config-file"])
        .arg(places::root().join("tests/python/schemathesis.toml"))
        .arg("run")
        .arg(format!("http://{}/openapi.json", host.addresses().admin))
        .args(["--checks", "all", "--no-color", "--header"])
        .arg(format!("Authorization: Bearer {}", admin.token()))
        .args(["--max-time", &time.as_secs().to_string()])
        .args(["--generation-database", "none"])
        // It keeps what it learns where it runs.
        .current_dir(folder.path());
    let output = command.output().context("schemathesis cannot be started")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let report: Vec<&str> = text.lines().collect();
    let shown = report.get(report.len().saturating_sub(REPORT_LINES)..);
    ensure!(
        output.status.success(),
        "schemathesis found something ({}):\n{}\n{}",
        output.status,
        shown.unwrap_or_default().join("\n"),
        String::from_utf8_lossy(&output.stderr)
    );
    // What it did not ask says nothing.
    ensure!(text.contains("Tested"), "nothing was tested:\n{text}");
    Ok(())
}
