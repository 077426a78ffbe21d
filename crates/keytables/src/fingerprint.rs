//! A row's fingerprint: 128 bits that stand for all its values.
//!
//! ```text
//! fingerprint   XXH3-128 (seed 0, big-endian) of the row's columns as in codec::value,
//!               without the version
//! ```
//!
//! **It never changes**: fingerprints are keys of stored rows. They are the same
//! in every process, version and machine, and however Arrow holds the values
//! (text of any offset width, views, dictionaries). Values are told apart by their
//! bits: NULL is not the empty text, -0.0 not 0.0, the 32-bit 1 not the 64-bit 1.
//! Column names are no part of it. Not for keeping enemies out: who chooses the values can make two rows with
//! one fingerprint.

use arrow::array::{ArrayRef, FixedSizeBinaryArray};
use arrow::buffer::Buffer;
use xxhash_rust::xxh3::xxh3_128;

use crate::codec::storage_type;
use crate::codec::value::ValueEncoder;
use crate::error::{Result, TableError};

/// Bytes of a fingerprint.
const FINGERPRINT_BYTES: usize = 16;

/// The fingerprints of `rows` rows with these columns, 16 bytes each.
///
/// Equal rows have equal fingerprints, now and in every later version; different
/// rows practically never. Fails for columns of another length, and with
/// `Unsupported` for types that a table cannot store.
pub fn fingerprints(columns: &[ArrayRef], rows: usize) -> Result<FixedSizeBinaryArray> {
    for (position, column) in columns.iter().enumerate() {
        check(position, column, rows)?;
    }
    let encoder = ValueEncoder::of(columns.iter())?;
    let mut out = Vec::with_capacity(rows * FINGERPRINT_BYTES);
    let mut row_bytes = Vec::new();
    for row in 0..rows {
        row_bytes.clear();
        encoder.write_row(row, &mut row_bytes);
        out.extend_from_slice(&xxh3_128(&row_bytes).to_be_bytes());
    }
    FixedSizeBinaryArray::try_new(FINGERPRINT_BYTES as i32, Buffer::from_vec(out), None)
        .map_err(TableError::arrow("collecting fingerprints"))
}

fn check(position: usize, column: &ArrayRef, rows: usize) -> Result<()> {
    if column.len() != rows {
        let detail = format!("column {position} has {} rows, {rows} are needed", column.len());
        return Err(TableError::Invalid { what: "row", name: "fingerprint".to_owned(), detail });
    }
    if storage_type(column.data_type()).is_none() {
        return Err(TableError::Unsupported {
            column: position.to_string(),
            data_type: column.data_type().to_string(),
            role: "part of a fingerprint",
            hint: "cast it to a plain, list, struct or map type",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use arrow::array::*;
    use arrow::compute::cast;
    use arrow::datatypes::{DataType, Field, Int32Type, Int64Type};

    use super::*;

    fn hex(columns: &[ArrayRef]) -> Vec<String> {
        let found = fingerprints(columns, columns[0].len()).unwrap();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        found.iter().map(|bytes| hex(bytes.unwrap())).collect()
    }

    fn columns() -> Vec<ArrayRef> {
        let kinds: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("b")].into_iter().collect();
        let lists = [Some(vec![Some(1), None]), None, Some(vec![])];
        let points = StructArray::from(vec![(
            Arc::new(Field::new("ok", DataType::Boolean, true)),
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])) as ArrayRef,
        )]);
        vec![
            Arc::new(Int64Array::from(vec![Some(-1), None, Some(i64::MAX)])),
            Arc::new(StringArray::from(vec![Some("text"), Some(""), None])),
            Arc::new(Float64Array::from(vec![f64::NAN, -0.0, 0.0])),
            Arc::new(TimestampMicrosecondArray::from(vec![Some(5), None, Some(0)])),
            Arc::new(kinds),
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)),
            Arc::new(points),
            Arc::new(Decimal128Array::from(vec![Some(12), None, Some(-12)])),
        ]
    }

    /// These values are frozen: stored rows have them as keys.
    #[test]
    fn fingerprints_never_change() {
        let wanted = [
            "9e4870f9823bdb195492c936d18927c2",
            "58cce897cb4b4b644f1f5fbc70c0075e",
            "9059f8215cc15a23923c8b89bad2b412",
        ];
        assert_eq!(hex(&columns()), wanted);
        let one: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        assert_eq!(
            fingerprints(&[one], 1).unwrap().value(0),
            xxh3_128(&[0, 1, 0, 0, 0, 0, 0, 0, 0]).to_be_bytes()
        );
        let empty = 0x99aa_06d3_0147_98d8_6001_c324_468d_497f_u128;
        assert_eq!(fingerprints(&[], 1).unwrap().value(0), empty.to_be_bytes());
    }

    #[test]
    fn slices_and_other_forms_of_text_make_no_difference() {
        let all = hex(&columns());
        let slices: Vec<ArrayRef> = columns().iter().map(|column| column.slice(1, 2)).collect();
        assert_eq!(hex(&slices), all[1..]);
        for form in [
            DataType::LargeUtf8,
            DataType::Utf8View,
            DataType::Dictionary(DataType::Int8.into(), DataType::Utf8.into()),
        ] {
            let mut columns = columns();
            columns[1] = cast(&columns[1], &form).unwrap();
            columns[4] = cast(&columns[4], &form).unwrap();
            assert_eq!(hex(&columns), all, "{form}");
        }
    }

    #[test]
    fn different_rows_differ() {
        let texts = |texts: [Option<&str>; 2]| Arc::new(StringArray::from(vec![texts[0], texts[1]]));
        let pairs = [("", ""), ("a", ""), ("", "a"), ("a", "b"), ("ab", ""), ("", "ab"), ("\u{1}a", "")];
        let firsts: ArrayRef = Arc::new(StringArray::from_iter_values(pairs.iter().map(|pair| pair.0)));
        let seconds: ArrayRef = Arc::new(StringArray::from_iter_values(pairs.iter().map(|pair| pair.1)));
        let nulls: ArrayRef = texts([None, None]);
        let some: ArrayRef = texts([Some(""), Some("x")]);
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0]));
        let mut all = hex(&[firsts, seconds]);
        all.extend(hex(&[nulls.clone(), some.clone()]));
        all.extend(hex(&[some, nulls]));
        all.extend(hex(&[floats]));
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn columns_that_do_not_fit_are_refused() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        assert!(fingerprints(&[column], 2).is_err());
        let runs = RunArray::try_new(&Int32Array::from(vec![2]), &Int64Array::from(vec![1])).unwrap();
        let error = fingerprints(&[Arc::new(runs)], 2).unwrap_err();
        assert_eq!(error.kind(), pluvio_foundation::ErrorKind::Unsupported, "{error}");
    }
}
