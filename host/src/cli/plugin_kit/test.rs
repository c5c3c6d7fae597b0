//! `plugin test`: runs the cases of `tests/*.toml`, and rewrites their expectations on demand.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use domain::{Mapping, MappingLimits, OutboundMessage, RejectEvent};
use plugin_runtime::{Answer, CaseReport, ExpectedMessage};
use serde_json::{Value, json};
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table};

use super::cases::{self, WrittenCase};
use super::guest_log::{self, GuestLine};
use super::manifest::read_component;
use super::{Manifest, build, engine};
use crate::cli::connection::Connection;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{print_json, print_line, printable, talk};

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) filter: Option<String>,
    pub(super) no_build: bool,
    pub(super) update: bool,
}

/// A case, what came of it, and what the plugin said meanwhile.
#[derive(Debug)]
pub(super) struct RanCase {
    pub(super) written: WrittenCase,
    pub(super) report: CaseReport,
    pub(super) log: Vec<GuestLine>,
}

impl RanCase {
    pub(super) fn holds(&self) -> bool {
        self.report.mismatches.is_empty()
    }
}

pub(super) fn run(connection: &Connection, plan: &Plan) -> Result<(), Failure> {
    let manifest = Manifest::here()?;
    if !plan.no_build {
        build::run(&manifest)?;
    }
    let reports = run_cases(&manifest, plan.filter.as_deref())?;
    if reports.is_empty() {
        return Err(Failure::new(
            Exit::Failed,
            "no case was run: write some into tests/*.toml, or mind the filter",
        ));
    }
    let failed: Vec<_> = reports.iter().filter(|ran| !ran.holds()).collect();
    if connection.is_json() {
        let all = reports.iter().map(shown_as_json);
        print_json(&Value::Array(all.collect()))?;
    } else {
        reports.iter().try_for_each(show)?;
    }
    if plan.update && !failed.is_empty() {
        let count = failed.len();
        update(&failed, &manifest.component, Path::new(cases::FOLDER))?;
        talk(format_args!(
            "{count} cases rewritten; look at the difference"
        ));
        return Ok(());
    }
    let (count, wrong) = (reports.len(), failed.len());
    if wrong == 0 {
        talk(format_args!("{count} passed"));
        return Ok(());
    }
    Err(Failure::new(
        Exit::Failed,
        format!("{} passed, {wrong} failed", count - wrong),
    ))
}

/// Runs the cases whose name contains `filter`.
pub(super) fn run_cases(
    manifest: &Manifest,
    filter: Option<&str>,
) -> Result<Vec<RanCase>, Failure> {
    let runtime = engine::start(engine::of(Some(manifest.language)))?;
    let plugin = engine::compile(&runtime, &read_component(&manifest.component)?)?;
    let mut reports = Vec::new();
    drop(guest_log::take());
    for written in cases::read()? {
        if filter.is_some_and(|filter| !written.case.name.contains(filter)) {
            continue;
        }
        let report = runtime
            .run_case(&plugin, &written.case, MappingLimits::default())
            .map_err(|error| {
                let chain = domain::ErrorChain(&error);
                Failure::new(Exit::Failed, format!("{}: {chain}", written.file.display()))
            })?;
        reports.push(RanCase {
            written,
            report,
            log: guest_log::take(),
        });
    }
    Ok(reports)
}

fn show(ran: &RanCase) -> Result<(), Failure> {
    let verdict = if ran.holds() { "ok  " } else { "FAIL" };
    let micros = ran.report.took.as_micros();
    print_line(&format!(
        "{verdict} {} ({micros} µs)",
        ran.written.case.name
    ))?;
    for mismatch in &ran.report.mismatches {
        print_line(&format!("     {}", mismatch.place))?;
        print_line(&format!("       expected {}", mismatch.expected))?;
        print_line(&format!("       got      {}", mismatch.found))?;
    }
    for line in &ran.log {
        print_line(&format!(
            "     log {:<5} {}",
            line.level,
            printable(&line.text)
        ))?;
    }
    Ok(())
}

fn shown_as_json(ran: &RanCase) -> Value {
    let mismatches: Vec<_> = ran
        .report
        .mismatches
        .iter()
        .map(|it| json!({ "place": it.place, "expected": it.expected, "found": it.found }))
        .collect();
    let log: Vec<_> = ran
        .log
        .iter()
        .map(|it| json!({ "level": it.level, "line": it.text }))
        .collect();
    json!({
        "case": ran.written.case.name,
        "file": ran.written.file.display().to_string(),
        "passed": mismatches.is_empty(),
        "mismatches": mismatches,
        "log": log,
        "micros": u64::try_from(ran.report.took.as_micros()).unwrap_or(u64::MAX),
        "memoryBytes": ran.report.memory_bytes,
    })
}

