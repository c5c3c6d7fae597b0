//! The API under load: many rules, many known clients, rules that change all the time, connects that
//! do not stop.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use acceptance::admin::{Admin, status_rule};
use acceptance::eventually::let_pass;
use acceptance::host::{HostSpec, TestHost};
use acceptance::load::{ChurnSpec, Load, StormReport, StormSpec};
use acceptance::{figures, memory, oracle, reader, scale};
use anyhow::{Context, Result, ensure};
use serde_json::Value;

const RULES: usize = 100;
const PAGE: usize = 1000;
const EDIT_INTERVAL: Duration = Duration::from_millis(100);
/// 99th percentile of requests during the storm.
const P99_MAX: Duration = Duration::from_millis(50);
/// A page of clients is some 300 KiB; the list of all would be a hundred times that.
const LISTING_BYTES_MAX: u64 = 24 << 20;

pub(crate) fn stays_quick_with_many_rules_and_clients() -> Result<()> {
    // In full size more than the broker remembers of those that are offline: its table is full then.
    let (clients, known, rate, seconds) =
        scale::pick((3_000, 3_000, 100, 5), (110_000, 99_000, 2_000, 60));
    let host = TestHost::start(HostSpec::default())?;
    let admin = host.admin()?;
    make_rules(&admin)?;
    let (listed, grown) = list_known(&host, &admin, clients, known)?;
    let storm = Load::storm(
        host.mqtt()?,
        StormSpec {
            prefix: "GID_Many_000@@@s",
            rate,
            seconds,
            clients: rate,
        },
    )?;
    let mut took = edit_and_read(&admin, Duration::from_secs(u64::from(seconds)))?;
    let storm = storm.report()?;
    ensure!(storm.refused == 0 && storm.errors == 0, "{storm:?}");
    took.sort_unstable();
    let micros: Vec<u64> = took
        .iter()
        .map(|it| u64::try_from(it.as_micros()).unwrap_or(u64::MAX))
        .collect();
    let (p50_us, p99_us) = (
        figures::percentile(&micros, 50),
        figures::percentile(&micros, 99),
    );
    figures::say(
        "administration under load",
        &format!(
            "{listed} clients, {RULES} rules, {rate} connects/s: {} requests, p50 {p50_us} us, p99 {p99_us} us; \
             listing took {} MiB; CONNACK p99 {} us",
            micros.len(),
            memory::mib(grown),
            storm.p99_us
        ),
    );
    // A build machine that does much else has a p99 that is its own.
    let allowed = scale::pick(P99_MAX * 10, P99_MAX);
    ensure!(
        Duration::from_micros(p99_us) <= allowed,
        "p99 of the API is {p99_us} us"
    );

    all_arrived(&host, &admin, &storm)
}

/// As many as there may be, and one more.
fn make_rules(admin: &Admin) -> Result<()> {
    for number in 0..RULES {
        let rule = status_rule(
            &format!("rule-{number:03}"),
            &format!("GID_Many_{number:03}"),
            "embedded",
            "TopicMany",
        );
        admin.create_rule(&rule)?;
    }
    let one_more = status_rule("rule-100", "GID_Many_100", "embedded", "TopicMany");
    admin
        .post("/v1/rules", &one_more)?
        .expect_error(409, "too_many_rules")?;
    Ok(())
}

/// Lists the clients that visited; how many they are, and how many bytes the host took for it.
fn list_known(host: &TestHost, admin: &Admin, clients: u64, known: usize) -> Result<(usize, u64)> {
    // Of a group without a rule: they are known, they have no events to wait for.
    let visits = ChurnSpec {
        prefix: "GID_Known@@@c",
        visits: clients,
        clients,
        parallel: 200.min(clients / 2),
    };
    let churned = Load::churn(host.mqtt()?, visits)?.report()?;
    ensure!(churned.errors == 0 && churned.refused == 0, "{churned:?}");

    memory::reset_peak(host.pid())?;
    let before = memory::peak(host.pid())?;
    let listed = list_all(admin)?;
    ensure!(
        listed >= known,
        "{listed} clients are listed, of {known} that are known"
    );
    let grown = memory::peak(host.pid())?.saturating_sub(before);
    ensure!(
        grown <= LISTING_BYTES_MAX,
        "listing {listed} clients took {} MiB",
        memory::mib(grown)
    );
    Ok((listed, grown))
}

