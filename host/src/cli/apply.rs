//! `rulemill apply` and `rulemill export`: the whole configuration as files.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use admin_api::{DeclaredComponent, read_declarations};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::connection::Connection;
use super::failure::{Exit, Failure};
use super::output::{Consent, field, items, print_json, print_line, printable, talk};
use super::plugin_kit::read_component;

#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches, each with a name of its own"
)]
pub(super) struct ApplyArgs {
    /// A TOML or JSON file, or a folder of them.
    #[arg(short, long, value_name = "FILE|DIR")]
    file: PathBuf,
    /// Only say what would change; exit 10 if something would.
    #[arg(long)]
    dry_run: bool,
    /// Delete rules that the files do not name; what they have queued is delivered.
    #[arg(long)]
    prune: bool,
    /// Apply it even if topics are missing or RocketMQ cannot be reached.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    consent: Consent,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// What to write.
    #[arg(long, value_enum, default_value_t = ExportFormat::Toml, value_name = "FORMAT")]
    format: ExportFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    Toml,
    Json,
}

impl ApplyArgs {
    /// True if it was a dry run and something would change.
    pub(super) fn run(self, connection: &Connection) -> Result<bool, Failure> {
        let declared = read_declarations(&self.file)
            .map_err(|error| Failure::new(Exit::Failed, domain::ErrorChain(&error).to_string()))?;
        let api = connection.api()?;
        let mut plugins = Vec::new();
        for plugin in declared.plugins {
            let digest = match plugin.component {
                DeclaredComponent::Digest(digest) => digest,
                DeclaredComponent::File(file) => {
                    let staged = api.push("/v1/components", &read_component(&file)?)?;
                    field(&staged, "/digest")
                }
            };
            plugins.push(json!({ "name": plugin.name, "digest": digest }));
        }
        let rules = declared.rules.into_iter().map(|(rule, _)| rule);
        let body = json!({
            "groups": declared.groups,
            "plugins": plugins,
            "rules": rules.collect::<Vec<_>>(),
        });
        let path = format!("/v1/apply?prune={}&force={}", self.prune, self.force);
        let plan = api.post(&format!("{path}&dryRun=true"), Some(&body))?;
        let is_changing = !items(&plan, "changes").is_empty();
        if self.dry_run || !is_changing {
            show(connection, &plan)?;
            return Ok(is_changing);
        }
        if !connection.is_json() {
            show(connection, &plan)?;
        }
        self.ask(&plan)?;
        let done = api.post(&path, Some(&body))?;
        if connection.is_json() {
            print_json(&done)?;
        } else {
            talk(format_args!("applied"));
        }
        Ok(false)
    }

    /// On a terminal the plan may be looked at before rules go; elsewhere `--prune` has said it.
    fn ask(&self, plan: &Value) -> Result<(), Failure> {
        let deleted = items(plan, "changes").iter();
        let deleted = deleted
            .filter(|it| field(it, "/action") == "delete")
            .count();
        if deleted == 0 || !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return Ok(());
        }
        self.consent
            .ask(&format!("Apply it and delete {deleted} rules?"))
    }
}

fn show(connection: &Connection, plan: &Value) -> Result<(), Failure> {
    if connection.is_json() {
        return print_json(plan);
    }
    lines(plan).iter().try_for_each(|line| print_line(line))
}

