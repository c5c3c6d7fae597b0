use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use clap::{CommandFactory, Parser};

use super::{Cli, carry_out};

/// The exit code and the messages of a command against a host that answers each request with
/// `answers`, one after the other.
fn against(answers: &[(u16, &str)], arguments: &[&str]) -> (i32, Vec<String>, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("--server=http://{}", listener.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("admin-token"), "secret-token\n").unwrap();
    let data_dir = format!("--data-dir={}", folder.path().display());
    let answers: Vec<(u16, String)> = answers
        .iter()
        .map(|(status, body)| (*status, (*body).to_owned()))
        .collect();
    let host = thread::spawn(move || {
        answers
            .into_iter()
            .map(|(status, body)| {
                let (mut stream, _) = listener.accept().unwrap();
                let request = read_request(&mut stream);
                let head = format!("HTTP/1.1 {status} X\r\netag: \"3\"\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(body.as_bytes()).unwrap();
                request
            })
            .collect::<Vec<String>>()
    });
    let mut all = vec!["rulemill", &server, &data_dir];
    all.extend(arguments);
    let (code, messages) = exit(&all);
    (code, messages, host.join().unwrap())
}

fn read_request(stream: &mut impl Read) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        request.push(byte[0]);
    }
    let head = String::from_utf8(request).unwrap().to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    format!("{head}{}", String::from_utf8(body).unwrap())
}

fn exit(arguments: &[&str]) -> (i32, Vec<String>) {
    match Cli::try_parse_from(arguments.iter().map(OsString::from)) {
        Err(error) => (error.exit_code(), vec![error.to_string()]),
        Ok(cli) => match carry_out(cli) {
            Ok(_) => (0, Vec::new()),
            Err(failure) => (failure.exit_code(), failure.messages().to_vec()),
        },
    }
}

const ERROR: &str = r#"{"code":"some_code","message":"it is so","details":{},"requestId":"1"}"#;

#[test]
fn the_definition_of_the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_status_of_an_answer_decides_the_exit_code() {
    for (status, code) in [
        (400, 1),
        (401, 6),
        (403, 6),
        (404, 3),
        (409, 4),
        (412, 4),
        (422, 1),
        (500, 1),
    ] {
        let (found, messages, requests) = against(&[(status, ERROR)], &["rule", "show", "abc"]);
        assert_eq!(found, code, "{status}");
        assert_eq!(messages, ["it is so (some_code)"]);
        assert!(requests[0].starts_with("get /v1/rules/abc http/1.1"));
        assert!(requests[0].contains("authorization: bearer secret-token"));
    }
}

#[test]
fn a_host_that_is_not_there_is_named_with_the_remedy() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("admin-token"), "t").unwrap();
    let data_dir = folder.path().display().to_string();
    let (code, messages) = exit(&[
        "rulemill",
        "--server",
        &address,
        "--data-dir",
        &data_dir,
        "status",
    ]);
    assert_eq!(code, 5);
    assert!(
        messages[0].contains(&address) && messages[0].contains("rulemill serve"),
        "{messages:?}"
    );
    // Without run.json there is no address at all.
    let (code, messages) = exit(&["rulemill", "--data-dir", &data_dir, "status"]);
    assert_eq!(code, 5);
    assert!(messages[0].contains("no host runs in"), "{messages:?}");
    // A foreign host never gets the local token.
    let (code, _) = exit(&[
        "rulemill",
        "--server",
        "192.0.2.1:1",
        "--data-dir",
        &data_dir,
        "status",
    ]);
    assert_eq!(code, 6);
}

#[test]
fn wrong_usage_and_bad_configuration_have_codes_of_their_own() {
    assert_eq!(exit(&["rulemill", "rule", "create", "abc"]).0, 2);
    assert_eq!(exit(&["rulemill", "nonsense"]).0, 2);
    let (code, messages) = exit(&[
        "rulemill",
        "serve",
        "--set",
        "mqtt.tcpp=1",
        "--set",
        "limits.rules=0",
    ]);
    assert_eq!((code, messages.len()), (64, 2));
    assert_eq!(
        exit(&["rulemill", "config", "check", "--set", "limits.rules=5"]).0,
        0
    );
}

#[test]
fn a_confirmed_deletion_says_what_happens_to_queued_events() {
    let (code, _, requests) = against(
        &[(204, "")],
        &["rule", "delete", "abc", "--pending", "discard", "--yes"],
    );
    assert_eq!(code, 0);
    assert!(requests[0].starts_with("delete /v1/rules/abc?pending=discard "));
}

#[test]
fn a_new_rule_goes_to_the_only_instance() {
    let instances = r#"{"items":[{"instanceId":"embedded"}],"nextPageToken":null,"total":1}"#;
    let (code, _, requests) = against(
        &[(200, instances), (201, "{\"warnings\":[]}")],
        &[
            "rule", "create", "abc", "--group", "GID_abc", "--topic", "T", "--plugin", "p",
        ],
    );
    assert_eq!(code, 0);
    assert!(requests[1].contains("\"instanceId\":\"embedded\""));
    let several =
        r#"{"items":[{"instanceId":"a"},{"instanceId":"b"}],"nextPageToken":null,"total":2}"#;
    let (code, messages, _) = against(
        &[(200, several)],
        &[
            "rule", "create", "abc", "--group", "GID_abc", "--topic", "T",
        ],
    );
    assert_eq!(code, 2);
    assert!(messages[0].contains("--instance a or b"), "{messages:?}");
}

