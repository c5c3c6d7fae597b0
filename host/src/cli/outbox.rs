//! `rulemill outbox`. `check` and `repair` work on the files of a stopped host, without the host.
//!
//! The only commands that touch the store, since a host that refuses a damaged file cannot be asked.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use domain::ErrorChain;
use serde_json::{Value, json};
use store::repair::{
    self, CheckReport, CheckStoreError, Remedy, RepairReport, RepairStoreError, StoreFile,
};

use super::api::encode;
use super::config_command::Layers;
use super::connection::Connection;
use super::failure::{Exit, Failure};
use super::output::{Cell, Table, field, items, print_json, print_line, talk};

const FILES: [StoreFile; 2] = [StoreFile::Outbox, StoreFile::Meta];

#[derive(Debug, Subcommand)]
pub(super) enum OutboxCommand {
    /// Say whether the files of a stopped host are sound, and what is wrong where. Changes nothing; exit 1
    /// if something is wrong.
    #[command(after_help = "Examples:
  rulemill outbox check --data-dir /var/lib/rulemill
  rulemill outbox check --config rulemill.toml --output json")]
    Check {
        #[command(flatten)]
        layers: Layers,
    },
    /// Mend the files of a stopped host. A damaged file stays beside the new one, under another name. Loses only
    /// what is provably damaged, and says how many events that are, at most. That is not known (`lostEvents` is null)
    /// where the last commit itself is not found: its page or its entry is damaged. Exit 1 if a file could not be repaired.
    #[command(after_help = "Examples:
  rulemill outbox repair --data-dir /var/lib/rulemill
  rulemill outbox repair --config rulemill.toml --output json")]
    Repair {
        #[command(flatten)]
        layers: Layers,
    },
    /// Take a queue out of use that will not come back: the clients that wait for it move to the other
    /// queues of the topic. Asks a running host. Their messages may repeat, and consumers may see
    /// them out of order once.
    #[command(after_help = "Example:
  rulemill outbox retire-queue devices broker-a:3")]
    RetireQueue {
        rule_id: String,
        /// The broker's name and the queue's number, as the rule's reason names them.
        queue: String,
    },
}

impl OutboxCommand {
    pub(super) fn run(self, connection: &Connection) -> Result<(), Failure> {
        match self {
            Self::Check { layers } => check(connection, &data_dir(layers, connection)?),
            Self::Repair { layers } => repair_files(connection, &data_dir(layers, connection)?),
            Self::RetireQueue { rule_id, queue } => retire_queue(connection, &rule_id, &queue),
        }
    }
}

fn retire_queue(connection: &Connection, rule_id: &str, queue: &str) -> Result<(), Failure> {
    let path = format!("/v1/rules/{}/retire-queue", encode(rule_id));
    let body = json!({ "queue": queue });
    let answer = connection.api()?.post(&path, Some(&body))?;
    if connection.is_json() {
        return print_json(&answer);
    }
    let slots = field(&answer, "/movedSlots");
    talk(format_args!(
        "queue {queue} retired, {slots} of 256 slots moved"
    ));
    Ok(())
}

fn data_dir(layers: Layers, connection: &Connection) -> Result<PathBuf, Failure> {
    Ok(layers.load(connection)?.node.data_dir)
}

/// The files that are there.
fn files(data_dir: &Path) -> Result<Vec<(StoreFile, PathBuf)>, Failure> {
    let files: Vec<_> = FILES
        .into_iter()
        .map(|kind| (kind, data_dir.join(kind.name())))
        .filter(|(_, path)| path.exists())
        .collect();
    if files.is_empty() {
        return Err(Failure::new(
            Exit::Failed,
            format!(
                "{} has no outbox.redb and no meta.redb: name the host's folder with --data-dir or --config",
                data_dir.display()
            ),
        ));
    }
    Ok(files)
}

fn check(connection: &Connection, data_dir: &Path) -> Result<(), Failure> {
    let mut reports = Vec::new();
    for (kind, path) in files(data_dir)? {
        reports.push(repair::check(&path, kind).map_err(|error| not_checked(&error))?);
    }
    if connection.is_json() {
        let files: Vec<Value> = reports.iter().map(check_json).collect();
        print_json(&json!({ "files": files }))?;
    } else {
        show_checks(&reports)?;
    }
    let damaged: Vec<String> = reports
        .iter()
        .filter(|report| !report.is_sound())
        .map(|report| {
            format!(
                "{} is damaged: {}",
                report.file.display(),
                remedy(report, data_dir)
            )
        })
        .collect();
    if damaged.is_empty() {
        Ok(())
    } else {
        Err(Failure::several(Exit::Failed, damaged))
    }
}

fn remedy(report: &CheckReport, data_dir: &Path) -> String {
    let command = format!("rulemill outbox repair --data-dir {}", data_dir.display());
    if report.is_mendable() {
        format!("`{command}` mends it and loses nothing")
    } else {
        format!("`{command}` keeps everything that is whole and says what is not")
    }
}

fn check_json(report: &CheckReport) -> Value {
    let mut value = serde_json::to_value(report).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("isSound".to_owned(), json!(report.is_sound()));
        fields.insert("isMendable".to_owned(), json!(report.is_mendable()));
    }
    value
}

