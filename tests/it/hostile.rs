//! Every hostile component through a real host: uploaded, given a rule if it is taken, set off by a client. Each gets
//! exactly its outcome, while another rule delivers as if nothing was and the host's memory stays flat.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use acceptance::admin::{Admin, Reply, status_rule};
use acceptance::bare_client::BareClient;
use acceptance::cli;
use acceptance::event::EVENTS_PER_VISIT;
use acceptance::eventually::{eventually, let_pass};
use acceptance::host::{HostSpec, TestHost};
use acceptance::metrics::{Histogram, Metrics};
use acceptance::{figures, memory, oracle};
use anyhow::{Context, Result, bail, ensure};
use hostile_components::{Hostile, Outcome, trigger_client_id};
use serde_json::{Value, json};

/// What the host may take more, at any moment, than with one plugin at work: an upload of the largest size with a copy,
/// one instance of each plugin on each thread, and what the embedded RocketMQ maps into its memory for new queues.
const MORE_BYTES_MAX: u64 = 192 << 20;
/// How many times as late an event of the other rule may be stored, 99th percentile, as before in the same run: compilers
/// of uploads want all cores at a lower priority, and some sixty rules loop in `init` and in their calls, up to 200 ms each
/// time, on other mapper threads than this rule uses.
const LATER_TIMES_MAX: f64 = 3.0;
/// Allowed in any case, seconds: a few turns of the system's scheduler.
const LATE_SECONDS: f64 = 0.1;
/// Between two visits of the other rule's clients.
const CALM_PAUSE: Duration = Duration::from_millis(50);
/// Visits of the other rule before the first hostile component comes.
const CALM_VISITS: u64 = 60;
const PATIENCE: Duration = Duration::from_secs(60);
/// For one upload: its compiler may take a minute by the clock, its canary has deadlines of its own.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(180);

pub(crate) fn each_gets_its_outcome() -> Result<()> {
    let host = TestHost::start(HostSpec {
        extra: "[plugins]\ninit-deadline = \"200ms\"\ncompile-time = \"3s\"\ncompile-memory = \"1GiB\"\n\
                [delivery]\nretry-max-age = \"2s\"\n"
            .to_owned(),
        ..HostSpec::default()
    })?;
    let admin = host.admin()?.with_patience(UPLOAD_PATIENCE);
    admin.create_rule(&status_rule("calm", "GID_Calm", "embedded", "TopicCalm"))?;
    admin.wait_for_health("calm", "running", PATIENCE)?;
    let stop = AtomicBool::new(false);
    let (judged, visits) = std::thread::scope(|scope| {
        let calm = scope.spawn(|| calm_visits(&host, &stop));
        let judged = disturbed(&host, &admin);
        stop.store(true, Ordering::Relaxed);
        (judged, calm.join())
    });
    judged?;
    let Ok(visits) = visits else {
        bail!("the clients of the other rule panicked");
    };
    let wanted = visits? * EVENTS_PER_VISIT;
    eventually("delivery of the other rule", PATIENCE, || {
        Ok((rule_events(&admin, "calm", "delivered")? == wanted).then_some(()))
    })?;
    oracle::conservation(&admin)?;
    admin.get("/readyz")?.expect(200)?;
    Ok(())
}

/// A bomb for the compiler kills neither the command that checks it nor the machine that it runs on.
pub(crate) fn check_refuses_a_bomb() -> Result<()> {
    let all = hostile_components::all();
    let named = |name| all.iter().find(|case| case.name == name);
    let bomb = named("nests-50000-deep").context("no such component")?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("bomb.wasm");
    std::fs::write(&path, &bomb.bytes)?;
    let path = path.display().to_string();
    let checked = cli::run(&["plugin", "check", &path])?.expect(1)?;
    checked.expect_one_line(bomb.words).map(drop)
}

/// Clients of the other rule, one after the other, until `stop`; how many there were.
fn calm_visits(host: &TestHost, stop: &AtomicBool) -> Result<u64> {
    let mut visits = 0;
    while !stop.load(Ordering::Relaxed) {
        BareClient::visit(host.mqtt()?, &format!("GID_Calm@@@{}", visits % 16))?;
        visits += 1;
        let_pass(CALM_PAUSE);
    }
    Ok(visits)
}

