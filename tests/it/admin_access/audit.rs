//! The audit log has every change, also those that look like a question, and no question.

use acceptance::admin::status_rule;
use acceptance::host::{HostSpec, TestHost};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::Http;

/// Each change, and how the audit log names it; in this order.
const CHANGES: [(&str, &str, &str, &str); 7] = [
    // A rule may be named like the question about rules.
    ("PUT", "/v1/rules/test", "PUT", "/v1/rules/test"),
    ("DELETE", "/v1/rules/test", "DELETE", "/v1/rules/test"),
    // What only some requests know as a dry run is none of others.
    ("POST", "/v1/tokens?dryRun=true", "POST", "/v1/tokens/quiet"),
    (
        "DELETE",
        "/v1/tokens/quiet?dryRun=true",
        "DELETE",
        "/v1/tokens/quiet",
    ),
    ("POST", "/v1/groups", "POST", "/v1/groups/GID_Named"),
    (
        "POST",
        "/v1/apply?prune=true",
        "POST",
        "/v1/apply?prune=true",
    ),
    // Each thing that an apply changed.
    ("", "", "POST", "delete rule gone"),
];

pub(crate) fn has_every_change() -> Result<()> {
    let host = TestHost::start(HostSpec::default())?;
    let (admin, http) = (host.admin()?, Http::of(&host));
    let token = admin.token();
    admin.create_rule(&status_rule("test", "GID_Test", "embedded", "TopicTest"))?;
    admin.create_rule(&status_rule("gone", "GID_Gone", "embedded", "TopicGone"))?;
    let before = entries(&http, token)?;
    for question in [
        (
            "POST",
            "/v1/rules/test/test",
            json!({ "event": { "eventType": "connect" } }).to_string(),
        ),
        (
            "POST",
            "/v1/apply?prune=true&dryRun=true",
            json!({}).to_string(),
        ),
    ] {
        let (method, path, body) = question;
        http.ask(method, path, Some(token), &body)?.expect(200)?;
    }
    ensure!(
        entries(&http, token)? == before,
        "a question is in the audit log"
    );
    for (method, path, _, _) in CHANGES {
        let body = match path {
            "/v1/rules/test" if method == "PUT" => {
                let edit = |rule: &mut Value| rule["description"] = "edited".into();
                admin.edit_rule("test", edit)?.expect(200)?;
                continue;
            }
            "/v1/tokens?dryRun=true" => json!({ "name": "quiet", "role": "viewer" }).to_string(),
            "/v1/groups" => json!({ "groupId": "GID_Named" }).to_string(),
            "" => continue,
            _ => "{}".to_owned(),
        };
        let answer = http.ask(method, path, Some(token), &body)?.status;
        ensure!((200..300).contains(&answer), "{method} {path}: {answer}");
    }
    let wanted: Vec<(String, String)> = CHANGES
        .iter()
        .map(|(_, _, method, resource)| ((*method).to_owned(), (*resource).to_owned()))
        .collect();
    let mut noted = entries(&http, token)?;
    noted.truncate(noted.len() - before.len());
    noted.reverse();
    ensure!(noted == wanted, "noted is {noted:?}, not {wanted:?}");
    Ok(())
}

/// Method and resource of all entries, the newest first.
fn entries(http: &Http, token: &str) -> Result<Vec<(String, String)>> {
    let noted = http.ask("GET", "/v1/audit?limit=1000", Some(token), "")?;
    let noted = noted.expect(200)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let items = noted.json["items"].as_array().cloned().unwrap_or_default();
    Ok(items
        .iter()
        .map(|entry| (text(&entry["method"]), text(&entry["resource"])))
        .collect())
}
