//! INSERT INTO a stream: each row becomes an event in the stream's own format,
//! as if a producer had sent it.
//!
//! Promises: when it returns, all events are on disk. The events go to one
//! partition in the order of the rows, the one that has had the fewest. A crash
//! before it returns may leave the first part of a large INSERT.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv::WriterBuilder;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::common::ParamValues;
use datafusion::sql::sqlparser::ast::Statement;
use pluvio_catalog::{FormatDef, StreamDef};
use pluvio_eventlog::Partition;
use pluvio_formats::encode_json;
use pluvio_foundation::ErrorKind;
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::BatchBuilder;

use crate::QueryError;
use crate::define::blocking;
use crate::dml::{compute, conform};
use crate::session::{Outcome, Session};

/// A batch is closed at this size.
const BATCH_BYTES: usize = 256 << 10;

/// Executes the INSERT.
pub(crate) async fn run(
    session: &Session,
    statement: Statement,
    parameters: Option<ParamValues>,
    stream: &StreamDef,
) -> Result<Outcome, QueryError> {
    if let Statement::Insert(insert) = &statement
        && insert.on.is_some()
    {
        let message = format!("\"{}\" is a stream: it has no key, so there is no ON CONFLICT", stream.name);
        return Err(QueryError::unsupported(message));
    }
    let (_, rows) = compute(session, statement, parameters).await?;
    if stream.kafka.is_some() {
        let message = format!(
            "the topic of \"{}\" is elsewhere: send events to its cluster, or CREATE SINK … FROM a view",
            stream.name
        );
        return Err(QueryError::unsupported(message));
    }
    check(stream)?;
    let topic = session.platform().log().topic(&stream.topic);
    let candidates = topic.map(|topic| topic.partitions()).unwrap_or_default();
    let missing =
        || QueryError::new(ErrorKind::NotFound, format!("the topic \"{}\" does not exist", stream.topic));
    let partition = candidates.into_iter().min_by_key(|p| p.end_offset()).ok_or_else(missing)?;
    let now_ms = session.platform().clock().now_ms();
    let stream = stream.clone();
    let send = move || {
        let schema = stream.schema();
        let mut count = 0;
        for batch in &rows {
            count += batch.num_rows();
            append(&partition, &values(&stream.format, &conform(batch, &schema)?)?, now_ms)?;
        }
        partition.sync(partition.end_offset())?;
        Ok(count)
    };
    let count = blocking(send).await?;
    Ok(Outcome::done(format!("INSERT 0 {count}")))
}

/// What a producer of SQL can write.
fn check(stream: &StreamDef) -> Result<(), QueryError> {
    if !stream.from.is_empty() || stream.has_changes() {
        let message = format!(
            "INSERT writes values only, and \"{}\" has columns from elsewhere in its events (METADATA, keys) or \
             changes: send its events to the topic \"{}\"",
            stream.name, stream.topic
        );
        return Err(QueryError::unsupported(message));
    }
    Ok(())
}

/// The rows as events.
///
/// # Errors
/// A value that the format cannot hold.
pub fn values(format: &FormatDef, rows: &RecordBatch) -> Result<Vec<Vec<u8>>, QueryError> {
    match format {
        FormatDef::Json => Ok(encode_json(rows)?.iter().map(|text| text.as_bytes().to_vec()).collect()),
        FormatDef::Csv { delimiter, null } => {
            let line = |row| csv_line(&rows.slice(row, 1), *delimiter, null.as_deref());
            (0..rows.num_rows()).map(line).collect()
        }
        FormatDef::Raw => {
            let text = |row| Ok(array_value_to_string(rows.column(0), row)?.into_bytes());
            (0..rows.num_rows()).map(text).collect()
        }
        FormatDef::Avro { .. } | FormatDef::Protobuf { .. } | FormatDef::Debezium => {
            let message = "events in this format are read, not written: send them to the stream's topic";
            Err(QueryError::unsupported(message))
        }
    }
}

fn csv_line(row: &RecordBatch, delimiter: char, null: Option<&str>) -> Result<Vec<u8>, QueryError> {
    let mut line = Vec::new();
    let builder = WriterBuilder::new()
        .with_header(false)
        .with_delimiter(u8::try_from(delimiter).unwrap_or(b','))
        .with_null(null.unwrap_or_default().to_owned());
    builder.build(&mut line).write(row)?;
    while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        line.pop();
    }
    Ok(line)
}

fn append(partition: &Arc<Partition>, values: &[Vec<u8>], now_ms: i64) -> Result<(), QueryError> {
    let mut builder = BatchBuilder::new(now_ms);
    for (i, value) in values.iter().enumerate() {
        builder.push(None, Some(value), now_ms, &[]);
        if builder.bytes() >= BATCH_BYTES || i + 1 == values.len() {
            let full = std::mem::replace(&mut builder, BatchBuilder::new(now_ms));
            let bytes = full.finish(Compression::None, None);
            let invalid = |e: pluvio_wire_kafka::WireError| QueryError::new(e.kind(), e.to_string());
            partition.append(bytes.map_err(invalid)?)?;
        }
    }
    Ok(())
}
