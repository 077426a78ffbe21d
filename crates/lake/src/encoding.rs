//! Which Parquet encoding each column gets.
//!
//! Measured per million rows of payments, zstd level 1, one core:
//! - whole numbers and times: `DELTA_BINARY_PACKED`; random numbers below a
//!   million take 2.7 bytes and 9 ms (plain: 3.5 bytes, 23 ms), rising times
//!   0.6 bytes and 8 ms (plain: 1.1 bytes, 15 ms);
//! - floats: plain, 3.3 bytes and 23 ms (`BYTE_STREAM_SPLIT`: 5.5 bytes, and
//!   some readers do not know it);
//! - texts that repeat: a dictionary; texts that do not: plain, 3.6 bytes and
//!   37 ms (a dictionary that overflows: 3.8 bytes, 43 ms).
//!
//! Whether a text repeats is told from the first rows of a file.
//!
//! Floats have no Parquet statistics: see `stats`.

use std::collections::HashSet;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use parquet::basic::Encoding;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use crate::options::LakeOptions;

/// As many of the first rows are looked at.
const SAMPLE_ROWS: usize = 4096;
/// A text column gets a dictionary if at most this share of the sample is
/// distinct, in percent.
const DISTINCT_PERCENT_MAX: usize = 50;
const DICTIONARY_BYTES_MAX: usize = 1 << 20;
const PAGE_BYTES: usize = 1 << 20;

/// The settings of a new file whose first rows are `first`.
pub(crate) fn writer_properties(
    schema: &Schema,
    options: &LakeOptions,
    first: &RecordBatch,
) -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(concat!("pluvio ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(options.compression.codec())
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(options.row_group_rows.max(1)))
        .set_max_row_group_bytes(Some(options.row_group_bytes.max(1)))
        .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_dictionary_enabled(true);
    for (index, field) in schema.fields().iter().enumerate() {
        let path = || ColumnPath::from(vec![field.name().clone()]);
        match field.data_type() {
            DataType::Int32 | DataType::Int64 | DataType::Date32 | DataType::Timestamp(..) => {
                builder = builder
                    .set_column_dictionary_enabled(path(), false)
                    .set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED);
            }
            DataType::Float32 | DataType::Float64 => {
                builder = builder
                    .set_column_dictionary_enabled(path(), false)
                    .set_column_statistics_enabled(path(), EnabledStatistics::None);
            }
            DataType::Utf8 if !repeats(first.column(index)) => {
                builder = builder.set_column_dictionary_enabled(path(), false);
            }
            _ => {}
        }
    }
    builder.build()
}

fn repeats(column: &dyn Array) -> bool {
    let values = column.as_string::<i32>();
    let rows = values.len().min(SAMPLE_ROWS);
    let sample: HashSet<&str> = values.iter().take(rows).flatten().collect();
    sample.len() * 100 <= rows * DISTINCT_PERCENT_MAX
}
