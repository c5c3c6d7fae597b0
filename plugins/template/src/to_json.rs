//! The filter `tojson`: a value as JSON.
//!
//! `MiniJinja`'s own escapes for HTML as well, which a consumer that compares bytes does not expect.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};
use rulemill_sdk::json;

/// Deeper than any value that a template makes in earnest; the stack is small.
const DEPTH_MAX: usize = 16;

pub(crate) fn to_json(value: &Value) -> Result<String, Error> {
    let mut out = String::with_capacity(64);
    write(value, &mut out, 0)?;
    Ok(out)
}

fn write(value: &Value, out: &mut String, depth: usize) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        return Err(Error::new(
            ErrorKind::BadSerialization,
            format!("more than {DEPTH_MAX} levels"),
        ));
    }
    match value.kind() {
        ValueKind::Undefined => {
            return Err(Error::new(
                ErrorKind::UndefinedError,
                "tojson of what is not there",
            ));
        }
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => write_number(value, out),
        ValueKind::String => json::quote(value.as_str().unwrap_or_default(), out),
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for (at, item) in value.try_iter()?.enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(&item, out, depth + 1)?;
            }
            out.push(']');
        }
        ValueKind::Map => {
            out.push('{');
            for (at, key) in value.try_iter()?.enumerate() {
                if at > 0 {
                    out.push(',');
                }
                json::quote(&key.to_string(), out);
                out.push(':');
                write(&value.get_item(&key)?, out, depth + 1)?;
            }
            out.push('}');
        }
        kind => {
            return Err(Error::new(
                ErrorKind::BadSerialization,
                format!("JSON has no {kind}"),
            ));
        }
    }
    Ok(())
}

/// JSON has no infinity and no NaN.
fn write_number(value: &Value, out: &mut String) {
    let text = value.to_string();
    let is_finite = text.parse::<f64>().is_ok_and(f64::is_finite);
    out.push_str(if is_finite { &text } else { "null" });
}