/// Writes what the plugin did into the cases, and the cases of `folder` into the component: it still has the old ones,
/// and a host would refuse it for them.
fn update(failed: &[&RanCase], component: &Path, folder: &Path) -> Result<(), Failure> {
    let updated = update_files(failed);
    // Also what was written before a failure counts.
    let embedded = cases::read_folder(folder).and_then(|all| build::embed(component, all));
    updated?;
    embedded.map(drop)
}

/// Everything else in the files stays as it is.
fn update_files(failed: &[&RanCase]) -> Result<(), Failure> {
    let mut by_file: BTreeMap<&PathBuf, Vec<(usize, &Answer)>> = BTreeMap::new();
    for ran in failed {
        by_file
            .entry(&ran.written.file)
            .or_default()
            .push((ran.written.index, &ran.report.answer));
    }
    for (file, answers) in by_file {
        rewrite(file, &answers).map_err(|problem| {
            Failure::new(Exit::Failed, format!("{}: {problem}", file.display()))
        })?;
    }
    Ok(())
}

fn rewrite(file: &Path, answers: &[(usize, &Answer)]) -> Result<(), String> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    let mut document: DocumentMut = text
        .parse()
        .map_err(|error: toml_edit::TomlError| error.to_string())?;
    let cases = document
        .get_mut("case")
        .and_then(Item::as_array_of_tables_mut)
        .ok_or("its cases are not written as [[case]], write them so first")?;
    for (index, answer) in answers {
        let case = cases.get_mut(*index).ok_or("it changed meanwhile")?;
        expect(case, answer)?;
    }
    fs::write(file, document.to_string()).map_err(|error| error.to_string())
}

fn expect(case: &mut Table, answer: &Answer) -> Result<(), String> {
    for outcome in ["message", "skipped", "rejected", "retry", "config-refused"] {
        case.remove(outcome);
    }
    match answer {
        Answer::Mapped(Mapping::Deliver(messages)) if messages.is_empty() => {
            case.insert("skipped", toml_edit::value(true));
        }
        Answer::Mapped(Mapping::Deliver(messages)) => {
            let mut tables = ArrayOfTables::new();
            for message in messages {
                tables.push(described(message)?);
            }
            case.insert("message", Item::ArrayOfTables(tables));
        }
        Answer::Mapped(Mapping::Reject(RejectEvent::Rejected(reason))) => {
            case.insert("rejected", toml_edit::value(reason));
        }
        Answer::Mapped(Mapping::Reject(RejectEvent::Retry(reason))) => {
            case.insert("retry", toml_edit::value(reason));
        }
        Answer::ConfigRefused(reason) => {
            case.insert("config-refused", toml_edit::value(reason));
        }
        Answer::Fault(fault) => return Err(format!("a fault is nothing to expect: {fault}")),
    }
    Ok(())
}

/// What a case says of `message`.
fn described(message: &OutboundMessage) -> Result<Table, String> {
    let complete = ExpectedMessage::of(message);
    match as_table(&complete) {
        // TOML has no null and no integer beyond 64 bits with a sign: such a body is told as text.
        Err(_) if complete.body_json.is_some() => as_table(&ExpectedMessage {
            body: String::from_utf8(message.body.clone()).ok(),
            body_json: None,
            ..complete
        }),
        told => told,
    }
}

fn as_table(message: &ExpectedMessage) -> Result<Table, String> {
    let text = toml::to_string(message).map_err(|error| error.to_string())?;
    let read: ExpectedMessage =
        toml::from_str(&text).map_err(|error| error.message().to_owned())?;
    if read != *message {
        return Err("TOML does not say it exactly".to_owned());
    }
    let document: DocumentMut = text
        .parse()
        .map_err(|error: toml_edit::TomlError| error.to_string())?;
    let mut table = document.as_table().clone();
    forget_positions(&mut table);
    Ok(table)
}