fn disturbed(host: &TestHost, admin: &Admin) -> Result<()> {
    eventually("the other rule at work", PATIENCE, || {
        let delivered = rule_events(admin, "calm", "delivered")?;
        Ok((delivered >= CALM_VISITS * EVENTS_PER_VISIT).then_some(()))
    })?;
    let before = latency(admin)?;
    let memory_before = memory::now(host.pid())?;
    memory::reset_peak(host.pid())?;
    let begin = Instant::now();
    let mut wrong = Vec::new();
    let mut taken = Vec::new();
    let mut slow = Vec::new();
    for (number, case) in hostile_components::all().into_iter().enumerate() {
        let (name, begin) = (case.name, Instant::now());
        match upload(admin, number, &case) {
            Ok(true) => taken.push((number, case)),
            Ok(false) => {}
            Err(error) => wrong.push(format!("{name}: {error:#}")),
        }
        slow.push((begin.elapsed(), name));
    }
    let uploaded = begin.elapsed();
    slow.sort_by_key(|(taken, _)| std::cmp::Reverse(*taken));
    slow.truncate(6);
    figures::say("hostile uploads", &format!("{slow:?}"));
    for (number, _) in &taken {
        for client_id in [good_client(*number), trigger_client_id(&group(*number))] {
            BareClient::visit(host.mqtt()?, &client_id)?;
        }
    }
    for (_, case) in &taken {
        if let Err(error) = outcome(admin, case) {
            wrong.push(format!("{}: {error:#}", case.name));
        }
    }
    let after = latency(admin)?;
    let more = memory::peak(host.pid())?.saturating_sub(memory_before);
    let (calm, stormy) = (before.quantile(0.99), after.since(&before).quantile(0.99));
    figures::say(
        "hostile",
        &format!(
            "{} components taken; uploads {} s, all {} s; memory {} MiB and {} MiB more at most; other rule p99 {:.0} ms before, {:.0} ms meanwhile",
            taken.len(),
            uploaded.as_secs(),
            begin.elapsed().as_secs(),
            memory::mib(memory_before),
            memory::mib(more),
            calm * 1e3,
            stormy * 1e3,
        ),
    );
    ensure!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    ensure!(
        more <= MORE_BYTES_MAX,
        "the host took {} MiB more",
        memory::mib(more)
    );
    ensure!(
        stormy <= (calm * LATER_TIMES_MAX).max(LATE_SECONDS),
        "the other rule's p99 went from {calm} s to {stormy} s"
    );
    Ok(())
}

fn latency(admin: &Admin) -> Result<Histogram> {
    Metrics::read(admin)?.histogram("rulemill_event_delivery_seconds", "rule_id=\"calm\"")
}

fn group(number: usize) -> String {
    format!("GID_Hostile{number}")
}

fn good_client(number: usize) -> String {
    format!("{}@@@good", group(number))
}

/// Uploads a component and makes a rule with it; whether there is that rule now.
fn upload(admin: &Admin, number: usize, case: &Hostile) -> Result<bool> {
    let reply = admin.upload(case.name, &case.bytes)?;
    let refused = match case.outcome {
        Outcome::Refused(code) => Some(code),
        Outcome::CompilerStopped => Some("compile_limit_exceeded"),
        Outcome::RuleRefused(_)
        | Outcome::Fault(_)
        | Outcome::Rejected
        | Outcome::Retried
        | Outcome::Harmless => None,
    };
    if let Some(code) = refused {
        refusal(&reply, code, case.words)?;
        return not_saved(admin, case).map(|()| false);
    }
    reply.expect(201)?;
    let mut rule = status_rule(case.name, &group(number), "embedded", "TopicHostile");
    let mut limits = json!({});
    if let Some(fields) = limits.as_object_mut() {
        if let Some(bytes) = case.memory_bytes {
            fields.insert("memoryBytesMax".to_owned(), json!(bytes));
        }
        // A development build takes longer than 10 ms for some megabytes: what is not about time gets some.
        if case.outcome != Outcome::Fault("deadline") {
            fields.insert("callDeadlineMs".to_owned(), json!(100));
        }
    }
    let mapping = json!({ "plugin": case.name, "limits": limits });
    if let Some(fields) = rule.as_object_mut() {
        fields.insert("mapping".to_owned(), mapping);
    }
    let reply = admin.post("/v1/rules", &rule)?;
    if let Outcome::RuleRefused(code) = case.outcome {
        refusal(&reply, code, case.words)?;
        return Ok(false);
    }
    reply.expect(201)?;
    Ok(true)
}

