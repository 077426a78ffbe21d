//! Record batches as bytes: one Arrow IPC stream each (schema, batch, end),
//! uncompressed. Used inside journal frames and span segments, and for the
//! schemas in the manifest.

use std::io::Cursor;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use crate::error::{Result, TableError};

/// Appends the batch to `out` and returns how many bytes it took.
pub(crate) fn encode(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<usize> {
    let start = out.len();
    let failed = "encoding rows for the disk";
    let mut writer =
        StreamWriter::try_new(&mut *out, batch.schema_ref()).map_err(TableError::arrow(failed))?;
    writer.write(batch).map_err(TableError::arrow(failed))?;
    writer.finish().map_err(TableError::arrow(failed))?;
    drop(writer);
    Ok(out.len() - start)
}

/// The batch of [`encode`]d bytes. The bytes' checksum was compared before.
pub(crate) fn decode(bytes: &[u8]) -> Result<RecordBatch> {
    let failed = "decoding rows from the disk";
    let reader = StreamReader::try_new(Cursor::new(bytes), None).map_err(TableError::arrow(failed))?;
    let schema = reader.schema();
    let batches: Vec<RecordBatch> =
        reader.collect::<std::result::Result<_, _>>().map_err(TableError::arrow(failed))?;
    match <[RecordBatch; 1]>::try_from(batches) {
        Ok([batch]) => Ok(batch),
        Err(batches) => concat_batches(&schema, &batches).map_err(TableError::arrow(failed)),
    }
}

/// A schema alone, as the block of an empty batch.
pub(crate) fn encode_schema(schema: &SchemaRef, out: &mut Vec<u8>) -> Result<usize> {
    encode(&RecordBatch::new_empty(schema.clone()), out)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray, StringDictionaryBuilder};
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn a_slice_comes_back() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(4)]));
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("ccc"), Some("")]));
        let mut dictionary = StringDictionaryBuilder::<Int32Type>::new();
        for name in ["x", "y", "x", "x"] {
            dictionary.append_value(name);
        }
        let kinds: ArrayRef = Arc::new(dictionary.finish());
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("n", numbers, true),
            ("s", names, true),
            ("k", kinds, true),
        ])
        .unwrap();
        let slice = batch.slice(1, 2);
        let mut out = vec![7];
        let length = encode(&slice, &mut out).unwrap();
        assert_eq!(out.len(), length + 1);
        assert_eq!(decode(&out[1..]).unwrap(), slice);
        assert!(decode(&out[1..20]).is_err());
    }
}
