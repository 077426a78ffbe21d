//! CREATE and DROP of streams, tables, materialized views and sinks.

use datafusion::arrow::datatypes::DataType;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use pluvio_catalog::{DecodePolicy, FormatDef, SinkDef, SinkTarget, StreamDef, TableDef, UnknownKey};
use pluvio_foundation::limits::PARTITIONS_PER_TOPIC_MAX;

use super::Options;
use super::columns::Columns;
use super::command::{Command, CreateView, Text, identifier, next_position, word};
use super::kafka;
use super::refused;
use super::rewrite::emit_on_window_close;
use crate::QueryError;

const IDLE_TIMEOUT_MS: i64 = 5_000;

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
        "stream" | "source" => stream,
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

fn stream(parser: &mut Parser<'_>, _: &Text<'_>, name: String) -> Result<Command, QueryError> {
    let columns = Columns::parse(parser)?;
    let at_options = next_position(parser);
    let mut options = Options::parse(parser)?;
    let format = format(&mut options)?;
    let on_error = options.value("on_error", |text| match text {
        "dead_letter" => Ok(DecodePolicy::DeadLetter),
        "null" => Ok(DecodePolicy::Null),
        _ => Err("it is 'dead_letter' or 'null'"),
    })?;
    let partitions = options.value("partitions", |text| match text.parse() {
        Ok(count @ 1..=PARTITIONS_PER_TOPIC_MAX) => Ok(count),
        _ => Err(format!("it is a number from 1 to {PARTITIONS_PER_TOPIC_MAX}")),
    })?;
    if format == FormatDef::Raw
        && (columns.columns.len() != 1 || columns.columns[0].data_type != DataType::Utf8)
    {
        let message = "format = 'raw' needs exactly one column, of type VARCHAR: the event's text";
        return Err(QueryError::invalid(message).at(at_options));
    }
    let stream = StreamDef {
        topic: options.text("topic").unwrap_or_else(|| name.clone()),
        name,
        columns: columns.columns,
        partitions: partitions.unwrap_or(0),
        format,
        on_error: on_error.unwrap_or(DecodePolicy::DeadLetter),
        require: options
            .value("require", |text| crate::functions::check_regex(text).map(|()| text.to_owned()))?,
        watermark: columns.watermark,
        processing_time: columns.processing_time,
        idle_timeout_ms: duration(&mut options, "idle_timeout")?.unwrap_or(IDLE_TIMEOUT_MS),
        retention_ms: duration(&mut options, "retention")?,
        retention_bytes: options.bytes("retention_bytes")?,
        kafka: kafka::source(&mut options)?.map(Box::new),
        sql: String::new(),
    };
    options.finish()?;
    if stream.kafka.is_some()
        && (stream.retention_ms.is_some() || stream.retention_bytes.is_some() || partitions.is_some())
    {
        let message = "the topic of a stream with connector = 'kafka' is not ours: its partitions and \
                       retention are set where it is";
        return Err(QueryError::invalid(message).at(at_options));
    }
    if stream.require.is_some() && stream.format != FormatDef::Raw {
        return Err(QueryError::invalid("the option \"require\" goes with format = 'raw'").at(at_options));
    }
    if !columns.key.is_empty() {
        return Err(QueryError::invalid("a stream has no primary key: use CREATE TABLE for rows by key"));
    }
    Ok(Command::CreateStream(stream))
}

pub(super) fn format(options: &mut Options) -> Result<FormatDef, QueryError> {
    let delimiter = options.value("delimiter", single_char)?;
    let null = options.text("null");
    let format = options.value("format", |text| match text {
        "json" => Ok(FormatDef::Json),
        "csv" => Ok(FormatDef::Csv { delimiter: delimiter.unwrap_or(','), null: null.clone() }),
        "raw" => Ok(FormatDef::Raw),
        _ => Err("it is 'json', 'csv' or 'raw'"),
    })?;
    Ok(format.unwrap_or(FormatDef::Json))
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

fn duration(options: &mut Options, name: &'static str) -> Result<Option<i64>, QueryError> {
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
    if columns.processing_time.is_some() {
        return Err(QueryError::invalid("PROCTIME() belongs to CREATE STREAM"));
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
    let retention_ms = duration(&mut options, "retention")?;
    let retention_bytes = options.bytes("retention_bytes")?;
    let trigger_ms = options.duration_ms("trigger")?;
    let unknown_key = options.value("unknown_key", |text| match text {
        "drop" => Ok(UnknownKey::Drop),
        "dead_letter" => Ok(UnknownKey::DeadLetter),
        _ => Err("it is 'drop' or 'dead_letter'"),
    })?;
    options.finish()?;
    parser.expect_keyword(Keyword::AS)?;
    let query_start = next_position(parser);
    let query = parser.parse_query()?;
    refused::check(&query)?;
    let query_text = text.sql[text.offset(query_start)..text.offset_before(parser)].to_owned();
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
        retention_ms,
        retention_bytes,
        trigger_ms,
        unknown_key: unknown_key.unwrap_or_default(),
    }))
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
