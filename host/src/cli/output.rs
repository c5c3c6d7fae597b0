//! Results go to stdout, talk goes to stderr.

use std::fmt;
use std::io::{self, BufRead, IsTerminal, Write};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::failure::Failure;

/// Between two columns of a table.
const COLUMN_GAP: &str = "  ";
/// A column is not narrowed below it, characters.
const COLUMN_WIDTH_MIN: usize = 10;
/// A longer line is no answer to a question.
const ANSWER_BYTES_MAX: u64 = 64;

/// How results look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum OutputFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Writes one line to stderr.
pub(super) fn talk(line: fmt::Arguments<'_>) {
    // If nobody hears it, there is nobody to tell.
    drop(writeln!(io::stderr(), "{line}"));
}

/// Writes one line to stdout.
pub(super) fn print_line(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::output(&error))
}

/// Writes a JSON value to stdout.
pub(super) fn print_json(value: &Value) -> Result<(), Failure> {
    print_line(&format!("{value:#}"))
}

/// Whether something may be deleted.
#[derive(Debug, clap::Args)]
pub(super) struct Consent {
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

impl Consent {
    /// Asks, unless the answer was given: on a terminal; elsewhere `--yes` is needed.
    pub(super) fn ask(&self, question: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        let input = io::stdin();
        let is_terminal = input.is_terminal() && io::stderr().is_terminal();
        ask(question, is_terminal.then(|| input.lock()))
    }
}

/// `terminal` is where the answer comes from; without one nobody can be asked.
fn ask(question: &str, terminal: Option<impl BufRead>) -> Result<(), Failure> {
    let Some(terminal) = terminal else {
        return Err(Failure::usage(format!(
            "{question} Say --yes to do it: there is no terminal to ask on"
        )));
    };
    // If the question is not seen, there will be no yes.
    drop(write!(io::stderr(), "{question} [y/N] "));
    let mut answer = String::new();
    let read = terminal.take(ANSWER_BYTES_MAX).read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(Failure::usage("nothing was deleted"))
    }
}

/// What a column shows of each item of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell {
    /// The field at this JSON pointer.
    At(&'static str),
    /// What is made of several fields.
    Of(fn(&Value) -> String),
}

/// A heading and what is under it.
pub(super) type Column = (&'static str, Cell);

/// Rows under headings, in columns.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    /// Whether cells are cut where the terminal is too narrow.
    is_list: bool,
}

impl Table {
    /// One row per item.
    pub(super) fn of(columns: &[Column], items: &[Value]) -> Self {
        let headings = columns.iter().map(|(heading, _)| (*heading).to_owned());
        let mut rows = vec![headings.collect()];
        rows.extend(items.iter().map(|item| cells(columns, item).collect()));
        Self {
            rows,
            is_list: true,
        }
    }

    /// One item: a line for each of `columns`, the heading before what belongs to it.
    pub(super) fn details(columns: &[Column], item: &Value) -> Self {
        let headings = columns.iter().map(|(heading, _)| (*heading).to_owned());
        let rows = headings.zip(cells(columns, item));
        Self {
            rows: rows.map(|(heading, cell)| vec![heading, cell]).collect(),
            is_list: false,
        }
    }

    pub(super) fn print(&self) -> Result<(), Failure> {
        let lines = self.lines(terminal_width().filter(|_| self.is_list));
        lines.iter().try_for_each(|line| print_line(line))
    }

