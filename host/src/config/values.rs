//! How each kind of value is written: durations `"250ms"`, sizes `"64KiB"`, addresses, lists.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::tree::Leaf;

fn show(leaf: &Leaf) -> String {
    match leaf {
        Leaf::Text(text) | Leaf::Loose(text) => format!("{text:?}"),
        Leaf::Integer(number) => number.to_string(),
        Leaf::Float(number) => number.to_string(),
        Leaf::Boolean(flag) => flag.to_string(),
        Leaf::List(_) => "a list".to_owned(),
        Leaf::Other(kind) => (*kind).to_owned(),
    }
}

fn wrong<T>(expected: &str, leaf: &Leaf) -> Result<T, String> {
    Err(format!("must be {expected}, not {}", show(leaf)))
}

/// A text.
pub(super) fn text(leaf: &Leaf) -> Result<String, String> {
    match leaf {
        Leaf::Text(text) => Ok(text.clone()),
        // A value that was quoted for TOML's sake on the command line.
        Leaf::Loose(text) => Ok(text
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .unwrap_or(text)
            .to_owned()),
        other => wrong("a text", other),
    }
}

/// A text that `parse` accepts.
pub(super) fn parsed<T, E: std::fmt::Display>(
    parse: impl Fn(&str) -> Result<T, E>,
) -> impl Fn(&Leaf) -> Result<T, String> {
    move |leaf| parse(&text(leaf)?).map_err(|error| format!("is wrong: {error}"))
}

/// A path; not empty.
pub(super) fn path(leaf: &Leaf) -> Result<PathBuf, String> {
    let text = text(leaf)?;
    if text.is_empty() {
        wrong("a path", leaf)
    } else {
        Ok(PathBuf::from(text))
    }
}

/// A path of a folder, or of nothing yet.
pub(super) fn folder(leaf: &Leaf) -> Result<PathBuf, String> {
    let path = path(leaf)?;
    match std::fs::metadata(&path) {
        Ok(metadata) if !metadata.is_dir() => wrong("a folder", leaf),
        Ok(_) | Err(_) => Ok(path),
    }
}

/// `true` or `false`.
pub(super) fn flag(leaf: &Leaf) -> Result<bool, String> {
    match leaf {
        Leaf::Boolean(flag) => Ok(*flag),
        Leaf::Loose(text) if text == "true" => Ok(true),
        Leaf::Loose(text) if text == "false" => Ok(false),
        other => wrong("true or false", other),
    }
}

/// One of `choices`.
pub(super) fn choice<T: Copy>(choices: &[(&str, T)]) -> impl Fn(&Leaf) -> Result<T, String> {
    move |leaf| {
        let text = text(leaf)?;
        match choices.iter().find(|(name, _)| *name == text) {
            Some((_, value)) => Ok(*value),
            None => {
                let names: Vec<String> = choices
                    .iter()
                    .map(|(name, _)| format!("{name:?}"))
                    .collect();
                wrong(&names.join(" or "), leaf)
            }
        }
    }
}

/// A whole number within `range`; `_` may group its digits.
pub(super) fn number(range: RangeInclusive<u64>) -> impl Fn(&Leaf) -> Result<u64, String> {
    move |leaf| {
        let value = match leaf {
            Leaf::Integer(number) => u64::try_from(*number).ok(),
            Leaf::Loose(text) => text.replace('_', "").parse().ok(),
            Leaf::Text(_) | Leaf::Float(_) | Leaf::Boolean(_) | Leaf::List(_) | Leaf::Other(_) => {
                None
            }
        };
        match value {
            Some(value) if range.contains(&value) => Ok(value),
            _ => wrong(
                &format!("a whole number from {} to {}", range.start(), range.end()),
                leaf,
            ),
        }
    }
}

/// As [`number`], for the range of `u32`.
pub(super) fn small_number(range: RangeInclusive<u32>) -> impl Fn(&Leaf) -> Result<u32, String> {
    move |leaf| {
        let value = number(u64::from(*range.start())..=u64::from(*range.end()))(leaf)?;
        u32::try_from(value).map_err(|error| error.to_string())
    }
}