/// One line per change and per field of it.
fn lines(plan: &Value) -> Vec<String> {
    let changes = items(plan, "changes");
    let mut lines = Vec::new();
    for change in changes {
        let sign = match field(change, "/action").as_str() {
            "create" => '+',
            "delete" => '-',
            _ => '~',
        };
        let (kind, name) = (field(change, "/kind"), field(change, "/name"));
        lines.push(format!("{sign} {kind} {name}"));
        for difference in items(change, "difference") {
            let text = |name: &str| match difference.get(name) {
                None | Some(Value::Null) => None,
                Some(value) => Some(printable(&value.to_string())),
            };
            let name = field(difference, "/field");
            lines.push(match (text("from"), text("to")) {
                (Some(from), Some(to)) => format!("    {name}: {from} -> {to}"),
                (None, Some(to)) => format!("    {name}: {to}"),
                (from, None) => format!("    {name}: {} -> none", from.unwrap_or_default()),
            });
        }
        let warnings = items(change, "warnings").iter().filter_map(Value::as_str);
        lines.extend(warnings.map(|warning| format!("    warning: {}", printable(warning))));
    }
    let warnings = items(plan, "warnings").iter().filter_map(Value::as_str);
    lines.extend(warnings.map(|warning| format!("warning: {}", printable(warning))));
    let unchanged = field(plan, "/unchanged");
    let count = |action: &str| {
        let of_action = changes.iter().filter(|it| field(it, "/action") == action);
        of_action.count()
    };
    lines.push(if changes.is_empty() {
        format!("no change, {unchanged} as declared")
    } else {
        format!(
            "{} to create, {} to change, {} to delete, {unchanged} as declared",
            count("create"),
            count("change"),
            count("delete")
        )
    });
    lines
}

impl ExportArgs {
    pub(super) fn run(&self, connection: &Connection) -> Result<(), Failure> {
        let exported = connection.api()?.get("/v1/export")?;
        let mut file = Map::new();
        for (list, name) in [
            ("groups", "group"),
            ("plugins", "plugin"),
            ("rules", "rule"),
        ] {
            let all = items(&exported, list);
            if !all.is_empty() {
                file.insert(name.to_owned(), Value::Array(all.to_vec()));
            }
        }
        if connection.is_json() || self.format == ExportFormat::Json {
            return print_json(&Value::Object(file));
        }
        let text = toml_of(Value::Object(file))?;
        print_line(text.trim_end())
    }
}

fn toml_of(mut file: Value) -> Result<String, Failure> {
    let rules = file.get_mut("rule").and_then(Value::as_array_mut);
    for rule in rules.into_iter().flatten() {
        if let Some(config) = rule.pointer_mut("/mapping/config")
            && !is_toml(config)
        {
            *config = Value::String(config.to_string());
        }
    }
    toml::to_string(&file).map_err(|error| {
        let message = format!("the configuration has no TOML form: {error}; say --format json");
        Failure::new(Exit::Failed, message)
    })
}

/// Whether TOML can say it: it has no null, and no whole numbers above 2^63.
fn is_toml(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Number(number) => number.is_i64() || number.is_f64(),
        Value::Array(items) => items.iter().all(is_toml),
        Value::Object(fields) => fields.values().all(is_toml),
        Value::Bool(_) | Value::String(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{lines, toml_of};

    #[test]
    fn a_plan_says_each_change_and_its_fields() {
        let plan = json!({ "unchanged": 2, "changes": [
            { "kind": "rule", "name": "a", "action": "change", "warnings": ["w"],
              "difference": [{ "field": "status", "from": "enabled", "to": "disabled" },
                             { "field": "x", "from": null, "to": 1 }, { "field": "y", "from": 1, "to": null }] },
            { "kind": "group", "name": "GID_A", "action": "create", "difference": [], "warnings": [] },
        ]});
        assert_eq!(
            lines(&plan),
            [
                "~ rule a",
                "    status: \"enabled\" -> \"disabled\"",
                "    x: 1",
                "    y: 1 -> none",
                "    warning: w",
                "+ group GID_A",
                "1 to create, 1 to change, 0 to delete, 2 as declared",
            ]
        );
        let none = json!({ "unchanged": 3, "changes": [] });
        assert_eq!(lines(&none), ["no change, 3 as declared"]);
    }

    #[test]
    fn what_toml_cannot_say_becomes_json_text() {
        let rule =
            |config: Value| json!({ "rule": [{ "ruleId": "a", "mapping": { "config": config } }] });
        let text = toml_of(rule(json!({ "a": [1, null], "b": u64::MAX }))).unwrap();
        assert!(
            text.contains(r#"config = '{"a":[1,null],"b":18446744073709551615}'"#),
            "{text}"
        );
        let text = toml_of(rule(json!({ "a": 1.5 }))).unwrap();
        assert!(text.contains("a = 1.5"), "{text}");
    }
}
