//! Who may connect: Signature and the user list on a real host, from the outside.

use std::time::{Duration, Instant};

use acceptance::admin::status_rule;
use acceptance::bare_client::{Answer, BareClient, Credentials, Version};
use acceptance::event::EVENTS_PER_VISIT;
use acceptance::eventually::eventually;
use acceptance::foreign_client::{ForeignClient, Library, Shown, Way};
use acceptance::guesses::{Guess, Guessing, Tally};
use acceptance::host::{HostSpec, TestHost};
use acceptance::metrics::Metrics;
use acceptance::signature;
use anyhow::{Context, Result, ensure};

const KEY: &str = "LTAI5tAcceptance";
const SECRET: &str = "a-secret-that-no-log-may-show";
const USER: &str = "ann";
const PASSWORD: &str = "a password that no log may show";
const DEVICE: &str = "GID_Access@@@d1";
/// A development build on two cores beside the one that guesses.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// What a refusal says, by version.
const BAD_CREDENTIALS: (u8, u8) = (4, 0x86);
const NOT_AUTHORIZED: (u8, u8) = (5, 0x87);
const THROTTLED: u8 = 0x9f;

/// A host where everybody must prove who it is, with one access key and one user.
fn host() -> Result<TestHost> {
    let host = TestHost::start(HostSpec {
        extra: "[access]\nanonymous = \"never\"\n".to_owned(),
        ..HostSpec::default()
    })?;
    add_access_key(&host, KEY, SECRET)?;
    add_user(&host, USER, PASSWORD)?;
    host.admin()?.create_rule(&status_rule(
        "access",
        "GID_Access",
        "embedded",
        "TopicAccess",
    ))?;
    Ok(host)
}

fn add_access_key(host: &TestHost, id: &str, secret: &str) -> Result<()> {
    host.cli_with_secret(&["access-key", "add", id, "--use", "mqtt"], secret)?
        .expect(0)
        .map(drop)
}

fn add_user(host: &TestHost, name: &str, password: &str) -> Result<()> {
    host.cli_with_secret(&["user", "add", name], password)?
        .expect(0)
        .map(drop)
}

fn signed_name() -> String {
    signature::username(KEY, "mqtt-local")
}

fn ask(host: &TestHost, version: Version, client_id: &str, shown: (&str, &str)) -> Result<Answer> {
    let credentials = Credentials {
        username: shown.0.as_bytes(),
        password: shown.1.as_bytes(),
    };
    let (answer, client) = BareClient::ask_as(host.mqtt()?, version, client_id, Some(credentials))?;
    client.map_or(Ok(()), BareClient::close)?;
    Ok(answer)
}

/// Asks in both versions; the answers must be 0, or those of `refusal`.
fn expect(
    host: &TestHost,
    client_id: &str,
    shown: (&str, &str),
    refusal: Option<(u8, u8)>,
) -> Result<()> {
    let (v3, v5) = refusal.unwrap_or_default();
    for (version, code) in [(Version::V3, v3), (Version::V5, v5)] {
        let answer = ask(host, version, client_id, shown)?;
        ensure!(
            answer.code == code,
            "{client_id} as {:?}, {version:?}: expected {code}, got {answer:?}",
            shown.0
        );
        let has_words = answer.reason.is_some();
        ensure!(
            has_words == (version == Version::V5 && code != 0),
            "the words of {answer:?}"
        );
    }
    Ok(())
}

/// The host has observed exactly `events`, and what was recorded was delivered.
fn expect_events(host: &TestHost, events: u64) -> Result<()> {
    let admin = host.admin()?;
    eventually("all events", Duration::from_secs(20), || {
        Ok((admin.events("observed")? >= events).then_some(()))
    })?;
    admin.wait_until_delivered(Duration::from_secs(30))?;
    for name in ["observed", "delivered"] {
        let count = admin.events(name)?;
        ensure!(count == events, "{count} events {name} instead of {events}");
    }
    Ok(())
}

fn expect_no_secret_in_log(host: &TestHost) -> Result<()> {
    let log = host.log();
    let tag = signature::password(SECRET, DEVICE)?;
    for secret in [SECRET, PASSWORD, &tag] {
        ensure!(!log.contains(secret), "the log shows a secret");
    }
    Ok(())
}

