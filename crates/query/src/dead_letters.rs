//! Dead letters: events that could not become rows, kept with the reason and
//! where they came from. Each group of jobs keeps its own span of them; the
//! table `pluvio.dead_letters` shows them together.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// The columns' names.
pub const COLUMNS: [&str; 7] = ["at", "stream", "topic", "partition", "offset", "reason", "value"];

/// What the name of every span of dead letters begins with.
pub const SPAN_PREFIX: &str = "$dead_letters/";

/// The columns.
pub fn schema() -> SchemaRef {
    let types = [
        DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Utf8,
        DataType::Utf8,
        DataType::Int32,
        DataType::Int64,
        DataType::Utf8,
        DataType::Utf8,
    ];
    let fields = COLUMNS.iter().zip(types).map(|(name, data_type)| Field::new(*name, data_type, true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
