//! The document is checked in, complete, and made of what the server does.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::{TEXT, document};
use crate::error_list;

/// Set by `cargo xtask openapi`.
const WRITE: &str = "RULEMILL_WRITE_OPENAPI";

fn is_current(file: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, text).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "{} is an old one; write it with: cargo xtask openapi",
        path.display()
    );
}

#[test]
fn the_checked_in_document_is_the_present_one() {
    is_current("openapi.json", &TEXT);
}

#[test]
fn the_manuals_list_of_errors_is_the_present_one() {
    is_current("../../manual/errors.md", &error_list::manual());
}

/// Methods and paths of the document.
fn documented() -> BTreeSet<(String, String)> {
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys();
        methods.map(move |method| (method.clone(), path.clone()))
    });
    operations.collect()
}

/// `rule_id` as the document says it.
fn camel(path: &str) -> String {
    let mut parts = path.split('_');
    let mut camel = parts.next().unwrap().to_owned();
    for part in parts {
        let (first, rest) = part.split_at(1);
        camel.push_str(&first.to_ascii_uppercase());
        camel.push_str(rest);
    }
    camel
}

/// Methods and paths of the routes, as the source says: axum does not list its routes.
fn routed() -> BTreeSet<(String, String)> {
    let source = include_str!("../server.rs");
    let mut found = BTreeSet::new();
    for route in source.split(".route(").skip(1) {
        let (path, rest) = route.split_once(',').unwrap();
        let path = match path.trim() {
            "permission::SIGN_IN" => crate::permission::SIGN_IN.to_owned(),
            quoted => camel(quoted.trim_matches('"')),
        };
        // The route ends where its brackets do.
        let mut depth = 1;
        let rest: String = rest
            .chars()
            .take_while(|it| {
                depth += i32::from(*it == '(') - i32::from(*it == ')');
                depth > 0
            })
            .collect();
        for method in ["get", "post", "put", "delete", "patch"] {
            let is_there = rest
                .split(|it: char| !it.is_alphanumeric() && it != '_' && it != ':')
                .any(|word| word == method);
            if is_there {
                found.insert((method.to_owned(), path.clone()));
            }
        }
    }
    found
}

#[test]
fn every_route_is_documented_and_nothing_else_is() {
    let (mut routed, documented) = (routed(), documented());
    assert!(routed.len() > 50, "only {} routes were found", routed.len());
    // The compatible actions have shapes of their own; see the document's description.
    routed.remove(&("post".to_owned(), "/".to_owned()));
    let missing: Vec<_> = routed.difference(&documented).collect();
    let stale: Vec<_> = documented.difference(&routed).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "missing {missing:?}, stale {stale:?}"
    );
}

#[test]
fn each_operation_is_described_and_its_errors_are_listed() {
    let document = document();
    let has_request_id = |response: &Value| match response["$ref"].as_str() {
        Some(target) => {
            let target = document.pointer(target.trim_start_matches('#')).unwrap();
            target["headers"]["x-request-id"].is_object()
        }
        None => response["headers"]["x-request-id"].is_object(),
    };
    let mut ids = BTreeSet::new();
    for (method, path) in documented() {
        let operation = &document["paths"][&path][&method];
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id.to_owned()), "{id} twice");
        assert!(
            operation["summary"].is_string() && operation["tags"].is_array(),
            "{id}"
        );
        assert!(
            operation.get("x-errors").is_none(),
            "{id}: {} is not listed",
            operation["x-errors"]
        );
        assert!(operation["security"].is_array(), "{id}");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["description"].is_string(), "{id}: {parameter}");
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(has_request_id(response), "{id} {status}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(value: &Value, document: &Value) {
        match value {
            Value::Object(object) => {
                if let Some(target) = object.get("$ref").and_then(Value::as_str) {
                    let found = document.pointer(target.trim_start_matches('#'));
                    assert!(found.is_some(), "{target}");
                }
                object.values().for_each(|it| walk(it, document));
            }
            Value::Array(items) => items.iter().for_each(|it| walk(it, document)),
            _ => {}
        }
    }
    let document = document();
    walk(&document, &document);
}