pub(crate) fn right_and_wrong() -> Result<()> {
    let host = host()?;
    let name = signed_name();
    let right = signature::password(SECRET, DEVICE)?;
    expect(&host, DEVICE, (&name, &right), None)?;
    expect(&host, DEVICE, (USER, PASSWORD), None)?;
    let visits = 4;
    let other = "GID_Access@@@d2";
    let wrong = signature::password("another secret", DEVICE)?;
    let other_instance = signature::username(KEY, "mqtt-other");
    let other_key = signature::username("LTAI5tUnknown", "mqtt-local");
    let long = "x".repeat(2_000);
    let refused: [(&str, (&str, &str)); 17] = [
        // Wrong, replayed under another client id, unknown.
        (DEVICE, (&name, &wrong)),
        (other, (&name, &right)),
        (DEVICE, (&other_key, &right)),
        (DEVICE, (USER, "wrong")),
        (DEVICE, (USER, &right)),
        (DEVICE, ("bob", PASSWORD)),
        (DEVICE, ("Ann", PASSWORD)),
        (DEVICE, (KEY, SECRET)),
        // Malformed.
        (DEVICE, (&name, SECRET)),
        (DEVICE, (&name, "")),
        (DEVICE, (&other_instance, &right)),
        (DEVICE, ("Signature|LTAI5tAcceptance", &right)),
        (DEVICE, ("Signature||mqtt-local", &right)),
        (DEVICE, (USER, "")),
        (DEVICE, (USER, &long)),
        (DEVICE, (&long, PASSWORD)),
        (DEVICE, ("Token|LTAI5tAcceptance|mqtt-local", &right)),
    ];
    for (client_id, shown) in refused {
        expect(&host, client_id, shown, Some(BAD_CREDENTIALS))?;
    }
    let v3 = BareClient::ask(host.mqtt()?, Version::V3, DEVICE)?.0;
    let v5 = BareClient::ask(host.mqtt()?, Version::V5, DEVICE)?.0;
    ensure!((v3.code, v5.code) == NOT_AUTHORIZED, "{v3:?} {v5:?}");
    expect(
        &host,
        other,
        (&name, &signature::password(SECRET, other)?),
        None,
    )?;
    expect_events(&host, (visits + 2) * EVENTS_PER_VISIT)?;
    let metrics = Metrics::read(&host.admin()?)?;
    let refusals = metrics.value("rulemill_connects_refused_total{reason=\"bad-credentials\"}")?;
    let expected = f64::from(u32::try_from(refused.len() * 2)?);
    ensure!((refusals - expected).abs() < 0.5, "{refusals} refusals");
    let anonymous = metrics.value("rulemill_access_refused_total{kind=\"anonymous\"}")?;
    ensure!((anonymous - 2.0).abs() < 0.5, "{anonymous} anonymous");
    ensure!(
        host.log().contains("authentication is refused"),
        "the log does not tell of refusals"
    );
    expect_no_secret_in_log(&host)
}

pub(crate) fn removed_credentials_open_nothing() -> Result<()> {
    let host = host()?;
    let name = signed_name();
    let right = signature::password(SECRET, DEVICE)?;
    for shown in [(USER, PASSWORD), (name.as_str(), right.as_str())] {
        expect(&host, DEVICE, shown, None)?;
    }
    host.cli(&["user", "delete", USER, "--yes"])?.expect(0)?;
    expect(&host, DEVICE, (USER, PASSWORD), Some(BAD_CREDENTIALS))?;
    host.cli(&["access-key", "delete", KEY, "--yes"])?
        .expect(0)?;
    // Nobody is named any more, but anonymous clients are still unwelcome.
    expect(&host, DEVICE, (&name, &right), Some(BAD_CREDENTIALS))?;
    add_user(&host, USER, "another password")?;
    expect(&host, DEVICE, (USER, PASSWORD), Some(BAD_CREDENTIALS))?;
    expect(&host, DEVICE, (USER, "another password"), None)
}

pub(crate) fn credentials_outlive_a_restart() -> Result<()> {
    let mut host = host()?;
    host.kill()?;
    host.restart()?;
    let right = signature::password(SECRET, DEVICE)?;
    expect(&host, DEVICE, (&signed_name(), &right), None)?;
    expect(&host, DEVICE, (USER, PASSWORD), None)?;
    expect(&host, DEVICE, (USER, "wrong"), Some(BAD_CREDENTIALS))
}

/// Connects again and again while somebody guesses; how long the slowest CONNACK took.
fn slowest_visit(
    host: &TestHost,
    guessing: &Guessing,
    visit: impl Fn(u32) -> Result<(String, String, String)>,
) -> Result<(u32, Duration)> {
    let (mut visits, mut slowest) = (0, Duration::ZERO);
    while guessing.goes_on() {
        let (client_id, username, password) = visit(visits)?;
        let start = Instant::now();
        let answer = ask(host, Version::V5, &client_id, (&username, &password))?;
        slowest = slowest.max(start.elapsed());
        ensure!(answer.code == 0, "visit {visits}: {answer:?}");
        visits += 1;
    }
    ensure!(visits > 0, "nobody came while it was guessed");
    ensure!(slowest < CONNECT_WITHIN, "a CONNECT took {slowest:?}");
    Ok((visits, slowest))
}