/// A part of a whole: above 0, at most 1.
pub(super) fn share(leaf: &Leaf) -> Result<f64, String> {
    let value = match leaf {
        Leaf::Float(number) => Some(*number),
        Leaf::Integer(1) => Some(1.0),
        Leaf::Loose(text) => text.parse().ok(),
        Leaf::Text(_) | Leaf::Integer(_) | Leaf::Boolean(_) | Leaf::List(_) | Leaf::Other(_) => {
            None
        }
    };
    match value {
        Some(value) if value > 0.0 && value <= 1.0 => Ok(value),
        _ => wrong("a number above 0 and at most 1", leaf),
    }
}

/// A duration such as `"250ms"`, within `range`.
pub(super) fn duration(
    range: RangeInclusive<Duration>,
) -> impl Fn(&Leaf) -> Result<Duration, String> {
    move |leaf| {
        let value = match leaf {
            Leaf::Text(_) | Leaf::Loose(_) => humantime::parse_duration(&text(leaf)?).ok(),
            Leaf::Integer(_)
            | Leaf::Float(_)
            | Leaf::Boolean(_)
            | Leaf::List(_)
            | Leaf::Other(_) => None,
        };
        match value {
            Some(value) if range.contains(&value) => Ok(value),
            _ => {
                let (from, to) = (
                    humantime::format_duration(*range.start()),
                    humantime::format_duration(*range.end()),
                );
                wrong(
                    &format!("a duration such as \"250ms\" from {from} to {to}"),
                    leaf,
                )
            }
        }
    }
}

/// A size such as `"64KiB"`, within `range`, bytes.
pub(super) fn size(range: RangeInclusive<u64>) -> impl Fn(&Leaf) -> Result<u64, String> {
    move |leaf| {
        let value = match leaf {
            Leaf::Integer(number) => u64::try_from(*number).ok(),
            Leaf::Text(_) | Leaf::Loose(_) => text(leaf)?
                .replace('_', "")
                .parse::<bytesize::ByteSize>()
                .ok()
                .map(|size| size.as_u64()),
            Leaf::Float(_) | Leaf::Boolean(_) | Leaf::List(_) | Leaf::Other(_) => None,
        };
        match value {
            Some(value) if range.contains(&value) => Ok(value),
            _ => {
                let (from, to) = (bytes_text(*range.start()), bytes_text(*range.end()));
                wrong(
                    &format!("a size such as \"64KiB\" from {from} to {to}"),
                    leaf,
                )
            }
        }
    }
}

/// A size with the largest unit that divides it.
pub(super) fn bytes_text(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    units
        .iter()
        .find(|(_, shift)| bytes > 0 && bytes.trailing_zeros() >= *shift)
        .map_or_else(
            || format!("{bytes}B"),
            |(unit, shift)| format!("{}{unit}", bytes >> shift),
        )
}

/// A list of what `parse` accepts. In the environment and on the command line a comma separates.
pub(super) fn list<T>(
    parse: impl Fn(&Leaf) -> Result<T, String>,
) -> impl Fn(&Leaf) -> Result<Vec<T>, String> {
    move |leaf| match leaf {
        Leaf::List(items) => items.iter().map(&parse).collect(),
        Leaf::Loose(text) => text
            .trim()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(|item| parse(&Leaf::Loose(item.to_owned())))
            .collect(),
        other => wrong("a list such as [\"127.0.0.1:1883\"]", other),
    }
}

/// A socket address; port 0 picks a free one.
pub(super) fn socket_address(leaf: &Leaf) -> Result<SocketAddr, String> {
    let text = text(leaf)?;
    text.parse().or_else(|_| {
        wrong(
            "an address such as \"127.0.0.1:1883\" (an IP address and a port)",
            leaf,
        )
    })
}

/// `host:port`, where the host may be a name or an address.
pub(super) fn host_and_port(leaf: &Leaf) -> Result<String, String> {
    let text = text(leaf)?;
    let is_right = text.rsplit_once(':').is_some_and(|(host, port)| {
        let is_name = !host.is_empty()
            && host
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c));
        (is_name || (host.starts_with('[') && text.parse::<SocketAddr>().is_ok()))
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if is_right {
        Ok(text)
    } else {
        wrong("an address such as \"rocketmq.example:9876\"", leaf)
    }
}