fn not_saved(admin: &Admin, case: &Hostile) -> Result<()> {
    let reply = admin.get(&format!("/v1/plugins/{}", case.name))?;
    reply.expect(404).context("it was saved").map(drop)
}

/// The code, and a message of one short line that says all of `words`.
fn refusal(reply: &Reply, code: &str, words: &[&str]) -> Result<()> {
    reply.expect_error(422, code)?;
    says(reply.at("/message"), words)
}

fn says(text: &Value, words: &[&str]) -> Result<()> {
    let text = text.as_str().unwrap_or_default();
    ensure!(text.len() <= 4096, "{} bytes of message", text.len());
    let missing: Vec<_> = words.iter().filter(|it| !text.contains(**it)).collect();
    ensure!(missing.is_empty(), "missing {missing:?} in: {text}");
    Ok(())
}

/// What became of the two visits: the good client's events are delivered in any case.
fn outcome(admin: &Admin, case: &Hostile) -> Result<()> {
    let settled = eventually("its events to be settled", PATIENCE, || {
        let done = ["delivered", "buried", "skipped", "expired"]
            .iter()
            .map(|name| rule_events(admin, case.name, name))
            .sum::<Result<u64>>()?;
        Ok((done == 2 * EVENTS_PER_VISIT).then_some(()))
    });
    settled.with_context(|| format!("{:?}", rule(admin, case.name)))?;
    let reason = match case.outcome {
        Outcome::Harmless => None,
        Outcome::Fault(_) => Some("fault"),
        Outcome::Rejected | Outcome::Retried => Some("rejected"),
        other => bail!("{other:?} has no events"),
    };
    let buried = if reason.is_some() {
        EVENTS_PER_VISIT
    } else {
        0
    };
    ensure!(
        rule_events(admin, case.name, "buried")? == buried
            && rule_events(admin, case.name, "delivered")? == 2 * EVENTS_PER_VISIT - buried,
        "not as expected: {}",
        rule(admin, case.name)?
    );
    let letters = admin
        .get(&format!("/v1/dead-letters?ruleId={}", case.name))?
        .expect(200)?;
    for letter in letters.at("/items").as_array().into_iter().flatten() {
        let field = |name: &str| letter.get(name).cloned().unwrap_or_default();
        ensure!(field("reason") == reason.unwrap_or_default(), "{letter}");
        says(&field("detail"), case.words)?;
    }
    if let Outcome::Fault(kind) = case.outcome {
        let sample = format!(
            "rulemill_mapper_faults_total{{rule_id=\"{}\",fault=\"{kind}\"}}",
            case.name
        );
        let counted = Metrics::read(admin)?.value(&sample)?;
        ensure!(counted >= 3.0, "{counted} faults are counted");
    }
    Ok(())
}

fn rule(admin: &Admin, rule_id: &str) -> Result<Value> {
    let status = admin.get("/v1/status")?.expect(200)?;
    let mut rules = status.at("/rules").as_array().into_iter().flatten();
    let rule = rules.find(|rule| rule.get("ruleId").is_some_and(|it| it == rule_id));
    rule.cloned().with_context(|| format!("no rule {rule_id}"))
}

fn rule_events(admin: &Admin, rule_id: &str, name: &str) -> Result<u64> {
    let rule = rule(admin, rule_id)?;
    rule.pointer(&format!("/events/{name}"))
        .and_then(Value::as_u64)
        .with_context(|| format!("no events.{name} in {rule}"))
}
