//! What each role may do, and that the audit log shows who did it.

use std::fs;
use std::path::Path;
use std::process::Command;

use acceptance::admin::status_rule;
use acceptance::cli;
use acceptance::host::{HostSpec, TestHost};
use anyhow::{Result, ensure};

use super::{Http, make_token};

/// Every method of every path that is not a read, from the host's own list.
fn changing_routes() -> Result<Vec<(&'static str, String)>> {
    let source =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/crates/admin-api/src/server.rs");
    let source = fs::read_to_string(source)?;
    let mut routes = Vec::new();
    for route in source.split(".route(").skip(1) {
        let Some(path) = route
            .trim_start()
            .strip_prefix('"')
            .and_then(|rest| rest.split('"').next())
        else {
            continue;
        };
        let mut segments: Vec<&str> = path.split('/').collect();
        for segment in &mut segments {
            if segment.starts_with('{') {
                *segment = "GID_Some";
            }
        }
        // The last one is followed by the rest of the file.
        let handlers = route.split("fn ").next().unwrap_or_default();
        for (method, call) in [
            ("POST", "post("),
            ("PUT", "put("),
            ("PATCH", "patch("),
            ("DELETE", "delete("),
        ] {
            let calls = handlers.split(call).count().saturating_sub(1);
            let before = handlers.split(call).take(calls);
            // `.post(`, ` post(`, and not `rules::post(` or `repost(`.
            let is_called = before.into_iter().any(|before| {
                !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
            });
            if is_called && path.starts_with("/v1/") {
                routes.push((method, segments.join("/")));
            }
        }
    }
    ensure!(
        routes.len() >= 25,
        "only {} routes: {routes:?}",
        routes.len()
    );
    Ok(routes)
}

/// All that a change could have changed.
fn everything(http: &Http, admin: &str) -> Result<String> {
    let lists = [
        "/v1/rules",
        "/v1/groups",
        "/v1/plugins",
        "/v1/tokens",
        "/v1/users",
        "/v1/access-keys",
        "/v1/dead-letters",
        "/v1/clients",
    ];
    let mut all = String::new();
    for path in lists {
        let mut list = http.ask("GET", path, Some(admin), "")?.expect(200)?.json;
        for item in list["items"].as_array_mut().into_iter().flatten() {
            if let Some(fields) = item.as_object_mut() {
                // That a token was used is no change.
                fields.remove("lastUsedAt");
                fields.remove("state");
            }
        }
        all += &list.to_string();
    }
    Ok(all)
}

pub(crate) fn viewer_changes_nothing() -> Result<()> {
    let host = TestHost::start(HostSpec::default())?;
    let (admin, http) = (host.admin()?, Http::of(&host));
    admin.create_rule(&status_rule("kept", "GID_Some", "embedded", "TopicKept"))?;
    let viewer = make_token(&host, "looker", "viewer")?;
    let operator = make_token(&host, "worker", "operator")?;
    let before = everything(&http, admin.token())?;
    let routes = changing_routes()?;
    for (method, path) in &routes {
        let refused = http.ask(method, path, Some(&viewer), "{}")?.expect(403)?;
        let message = refused.json["message"].as_str().unwrap_or_default();
        ensure!(
            refused.json["code"] == "not_allowed"
                && (message.contains("operator") || message.contains("admin"))
                && message.contains("viewer"),
            "{method} {path}: {}",
            refused.text
        );
    }
    ensure!(
        everything(&http, admin.token())? == before,
        "a viewer changed something"
    );
    for path in [
        "/v1/rules",
        "/v1/groups",
        "/v1/clients",
        "/v1/status",
        "/metrics",
    ] {
        http.ask("GET", path, Some(&viewer), "")?.expect(200)?;
    }
    for path in ["/v1/tokens", "/v1/users", "/v1/access-keys", "/v1/audit"] {
        for token in [&viewer, &operator] {
            http.ask("GET", path, Some(token), "")?.expect(403)?;
        }
    }
    http.ask("POST", "/v1/rules/kept/disable", Some(&operator), "")?
        .expect(200)?;
    http.ask("POST", "/v1/tokens", Some(&operator), "{}")?
        .expect(403)?;
    audit_tells_all_of_it(&host, &http)?;
    // A token that lacks a role says so on the command line, too.
    let mut command = Command::new(cli::host_binary()?);
    command
        .args(["rule", "disable", "kept"])
        .env("RULEMILL_SERVER", &http.base)
        .env("RULEMILL_TOKEN", &viewer);
    cli::run_command(&mut command)?
        .expect(6)?
        .expect_one_line(&["not_allowed", "operator", "viewer"])?;
    Ok(())
}

fn audit_tells_all_of_it(host: &TestHost, http: &Http) -> Result<()> {
    let admin = host.admin()?;
    // What was refused and what was done is in the audit log, with who it was.
    let noted = http
        .ask("GET", "/v1/audit?limit=1000", Some(admin.token()), "")?
        .expect(200)?;
    let noted = noted.json["items"].as_array().cloned().unwrap_or_default();
    let has = |actor: &str, method: &str, resource: &str, outcome: &str| {
        noted.iter().any(|entry| {
            entry["actor"] == actor
                && entry["method"] == method
                && entry["resource"] == resource
                && entry["outcome"] == outcome
                && entry["requestId"].as_str().is_some_and(|id| id.len() == 16)
        })
    };
    ensure!(
        has("token:admin", "POST", "/v1/rules/kept", "done")
            && has("token:admin", "POST", "/v1/tokens/looker", "done")
            && has("token:worker", "POST", "/v1/rules/kept/disable", "done")
            && has("token:looker", "DELETE", "/v1/groups/GID_Some", "refused"),
        "not all of it was noted: {noted:?}"
    );
    let listed = host
        .cli(&["audit", "list", "--actor", "token:worker"])?
        .expect(0)?;
    ensure!(
        listed.stdout.contains("/v1/rules/kept/disable") && !listed.stdout.contains("looker"),
        "{}",
        listed.stdout
    );
    Ok(())
}
