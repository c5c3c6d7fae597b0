//! What passes, what is counted, and what follows.

use rulemill_sdk::testing::{EventBuilder, Plugin, connect, disconnect, tcpclean};

use crate::Filter;

fn start(config: &str) -> Plugin<Filter> {
    Plugin::start(config).unwrap()
}

fn passes(config: &str, event: EventBuilder) -> bool {
    !start(config).map(&event.build()).is_skipped()
}

fn kicked() -> EventBuilder {
    tcpclean().attribute("reason", "kicked")
}

fn client(client_id: &str) -> EventBuilder {
    connect().client_id(client_id)
}

#[test]
fn without_lists_everything_passes_as_the_default_mapping() {
    for config in ["", "{}", r#"{"include":{},"exclude":{}}"#] {
        let mapped = start(config).map(&disconnect().build());
        assert_eq!(mapped.message().tag.as_deref(), Some("disconnect"));
        assert_eq!(
            mapped.body(),
            concat!(
                r#"{"clientId":"GID_Test@@@device-1","time":1795573185007,"eventType":"disconnect","#,
                r#""channelId":"0123456789abcdef0123456789abcdef","clientIp":"192.0.2.7:50312"}"#,
            )
        );
        assert!(mapped.counters.is_empty());
    }
}

#[test]
fn only_included_event_types_pass() {
    let config = r#"{"include":{"eventTypes":["connect","tcpclean"]}}"#;
    assert!(passes(config, connect()) && passes(config, tcpclean()));
    assert!(!passes(config, disconnect()));
    let config = r#"{"exclude":{"eventTypes":["disconnect"]}}"#;
    assert!(passes(config, connect()) && passes(config, tcpclean()));
    assert!(!passes(config, disconnect()));
}

#[test]
fn lists_of_reasons_do_not_concern_a_connect() {
    let only = r#"{"include":{"reasons":["kicked","taken-over"]}}"#;
    assert!(passes(only, connect()) && passes(only, kicked()));
    assert!(!passes(only, tcpclean()) && !passes(only, disconnect()));
    let but = r#"{"exclude":{"reasons":["kicked"]}}"#;
    assert!(passes(but, connect()) && passes(but, tcpclean()));
    assert!(!passes(but, kicked()));
    let later = || tcpclean().attribute("reason", "a reason of a later host");
    assert!(!passes(only, later()) && passes(but, later()));
}

#[test]
fn exclude_wins_over_include() {
    let config =
        r#"{"include":{"clients":["GID_A@@@*"]},"exclude":{"clients":["*-test","*@@@probe?"]}}"#;
    assert!(passes(config, client("GID_A@@@lamp-1")));
    assert!(!passes(config, client("GID_A@@@lamp-test")));
    assert!(!passes(config, client("GID_A@@@probe7")));
    assert!(!passes(config, client("GID_B@@@lamp-1")));
}

#[test]
fn an_empty_list_names_nothing() {
    assert!(!passes(r#"{"include":{"clients":[]}}"#, connect()));
    assert!(passes(r#"{"exclude":{"clients":[]}}"#, connect()));
}

#[test]
fn what_is_stopped_is_counted_by_the_first_list_that_stops_it() {
    let plugin = start(
        r#"{"include":{"eventTypes":["connect","tcpclean"],"reasons":["kicked"],"clients":["*@@@d1"]}}"#,
    );
    for (event, counter) in [
        (disconnect(), "filtered_event_type"),
        (tcpclean(), "filtered_reason"),
        (client("GID_A@@@d2"), "filtered_client"),
    ] {
        let mapped = plugin.map(&event.build());
        assert!(mapped.is_skipped());
        assert_eq!(mapped.counters, [(counter.to_owned(), 1)].into());
    }
}

#[test]
fn every_shipped_mapping_can_follow() {
    for (then, config, tag) in [
        ("apsaramq-status", r#"{"remark":true}"#, "tcpclean"),
        ("aws-iot-lifecycle", "{}", "disconnected"),
        ("cloudevents", "{}", "tcpclean"),
        ("emqx-events", r#"{"node":"n"}"#, "client.disconnected"),
        (
            "template",
            r#"{"tag":"gone","body":"{{ clientId }}"}"#,
            "gone",
        ),
    ] {
        let config = format!(r#"{{"then":"{then}","config":{config}}}"#);
        let mapped = start(&config).map(&kicked().build());
        assert_eq!(mapped.message().tag.as_deref(), Some(tag), "{then}");
    }
    let remark = r#"{"then":"apsaramq-status","config":{"remark":true}}"#;
    let body = start(remark).map(&kicked().build()).body().to_owned();
    assert!(body.ends_with(r#","remark":"kicked"}"#), "{body}");
}

#[test]
fn a_wrong_setting_is_named() {
    for (config, name) in [
        (r#"{"only":{}}"#, "only"),
        (r#"{"include":{"types":[]}}"#, "include.types"),
        (
            r#"{"include":{"eventTypes":["connect","gone"]}}"#,
            "include.eventTypes[1]",
        ),
        (r#"{"exclude":{"reasons":["bored"]}}"#, "exclude.reasons[0]"),
        (r#"{"exclude":{"clients":[""]}}"#, "exclude.clients[0]"),
        (r#"{"then":"protobuf"}"#, "then"),
        (r#"{"config":[]}"#, "config"),
        (r#"{"config":{"remarks":true}}"#, "remarks"),
        (r#"{"then":"template"}"#, "body"),
        (r#"{"then":"cloudevents","config":{"x":1}}"#, "setting x"),
    ] {
        let error = Plugin::<Filter>::start(config).unwrap_err();
        assert!(error.contains(name), "{config}: {error}");
    }
}

#[test]
fn there_is_a_limit_of_patterns() {
    let patterns = vec!["\"x\""; 257].join(",");
    let config = format!(r#"{{"exclude":{{"clients":[{patterns}]}}}}"#);
    let error = Plugin::<Filter>::start(&config).unwrap_err();
    assert!(
        error.contains("exclude.clients") && error.contains("256"),
        "{error}"
    );
}
