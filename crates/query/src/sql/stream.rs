//! CREATE STREAM, after its name.

use datafusion::arrow::datatypes::DataType;
use datafusion::sql::sqlparser::parser::Parser;
use pluvio_catalog::{
    Changes, ColumnFrom, DecodePolicy, DecodingDef, EpochDef, FeedDef, FormatDef, ProtobufDef, StreamDef,
};
use pluvio_foundation::limits::PARTITIONS_PER_TOPIC_MAX;

use super::columns::Columns;
use super::command::{Command, CreateStream, next_position};
use super::create::{csv, duration};
use super::{Options, kafka};
use crate::{Position, QueryError};

const IDLE_TIMEOUT_MS: i64 = 5_000;
/// How far ahead of the time it was written an event's own time may be.
const MAX_FUTURE_MS: i64 = 24 * 60 * 60 * 1000;
const FORMATS: &str = "it is 'json', 'csv', 'raw', 'avro', 'protobuf' or 'debezium'";

/// The statement behind its name.
pub fn stream(parser: &mut Parser<'_>, name: String) -> Result<Command, QueryError> {
    let mut columns = Columns::parse(parser)?;
    let at = next_position(parser);
    let mut options = Options::parse(parser)?;
    let Encoding { format, schema_file } = encoding(&mut options, at)?;
    let changes = changes(&mut options, &columns, &format).map_err(|e| e.at(at))?;
    key_columns(&mut options, &mut columns, changes, &format).map_err(|e| e.at(at))?;
    let on_error = options.value("on_error", |text| match text {
        "dead_letter" => Ok(DecodePolicy::DeadLetter),
        "null" => Ok(DecodePolicy::Null),
        _ => Err("it is 'dead_letter' or 'null'"),
    })?;
    let partitions = options.value("partitions", |text| match text.parse() {
        Ok(count @ 1..=PARTITIONS_PER_TOPIC_MAX) => Ok(count),
        _ => Err(format!("it is a number from 1 to {PARTITIONS_PER_TOPIC_MAX}")),
    })?;
    let stream = StreamDef {
        topic: options.text("topic").unwrap_or_else(|| name.clone()),
        name,
        partitions: partitions.unwrap_or(0),
        decoding: decoding(&mut options, &format)?,
        format,
        changes,
        key: columns.key,
        from: if columns.from.iter().all(|f| *f == ColumnFrom::Value) { Vec::new() } else { columns.from },
        columns: columns.columns,
        computed: columns.computed,
        on_error: on_error.unwrap_or(DecodePolicy::DeadLetter),
        require: options
            .value("require", |text| crate::functions::check_regex(text).map(|()| text.to_owned()))?,
        watermark: columns.watermark,
        processing_time: columns.processing_time,
        idle_timeout_ms: duration(&mut options, "idle_timeout")?.unwrap_or(IDLE_TIMEOUT_MS),
        max_future_ms: max_future(&mut options)?,
        retention_ms: duration(&mut options, "retention")?,
        retention_bytes: options.bytes("retention_bytes")?,
        kafka: None,
        feed: None,
        sql: String::new(),
    };
    let stream = match options.text("connector") {
        Some(connector) if connector != "kafka" => {
            let feed = feed(&mut options, &connector, &stream).map_err(|e| e.at(at))?;
            StreamDef { feed: Some(Box::new(feed)), ..stream }
        }
        _ => StreamDef { kafka: kafka::source(&mut options)?.map(Box::new), ..stream },
    };
    options.finish()?;
    check(&stream, partitions.is_some()).map_err(|e| e.at(at))?;
    Ok(Command::CreateStream(Box::new(CreateStream { stream, schema_file })))
}

