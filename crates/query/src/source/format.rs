//! A stream's definition as what the formats crate decodes.

use datafusion::arrow::datatypes::SchemaRef;
use pluvio_catalog::{Changes, ColumnFrom, DecodePolicy, EpochDef, FormatDef, ProtobufDef, StreamDef};
use pluvio_formats::{
    AvroOptions, ColumnSource, CsvOptions, DebeziumOptions, Decoder, EpochUnit, EventOptions, Format,
    FormatError, Framing, JsonOptions, OnDrift, OnError, OnMissing, OnMissingBefore, OnTombstone, OnUnknown,
    ProtobufOptions, ProtobufSchema, event_decoder,
};

/// A decoder of a stream's events into `schema`.
///
/// # Errors
/// A column that the format cannot fill, a schema that is none.
pub fn decoder(stream: &StreamDef, schema: SchemaRef) -> Result<Box<dyn Decoder>, FormatError> {
    let on_error = match stream.on_error {
        DecodePolicy::DeadLetter => OnError::DeadLetter,
        DecodePolicy::Null => OnError::Null,
    };
    let is_upsert = stream.changes == Changes::Upsert && stream.format != FormatDef::Debezium;
    let options = EventOptions {
        sources: stream.from.iter().map(column_source).collect(),
        on_tombstone: if is_upsert { OnTombstone::Delete } else { OnTombstone::Format },
    };
    event_decoder(&format(stream), schema, on_error, &options)
}

/// Whether something of the event beside its value is asked for.
pub fn needs_surroundings(stream: &StreamDef) -> bool {
    stream.changes == Changes::Upsert || stream.from.iter().any(|from| *from != ColumnFrom::Value)
}

fn column_source(from: &ColumnFrom) -> ColumnSource {
    match from {
        ColumnFrom::Value => ColumnSource::Value,
        ColumnFrom::Key => ColumnSource::Key,
        ColumnFrom::KeyField => ColumnSource::KeyField,
        ColumnFrom::Header(name) => ColumnSource::Header(name.clone()),
        ColumnFrom::Partition => ColumnSource::Partition,
        ColumnFrom::Offset => ColumnSource::Offset,
        ColumnFrom::Timestamp => ColumnSource::Timestamp,
    }
}

fn format(stream: &StreamDef) -> Format {
    let framing = if stream.decoding.schema_id { Framing::Confluent } else { Framing::Plain };
    match &stream.format {
        FormatDef::Json => Format::JsonWith(json(stream, framing)),
        FormatDef::Csv { delimiter, null } => {
            let mut nulls = CsvOptions::default().nulls;
            nulls.extend(null.clone());
            let delimiter = u8::try_from(*delimiter).unwrap_or(b',');
            Format::Csv(CsvOptions { delimiter, nulls, ..CsvOptions::default() })
        }
        FormatDef::Raw => Format::Raw,
        FormatDef::Avro { schema } => {
            Format::Avro(AvroOptions { schema: schema.clone(), framing, ..AvroOptions::default() })
        }
        FormatDef::Protobuf { schema, message } => {
            let schema = match schema.clone() {
                ProtobufDef::Descriptor(bytes) => ProtobufSchema::Descriptor(bytes),
                ProtobufDef::Text { text, imports } => ProtobufSchema::Text { text, imports },
            };
            Format::Protobuf(ProtobufOptions { schema, message: message.clone(), framing })
        }
        FormatDef::Debezium => Format::Debezium(DebeziumOptions {
            json: json(stream, framing),
            on_missing_before: match stream.changes {
                Changes::Upsert => OnMissingBefore::Upsert,
                Changes::Append | Changes::Rows => OnMissingBefore::Reject,
            },
        }),
    }
}

fn json(stream: &StreamDef, framing: Framing) -> JsonOptions {
    let decoding = &stream.decoding;
    JsonOptions {
        on_missing: if decoding.refuse_missing { OnMissing::Reject } else { OnMissing::Null },
        on_unknown: if decoding.refuse_unknown { OnUnknown::Reject } else { OnUnknown::Ignore },
        on_drift: if decoding.convert { OnDrift::Convert } else { OnDrift::Strict },
        epoch: match decoding.epoch {
            EpochDef::Seconds => EpochUnit::Seconds,
            EpochDef::Milliseconds => EpochUnit::Milliseconds,
            EpochDef::Microseconds => EpochUnit::Microseconds,
            EpochDef::Nanoseconds => EpochUnit::Nanoseconds,
        },
        framing,
    }
}
