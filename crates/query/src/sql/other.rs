//! COPY, ALTER JOB, FLUSH and SHOW.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;

use super::Options;
use super::command::{AlterJob, Command, Copy, identifier, next_position, parse as parse_text, word};
use super::create::single_char;
use crate::QueryError;

/// The statement at hand, if it is one of these.
pub fn parse(parser: &mut Parser<'_>) -> Result<Option<(Command, bool)>, QueryError> {
    let is =
        |n: usize, expected: &str| parser.peek_nth_token(n).token.to_string().eq_ignore_ascii_case(expected);
    if is(0, "copy") {
        return copy(parser).map(|command| Some((command, false)));
    }
    if is(0, "alter") && is(1, "job") {
        return alter_job(parser).map(|command| Some((command, false)));
    }
    if is(0, "flush") {
        parser.next_token();
        return Ok(Some((Command::Flush, false)));
    }
    if is(0, "show") {
        return show(parser);
    }
    Ok(None)
}

fn copy(parser: &mut Parser<'_>) -> Result<Command, QueryError> {
    parser.next_token();
    let table = identifier(parser)?;
    parser.expect_keyword(Keyword::FROM)?;
    let path_position = next_position(parser);
    let path = parser.parse_literal_string()?;
    let mut options = Options::parse(parser)?;
    let format = options.value("format", |text| match text {
        "csv" => Ok(false),
        "parquet" => Ok(true),
        _ => Err("it is 'csv' or 'parquet'"),
    })?;
    let header = options.value("header", |text| text.parse::<bool>().map_err(|_| "it is true or false"))?;
    let copy = Copy {
        table,
        parquet: format.unwrap_or_else(|| path.ends_with(".parquet")),
        path,
        path_position,
        header: header.unwrap_or(true),
        delimiter: options.value("delimiter", single_char)?.unwrap_or(','),
        null: options.text("null"),
    };
    options.finish()?;
    Ok(Command::Copy(copy))
}

fn alter_job(parser: &mut Parser<'_>) -> Result<Command, QueryError> {
    parser.next_token();
    parser.next_token();
    let name = identifier(parser)?;
    parser.expect_keyword(Keyword::SET)?;
    let mut options = Options::parse_list(parser)?;
    let trigger_ms = options.duration_ms("trigger")?;
    options.finish()?;
    Ok(Command::AlterJob(AlterJob { name, trigger_ms }))
}

/// SHOW of what the system tables hold; any other SHOW is a session setting.
fn show(parser: &mut Parser<'_>) -> Result<Option<(Command, bool)>, QueryError> {
    let queries = [
        ("streams", "SELECT * FROM pluvio.streams"),
        ("jobs", "SELECT * FROM pluvio.jobs"),
        ("topics", "SELECT * FROM pluvio.topics"),
        ("views", "SELECT * FROM pluvio.views"),
        ("sinks", "SELECT * FROM pluvio.sinks"),
    ];
    let asked = parser.peek_nth_token(1).token.to_string().to_lowercase();
    let Some((name, query)) = queries.iter().find(|(name, _)| *name == asked) else { return Ok(None) };
    parser.next_token();
    if !word(parser, name) {
        return Ok(None);
    }
    let command = parse_text(query)?.pop().map(|parsed| parsed.command);
    Ok(command.map(|command| (command, false)))
}
