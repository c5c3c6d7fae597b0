//! What differs between two JSON values, field by field.

use serde::Serialize;
use serde_json::{Map, Value};

/// One field that is not the same.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct Difference {
    /// Where: names joined by dots, such as `destination.topic`.
    pub(crate) field: String,
    /// What it was; null if there was none.
    pub(crate) from: Value,
    /// What it is; null if there is none.
    pub(crate) to: Value,
}

/// The fields of two objects that differ, in the order of their names.
pub(crate) fn between(from: &Value, to: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", from, to, &mut found);
    found
}

fn compare(place: &str, from: &Value, to: &Value, found: &mut Vec<Difference>) {
    if from == to {
        return;
    }
    let nothing = Map::new();
    let (old, new) = match (from, to) {
        (Value::Object(old), Value::Object(new)) => (old, new),
        // A part that comes or goes is shown by its fields.
        (Value::Null, Value::Object(new)) if !new.is_empty() => (&nothing, new),
        (Value::Object(old), Value::Null) if !old.is_empty() => (old, &nothing),
        _ => {
            found.push(Difference {
                field: place.to_owned(),
                from: from.clone(),
                to: to.clone(),
            });
            return;
        }
    };
    let added = new.keys().filter(|name| !old.contains_key(*name));
    for name in old.keys().chain(added) {
        let inner = if place.is_empty() {
            name.clone()
        } else {
            format!("{place}.{name}")
        };
        let value = |object: &Map<String, Value>| object.get(name).cloned().unwrap_or_default();
        compare(&inner, &value(old), &value(new), found);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::between;

    #[test]
    fn each_field_that_differs_is_named_once() {
        let from = json!({ "a": 1, "b": { "c": "x", "d": [1] }, "gone": { "e": true } });
        let to = json!({ "a": 1, "b": { "c": "y", "d": [1] }, "new": 2 });
        let found = between(&from, &to);
        let shown: Vec<_> = found
            .iter()
            .map(|it| (it.field.as_str(), &it.from, &it.to))
            .collect();
        assert_eq!(
            shown,
            [
                ("b.c", &json!("x"), &json!("y")),
                ("gone.e", &json!(true), &Value::Null),
                ("new", &Value::Null, &json!(2)),
            ]
        );
        assert!(between(&from, &from).is_empty());
    }
}