/// Each event of the storm once, and each client's in order.
fn all_arrived(host: &TestHost, admin: &Admin, storm: &StormReport) -> Result<()> {
    let events = storm.connects * 2 + storm.connects.div_ceil(2);
    admin.wait_until_delivered(Duration::from_secs(120))?;
    let events = usize::try_from(events)?;
    let messages = reader::of(
        host,
        "embedded",
        "TopicMany",
        events,
        Duration::from_secs(120),
    )?;
    // It judges each client's order, through all of the edits.
    let verdict = oracle::judge(&messages)?;
    verdict.expect_nobody_online()?;
    ensure!(
        messages.len() == events,
        "{} messages of {events} events",
        messages.len()
    );
    oracle::conservation(admin)
}

/// Reads every page; returns how many different clients there were.
fn list_all(admin: &Admin) -> Result<usize> {
    let mut seen = BTreeSet::new();
    let mut token = None;
    loop {
        let next = token.map_or_else(String::new, |token| format!("&pageToken={token}"));
        let page = admin
            .get(&format!("/v1/clients?limit={PAGE}{next}"))?
            .expect(200)?;
        let items = page.at("/items").as_array().context("no items")?.clone();
        ensure!(items.len() <= PAGE, "a page of {}", items.len());
        for item in items {
            let id = item.get("clientId").and_then(Value::as_str);
            let is_new = seen.insert(id.context("no clientId")?.to_owned());
            ensure!(is_new, "{id:?} was listed twice");
        }
        token = page.at("/nextPageToken").as_str().map(str::to_owned);
        if token.is_none() {
            return Ok(seen.len());
        }
    }
}

/// An edit each tenth of a second, among them such of the rule whose clients come, and what a console reads between them.
fn edit_and_read(admin: &Admin, time: Duration) -> Result<Vec<Duration>> {
    let start = Instant::now();
    let mut took = Vec::new();
    let mut timed = |work: &mut dyn FnMut() -> Result<()>| {
        let asked = Instant::now();
        work()?;
        took.push(asked.elapsed());
        anyhow::Ok(())
    };
    let mut next = start;
    for number in 0.. {
        if start.elapsed() >= time {
            break;
        }
        let rule = if number % 4 == 0 {
            "rule-000".to_owned()
        } else {
            format!("rule-{:03}", number % RULES)
        };
        let path = format!("/v1/rules/{rule}");
        let mut shown = None;
        timed(&mut || {
            shown = Some(admin.get(&path)?.expect(200)?);
            Ok(())
        })?;
        let shown = shown.context("no answer")?;
        let mut body = shown.json.clone();
        let fields = body.as_object_mut().context("no object")?;
        for computed in [
            "ruleId",
            "state",
            "warnings",
            "createdAt",
            "updatedAt",
            "revision",
        ] {
            fields.remove(computed);
        }
        fields.insert("description".to_owned(), format!("edit {number}").into());
        timed(&mut || {
            admin
                .put(&path, shown.etag.as_deref(), &body)?
                .expect(200)
                .map(drop)
        })?;
        for path in ["/v1/status", "/v1/clients?limit=100", "/v1/rules?limit=100"] {
            timed(&mut || admin.get(path)?.expect(200).map(drop))?;
        }
        next += EDIT_INTERVAL;
        if let Some(rest) = next.checked_duration_since(Instant::now()) {
            // The rate of the edits, not a wait for something.
            let_pass(rest);
        }
    }
    Ok(took)
}
