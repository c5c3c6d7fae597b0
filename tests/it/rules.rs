//! The life of a rule through the HTTP API and the command line.

use std::time::Duration;

use acceptance::admin::status_rule;
use acceptance::host::{HostSpec, TestHost};
use acceptance::load::Load;
use acceptance::{oracle, reader};
use anyhow::{Result, ensure};

const SOON: Duration = Duration::from_secs(30);

pub(crate) fn life_of_a_rule() -> Result<()> {
    let host = TestHost::start(HostSpec::default())?;
    let admin = host.admin()?;
    let rule = status_rule("life", "GID_Life", "embedded", "TopicLife");
    let created = admin.create_rule(&rule)?;
    ensure!(created.etag.is_some(), "no ETag");
    ensure!(
        created.at("/mapping/plugin") == "apsaramq-status",
        "no default mapping: {}",
        created.text
    );
    ensure!(
        created.at("/status") == "enabled",
        "not enabled: {}",
        created.text
    );
    admin.wait_for_health("life", "running", SOON)?;

    let listed = host.cli(&["rule", "list", "--output", "json"])?.expect(0)?;
    ensure!(
        listed.stdout.contains("\"life\""),
        "not listed: {}",
        listed.stdout
    );
    host.cli(&["rule", "show", "life"])?.expect(0)?;
    host.cli(&["rule", "show", "no-such-rule"])?
        .expect(3)?
        .expect_one_line(&["no-such-rule"])?;

    Load::hold(host.mqtt()?, "GID_Life@@@a", 2)?.kill()?;
    let messages = reader::through_host(&host, "embedded", "TopicLife", 4)?;
    ensure!(
        oracle::judge(&messages)?.online().is_empty(),
        "someone is online"
    );

    host.cli(&["rule", "disable", "life"])?.expect(0)?;
    admin.wait_for_health("life", "disabled", SOON)?;
    Load::hold(host.mqtt()?, "GID_Life@@@b", 2)?.kill()?;
    host.cli(&["rule", "enable", "life"])?.expect(0)?;
    admin.wait_for_health("life", "running", SOON)?;
    Load::hold(host.mqtt()?, "GID_Life@@@c", 2)?.kill()?;
    let messages = reader::through_host(&host, "embedded", "TopicLife", 8)?;
    let verdict = oracle::judge(&messages)?;
    ensure!(
        !verdict.clients.contains_key("GID_Life@@@b0"),
        "a disabled rule delivered"
    );
    ensure!(
        verdict.story("GID_Life@@@c0") == "connect tcpclean",
        "an enabled rule did not deliver"
    );

    let stale = admin.put("/v1/rules/life", Some("\"1\""), &without_id(&rule))?;
    stale.expect_error(412, stale.at("/code").as_str().unwrap_or_default())?;
    host.cli(&["rule", "delete", "life", "--yes"])?.expect(0)?;
    admin.get("/v1/rules/life")?.expect(404)?;
    Ok(())
}

fn without_id(rule: &serde_json::Value) -> serde_json::Value {
    let mut rule = rule.clone();
    if let Some(fields) = rule.as_object_mut() {
        fields.remove("ruleId");
    }
    rule
}