fn show_checks(reports: &[CheckReport]) -> Result<(), Failure> {
    let files: Vec<Value> = reports.iter().map(check_json).collect();
    let columns = [
        ("FILE", Cell::Of(file_name)),
        ("STATE", Cell::Of(state)),
        ("SCHEMA", Cell::At("/schema")),
        ("BYTES", Cell::At("/bytes")),
        ("CLOSED", Cell::Of(closed)),
    ];
    Table::of(&columns, &files).print()?;
    print_line("")?;
    let tables: Vec<Value> = files.iter().flat_map(tables_of).collect();
    let columns = [
        ("FILE", Cell::Of(file_name)),
        ("TABLE", Cell::At("/table")),
        ("ROWS", Cell::At("/rows")),
        ("DAMAGED", Cell::At("/damagedRows")),
        ("MISSING", Cell::At("/missingRows")),
    ];
    Table::of(&columns, &tables).print()?;
    for report in reports {
        show_damages(&report.file, &report.damages, report.more_damages)?;
        for tally in &report.tallies {
            print_line(&format!(
                "{}: the counts of incarnation {} say {} pending events, the file has {}",
                name(&report.file),
                tally.incarnation,
                tally.counted,
                tally.found
            ))?;
        }
        show_notes(&report.file, &report.notes);
    }
    Ok(())
}

fn state(file: &Value) -> String {
    let is_sound = file.get("isSound").and_then(Value::as_bool);
    if is_sound == Some(true) {
        "sound"
    } else {
        "damaged"
    }
    .to_owned()
}

fn closed(file: &Value) -> String {
    let is_closed = file.get("isClosed").and_then(Value::as_bool);
    if is_closed == Some(true) { "yes" } else { "no" }.to_owned()
}

/// The tables of a file, each with the file's path.
fn tables_of(file: &Value) -> Vec<Value> {
    let path = file.get("file").cloned().unwrap_or_default();
    let mut tables = items(file, "tables").to_vec();
    for table in tables.iter_mut().filter_map(Value::as_object_mut) {
        table.insert("file".to_owned(), path.clone());
    }
    tables
}

fn file_name(file: &Value) -> String {
    name(Path::new(&field(file, "/file")))
}

fn show_damages(file: &Path, damages: &[repair::Damage], more: u64) -> Result<(), Failure> {
    for damage in damages {
        print_line(&format!("{}: {damage}", name(file)))?;
    }
    if more > 0 {
        print_line(&format!("{}: {more} more places are damaged", name(file)))?;
    }
    Ok(())
}

fn show_notes(file: &Path, notes: &[String]) {
    for note in notes {
        talk(format_args!("{}: {note}", name(file)));
    }
}

fn name(file: &Path) -> String {
    file.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn repair_files(connection: &Connection, data_dir: &Path) -> Result<(), Failure> {
    let mut reports = Vec::new();
    let mut failures = Vec::new();
    for (kind, path) in files(data_dir)? {
        match repair::repair(&path, kind) {
            Ok(report) => reports.push(report),
            Err(RepairStoreError::Check(error @ CheckStoreError::InUse { .. })) => {
                return Err(not_checked(&error));
            }
            Err(error) => failures.push(ErrorChain(&error).to_string()),
        }
    }
    if connection.is_json() {
        let files: Vec<Value> = reports.iter().map(repair_json).collect();
        print_json(&json!({ "files": files, "failures": failures }))?;
    } else {
        for report in &reports {
            show_repair(report)?;
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Failure::several(Exit::Failed, failures))
    }
}

fn repair_json(report: &RepairReport) -> Value {
    let mut value = serde_json::to_value(report).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("lostEvents".to_owned(), json!(report.lost_events()));
        let not_found = report.not_found_events();
        fields.insert("notFoundEvents".to_owned(), json!(not_found));
    }
    value
}

fn show_repair(report: &RepairReport) -> Result<(), Failure> {
    let file = name(&report.file);
    print_line(&match report.remedy {
        Remedy::None => format!("{file}: sound, left as it is"),
        Remedy::Mended => format!("{file}: mended, nothing is lost"),
        Remedy::Salvaged => format!("{file}: rebuilt, {}", cost(report)),
    })?;
    show_damages(&report.file, &report.damages, report.more_damages)?;
    if !report.tables.is_empty() {
        let columns = [
            ("TABLE", Cell::At("/table")),
            ("KEPT", Cell::At("/kept")),
            ("OLDER COMMIT", Cell::At("/fromOlderCommit")),
            ("FREE PAGES", Cell::At("/fromFreePages")),
            ("RESTORED", Cell::At("/restored")),
            ("LOST", Cell::At("/lost")),
        ];
        Table::of(&columns, items(&repair_json(report), "tables")).print()?;
    }
    for tally in &report.tallies {
        print_line(&format!(
            "incarnation {}: {} lost events count as discarded, {} as recorded again",
            tally.incarnation, tally.discarded, tally.recorded
        ))?;
    }
    if let Some(damaged) = &report.damaged_file {
        print_line(&format!("the damaged file is now {}", damaged.display()))?;
    }
    show_notes(&report.file, &report.notes);
    Ok(())
}

/// What a salvage lost, and what it may repeat.
fn cost(report: &RepairReport) -> String {
    let repeated = report.possibly_repeated;
    match report.lost_events() {
        Some(lost) => format!("{lost} events are lost, {repeated} may be sent again"),
        None => format!(
            "how many events are lost is not known ({} that are known of were not found); {repeated} may be sent again, \
             besides those that the last commit had settled",
            report.not_found_events()
        ),
    }
}

fn not_checked(error: &CheckStoreError) -> Failure {
    Failure::new(Exit::Failed, ErrorChain(error).to_string())
}