    /// Fits into `width_max` characters, if there is a limit: cells of the widest columns are cut then.
    fn lines(&self, width_max: Option<usize>) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..columns).map(width).collect();
        if let Some(width_max) = width_max {
            shrink(&mut widths, width_max);
        }
        let line = |row: &Vec<String>| {
            let cells = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{:<width$}", shortened(cell, *width)));
            cells
                .collect::<Vec<_>>()
                .join(COLUMN_GAP)
                .trim_end()
                .to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

/// How many characters a line of the terminal has; `None`: the output goes elsewhere, where nothing
/// is cut.
fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Narrows the widest columns until all of them fit, or none is wide any more.
fn shrink(widths: &mut [usize], width_max: usize) {
    let gaps = widths.len().saturating_sub(1) * COLUMN_GAP.len();
    loop {
        let total: usize = widths.iter().sum::<usize>() + gaps;
        let Some(widest) = widths.iter_mut().max() else {
            return;
        };
        if total <= width_max || *widest <= COLUMN_WIDTH_MIN {
            return;
        }
        *widest -= 1;
    }
}

/// The cell, or its beginning with a mark.
fn shortened(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    let beginning = cell.chars().take(width.saturating_sub(1));
    beginning.chain(['…']).collect()
}

fn cells(columns: &[Column], item: &Value) -> impl Iterator<Item = String> {
    columns.iter().map(|(_, cell)| match cell {
        Cell::At(place) => field(item, place),
        Cell::Of(make) => make(item),
    })
}

/// The text of a field of an answer; `-` if there is none. `place` is a JSON pointer.
pub(super) fn field(value: &Value, place: &str) -> String {
    match value.pointer(place) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => printable(text),
        Some(other) => other.to_string(),
    }
}

/// A time in UNIX milliseconds as UTC to the second; `-` if there is none. `place` is a JSON pointer.
pub(super) fn date_time(value: &Value, place: &str) -> String {
    let millis = value.pointer(place).and_then(Value::as_u64);
    let time = millis.and_then(|it| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(it)));
    // Beyond the year 9999 there is no such form.
    match time.filter(|_| millis < Some(253_402_300_800_000)) {
        Some(time) => humantime::format_rfc3339_seconds(time).to_string(),
        None => "-".to_owned(),
    }
}

/// The list under `name` in an answer; empty if there is none.
pub(super) fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// `text` with a blank for each control character: those of a client's name must not reach the
/// terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Cell, Consent, Table, ask, field};

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let columns = [
            ("ID", Cell::At("/id")),
            ("STATUS", Cell::Of(|item| field(item, "/ok").to_uppercase())),
        ];
        let item = json!({ "id": "long-name", "ok": "yes" });
        let table = Table::of(&columns, std::slice::from_ref(&item));
        assert_eq!(table.lines(None), ["ID         STATUS", "long-name  YES"]);
        let details = Table::details(&columns, &item);
        assert_eq!(details.lines(None), ["ID      long-name", "STATUS  YES"]);
    }

    #[test]
    fn a_table_fits_the_terminal_where_there_is_one() {
        let columns = [("ID", Cell::At("/id")), ("REASON", Cell::At("/reason"))];
        let item = json!({ "id": "short", "reason": "a reason that is much too long" });
        let table = Table::of(&columns, &[item]);
        let fits = ["ID     REASON", "short  a reason tha…"];
        assert_eq!(table.lines(Some(20)), fits);
        // What cannot fit is as narrow as it may be.
        assert_eq!(table.lines(Some(3))[1], "short  a reason …");
    }

    #[test]
    fn a_field_never_brings_control_characters_to_the_terminal() {
        let value = json!({ "a": { "b": "x\u{1b}[2Jy", "n": 3, "e": "" } });
        assert_eq!(field(&value, "/a/b"), "x [2Jy");
        assert_eq!(field(&value, "/a/n"), "3");
        assert_eq!(
            (field(&value, "/a/e"), field(&value, "/c")),
            ("-".to_owned(), "-".to_owned())
        );
    }

    #[test]
    fn a_deletion_needs_a_yes_of_one_kind_or_another() {
        assert!(Consent { yes: true }.ask("Delete it?").is_ok());
        let nobody = ask("Delete it?", None::<&[u8]>).unwrap_err();
        assert_eq!(nobody.exit_code(), 2);
        assert!(nobody.messages()[0].contains("--yes"));
        assert!(ask("Delete it?", Some(b"y\n".as_slice())).is_ok());
        for no in ["", "\n", "n\n", "yess\n"] {
            assert!(ask("Delete it?", Some(no.as_bytes())).is_err(), "{no:?}");
        }
    }
}
