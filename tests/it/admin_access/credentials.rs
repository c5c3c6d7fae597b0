//! Users and access keys: they count at once, and wrong ones are refused with what would be right.

use acceptance::bare_client::{BareClient, Credentials, Version};
use acceptance::eventually::eventually;
use acceptance::host::{HostSpec, TestHost};
use acceptance::signature;
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{A_SECOND, Http};

pub(super) fn connects(host: &TestHost, username: &str, password: &str) -> Result<bool> {
    let shown = Credentials {
        username: username.as_bytes(),
        password: password.as_bytes(),
    };
    let device = "GID_Named@@@d1";
    let (answer, client) = BareClient::ask_as(host.mqtt()?, Version::V5, device, Some(shown))?;
    client.map_or(Ok(()), BareClient::close)?;
    Ok(answer.code == 0)
}

pub(crate) fn users_and_keys_count_at_once() -> Result<()> {
    let host = TestHost::start(HostSpec {
        extra: "[access]\nanonymous = \"never\"\n".to_owned(),
        ..HostSpec::default()
    })?;
    let soon = |what: &str, name: &str, secret: &str, expected: bool| {
        eventually(what, A_SECOND, || {
            Ok((connects(&host, name, secret)? == expected).then_some(()))
        })
    };
    ensure!(
        !connects(&host, "ann", "first password")?,
        "nobody is known"
    );
    host.cli_with_secret(&["user", "add", "ann"], "first password\n")?
        .expect(0)?;
    soon("a new user", "ann", "first password", true)?;
    host.cli_with_secret(&["user", "set-secret", "ann"], "second")?
        .expect(0)?;
    soon("the old password", "ann", "first password", false)?;
    soon("the new password", "ann", "second", true)?;
    host.cli(&["user", "delete", "ann", "--yes"])?.expect(0)?;
    soon("a deleted user", "ann", "second", false)?;

    let add_key = |id: &str, opens: &str| {
        host.cli_with_secret(&["access-key", "add", id, "--use", opens], "key-secret")?
            .expect(0)
    };
    add_key("DEVICES", "mqtt")?;
    add_key("PROGRAMS", "api")?;
    let password = signature::password("key-secret", "GID_Named@@@d1")?;
    let device = signature::username("DEVICES", "mqtt-local");
    let program = signature::username("PROGRAMS", "mqtt-local");
    soon("a new key", &device, &password, true)?;
    ensure!(
        !connects(&host, &program, &password)?,
        "a key for the API opened MQTT"
    );
    host.cli(&["access-key", "delete", "DEVICES", "--yes"])?
        .expect(0)?;
    soon("a deleted key", &device, &password, false)?;

    wrong_input(&host)
}

/// Wrong input says what would be right, by HTTP and on the command line.
fn wrong_input(host: &TestHost) -> Result<()> {
    let (admin, http) = (host.admin()?, Http::of(host));
    for (path, body, status, code) in bodies() {
        let answer = http
            .ask("POST", path, Some(admin.token()), &body.to_string())?
            .expect(status)?;
        ensure!(
            status == 201 || answer.json["code"] == code,
            "{path} {body}: {}",
            answer.text
        );
    }
    host.cli(&["user", "delete", "nobody", "--yes"])?
        .expect(3)?
        .expect_one_line(&["nobody", "rulemill user list"])?;
    host.cli(&["user", "add", "cid"])?.expect(2)?;
    host.cli_with_secret(&["user", "add", "bob"], "s")?
        .expect(4)?;
    host.cli_with_secret(&["user", "add", "cid"], "")?
        .expect(2)?;
    Ok(())
}

/// Just too much and just allowed, and what each gets.
fn bodies() -> Vec<(&'static str, Value, u16, &'static str)> {
    let user = |name: &str, secret: &str| json!({ "name": name, "secret": secret });
    let key = |id: &str, opens: &str, secret: &str| json!({ "accessKeyId": id, "use": opens, "secret": secret });
    let token = |name: &str, role: &str| json!({ "name": name, "role": role });
    let x = |length: usize| "x".repeat(length);
    let (users, keys, tokens) = ("/v1/users", "/v1/access-keys", "/v1/tokens");
    vec![
        (users, user("a b", "s"), 422, "invalid_user_name"),
        (users, user(&x(65), "s"), 422, "invalid_user_name"),
        (users, user(&x(64), "s"), 201, ""),
        (users, user("bob", ""), 422, "invalid_secret"),
        (users, user("bob", &x(1_025)), 422, "invalid_secret"),
        (users, user("bob", &x(1_024)), 201, ""),
        (users, user("bob", "s"), 409, "user_exists"),
        (keys, key("A|B", "mqtt", "s"), 422, "invalid_access_key_id"),
        (
            keys,
            key(&x(129), "mqtt", "s"),
            422,
            "invalid_access_key_id",
        ),
        (keys, key("AB", "both", "s"), 422, "invalid_use"),
        (keys, key("AB", "mqtt", &x(65)), 422, "invalid_secret"),
        (keys, key("AB", "mqtt", "a b"), 422, "invalid_secret"),
        (keys, key(&x(128), "mqtt", &x(64)), 201, ""),
        (keys, key("PROGRAMS", "mqtt", "s"), 409, "access_key_exists"),
        (tokens, token("admin", "viewer"), 422, "invalid_token_name"),
        (tokens, token(&x(65), "viewer"), 422, "invalid_token_name"),
        (tokens, token(&x(64), "viewer"), 201, ""),
        (tokens, token(&x(64), "viewer"), 409, "token_exists"),
        (tokens, token("t", "god"), 422, "invalid_role"),
        (
            tokens,
            json!({ "name": "t", "role": "viewer", "expiresAt": 1 }),
            422,
            "invalid_expiry",
        ),
    ]
}
