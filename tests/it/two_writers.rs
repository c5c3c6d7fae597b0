//! Two writers of one rule: no change is lost, and whoever came too late is told so.

use std::thread;

use acceptance::admin::{Admin, status_rule};
use acceptance::host::{HostSpec, TestHost};
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;

const EDITS: u64 = 1000;
const PATH: &str = "/v1/rules/shared";

pub(crate) fn lose_nothing() -> Result<()> {
    let host = TestHost::start(HostSpec::default())?;
    let admin = host.admin()?;
    let mut rule = status_rule("shared", "GID_Shared", "embedded", "TopicShared");
    describe(&mut rule, 0);
    admin.create_rule(&rule)?;
    let first = admin.get(PATH)?.expect(200)?;
    let revision = first.at("/revision").as_u64().context("no revision")?;
    let writers: Vec<_> = (0..2)
        .map(|_| {
            let admin = admin.clone();
            thread::spawn(move || write(&admin))
        })
        .collect();
    let (mut won, mut lost) = (0, 0);
    for writer in writers {
        let counts = writer.join().map_err(|_| anyhow!("a writer panicked"))??;
        won += counts.0;
        lost += counts.1;
    }
    let last = admin.get(PATH)?.expect(200)?;
    ensure!(
        won == EDITS && count(&last.json)? == EDITS,
        "{won} edits were taken, the rule has {}",
        last.at("/description")
    );
    ensure!(lost > 0, "the writers never met");
    let after = last.at("/revision").as_u64().context("no revision")?;
    ensure!(
        after == revision + EDITS,
        "{EDITS} edits made revisions {revision} to {after}"
    );
    let history = admin
        .get("/v1/rules/shared/history?limit=1000")?
        .expect(200)?;
    ensure!(
        history.at("/total") == 100,
        "kept: {}",
        history.at("/total")
    );
    let newest = history.at("/items/0");
    ensure!(
        newest.pointer("/difference/0/from") == Some(&Value::from((EDITS - 1).to_string()))
            && newest.pointer("/difference/0/to") == Some(&Value::from(EDITS.to_string())),
        "the history's newest is {newest}"
    );
    Ok(())
}

/// Adds one at a time until all edits are made; returns how many were taken and how many were too late.
fn write(admin: &Admin) -> Result<(u64, u64)> {
    let (mut won, mut lost) = (0, 0);
    loop {
        let mut seen = admin.get(PATH)?.expect(200)?;
        let number = count(&seen.json)?;
        if number >= EDITS {
            return Ok((won, lost));
        }
        describe(&mut seen.json, number + 1);
        let reply = admin.put(PATH, seen.etag.as_deref(), &seen.json)?;
        match reply.status {
            200 => won += 1,
            412 => {
                reply.expect_error(412, "stale_revision")?;
                lost += 1;
            }
            other => bail!("a writer got {other}: {}", reply.text),
        }
    }
}

fn describe(rule: &mut Value, number: u64) {
    if let Some(fields) = rule.as_object_mut() {
        fields.insert("description".to_owned(), number.to_string().into());
    }
}

fn count(rule: &Value) -> Result<u64> {
    let text = rule.pointer("/description").and_then(Value::as_str);
    Ok(text.context("no description")?.parse()?)
}
