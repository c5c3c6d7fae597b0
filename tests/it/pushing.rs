//! A push is all or nothing: whatever becomes of its client or of the host, a new version either maps for its rules or
//! is not there.

use std::fs;
use std::io::Write as _;
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use acceptance::admin::{Admin, status_rule};
use acceptance::eventually::eventually;
use acceptance::fixture;
use acceptance::host::{HostSpec, TestHost};
use acceptance::process::Process;
use anyhow::{Context, Result, anyhow, ensure};
use serde_json::json;

const PLUGIN: &str = "pushed";
const RULE: &str = "devices";
const PATIENCE: Duration = Duration::from_secs(60);
/// For a push whose compiler hardly gets a processor.
const BUSY_PATIENCE: Duration = Duration::from_secs(180);
/// The class of threads that run while no other wants the processor: sched(7).
const SCHED_IDLE: u32 = 5;
/// Each new version passes the point twice: before its transaction is committed, and after.
const PASSES_PER_PUSH: u64 = 2;

/// A host with version 1 of the plugin and a rule that follows its latest version.
fn host_with_rule(spec: HostSpec) -> Result<(TestHost, Admin)> {
    let host = TestHost::start(spec)?;
    let admin = host.admin()?;
    let first = fixture::built_in("apsaramq-status")?;
    admin.upload(PLUGIN, &first)?.expect(201)?;
    let mut rule = status_rule(RULE, "GID_Pushed", "embedded", "TopicPushed");
    if let Some(fields) = rule.as_object_mut() {
        fields.insert("mapping".to_owned(), json!({ "plugin": PLUGIN }));
    }
    admin.create_rule(&rule)?;
    Ok((host, admin))
}

fn active(admin: &Admin) -> Result<u64> {
    let rule = admin.get(&format!("/v1/rules/{RULE}"))?.expect(200)?;
    let version = rule.at("/state/pluginVersion").as_u64();
    version.with_context(|| format!("no version maps: {}", rule.text))
}

fn versions(admin: &Admin) -> Result<u64> {
    let plugin = admin.get(&format!("/v1/plugins/{PLUGIN}"))?.expect(200)?;
    plugin.at("/versions").as_u64().context("no versions")
}

pub(crate) fn outlives_its_client() -> Result<()> {
    let (_host, admin) = host_with_rule(HostSpec::default())?;
    let second = fixture::built_in("cloudevents")?;
    let address = admin.base().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "POST /v1/plugins/{PLUGIN}/versions HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/wasm\r\nContent-Length: {}\r\n\r\n",
        admin.token(),
        second.len()
    )?;
    stream.write_all(&second)?;
    // Compiling takes longer than to notice that nobody is there any more.
    stream.shutdown(Shutdown::Both)?;
    drop(stream);
    eventually("the version to map", PATIENCE, || {
        Ok((active(&admin)? == 2).then_some(()))
    })?;
    let again = admin.upload(PLUGIN, &second)?.expect(200)?;
    ensure!(again.at("/activeFor/0") == RULE, "{}", again.text);
    Ok(())
}

pub(crate) fn is_all_or_nothing() -> Result<()> {
    // The host dies during the push of version 2: before its commit, and after.
    for (pass, is_stored) in [(PASSES_PER_PUSH + 1, false), (PASSES_PER_PUSH + 2, true)] {
        let point = ("RULEMILL_FAIL_POINT".to_owned(), format!("push:{pass}"));
        let (mut host, admin) = host_with_rule(HostSpec {
            environment: vec![point],
            ..HostSpec::default()
        })?;
        let second = fixture::built_in("cloudevents")?;
        ensure!(admin.upload(PLUGIN, &second).is_err(), "it was answered");
        eventually("the host to die", PATIENCE, || {
            Ok((!host.is_running()?).then_some(()))
        })?;
        host.spec_mut().environment.clear();
        host.restart()?;
        let admin = host.admin()?;
        let version = if is_stored { 2 } else { 1 };
        ensure!(
            versions(&admin)? == version && active(&admin)? == version,
            "after a kill at pass {pass}: {} versions, {} maps",
            versions(&admin)?,
            active(&admin)?
        );
        // The same bytes again: made now, or found.
        let status = if is_stored { 200 } else { 201 };
        let again = admin.upload(PLUGIN, &second)?.expect(status)?;
        ensure!(again.at("/activeFor/0") == RULE, "{}", again.text);
        let plugin = admin.get(&format!("/v1/plugins/{PLUGIN}"))?.expect(200)?;
        let activations = plugin.at("/activations").as_array().map_or(0, Vec::len);
        ensure!(
            activations == 2 && plugin.at("/activations/0/by") == "token:admin",
            "{}",
            plugin.text
        );
    }
    Ok(())
}

pub(crate) fn ends_on_a_busy_machine() -> Result<()> {
    let (host, admin) = host_with_rule(HostSpec::default())?;
    let admin = admin.with_patience(BUSY_PATIENCE);
    let second = fixture::built_in("cloudevents")?;
    // Two for each processor: none is ever free.
    let busy: Vec<Process> = (0..2 * thread::available_parallelism()?.get())
        .map(|_| {
            let mut endless = Command::new("sh");
            Process::start(
                "an endless loop",
                endless.args(["-c", "while :; do :; done"]),
            )
        })
        .collect::<Result<_>>()?;
    let (pushed, gives_way) = thread::scope(|scope| {
        let pushing = scope.spawn(|| admin.upload(PLUGIN, &second));
        let gives_way = eventually("a compiler that gives way", PATIENCE, || {
            Ok(compiles_idly(host.pid()).then_some(()))
        });
        (pushing.join(), gives_way)
    });
    drop(busy);
    gives_way?;
    let pushed = pushed.map_err(|_| anyhow!("the push panicked"))??;
    pushed.expect(201)?;
    ensure!(active(&admin)? == 2, "version {} maps", active(&admin)?);
    Ok(())
}

/// Whether a child of `host` has a thread that compiles while nobody else wants the processor.
fn compiles_idly(host: u32) -> bool {
    // Processes and threads end while they are looked at.
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let stat = |of: &Path| Stat::read(&of.join("stat"));
    entries(Path::new("/proc"))
        .filter(|process| stat(&process.path()).is_some_and(|it| it.parent == host))
        .flat_map(|process| entries(&process.path().join("task")))
        .filter_map(|thread| stat(&thread.path()))
        .any(|it| it.name == "compile-idle" && it.class == SCHED_IDLE)
}

/// What the system says of a process or a thread.
struct Stat {
    name: String,
    parent: u32,
    class: u32,
}

impl Stat {
    fn read(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        // A name may have blanks.
        let (name, rest) = text.split_once('(')?.1.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // The first one after the name is the third.
        Some(Self {
            name: name.to_owned(),
            parent: fields.get(4 - 3)?.parse().ok()?,
            class: fields.get(41 - 3)?.parse().ok()?,
        })
    }
}
