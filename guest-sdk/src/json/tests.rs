//! What the writer promises: order, escapes, no spaces.

use super::{Object, quote};

fn text(object: Object) -> String {
    String::from_utf8(object.finish()).unwrap()
}

#[test]
fn fields_stand_in_the_order_of_the_calls_without_spaces() {
    let inner = Object::with_capacity(0).text("c", "");
    let object = Object::with_capacity(0)
        .text("b", "x")
        .number("a", 7)
        .object("o", inner);
    assert_eq!(text(object), r#"{"b":"x","a":7,"o":{"c":""}}"#);
}

#[test]
fn an_object_without_fields_is_empty() {
    assert_eq!(text(Object::with_capacity(100)), "{}");
}

#[test]
fn numbers_are_exact_at_their_ends() {
    for number in [0, 1, 9, 10, 99, 1_795_573_125_000, u64::MAX - 1, u64::MAX] {
        assert_eq!(
            text(Object::with_capacity(0).number("n", number)),
            format!("{{\"n\":{number}}}")
        );
    }
}

#[test]
fn booleans_are_words() {
    let object = Object::with_capacity(0)
        .boolean("a", true)
        .boolean("b", false);
    assert_eq!(text(object), r#"{"a":true,"b":false}"#);
}

#[test]
fn a_quoted_text_goes_behind_what_is_there() {
    let mut out = "é: ".to_owned();
    quote("\"🦀\"\n", &mut out);
    assert_eq!(out, "é: \"\\\"🦀\\\"\\n\"");
}

#[test]
fn what_json_forbids_in_a_string_is_escaped() {
    let object = Object::with_capacity(0).text(
        "k\"",
        "a\"b\\c/\n\r\t\u{8}\u{c}\u{0}\u{1f}é\u{2028}🦀\u{7f}",
    );
    assert_eq!(
        text(object),
        "{\"k\\\"\":\"a\\\"b\\\\c/\\n\\r\\t\\b\\f\\u0000\\u001fé\u{2028}🦀\u{7f}\"}"
    );
}

#[test]
fn an_escape_at_either_end_loses_nothing() {
    assert_eq!(
        text(Object::with_capacity(0).text("k", "\"x\"")),
        r#"{"k":"\"x\""}"#
    );
    assert_eq!(
        text(Object::with_capacity(0).text("k", "\n")),
        r#"{"k":"\n"}"#
    );
}

#[test]
fn every_byte_is_escaped_at_every_place_or_nowhere() {
    let json = |byte: char| match byte {
        '"' | '\\' => format!("\\{byte}"),
        '\u{8}' => "\\b".to_owned(),
        '\t' => "\\t".to_owned(),
        '\n' => "\\n".to_owned(),
        '\u{c}' => "\\f".to_owned(),
        '\r' => "\\r".to_owned(),
        '\0'..'\u{20}' => format!("\\u{:04x}", u32::from(byte)),
        _ => byte.to_string(),
    };
    for byte in '\0'..='\u{ff}' {
        for place in 0..17 {
            // Neighbours at both ends of what a byte can be: no borrow or carry of theirs counts.
            for neighbour in [' ', '!', '\u{7f}', '\u{7ff}'] {
                let before = String::from(neighbour).repeat(place);
                let after = String::from(neighbour).repeat(17 - place);
                assert_eq!(
                    text(Object::with_capacity(0).text("k", &format!("{before}{byte}{after}"))),
                    format!("{{\"k\":\"{before}{}{after}\"}}", json(byte))
                );
            }
        }
    }
}