fn check(stream: &StreamDef, partitions: bool) -> Result<(), QueryError> {
    let values = stream
        .columns
        .iter()
        .enumerate()
        .filter(|(i, _)| stream.from.get(*i).is_none_or(|from| *from == ColumnFrom::Value));
    let values: Vec<_> = values.map(|(_, column)| &column.data_type).collect();
    if stream.format == FormatDef::Raw && values != [&DataType::Utf8] && values != [&DataType::Binary] {
        let message = "format = 'raw' needs exactly one column that is not METADATA, of type VARCHAR or BYTEA: \
                       the event's value";
        return Err(QueryError::invalid(message));
    }
    if stream.kafka.is_some()
        && (stream.retention_ms.is_some() || stream.retention_bytes.is_some() || partitions)
    {
        let message = "the topic of a stream with connector = 'kafka' is not ours: its partitions and \
                       retention are set where it is";
        return Err(QueryError::invalid(message));
    }
    if stream.has_changes() && stream.processing_time.is_some() {
        return Err(QueryError::unsupported("a stream of changes has no PROCTIME(): a row goes as it came"));
    }
    if stream.require.is_some() && stream.format != FormatDef::Raw {
        return Err(QueryError::invalid("the option \"require\" goes with format = 'raw'"));
    }
    Ok(())
}

/// How values are written, and the file that has their schema.
struct Encoding {
    format: FormatDef,
    schema_file: Option<(String, Position)>,
}

fn encoding(options: &mut Options, at: Position) -> Result<Encoding, QueryError> {
    let (delimiter, null) = csv(options)?;
    let schema = options.text("schema");
    let schema_file = options.placed("schema_file");
    let message = options.text("message");
    let needs = |what: &str| QueryError::invalid(format!("the format needs {what}")).at(at);
    let mut used = (false, false);
    let format = options.text("format").unwrap_or_else(|| "json".to_owned());
    let format = match format.as_str() {
        "json" => FormatDef::Json,
        "csv" => FormatDef::Csv { delimiter: delimiter.unwrap_or(','), null },
        "raw" => FormatDef::Raw,
        "debezium" | "debezium-json" => FormatDef::Debezium,
        "avro" => {
            used.0 = true;
            FormatDef::Avro { schema: schema.clone().unwrap_or_default() }
        }
        "protobuf" => {
            used = (true, true);
            let message = message.clone();
            let message = message.ok_or_else(|| needs("the message's name: message = 'package.Name'"))?;
            let text = schema.clone().unwrap_or_default();
            FormatDef::Protobuf { schema: ProtobufDef::Text { text, imports: Default::default() }, message }
        }
        other => {
            return Err(QueryError::invalid(format!("option \"format\" = '{other}': {FORMATS}")).at(at));
        }
    };
    match (used.0, schema.is_some(), schema_file.is_some()) {
        (true, false, false) => return Err(needs("a schema: schema = '…' or schema_file = 'path'")),
        (true, true, true) => return Err(needs("either schema or schema_file, not both")),
        (false, true, _) | (false, _, true) => {
            let text = "the options \"schema\" and \"schema_file\" go with format = 'avro' or 'protobuf'";
            return Err(QueryError::invalid(text).at(at));
        }
        _ => {}
    }
    if message.is_some() && !used.1 {
        let text = "the option \"message\" goes with format = 'protobuf'";
        return Err(QueryError::invalid(text).at(at));
    }
    Ok(Encoding { format, schema_file })
}

fn decoding(options: &mut Options, format: &FormatDef) -> Result<DecodingDef, QueryError> {
    let letter = |text: &str| match text {
        "null" | "ignore" => Ok(false),
        "dead_letter" => Ok(true),
        _ => Err("it is 'null' (missing), 'ignore' (unknown) or 'dead_letter'"),
    };
    let flag = |text: &str| text.parse::<bool>().map_err(|_| "it is true or false");
    let decoding = DecodingDef {
        schema_id: options.value("schema_id", flag)?.unwrap_or_default(),
        refuse_missing: options.value("missing_field", letter)?.unwrap_or_default(),
        refuse_unknown: options.value("unknown_field", letter)?.unwrap_or_default(),
        convert: options.value("convert", flag)?.unwrap_or_default(),
        epoch: options.value("epoch", epoch)?.unwrap_or_default(),
    };
    let is_json = matches!(format, FormatDef::Json | FormatDef::Debezium);
    let json_only = DecodingDef { schema_id: decoding.schema_id, ..DecodingDef::default() };
    if !is_json && decoding != json_only {
        let message = "missing_field, unknown_field, convert and epoch go with format = 'json' or 'debezium'";
        return Err(QueryError::invalid(message));
    }
    if decoding.schema_id && matches!(format, FormatDef::Csv { .. } | FormatDef::Raw) {
        let message = "schema_id goes with format = 'json', 'debezium', 'avro' or 'protobuf'";
        return Err(QueryError::invalid(message));
    }
    Ok(decoding)
}

