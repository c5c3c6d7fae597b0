//! Plugins that are none, want too much, or misbehave.

use std::time::Duration;

use acceptance::admin::status_rule;
use acceptance::eventually::eventually;
use acceptance::fixture::{self, CORE_MODULE, EMPTY_COMPONENT};
use acceptance::host::{HostSpec, TestHost};
use acceptance::load::Load;
use acceptance::reader;
use anyhow::{Context, Result, ensure};

pub(crate) fn refused() -> Result<()> {
    let host = TestHost::start(HostSpec::default())?;
    let admin = host.admin()?;
    let cases: [(&str, &str, Vec<u8>); 6] = [
        ("text", "not_a_component", b"not a component".to_vec()),
        ("module", "not_a_component", CORE_MODULE.to_vec()),
        ("empty", "unsupported_contract", EMPTY_COMPONENT.to_vec()),
        (
            "sockets",
            "forbidden_import",
            fixture::hostile(Some("sockets"))?,
        ),
        (
            "trap",
            "canary_failed",
            fixture::hostile(Some("always-trap"))?,
        ),
        (
            "loop",
            "canary_failed",
            fixture::hostile(Some("always-loop"))?,
        ),
    ];
    for (name, code, component) in cases {
        let reply = admin.upload(name, &component)?;
        reply
            .expect_error(422, code)
            .with_context(|| name.to_owned())?;
        ensure!(
            name != "sockets" || reply.text.contains("wasi:sockets/"),
            "the import is not named: {}",
            reply.text
        );
        if name == "trap" {
            expect_panic(&reply.text)?;
        }
        let file = format!("{name}.wasm");
        std::fs::write(host.folder().join(&file), &component)?;
        let ran = host
            .cli(&["plugin", "push", &file, "--name", name])?
            .expect(1)?;
        ran.expect_one_line(&[]).with_context(|| name.to_owned())?;
        admin
            .get(&format!("/v1/plugins/{name}"))?
            .expect(404)
            .context("it was saved")?;
    }
    Ok(())
}

/// A panic is told by its message, its place in the source and the author's functions, not by how Rust ends a program.
fn expect_panic(text: &str) -> Result<()> {
    for word in [
        "panicked at tests/fixtures/hostile/src/lib.rs:",
        "asked to trap by GID_Canary@@@canary-1",
        // The function that panics is inlined into it.
        "at <hostile_plugin::",
    ] {
        ensure!(text.contains(word), "no {word:?} in: {text}");
    }
    for noise in ["RUST_BACKTRACE", "abort", "panic_fmt"] {
        ensure!(!text.contains(noise), "{noise:?} in: {text}");
    }
    Ok(())
}

/// The plugin passes its canary; then a client makes it trap, another makes it loop.
pub(crate) fn fails_later() -> Result<()> {
    let host = TestHost::start(HostSpec::default())?;
    let admin = host.admin()?;
    std::fs::write(host.folder().join("hostile.wasm"), fixture::hostile(None)?)?;
    host.cli(&["plugin", "push", "hostile.wasm", "--name", "hostile"])?
        .expect(0)?;
    let mut rule = status_rule("hurt", "GID_Hurt", "embedded", "TopicHurt");
    if let Some(fields) = rule.as_object_mut() {
        fields.insert(
            "mapping".to_owned(),
            serde_json::json!({ "plugin": "hostile" }),
        );
    }
    admin.create_rule(&rule)?;
    admin.wait_for_health("hurt", "running", Duration::from_secs(30))?;
    // Enough good ones that the rule is not paused as failing on most events.
    let good = Load::hold(host.mqtt()?, "GID_Hurt@@@good", 40)?;
    let bad = ["trap", "loop"].map(|end| format!("GID_Hurt@@@x-{end}"));
    for client_id in &bad {
        one_visit(&host, client_id)?;
    }
    good.kill()?;
    let buried = eventually("burial of the bad events", Duration::from_secs(60), || {
        let status = admin.get("/v1/status")?.expect(200)?;
        let done = status.at("/events/pending") == 0 && status.at("/connections") == 0;
        Ok(done.then(|| status.at("/events/buried").clone()))
    })?;
    ensure!(
        buried == 4,
        "connect and tcpclean of two clients were to be buried, not {buried}"
    );
    let messages = reader::through_host(&host, "embedded", "TopicHurt", 80)?;
    ensure!(
        messages.iter().all(|message| message.tag.is_some()),
        "a message without tag"
    );
    let rule = admin.get("/v1/status")?.expect(200)?;
    ensure!(
        rule.at("/rules/0/events/buried") == 4,
        "the rule does not show it: {}",
        rule.text
    );
    Ok(())
}

/// A connection that is lost at once, by a client with exactly this id.
fn one_visit(host: &TestHost, client_id: &str) -> Result<()> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(host.mqtt()?)?;
    let length = u8::try_from(client_id.len())?;
    let mut packet = vec![0x10, length + 12];
    packet.extend_from_slice(b"\0\x04MQTT\x04\x02\0\0\0");
    packet.push(length);
    packet.extend_from_slice(client_id.as_bytes());
    stream.write_all(&packet)?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    ensure!(answer == [0x20, 2, 0, 0], "not accepted: {answer:?}");
    Ok(())
}
