//! The three layers of the configuration as one tree: file, environment, command line.
//!
//! Every value remembers where it came from, so that a problem names its place.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::Problem;

/// What environment variables of the configuration start with.
const ENVIRONMENT_PREFIX: &str = "RULEMILL__";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    File { name: Arc<str>, line: usize },
    Environment(String),
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::CommandLine => f.write_str("--set"),
        }
    }
}

/// A value or a table of them.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Table(Table),
    Leaf(Leaf),
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Leaf {
    Text(String),
    /// From the environment or the command line: its type is the one that the key wants.
    Loose(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    List(Vec<Self>),
    /// A type that no key has; its name.
    Other(&'static str),
}

/// A node and its place.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) node: Node,
    pub(super) origin: Origin,
}

/// Entries by key.
pub(super) type Table = BTreeMap<String, Entry>;

/// Reads a TOML text. `name` is what problems call it.
pub(super) fn read_file(path: &Path, problems: &mut Vec<Problem>) -> Table {
    let name: Arc<str> = path.display().to_string().into();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            problems.push(Problem::new(format!("{name}: cannot be read: {error}")));
            return Table::new();
        }
    };
    let (table, errors) = DeTable::parse_recoverable(&text);
    for error in errors {
        let line = error.span().map_or(1, |span| line_of(&text, span.start));
        let message = error.message().replace('\n', ", ");
        problems.push(Problem::new(format!(
            "{name}:{line}: not valid TOML: {message}"
        )));
    }
    convert_table(table.get_ref(), &text, &name)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
        + 1
}

fn convert_table(table: &DeTable<'_>, text: &str, name: &Arc<str>) -> Table {
    let mut converted = Table::new();
    for (key, value) in table {
        let origin = Origin::File {
            name: Arc::clone(name),
            line: line_of(text, key.span().start),
        };
        let node = match value.get_ref() {
            DeValue::Table(inner) => Node::Table(convert_table(inner, text, name)),
            other => Node::Leaf(convert_leaf(other)),
        };
        converted.insert(key.get_ref().to_string(), Entry { node, origin });
    }
    converted
}

fn convert_leaf(value: &DeValue<'_>) -> Leaf {
    match value {
        DeValue::String(text) => Leaf::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Leaf::Other("a number beyond 64 bits"), Leaf::Integer),
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .map_or(Leaf::Other("a number"), Leaf::Float),
        DeValue::Boolean(flag) => Leaf::Boolean(*flag),
        DeValue::Array(items) => Leaf::List(
            items
                .iter()
                .map(|item| convert_leaf(item.get_ref()))
                .collect(),
        ),
        DeValue::Datetime(_) => Leaf::Other("a date"),
        DeValue::Table(_) => Leaf::Other("a table"),
    }
}

/// Lays the environment over `root`. Names of sections and keys are in capitals with `_` for `-`;
/// the name of a RocketMQ instance is found without regard to case and `-` or `_`.
pub(super) fn overlay_environment(
    root: &mut Table,
    variables: impl Iterator<Item = (String, String)>,
) {
    let mut relevant: Vec<(String, String)> = variables
        .filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX))
        .collect();
    // The environment has no order; problems should.
    relevant.sort();
    for (name, value) in relevant {
        let Some(rest) = name.strip_prefix(ENVIRONMENT_PREFIX) else {
            continue;
        };
        let parts: Vec<&str> = rest.split("__").collect();
        let is_instance = parts.len() > 2
            && parts
                .first()
                .is_some_and(|part| part.eq_ignore_ascii_case("rocketmq"))
            && parts
                .get(1)
                .is_some_and(|part| part.eq_ignore_ascii_case("instances"));
        let path = parts
            .iter()
            .enumerate()
            .map(|(index, part)| match index {
                2 if is_instance => instance_name(root, part),
                _ => part.to_ascii_lowercase().replace('_', "-"),
            })
            .collect::<Vec<String>>();
        insert(root, &path, Leaf::Loose(value), &Origin::Environment(name));
    }
}

fn instance_name(root: &Table, part: &str) -> String {
    let plain = |text: &str| text.to_ascii_lowercase().replace('_', "-");
    let configured = root.get("rocketmq").and_then(|entry| match &entry.node {
        Node::Table(table) => table.get("instances"),
        Node::Leaf(_) => None,
    });
    if let Some(Entry {
        node: Node::Table(instances),
        ..
    }) = configured
        && let Some(name) = instances.keys().find(|name| plain(name) == plain(part))
    {
        return name.clone();
    }
    if part.eq_ignore_ascii_case("embedded") {
        part.to_ascii_lowercase()
    } else {
        part.to_owned()
    }
}

/// Lays `KEY=VALUE` arguments over `root`.
pub(super) fn overlay_settings(root: &mut Table, settings: &[String], problems: &mut Vec<Problem>) {
    for setting in settings {
        match setting.split_once('=') {
            Some((key, value)) if key.split('.').all(|part| !part.trim().is_empty()) => {
                let path: Vec<String> = key.split('.').map(|part| part.trim().to_owned()).collect();
                insert(
                    root,
                    &path,
                    Leaf::Loose(value.to_owned()),
                    &Origin::CommandLine,
                );
            }
            _ => problems.push(Problem::new(format!(
                "--set: {setting:?} must be KEY=VALUE, such as mqtt.tcp=127.0.0.1:1883"
            ))),
        }
    }
}

fn insert(table: &mut Table, path: &[String], leaf: Leaf, origin: &Origin) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    if rest.is_empty() {
        table.insert(
            first.clone(),
            Entry {
                node: Node::Leaf(leaf),
                origin: origin.clone(),
            },
        );
        return;
    }
    let entry = table.entry(first.clone()).or_insert_with(|| Entry {
        node: Node::Table(Table::new()),
        origin: origin.clone(),
    });
    if matches!(entry.node, Node::Leaf(_)) {
        *entry = Entry {
            node: Node::Table(Table::new()),
            origin: origin.clone(),
        };
    }
    if let Node::Table(inner) = &mut entry.node {
        insert(inner, rest, leaf, origin);
    }
}