fn epoch(text: &str) -> Result<EpochDef, &'static str> {
    match text {
        "seconds" => Ok(EpochDef::Seconds),
        "milliseconds" => Ok(EpochDef::Milliseconds),
        "microseconds" => Ok(EpochDef::Microseconds),
        "nanoseconds" => Ok(EpochDef::Nanoseconds),
        _ => Err("it is 'seconds', 'milliseconds', 'microseconds' or 'nanoseconds'"),
    }
}

fn changes(options: &mut Options, columns: &Columns, format: &FormatDef) -> Result<Changes, QueryError> {
    let upsert = options.value("changes", |text| match text {
        "append" => Ok(false),
        "upsert" => Ok(true),
        _ => Err("it is 'append' or 'upsert'"),
    })?;
    let has_key = !columns.key.is_empty();
    match (format, upsert, has_key) {
        (FormatDef::Debezium, Some(_), _) => Err(QueryError::invalid(
            "format = 'debezium' tells changes by itself: leave the option \"changes\" out, and name a PRIMARY KEY \
             if events may lack the row as it was",
        )),
        (FormatDef::Debezium, None, true) | (_, Some(true), true) => Ok(Changes::Upsert),
        (FormatDef::Debezium, None, false) => Ok(Changes::Rows),
        (_, Some(true), false) => Err(QueryError::invalid(
            "changes = 'upsert' needs a PRIMARY KEY: the columns that the event's key holds",
        )),
        (_, _, true) => Err(QueryError::invalid(
            "a stream whose events are only added has no PRIMARY KEY: add changes = 'upsert' if an event replaces \
             the one before it of its key, or use CREATE TABLE",
        )),
        (_, _, false) => Ok(Changes::Append),
    }
}

/// The key of an upsert is in the event's key, for a deletion has nothing else.
fn key_columns(
    options: &mut Options,
    columns: &mut Columns,
    changes: Changes,
    format: &FormatDef,
) -> Result<(), QueryError> {
    let as_json = options.value("key_format", |text| match text {
        "json" => Ok(true),
        "raw" => Ok(false),
        _ => Err("it is 'raw' (the key is the value of the one key column) or 'json'"),
    })?;
    if changes != Changes::Upsert || *format == FormatDef::Debezium {
        return match as_json {
            Some(_) => Err(QueryError::invalid("key_format goes with changes = 'upsert'")),
            None => Ok(()),
        };
    }
    let as_json = as_json.unwrap_or(columns.key.len() > 1);
    if !as_json && columns.key.len() > 1 {
        return Err(QueryError::invalid("a PRIMARY KEY of several columns needs key_format = 'json'"));
    }
    for place in &columns.key {
        columns.from[*place] = if as_json { ColumnFrom::KeyField } else { ColumnFrom::Key };
    }
    Ok(())
}

/// What fills the stream's topic besides producers.
fn feed(options: &mut Options, connector: &str, stream: &StreamDef) -> Result<FeedDef, QueryError> {
    // As others call them.
    let connector = match connector {
        "datagen" => "generator",
        "filesystem" | "file" => "files",
        "socket" | "tcp" => "lines",
        other => other,
    };
    if !FeedDef::CONNECTORS.contains(&connector) {
        let message = format!(
            "there is no connector '{connector}'; there are 'kafka', {}. Leave it out for a topic of our own",
            FeedDef::CONNECTORS.map(|name| format!("'{name}'")).join(", ")
        );
        return Err(QueryError::invalid(message));
    }
    let feed = FeedDef::from_options(connector, &options.rest(), &stream.columns, &stream.format);
    feed.map_err(|error| QueryError::invalid(error.to_string()))
}

fn max_future(options: &mut Options) -> Result<Option<i64>, QueryError> {
    let read = options.value("max_future", |text| match text {
        "none" => Ok(None),
        _ => pluvio_config::parse_duration_ms(text).map(Some),
    })?;
    let bounded = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    Ok(read.map_or(Some(MAX_FUTURE_MS), |given| given.map(bounded)))
}