#[test]
fn an_edit_sends_the_revision_that_it_saw() {
    let rule = r#"{"ruleId":"abc","mapping":{"plugin":"p","version":"latest"},"source":{},"destination":{}}"#;
    let (code, _, requests) = against(
        &[(200, rule), (200, rule)],
        &["rule", "edit", "abc", "--plugin", "q"],
    );
    assert_eq!(code, 0);
    assert!(requests[1].starts_with("put /v1/rules/abc?force=false"));
    assert!(requests[1].contains("if-match: \"3\""));
    let (code, _, _) = against(&[(200, rule)], &["rule", "edit", "abc"]);
    assert_eq!(code, 2);
}

#[test]
fn fewer_messages_than_wanted_is_a_failure() {
    let line = "{\"topic\":\"T\",\"queueId\":0,\"queueOffset\":0,\"tag\":null,\"keys\":[],\"properties\":{},\"body\":\"x\"}\n";
    let arguments = [
        "messages",
        "--instance",
        "i",
        "--topic",
        "T",
        "--from-start",
        "--count",
        "2",
        "--timeout",
        "0.5",
    ];
    let (code, messages, requests) = against(&[(200, line)], &arguments);
    assert_eq!(code, 1);
    assert!(
        messages[0].contains("1 of 2 messages came within 0.5 s"),
        "{messages:?}"
    );
    assert!(requests[0].contains(
        "/v1/rocketmq-instances/i/topics/t/messages?fromstart=true&timeoutms=500&count=2"
    ));
    assert_eq!(against(&[(200, &line.repeat(2))], &arguments).0, 0);
}

#[test]
fn dead_letters_are_listed_by_rule_client_and_reason() {
    let page =
        r#"{"items":[{"id":7,"event":{"clientId":"GID_a@@@d"}}],"nextPageToken":null,"total":1}"#;
    let (code, _, requests) = against(
        &[(200, page)],
        &[
            "dead-letter",
            "list",
            "--rule",
            "abc",
            "--client",
            "GID_a@@@d",
            "--reason",
            "fault",
        ],
    );
    assert_eq!(code, 0);
    assert!(requests[0].starts_with(
        "get /v1/dead-letters?limit=100&ruleid=abc&clientid=gid_a%40%40%40d&reason=fault "
    ));
    assert_eq!(
        exit(&["rulemill", "dead-letter", "list", "--reason", "x"]).0,
        2
    );
    let (code, _, _) = against(&[(404, ERROR)], &["dead-letter", "show", "7"]);
    assert_eq!(code, 3);
}

#[test]
fn a_replay_that_skips_something_says_what_and_is_a_conflict() {
    let done = r#"{"replayed":2,"skipped":0,"reasons":[]}"#;
    let (code, _, requests) = against(&[(200, done)], &["dead-letter", "replay", "1", "2"]);
    assert_eq!(code, 0);
    assert!(requests[0].starts_with("post /v1/dead-letters:replay "));
    assert!(requests[0].ends_with(r#"{"force":false,"ids":[1,2]}"#));
    let skipped = r#"{"replayed":0,"skipped":1,"reasons":[{"id":1,"reason":"closed"}]}"#;
    let (code, messages, requests) = against(
        &[(200, skipped)],
        &["dead-letter", "replay", "1", "--force"],
    );
    assert_eq!(code, 4);
    assert_eq!(messages, ["not replayed: 1"]);
    assert!(requests[0].starts_with("post /v1/dead-letters/1/replay "));
    assert!(requests[0].ends_with(r#"{"force":true}"#));
    let (_, _, requests) = against(&[(200, done)], &["dead-letter", "replay", "--rule", "abc"]);
    assert!(requests[0].ends_with(r#"{"force":false,"ruleId":"abc"}"#));
    // Which ones must be said.
    assert_eq!(exit(&["rulemill", "dead-letter", "replay"]).0, 2);
    assert_eq!(
        exit(&["rulemill", "dead-letter", "replay", "1", "--rule", "abc"]).0,
        2
    );
}

#[test]
fn a_deletion_of_dead_letters_needs_consent() {
    let (code, _, requests) = against(
        &[(204, ""), (204, "")],
        &["dead-letter", "delete", "1", "2", "--yes"],
    );
    assert_eq!(code, 0);
    assert!(requests[0].starts_with("delete /v1/dead-letters/1 "));
    assert!(requests[1].starts_with("delete /v1/dead-letters/2 "));
    let (code, _, requests) = against(
        &[(200, r#"{"deleted":3}"#)],
        &["dead-letter", "delete", "--rule", "abc", "--yes"],
    );
    assert_eq!(code, 0);
    assert!(requests[0].starts_with("delete /v1/dead-letters?ruleid=abc "));
    assert_eq!(exit(&["rulemill", "dead-letter", "delete", "1"]).0, 2);
}

#[test]
fn a_queue_is_retired_by_its_name() {
    let (code, _, requests) = against(
        &[(200, r#"{"movedSlots":16}"#)],
        &["outbox", "retire-queue", "abc", "broker-a:3"],
    );
    assert_eq!(code, 0);
    assert!(requests[0].starts_with("post /v1/rules/abc/retire-queue "));
    assert!(requests[0].ends_with(r#"{"queue":"broker-a:3"}"#));
}
