//! COPY, ALTER JOB, FLUSH, EXPLAIN of views and SHOW.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use pluvio_catalog::StartAt;

use super::Options;
use super::command::{
    AlterJob, Command, Copy, JobChange, Text, identifier, next_position, parse as parse_text, word,
};
use super::create::{self, query, single_char, start_at, view_options};
use crate::QueryError;

/// The statement at hand, if it is one of these.
pub fn parse(parser: &mut Parser<'_>, text: &Text<'_>) -> Result<Option<(Command, bool)>, QueryError> {
    let is =
        |n: usize, expected: &str| parser.peek_nth_token(n).token.to_string().eq_ignore_ascii_case(expected);
    if is(0, "copy") {
        return copy(parser).map(|command| Some((command, false)));
    }
    if is(0, "alter") && (is(1, "job") || is(1, "materialized")) {
        return alter_job(parser, text).map(|command| Some((command, false)));
    }
    if is(0, "flush") {
        parser.next_token();
        return Ok(Some((Command::Flush, false)));
    }
    if is(0, "explain") {
        return explain_view(parser, text);
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

fn alter_job(parser: &mut Parser<'_>, text: &Text<'_>) -> Result<Command, QueryError> {
    parser.next_token();
    if word(parser, "materialized") {
        parser.expect_keyword(Keyword::VIEW)?;
    } else {
        parser.next_token();
    }
    let name = identifier(parser)?;
    let at = next_position(parser);
    let change = if word(parser, "pause") {
        JobChange::Pause
    } else if word(parser, "resume") {
        JobChange::Resume
    } else if word(parser, "restart") {
        JobChange::Restart(restart_from(parser)?)
    } else if parser.parse_keyword(Keyword::AS) {
        let start = next_position(parser);
        let (query, text) = query(parser, text)?;
        JobChange::Query { query, text, start }
    } else if parser.parse_keyword(Keyword::SET) {
        let mut options = Options::parse_list(parser)?;
        let changed = view_options(&mut options)?;
        options.finish()?;
        JobChange::Set(changed)
    } else {
        let message = "expected PAUSE, RESUME, RESTART [FROM '…'], SET (…) or AS query";
        return Err(QueryError::invalid(message).at(at));
    };
    Ok(Command::AlterJob(Box::new(AlterJob { name, change })))
}

/// `FROM 'earliest'` and the like.
fn restart_from(parser: &mut Parser<'_>) -> Result<Option<StartAt>, QueryError> {
    if !parser.parse_keyword(Keyword::FROM) {
        return Ok(None);
    }
    let at = next_position(parser);
    let text = parser.parse_literal_string()?;
    start_at(&text).map(Some).map_err(|e| QueryError::invalid(format!("RESTART FROM '{text}': {e}")).at(at))
}

/// `EXPLAIN [ANALYZE] MATERIALIZED VIEW name`: its operators; `EXPLAIN CREATE
/// MATERIALIZED VIEW …`: those that it would have.
fn explain_view(parser: &mut Parser<'_>, text: &Text<'_>) -> Result<Option<(Command, bool)>, QueryError> {
    let is =
        |n: usize, expected: &str| parser.peek_nth_token(n).token.to_string().eq_ignore_ascii_case(expected);
    if is(1, "create") {
        parser.next_token();
        return match create::parse(parser, text)? {
            Some((Command::CreateView(view), _)) => Ok(Some((Command::Explain(Box::new(view)), false))),
            _ => Err(QueryError::unsupported("of what CREATE makes, EXPLAIN shows materialized views")),
        };
    }
    let analyze = usize::from(is(1, "analyze"));
    if !is(1 + analyze, "materialized") || !is(2 + analyze, "view") {
        return Ok(None);
    }
    (0..3 + analyze).for_each(|_| drop(parser.next_token()));
    let name = identifier(parser)?.replace('\'', "''");
    let query = match analyze {
        0 => format!(
            "SELECT operator, inputs, what FROM pluvio.operators WHERE view = '{name}' ORDER BY operator"
        ),
        _ => format!(
            "SELECT o.operator, o.inputs, o.what, o.rows_in, o.rows_out, o.busy_ms, \
             (SELECT sum(s.rows) FROM pluvio.state s WHERE s.view = o.view AND s.operator = o.operator) AS rows_kept, \
             (SELECT sum(s.memory_bytes) FROM pluvio.state s WHERE s.view = o.view AND s.operator = o.operator) AS bytes_kept \
             FROM pluvio.operators o WHERE o.view = '{name}' ORDER BY o.operator"
        ),
    };
    let command = parse_text(&query)?.pop().map(|parsed| parsed.command);
    Ok(command.map(|command| (command, false)))
}

/// SHOW of what the system tables hold; any other SHOW is a session setting.
fn show(parser: &mut Parser<'_>) -> Result<Option<(Command, bool)>, QueryError> {
    let queries = [
        ("streams", "SELECT * FROM pluvio.streams"),
        ("jobs", "SELECT * FROM pluvio.jobs"),
        ("topics", "SELECT * FROM pluvio.topics"),
        ("feeds", "SELECT * FROM pluvio.feeds"),
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
