//! No secret is shown anywhere: each that was used is searched for in all that the host said.

use std::fs;

use acceptance::cli::{self, Ran};
use acceptance::host::{HostSpec, TestHost};
use anyhow::{Result, ensure};

use super::credentials::connects;
use super::{Http, SOON, make_token};

/// Secrets, each of which is in one place only: where it is used.
struct Secrets {
    password: &'static str,
    device_key: &'static str,
    program_key: &'static str,
    guessed: &'static str,
    misplaced: &'static str,
}

const SECRETS: Secrets = Secrets {
    password: "hidden-password-of-ann-2718",
    device_key: "hidden-secret-of-devices-3141",
    program_key: "hidden-secret-of-programs-1618",
    guessed: "hidden-guess-1414",
    misplaced: "hidden-misplaced-1732",
};

pub(crate) fn nothing_secret_is_shown() -> Result<()> {
    let mut host = TestHost::start(HostSpec {
        environment: vec![("RULEMILL__TELEMETRY__LOG".to_owned(), "trace".to_owned())],
        ..HostSpec::default()
    })?;
    let (admin, http) = (host.admin()?, Http::of(&host));
    let token = admin.token().to_owned();
    let viewer = make_token(&host, "looker", "viewer")?;
    let mut shown = handed_over(&host)?;
    let mut note = |ran: Ran| {
        shown += &ran.stdout;
        shown += &ran.stderr;
    };
    connects(&host, "ann", SECRETS.password)?;
    connects(&host, "ann", SECRETS.guessed)?;
    let mut answers = misplaced(&http, &token, &viewer)?;
    for path in [
        "/v1/users",
        "/v1/access-keys",
        "/v1/tokens",
        "/v1/audit?limit=1000",
        "/v1/status",
        "/v1/export",
        "/metrics",
    ] {
        answers += &http.ask("GET", path, Some(&token), "")?.text;
    }
    for args in [
        &["user", "list"][..],
        &["access-key", "list"],
        &["token", "list"],
        &["audit", "list"],
    ] {
        note(host.cli(args)?.expect(0)?);
    }
    note(printed_configuration(&host)?);
    host.terminate(SOON)?;
    let log = host.log();
    let all = [("log", &log), ("command line", &shown), ("API", &answers)];
    for secret in [
        SECRETS.password,
        SECRETS.device_key,
        SECRETS.program_key,
        SECRETS.guessed,
        SECRETS.misplaced,
        &token,
        &viewer,
    ] {
        for (place, text) in all {
            ensure!(!text.contains(secret), "{secret} is shown by the {place}");
        }
    }
    ensure!(
        answers.contains("DEVICES") && log.contains("request carried out"),
        "nothing was seen"
    );
    stored_secrets(&host, &[SECRETS.password, &token, &viewer])
}

/// Each to the command that wants it; what those commands print.
fn handed_over(host: &TestHost) -> Result<String> {
    let mut shown = String::new();
    for (args, secret) in [
        (&["user", "add", "ann"][..], SECRETS.password),
        (&["user", "add", "ann"][..], SECRETS.password),
        (
            &["access-key", "add", "DEVICES", "--use", "mqtt"][..],
            SECRETS.device_key,
        ),
        (
            &["access-key", "add", "PROGRAMS", "--use", "api"][..],
            SECRETS.program_key,
        ),
        (
            &["access-key", "add", "BAD", "--use", "api"][..],
            &format!("{} {}", SECRETS.misplaced, "x"),
        ),
    ] {
        let ran = host.cli_with_secret(args, secret)?;
        shown += &ran.stdout;
        shown += &ran.stderr;
    }
    Ok(shown)
}

/// In wrong places and forms: what comes back and what is logged does not quote them.
fn misplaced(http: &Http, token: &str, viewer: &str) -> Result<String> {
    let secret = SECRETS.misplaced;
    let (users, keys) = ("/v1/users", "/v1/access-keys");
    let odd = [
        (
            users,
            token,
            format!(r#"{{"name":"x","secret":["{secret}"]}}"#),
        ),
        (
            users,
            token,
            format!(r#"{{"name":"x","secret":"{secret}","age":1}}"#),
        ),
        (
            users,
            viewer,
            format!(r#"{{"name":"x","secret":"{secret}"}}"#),
        ),
        (
            keys,
            token,
            format!(r#"{{"accessKeyId":"x","secret":"{secret}""#),
        ),
        (keys, token, format!(r#""{secret}""#)),
        (
            "/v1/sign-in",
            token,
            format!(r#"{{"code":{{"{secret}":1}}}}"#),
        ),
    ];
    let mut answers = String::new();
    for (path, token, body) in odd {
        answers += &http.ask("POST", path, Some(token), &body)?.text;
    }
    let password = format!(r#"{{"secret":"{}"}}"#, SECRETS.password);
    answers += &http
        .ask("PUT", "/v1/users/ann", Some(token), &password)?
        .text;
    answers += &http
        .ask("GET", "/v1/rules", Some(SECRETS.guessed), "")?
        .text;
    let (making, group) = (
        format!("/v1/groups?token={secret}"),
        r#"{"groupId":"GID_Stray"}"#,
    );
    answers += &http.ask("POST", &making, Some(token), group)?.text;
    let deleting = format!("/v1/groups/GID_Stray?secret={secret}");
    answers += &http
        .ask("DELETE", &deleting, Some(token), "")?
        .expect(204)?
        .text;
    Ok(answers)
}

/// Of an instance whose secret is in a file.
fn printed_configuration(host: &TestHost) -> Result<Ran> {
    let secret_file = host.folder().join("secret");
    fs::write(&secret_file, SECRETS.program_key)?;
    let mut args = vec!["config".to_owned(), "print".to_owned()];
    let file = secret_file.display();
    for setting in [
        format!("node.data-dir={}", host.data_dir().display()),
        "rocketmq.instances.far.kind=remote".to_owned(),
        "rocketmq.instances.far.name-servers=[\"127.0.0.1:1\"]".to_owned(),
        format!("rocketmq.instances.far.access-key-file={file}"),
        format!("rocketmq.instances.far.secret-key-file={file}"),
    ] {
        args.extend(["--set".to_owned(), setting]);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    cli::run(&args)?.expect(0)
}

/// The store is its owner's, and what can be kept as a hash is kept as one.
fn stored_secrets(host: &TestHost, hashed: &[&str]) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = host.data_dir().join("meta.redb");
    let mode = fs::metadata(&path)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "meta.redb has the mode {mode:o}");
    let bytes = fs::read(&path)?;
    let holds = |text: &str| {
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    for secret in hashed {
        ensure!(!holds(secret), "{secret} is stored as it is");
    }
    // Signatures cannot be checked against a hash.
    ensure!(
        holds(SECRETS.device_key),
        "the manual says that it is there"
    );
    Ok(())
}