/// Positions are those in the text that a table was read from; in another text they would put it under
/// another case.
fn forget_positions(table: &mut Table) {
    table.set_position(None);
    for (_, item) in table.iter_mut() {
        match item {
            Item::Table(inner) => forget_positions(inner),
            Item::ArrayOfTables(many) => many.iter_mut().for_each(forget_positions),
            Item::Value(_) | Item::None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use domain::{Mapping, OutboundMessage, RejectEvent};
    use plugin_runtime::{Answer, CaseReport, ExpectedMessage, with_cases};

    use super::{RanCase, rewrite, update};
    use crate::cli::plugin_kit::cases::{WrittenCase, read_folder};

    /// The shortest component that there is.
    const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";

    fn message(body: &str) -> OutboundMessage {
        OutboundMessage {
            tag: None,
            keys: Vec::new(),
            properties: vec![("p".to_owned(), "1".to_owned())],
            body: body.as_bytes().to_vec(),
        }
    }

    fn sends(body: &str) -> Answer {
        Answer::Mapped(Mapping::Deliver(vec![message(body)]))
    }

    fn expected(folder: &Path) -> Vec<Vec<ExpectedMessage>> {
        let cases = read_folder(folder).unwrap();
        cases.into_iter().map(|it| it.case.message).collect()
    }

    const FILE: &str = "# what we want\n[[case]]\nname = \"one\" # first\nskipped = true\n\n[[case]]\nname = \"two\"\n[[case.message]]\ntag = \"old\"\n";

    #[test]
    fn an_update_rewrites_expectations_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        std::fs::write(&file, FILE).unwrap();
        let message = OutboundMessage {
            tag: Some("new".to_owned()),
            keys: vec!["k".to_owned()],
            properties: vec![("p".to_owned(), "1".to_owned())],
            body: b"{\"a\":1}".to_vec(),
        };
        let sends = Answer::Mapped(Mapping::Deliver(vec![message]));
        let rejects = Answer::Mapped(Mapping::Reject(RejectEvent::Rejected("no".to_owned())));
        rewrite(&file, &[(0, &rejects), (1, &sends)]).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            text.starts_with(
                "# what we want\n[[case]]\nname = \"one\" # first\nrejected = \"no\"\n"
            ),
            "{text}"
        );
        for line in ["tag = \"new\"", "keys = [\"k\"]", "p = \"1\"", "a = 1"] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert!(!text.contains("old"), "{text}");
        // What was written is read again.
        let cases: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(cases["case"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn what_an_update_writes_is_what_the_case_says_then() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        std::fs::write(&file, FILE).unwrap();
        let bodies = ["{\"a\":{\"b\":[{\"c\":1}]}}", "{\"d\":{\"e\":2}}"];
        let answers = bodies.map(sends);
        rewrite(&file, &[(0, &answers[0]), (1, &answers[1])]).unwrap();
        let wanted = bodies.map(|body| vec![ExpectedMessage::of(&message(body))]);
        assert_eq!(expected(folder.path()), wanted);
    }

    #[test]
    fn json_that_toml_cannot_say_is_expected_as_text() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        for body in ["{\"a\":null}", "[1,null]", "{\"a\":18446744073709551615}"] {
            std::fs::write(&file, FILE).unwrap();
            rewrite(&file, &[(1, &sends(body))]).unwrap();
            let said = &expected(folder.path())[1][0];
            assert_eq!(said.body.as_deref(), Some(body));
            assert_eq!(said.body_json, None);
            assert_eq!(said.properties["p"], "1");
        }
    }

    #[test]
    fn after_an_update_the_component_has_the_new_cases() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        std::fs::write(&file, FILE).unwrap();
        let component = folder.path().join("my.wasm");
        let embedded = |all: Vec<WrittenCase>| {
            let cases: Vec<_> = all.into_iter().map(|it| it.case).collect();
            with_cases(&COMPONENT, &cases).unwrap()
        };
        let old = embedded(read_folder(folder.path()).unwrap());
        std::fs::write(&component, &old).unwrap();
        let written = read_folder(folder.path()).unwrap().remove(1);
        let report = CaseReport {
            answer: sends("now"),
            mismatches: Vec::new(),
            took: Duration::ZERO,
            memory_bytes: 0,
        };
        let failed = RanCase {
            written,
            report,
            log: Vec::new(),
        };
        update(&[&failed], &component, folder.path()).unwrap();
        let now = std::fs::read(&component).unwrap();
        assert_eq!(now, embedded(read_folder(folder.path()).unwrap()));
        assert_ne!(now, old);
        assert_eq!(
            expected(folder.path())[1][0].body.as_deref(),
            Some("now"),
            "and the file says so as well"
        );
    }
}
