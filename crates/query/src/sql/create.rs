//! CREATE and DROP of streams, tables, materialized views and sinks.

use datafusion::sql::sqlparser::ast::Query;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use pluvio_catalog::{ColumnFrom, SinkDef, SinkTarget, StartAt, TableDef, UnknownKey};

use super::Options;
use super::columns::Columns;
use super::command::{Command, CreateView, Text, ViewOptions, identifier, next_position, word};
use super::kafka;
use super::refused;
use super::rewrite::emit_on_window_close;
use super::stream::stream;
use crate::QueryError;

/// Most threads that decode events for one view.
const PARALLELISM_MAX: u32 = 256;
const START: &str =
    "it is 'earliest', 'latest', a time as '2026-01-31T12:00:00Z', or 'offsets 10, 20' by partition";

/// The statement at hand, if it is one of these, and whether it is lenient.
pub fn parse(parser: &mut Parser<'_>, text: &Text<'_>) -> Result<Option<(Command, bool)>, QueryError> {
    let is =
        |n: usize, expected: &str| parser.peek_nth_token(n).token.to_string().eq_ignore_ascii_case(expected);
    if is(0, "drop") {
        return drop(parser);
    }
    if !is(0, "create") {
        return Ok(None);
    }
    if is(1, "or") {
        let message = "CREATE OR REPLACE is not supported; DROP it, then CREATE it";
        return Err(QueryError::unsupported(message));
    }
    let kind = parser.peek_nth_token(1).token.to_string().to_lowercase();
    let create: fn(&mut Parser<'_>, &Text<'_>, String) -> Result<Command, QueryError> = match kind.as_str() {
        "stream" | "source" => |parser, _, name| stream(parser, name),
        "table" => table,
        "materialized" => view,
        "sink" => sink,
        _ => {
            return Err(QueryError::unsupported(format!(
                "CREATE {} is not supported; there are CREATE STREAM, TABLE, MATERIALIZED VIEW and SINK",
                kind.to_uppercase()
            )));
        }
    };
    parser.next_token();
    parser.next_token();
    if kind == "materialized" {
        parser.expect_keyword(Keyword::VIEW)?;
    }
    let lenient = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let name = identifier(parser)?;
    create(parser, text, name).map(|command| Some((command, lenient)))
}

fn drop(parser: &mut Parser<'_>) -> Result<Option<(Command, bool)>, QueryError> {
    parser.next_token();
    let kind = if word(parser, "stream") || word(parser, "source") {
        "stream"
    } else if word(parser, "table") {
        "table"
    } else if word(parser, "sink") {
        "sink"
    } else if word(parser, "materialized") {
        parser.expect_keyword(Keyword::VIEW)?;
        "materialized view"
    } else {
        return Err(QueryError::unsupported("there are DROP STREAM, TABLE, MATERIALIZED VIEW and SINK"));
    };
    let lenient = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let name = identifier(parser)?;
    Ok(Some((Command::Drop { kind, name }, lenient)))
}

/// The options of format = 'csv'.
pub(super) fn csv(options: &mut Options) -> Result<(Option<char>, Option<String>), QueryError> {
    Ok((options.value("delimiter", single_char)?, options.text("null")))
}

/// One character, or `\t`.
pub fn single_char(text: &str) -> Result<char, &'static str> {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some('\\'), Some('t')) => Ok('\t'),
        (Some(c), None) if c.is_ascii() => Ok(c),
        _ => Err("it is one ASCII character"),
    }
}

pub(super) fn duration(options: &mut Options, name: &'static str) -> Result<Option<i64>, QueryError> {
    Ok(options.duration_ms(name)?.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)))
}

fn table(parser: &mut Parser<'_>, _: &Text<'_>, name: String) -> Result<Command, QueryError> {
    if parser.parse_keyword(Keyword::AS) {
        let message = format!("a table of a query's rows is CREATE MATERIALIZED VIEW {name} AS SELECT …");
        return Err(QueryError::unsupported(message));
    }
    let columns = Columns::parse(parser)?;
    if parser.parse_keyword(Keyword::WITH) {
        let message = format!(
            "a table has no connector and no options; CREATE STREAM {name} (…) WITH (connector = 'kafka', …) reads a \
             topic, and CREATE SINK … FROM view WITH (connector = 'kafka', …) writes one"
        );
        return Err(QueryError::unsupported(message));
    }
    if columns.key.is_empty() {
        let message = format!("the table \"{name}\" needs a PRIMARY KEY, for instance id BIGINT PRIMARY KEY");
        return Err(QueryError::invalid(message));
    }
    if columns.processing_time.is_some() || !columns.computed.is_empty() {
        return Err(QueryError::invalid("computed columns belong to CREATE STREAM"));
    }
    if columns.from.iter().any(|from| *from != ColumnFrom::Value) {
        return Err(QueryError::invalid("METADATA belongs to CREATE STREAM: a table has no events"));
    }
    if columns.watermark.is_some() {
        return Err(QueryError::invalid("a table has no watermark: that belongs to CREATE STREAM"));
    }
    Ok(Command::CreateTable(TableDef {
        name,
        columns: columns.columns,
        key: columns.key,
        sql: String::new(),
    }))
}

