//! One template: compiled, checked, rendered, and where in it a mistake is.
//!
//! Fuel bounds what a template may do: each instruction costs one, each 64 bytes of data another. All
//! templates of a rule together stay well below the host's deadline for a call.

use std::fmt;

use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use rulemill_sdk::time;

use super::context::{self, Names};
use super::to_json::to_json;

/// Levels of loops and conditions, one inside the other; the stack is small.
const RECURSION_MAX: usize = 64;

/// Bytes between `{{` and `}}`, or `{%` and `%}`: a chain of some thousand operators is beyond the
/// stack.
const TAG_BYTES_MAX: usize = 1024;

/// How much a template may do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scale {
    /// A tag, a key, a property.
    Small,
    /// The body.
    Body,
}

impl Scale {
    fn fuel(self) -> u64 {
        match self {
            Self::Small => 1_000,
            Self::Body => 20_000,
        }
    }
}

/// Why there is no text.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The template said so, by `reject("…")`.
    Rejected(String),
    /// The template cannot do this.
    Broken(String),
}

/// A field of the configuration, ready to render.
#[derive(Debug)]
pub(crate) struct Text {
    field: String,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// There is nothing to fill in.
    Fixed(String),
    Template(Box<Environment<'static>>),
}

impl Text {
    /// Compiles `source` and notes what it uses of an event.
    pub(crate) fn compile(
        field: String,
        source: String,
        bytes_max: usize,
        scale: Scale,
        names: &mut Names,
    ) -> Result<Self, String> {
        if source.len() > bytes_max {
            return Err(format!(
                "{field}: {} bytes; the limit is {bytes_max}",
                source.len()
            ));
        }
        if !["{{", "{%", "{#"].iter().any(|open| source.contains(open)) {
            let content = Content::Fixed(source);
            return Ok(Self { field, content });
        }
        if let Some(before) = long_tag(&source) {
            return Err(format!(
                "{field}: a tag of more than {TAG_BYTES_MAX} bytes at {}; use {{% set %}} for its parts",
                place(before)
            ));
        }
        let mut environment = environment(scale);
        environment
            .add_template_owned(field.clone(), source.clone())
            .map_err(|error| explain(&field, &error, &source))?;
        let template = environment
            .get_template(&field)
            .map_err(|error| explain(&field, &error, &source))?;
        let mut used: Vec<_> = template.undeclared_variables(false).into_iter().collect();
        used.sort();
        for name in used {
            let is_global = environment.globals().any(|(global, _)| global == name);
            if !is_global && !context::all().any(|known| known == name) {
                return Err(unknown_name(&field, &name, &source));
            }
        }
        names.note(&source);
        let content = Content::Template(Box::new(environment));
        Ok(Self { field, content })
    }

    /// The field's name in the configuration.
    pub(crate) fn field(&self) -> &str {
        &self.field
    }

    /// Fills the template in.
    pub(crate) fn render(&self, context: &Value) -> Result<String, Failure> {
        let environment = match &self.content {
            Content::Fixed(text) => return Ok(text.clone()),
            Content::Template(environment) => environment,
        };
        environment
            .get_template(&self.field)
            .and_then(|template| template.render(context.clone()))
            .map_err(|error| self.failure(environment, &error))
    }

    fn failure(&self, environment: &Environment<'_>, error: &Error) -> Failure {
        let rejection =
            std::error::Error::source(error).and_then(|source| source.downcast_ref::<Rejection>());
        if let Some(Rejection(reason)) = rejection {
            return Failure::Rejected(reason.clone());
        }
        let template = environment.get_template(&self.field);
        let source = template.as_ref().map_or("", |template| template.source());
        Failure::Broken(explain(&self.field, error, source))
    }
}

fn environment(scale: Scale) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    // Else an error does not know its column.
    environment.set_debug(true);
    environment.set_fuel(Some(scale.fuel()));
    environment.set_recursion_limit(RECURSION_MAX);
    // It prints the engine's insides.
    environment.remove_global("debug");
    environment.add_filter("tojson", to_json);
    environment.add_filter("rfc3339", rfc3339);
    environment.add_function("reject", reject);
    environment
}

fn rfc3339(value: &Value) -> Result<String, Error> {
    let text = value.to_string();
    text.parse().ok().and_then(time::rfc3339).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidOperation,
            format!("rfc3339 wants UNIX milliseconds up to the year 9999, not {text:?}"),
        )
    })
}

/// What `reject` was called with.
#[derive(Debug)]
struct Rejection(String);

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Rejection {}

fn reject(reason: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, "rejected").with_source(Rejection(reason)))
}

/// The engine's words with the place: `body: undefined value at line 1, column 9 (reason)`.
fn explain(field: &str, error: &Error, source: &str) -> String {
    let what = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    let range = error.range();
    let before = range.as_ref().and_then(|range| source.get(..range.start));
    let place = match (before, error.line()) {
        (Some(before), _) => place(before),
        (None, Some(line)) => format!("line {line}"),
        (None, None) => "an unknown place".to_owned(),
    };
    let code = range
        .and_then(|range| source.get(range))
        .unwrap_or_default();
    let mut text = format!("{field}: {what} at {place}");
    if !code.is_empty() && code.len() <= 80 {
        text = format!("{text} (`{code}`)");
    }
    if error.kind() == ErrorKind::UndefinedError {
        text.push_str("; what not every event has needs `… if … is defined` or `| default(\"\")`");
    }
    text
}

fn unknown_name(field: &str, name: &str, source: &str) -> String {
    let known: Vec<_> = context::all().collect();
    let place = source_place(source, name);
    format!(
        "{field}: unknown name `{name}` at {place}; there are {}",
        known.join(", ")
    )
}

/// Where `name` stands as a whole word inside a tag, counted in lines and characters.
fn source_place(source: &str, name: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    for (at, _) in source.match_indices(name) {
        let Some((before, rest)) = source.split_at_checked(at) else {
            continue;
        };
        let after = rest.strip_prefix(name).unwrap_or_default();
        let is_whole = !before.ends_with(is_word) && !after.starts_with(is_word);
        let is_inside = before.rfind(['{']) > before.rfind(['}']);
        if is_whole && is_inside && !before.ends_with('.') {
            return place(before);
        }
    }
    "an unknown place".to_owned()
}

/// What stands before the first tag that is too long.
fn long_tag(source: &str) -> Option<&str> {
    let mut from = 0;
    while let Some(rest) = source.get(from..) {
        let (open, close) = match (rest.find("{{"), rest.find("{%")) {
            (Some(a), Some(b)) if a < b => (a, "}}"),
            (Some(a), None) => (a, "}}"),
            (_, Some(b)) => (b, "%}"),
            (None, None) => return None,
        };
        let tag = rest.get(open..).unwrap_or_default();
        let bytes = tag.find(close).unwrap_or(tag.len());
        if bytes > TAG_BYTES_MAX {
            return source.get(..from + open);
        }
        from += open + bytes.max(2);
    }
    None
}

/// The place behind `before`.
fn place(before: &str) -> String {
    let line = before.matches('\n').count() + 1;
    let last = before.rsplit('\n').next().unwrap_or_default();
    format!("line {line}, column {}", last.chars().count() + 1)
}
