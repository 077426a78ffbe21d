//! Prints the rows of a statement as they come: aligned, as CSV, or as JSON.
//!
//! CSV: a header, then values quoted where they must be; NULL is nothing, an
//! empty text is `""`. JSON: one object a line, NULL is `null`; numbers,
//! booleans and JSON stand unquoted where the server tells the column's type,
//! which it does for every statement that it can prepare. A number that JSON
//! cannot hold (`NaN`) is a text.

use std::io::{self, Write};
use std::time::Duration;

use tokio_postgres::types::Type;

use super::table::{Table, is_number, shown};
use crate::cli::OutputFormat;
use crate::error::CliError;

/// How to print.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// As what.
    pub format: OutputFormat,
    /// Each row as a list of names and values; only for tables.
    pub expanded: bool,
    /// Whether to tell how long it took; only for tables.
    pub timing: bool,
}

/// What a column's values are in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// JSON already.
    Json,
}

impl Kind {
    /// The kind of a Postgres type.
    pub fn of(column: &Type) -> Self {
        match *column {
            Type::INT2 | Type::INT4 | Type::INT8 | Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC => {
                Self::Number
            }
            Type::BOOL => Self::Boolean,
            Type::JSON | Type::JSONB => Self::Json,
            _ => Self::Text,
        }
    }
}

/// Prints the rows of one statement.
#[derive(Debug)]
pub struct RowPrinter {
    style: Style,
    columns: Vec<String>,
    kinds: Vec<Kind>,
    table: Option<Table>,
    rows: u64,
}

impl RowPrinter {
    /// Begins; columns without a kind hold text.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn begin(
        out: &mut dyn Write,
        style: Style,
        columns: Vec<String>,
        kinds: Vec<Kind>,
    ) -> io::Result<Self> {
        if style.format == OutputFormat::Csv {
            let header: Vec<Option<&str>> = columns.iter().map(|name| Some(name.as_str())).collect();
            write_csv(out, &header)?;
        }
        let aligned = style.format == OutputFormat::Table && !style.expanded;
        let table = aligned.then(|| Table::new(columns.clone()));
        Ok(Self { style, columns, kinds, table, rows: 0 })
    }

    /// Prints a row, or holds it for a while to learn how wide columns are.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn row(&mut self, out: &mut dyn Write, values: &[Option<&str>]) -> io::Result<()> {
        self.rows += 1;
        if let Some(table) = &mut self.table {
            return table.row(out, values);
        }
        match self.style.format {
            OutputFormat::Table => self.write_expanded(out, values),
            OutputFormat::Csv => write_csv(out, values),
            OutputFormat::Json => self.write_json(out, values),
        }
    }

    /// Prints what is left, and below a table how many rows it has.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn finish(self, out: &mut dyn Write, took: Duration) -> io::Result<()> {
        if let Some(table) = self.table {
            table.finish(out)?;
        }
        if self.style.format != OutputFormat::Table {
            return Ok(());
        }
        let rows = if self.rows == 1 { "1 row".to_owned() } else { format!("{} rows", self.rows) };
        match self.style.timing {
            true => writeln!(out, "({rows}, {})\n", time(took)),
            false => writeln!(out, "({rows})\n"),
        }
    }

    fn write_expanded(&self, out: &mut dyn Write, values: &[Option<&str>]) -> io::Result<()> {
        writeln!(out, "-[ row {} ]", self.rows)?;
        let width = self.columns.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        for (name, value) in self.columns.iter().zip(values) {
            let value = shown(value.unwrap_or_default());
            let (name, mut lines) = (shown(name), value.lines());
            writeln!(out, "{}", format!("{name:<width$} | {}", lines.next().unwrap_or_default()).trim_end())?;
            for line in lines {
                writeln!(out, "{:<width$} | {line}", "")?;
            }
        }
        Ok(())
    }

    fn write_json(&self, out: &mut dyn Write, values: &[Option<&str>]) -> io::Result<()> {
        for (i, (name, value)) in self.columns.iter().zip(values).enumerate() {
            let before = if i == 0 { '{' } else { ',' };
            write!(out, "{before}{}:", serde_json::to_string(name)?)?;
            let kind = self.kinds.get(i).copied().unwrap_or(Kind::Text);
            match (kind, value) {
                (_, None) => write!(out, "null")?,
                (Kind::Number, Some(text)) if is_number(text) => write!(out, "{text}")?,
                (Kind::Boolean, Some("t" | "true")) => write!(out, "true")?,
                (Kind::Boolean, Some("f" | "false")) => write!(out, "false")?,
                (Kind::Json, Some(text)) if is_one_line_json(text) => write!(out, "{text}")?,
                (_, Some(text)) => write!(out, "{}", serde_json::to_string(text)?)?,
            }
        }
        writeln!(out, "{}", if self.columns.is_empty() { "{}" } else { "}" })
    }
}