fn view(parser: &mut Parser<'_>, text: &Text<'_>, name: String) -> Result<Command, QueryError> {
    let mut options = Options::parse(parser)?;
    let start = options.value("start", start_at)?;
    let ttl_ms = duration(&mut options, "ttl")?;
    if ttl_ms == Some(0) {
        return Err(QueryError::invalid("ttl is a time that rows stay, such as '1 day'"));
    }
    let view_options = view_options(&mut options)?;
    options.finish()?;
    parser.expect_keyword(Keyword::AS)?;
    let query_start = next_position(parser);
    let (query, query_text) = query(parser, text)?;
    let emit_on_window_close = parser.consume_token(&emit_on_window_close());
    if !emit_on_window_close && word(parser, "emit") {
        return Err(QueryError::invalid("expected EMIT ON WINDOW CLOSE").at(next_position(parser)));
    }
    Ok(Command::CreateView(CreateView {
        name,
        query,
        query_text,
        query_start,
        emit_on_window_close,
        options: view_options,
        start,
        ttl_ms,
    }))
}

/// The query that stands here, and its text.
pub fn query(parser: &mut Parser<'_>, text: &Text<'_>) -> Result<(Box<Query>, String), QueryError> {
    let start = next_position(parser);
    let query = parser.parse_query()?;
    refused::check(&query)?;
    Ok((query, text.sql[text.offset(start)..text.offset_before(parser)].to_owned()))
}

/// The options of a view that may change while it runs.
pub fn view_options(options: &mut Options) -> Result<ViewOptions, QueryError> {
    Ok(ViewOptions {
        retention_ms: duration(options, "retention")?,
        retention_bytes: options.bytes("retention_bytes")?,
        trigger_ms: options.duration_ms("trigger")?,
        parallelism: options.value("parallelism", |text| match text.parse() {
            Ok(threads @ 1..=PARALLELISM_MAX) => Ok(threads),
            _ => Err(format!("it is a number of threads from 1 to {PARALLELISM_MAX}")),
        })?,
        max_drift_ms: duration(options, "max_drift")?,
        allowed_lateness_ms: duration(options, "allowed_lateness")?,
        unknown_key: options.value("unknown_key", |text| match text {
            "drop" => Ok(UnknownKey::Drop),
            "dead_letter" => Ok(UnknownKey::DeadLetter),
            _ => Err("it is 'drop' or 'dead_letter'"),
        })?,
    })
}

/// Where reading begins, in words.
pub fn start_at(text: &str) -> Result<StartAt, &'static str> {
    if let Some(offsets) = text.strip_prefix("offsets ") {
        let offsets = offsets.split(',').map(|offset| offset.trim().parse::<i64>().ok().filter(|o| *o >= 0));
        return offsets.collect::<Option<_>>().map(StartAt::Offsets).ok_or(START);
    }
    match text {
        "earliest" => Ok(StartAt::Earliest),
        "latest" => Ok(StartAt::Latest),
        _ => pluvio_formats::parse_timestamp(text).map(|us| StartAt::Time(us.div_euclid(1000))).ok_or(START),
    }
}

fn sink(parser: &mut Parser<'_>, _: &Text<'_>, name: String) -> Result<Command, QueryError> {
    if parser.parse_keyword(Keyword::FROM) {
        return kafka::sink(parser, name);
    }
    if parser.parse_keyword(Keyword::AS) {
        let message =
            "a sink takes a view: CREATE MATERIALIZED VIEW name AS SELECT …, then CREATE SINK … FROM name";
        return Err(QueryError::unsupported(message));
    }
    parser.expect_keyword(Keyword::INTO)?;
    if !word(parser, "lake") {
        let message = "expected INTO LAKE 'name' FROM view, for a Delta table, or FROM view WITH \
                       (connector = 'kafka', …), for a topic";
        return Err(QueryError::unsupported(message).at(next_position(parser)));
    }
    let at_lake = next_position(parser);
    let lake = parser.parse_literal_string()?;
    if !valid_lake_name(&lake) {
        let message =
            format!("'{lake}' cannot name a lake table: use lower-case letters, digits, '_' and '-'");
        return Err(QueryError::invalid(message).at(at_lake));
    }
    parser.expect_keyword(Keyword::FROM)?;
    let from = identifier(parser)?;
    let mut options = Options::parse(parser)?;
    let sink = SinkDef {
        name,
        from,
        to: SinkTarget::Lake { lake, retention_ms: duration(&mut options, "retention")? },
        commit_interval_ms: options.duration_ms("commit_interval")?.unwrap_or(0),
        commit_bytes: options.bytes("commit_bytes")?.unwrap_or(0),
        sql: String::new(),
    };
    options.finish()?;
    Ok(Command::CreateSink(sink))
}

fn valid_lake_name(name: &str) -> bool {
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    !name.is_empty() && name.len() <= 100 && name.chars().all(valid)
}
