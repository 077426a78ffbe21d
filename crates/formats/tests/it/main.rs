//! The formats as their users see them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod avro;
mod csv;
mod debezium;
mod event;
mod golden;
mod json;
mod json_options;
mod oracle;
mod protobuf;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use pluvio_formats::{Decoded, Format, OnError, decoder};

/// A schema of nullable columns; a name that ends with `!` is NOT NULL.
fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let field = |(name, data_type): &(&str, DataType)| {
        let nullable = !name.ends_with('!');
        Field::new(name.trim_end_matches('!'), data_type.clone(), nullable)
    };
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

fn decode(schema: &SchemaRef, on_error: OnError, documents: &[&[u8]]) -> Decoded {
    let mut decoder = decoder(&Format::Json, Arc::clone(schema), on_error).unwrap();
    for document in documents {
        decoder.push(Some(document));
    }
    decoder.finish().unwrap()
}