fn is_one_line_json(text: &str) -> bool {
    !text.contains('\n') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn write_csv(out: &mut dyn Write, values: &[Option<&str>]) -> io::Result<()> {
    let quoted = |text: &str| text.is_empty() || text.contains([',', '"', '\n', '\r']);
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            write!(out, ",")?;
        }
        match value {
            None => {}
            Some(text) if quoted(text) => write!(out, "\"{}\"", text.replace('"', "\"\""))?,
            Some(text) => write!(out, "{text}")?,
        }
    }
    writeln!(out)
}

/// A duration for people.
pub fn time(took: Duration) -> String {
    let ms = took.as_secs_f64() * 1000.0;
    if ms < 1000.0 { format!("{ms:.1} ms") } else { format!("{:.2} s", ms / 1000.0) }
}

/// Standard output could not be written.
pub fn failed(error: io::Error) -> CliError {
    CliError::io("cannot write to standard output", error)
}

/// That whoever reads our output has closed it is no failure: `head` does that.
///
/// # Errors
/// Every other error.
pub fn unless_closed(result: Result<(), CliError>) -> Result<(), CliError> {
    match result {
        Err(CliError::Io { error, .. }) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(style: Style, kinds: &[Kind], rows: &[&[Option<&str>]]) -> String {
        let mut out = Vec::new();
        let columns = vec!["a".to_owned(), "bc".to_owned()];
        let mut printer = RowPrinter::begin(&mut out, style, columns, kinds.to_vec()).unwrap();
        for row in rows {
            printer.row(&mut out, row).unwrap();
        }
        printer.finish(&mut out, Duration::from_micros(1500)).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn style(format: OutputFormat) -> Style {
        Style { format, expanded: false, timing: false }
    }

    #[test]
    fn csv_tells_null_from_empty() {
        let rows: [&[Option<&str>]; 2] = [&[Some("x,\"y\""), None], &[Some(""), Some("1")]];
        assert_eq!(printed(style(OutputFormat::Csv), &[], &rows), "a,bc\n\"x,\"\"y\"\"\",\n\"\",1\n");
    }

    #[test]
    fn json_follows_the_types() {
        let rows: [&[Option<&str>]; 2] = [&[Some("1.5"), Some("t")], &[Some("NaN"), None]];
        let typed = printed(style(OutputFormat::Json), &[Kind::Number, Kind::Boolean], &rows);
        assert_eq!(typed, "{\"a\":1.5,\"bc\":true}\n{\"a\":\"NaN\",\"bc\":null}\n");
        let untyped = printed(style(OutputFormat::Json), &[], &rows[..1]);
        assert_eq!(untyped, "{\"a\":\"1.5\",\"bc\":\"t\"}\n");
    }

    #[test]
    fn tables_tell_rows_and_time() {
        let timed = Style { timing: true, ..style(OutputFormat::Table) };
        assert_eq!(
            printed(timed, &[], &[&[Some("1"), None]]),
            " a | bc\n---+----\n 1 |\n(1 row, 1.5 ms)\n\n"
        );
        assert!(printed(style(OutputFormat::Table), &[], &[]).ends_with("(0 rows)\n\n"));
    }

    #[test]
    fn expanded_rows_stand_below_each_other() {
        let expanded = Style { expanded: true, ..style(OutputFormat::Table) };
        let text = printed(expanded, &[], &[&[Some("1"), Some("x\ny")]]);
        assert_eq!(text, "-[ row 1 ]\na  | 1\nbc | x\n   | y\n(1 row)\n\n");
    }

    #[test]
    fn a_closed_reader_is_no_failure() {
        let closed = |kind: io::ErrorKind| unless_closed(Err(failed(kind.into())));
        assert!(closed(io::ErrorKind::BrokenPipe).is_ok());
        assert!(closed(io::ErrorKind::StorageFull).is_err());
    }
}