fn expect_no_way_in(tally: &Tally, asked: u32) -> Result<()> {
    ensure!(tally.of(0) == 0, "a guess got in: {tally:?}");
    ensure!(tally.of(THROTTLED) > 0, "nothing was throttled: {tally:?}");
    ensure!(
        tally.errors == 0 && tally.answers() == u64::from(asked),
        "some got no answer: {tally:?}"
    );
    ensure!(
        tally.of(0x86) + tally.of(THROTTLED) == tally.answers(),
        "other answers: {tally:?}"
    );
    Ok(())
}

const GUESSES_PER_S: u32 = 1_000;
const GUESS_FOR_S: u32 = 5;

pub(crate) fn a_thousand_guesses_a_second() -> Result<()> {
    let host = host()?;
    let address = host.mqtt()?;
    let asked = GUESSES_PER_S * GUESS_FOR_S;
    let start =
        |guess: fn(u32) -> Guess| Guessing::start(address, GUESSES_PER_S, GUESS_FOR_S, guess);
    let mut visits = 0;
    // A user who was in before; one who was not has to wait where many names were tried in vain.
    expect(&host, "GID_Access@@@known", (USER, PASSWORD), None)?;
    add_user(&host, "eve", "another password")?;
    visits += 2;
    let known = |n: u32| {
        let client_id = format!("GID_Access@@@known{n}");
        Ok((client_id, USER.to_owned(), PASSWORD.to_owned()))
    };
    let new_device = |n: u32| {
        let client_id = format!("GID_Access@@@new{n}");
        let password = signature::password(SECRET, &client_id)?;
        Ok((client_id, signed_name(), password))
    };
    // Signatures under many client ids; new devices behind the same address come in.
    let guessing = start(|n| Guess {
        client_id: format!("GID_Access@@@guess{n}"),
        username: signed_name(),
        password: signature::password(&format!("guess {n}"), "x").unwrap_or_default(),
    });
    visits += slowest_visit(&host, &guessing, new_device)?.0;
    expect_no_way_in(&guessing.tally()?, asked)?;
    // One user's password.
    let guessing = start(|n| Guess {
        client_id: format!("GID_Access@@@guess{n}"),
        username: "eve".to_owned(),
        password: format!("guess {n}"),
    });
    visits += slowest_visit(&host, &guessing, known)?.0;
    expect_no_way_in(&guessing.tally()?, asked)?;
    // Names as well.
    let guessing = start(|n| Guess {
        client_id: format!("GID_Access@@@guess{n}"),
        username: format!("user{n}"),
        password: format!("guess {n}"),
    });
    visits += slowest_visit(&host, &guessing, known)?.0;
    expect_no_way_in(&guessing.tally()?, asked)?;
    expect_events(&host, u64::from(visits) * EVENTS_PER_VISIT)?;
    let metrics = Metrics::read(&host.admin()?)?;
    let throttled = metrics.value("rulemill_access_refused_total{kind=\"throttled\"}")?;
    ensure!(throttled > 0.0, "nothing throttled in the metrics");
    let lines = host.log().matches("authentication is refused").count();
    ensure!(lines <= 200, "{lines} lines of refusals in the log");
    expect_no_secret_in_log(&host)
}

pub(crate) fn foreign_clients() -> Result<()> {
    let host = host()?;
    for library in [Library::Paho, Library::MqttJs] {
        for (v5, websocket) in [(false, false), (false, true), (true, false), (true, true)] {
            let way = Way {
                library,
                v5,
                websocket,
            };
            let address = if websocket {
                host.websocket()?
            } else {
                host.mqtt()?
            };
            let client_id = format!("GID_Access@@@{}", way.name());
            for (username, password) in [
                (signed_name(), signature::password(SECRET, &client_id)?),
                (USER.to_owned(), PASSWORD.to_owned()),
            ] {
                let shown = Shown {
                    username: Some(username),
                    password: Some(password),
                    authority: None,
                };
                ForeignClient::connect_as(way, address, &client_id, &shown)
                    .with_context(|| way.name())?
                    .close()?;
            }
        }
    }
    let way = Way {
        library: Library::Paho,
        v5: true,
        websocket: false,
    };
    let replayed = Shown {
        username: Some(signed_name()),
        password: Some(signature::password(SECRET, DEVICE)?),
        authority: None,
    };
    let code =
        ForeignClient::expect_refusal_as(way, host.mqtt()?, "GID_Access@@@other", &replayed)?;
    ensure!(code == BAD_CREDENTIALS.1, "refused with {code:#x}");
    expect_events(&host, 2 * 8 * EVENTS_PER_VISIT)
}
