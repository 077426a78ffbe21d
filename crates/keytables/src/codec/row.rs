//! Which columns of a table are its key and which its value, and whole rows from
//! both.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::key::{KeyDecoder, Leading};
use super::value::ValueDecoder;
use super::{is_key_type, storage_type};
use crate::error::{Result, TableError};
use crate::hot::groups::Grouping;
use crate::hot::keys::KeyShape;

/// The layout of a table's rows.
#[derive(Debug, Clone)]
pub(crate) struct RowLayout {
    /// All columns.
    pub(crate) schema: SchemaRef,
    /// The key columns, in key order.
    pub(crate) key: Vec<usize>,
    /// The other columns, in schema order.
    pub(crate) values: Vec<usize>,
    /// The form of the keys in memory.
    pub(crate) shape: KeyShape,
    /// The leading key columns that rows can be found by, if not only by all.
    pub(crate) grouping: Option<Grouping>,
}

impl RowLayout {
    /// Checks that these columns can be stored with this key.
    pub(crate) fn new(name: &str, schema: SchemaRef, key: &[usize]) -> Result<Self> {
        let wrong = |detail: String| TableError::Invalid { what: "table", name: name.to_owned(), detail };
        if key.is_empty() {
            return Err(wrong("a table needs at least one key column".to_owned()));
        }
        for (position, column) in key.iter().enumerate() {
            if *column >= schema.fields().len() || key[..position].contains(column) {
                return Err(wrong(format!("key column {column} does not exist or is named twice")));
            }
        }
        check_storable(&schema)?;
        for column in key {
            let field = schema.field(*column);
            if !is_key_type(field.data_type()) {
                return Err(unsupported(field, "part of a key", "use numbers, times, text or binary as key"));
            }
        }
        let types: Vec<_> = key.iter().map(|column| schema.field(*column).data_type()).collect();
        let shape = KeyShape::of(&types);
        let values = (0..schema.fields().len()).filter(|column| !key.contains(column)).collect();
        Ok(Self { schema, key: key.to_vec(), values, shape, grouping: None })
    }

    /// The same, with rows that can be found by the first `group` key columns.
    pub(crate) fn grouped(name: &str, schema: SchemaRef, key: &[usize], group: usize) -> Result<Self> {
        let mut layout = Self::new(name, schema, key)?;
        if group == 0 || group > key.len() {
            let detail =
                format!("a group is the first 1 to {} columns of the key, {group} were asked", key.len());
            return Err(TableError::Invalid { what: "table", name: name.to_owned(), detail });
        }
        if group < key.len() {
            let fields = layout.schema.fields();
            let leading = Leading::new(key[..group].iter().map(|column| fields[*column].data_type()))?;
            layout.grouping = Some(Grouping::new(group, leading));
        }
        Ok(layout)
    }

    /// How many of the key columns rows can be found by.
    pub(crate) fn group(&self) -> usize {
        self.grouping.as_ref().map_or(self.key.len(), |grouping| grouping.columns)
    }

    /// The key columns of a batch of rows.
    pub(crate) fn key_columns(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        self.key.iter().map(|column| Arc::clone(batch.column(*column))).collect()
    }

    /// A decoder for stored rows.
    pub(crate) fn decoder(&self) -> Result<RowDecoder<'_>> {
        let fields = self.schema.fields();
        Ok(RowDecoder {
            layout: self,
            keys: KeyDecoder::new(self.key.iter().map(|column| &fields[*column]))?,
            values: ValueDecoder::new(self.values.iter().map(|column| &fields[*column]))?,
            rows: 0,
            bytes: 0,
        })
    }
}

/// Fails if a column's type has no stored form.
pub(crate) fn check_storable(schema: &SchemaRef) -> Result<()> {
    for field in schema.fields() {
        if storage_type(field.data_type()).is_none() {
            return Err(unsupported(field, "stored", "cast it to a plain, list, struct or map type"));
        }
    }
    Ok(())
}

fn unsupported(field: &arrow::datatypes::Field, role: &'static str, hint: &'static str) -> TableError {
    let data_type = field.data_type().to_string();
    TableError::Unsupported { column: field.name().clone(), data_type, role, hint }
}

/// Collects stored rows into batches.
#[derive(Debug)]
pub(crate) struct RowDecoder<'a> {
    layout: &'a RowLayout,
    keys: KeyDecoder,
    values: ValueDecoder,
    rows: usize,
    bytes: usize,
}

impl RowDecoder<'_> {
    /// Adds a row.
    pub(crate) fn read(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.keys.read(key)?;
        self.values.read(value)?;
        self.rows += 1;
        self.bytes += key.len() + value.len();
        Ok(())
    }

    /// How many rows were added since the last [`RowDecoder::finish`].
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Stored bytes added since then.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows so far; the decoder starts over.
    pub(crate) fn finish(&mut self) -> Result<RecordBatch> {
        let fields = self.layout.schema.fields();
        let mut columns: Vec<Option<ArrayRef>> = vec![None; fields.len()];
        for (column, array) in self.layout.key.iter().zip(self.keys.finish()?) {
            columns[*column] = Some(array);
        }
        for (column, array) in self.layout.values.iter().zip(self.values.finish()?) {
            columns[*column] = Some(array);
        }
        (self.rows, self.bytes) = (0, 0);
        let columns: Option<Vec<ArrayRef>> = columns.into_iter().collect();
        let columns = columns.ok_or(TableError::Internal("a column is in neither key nor value"))?;
        RecordBatch::try_new(Arc::clone(&self.layout.schema), columns)
            .map_err(|error| TableError::corrupt_row(format!("stored rows do not fit the schema: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::*;
    use arrow::datatypes::{DataType, Field, Int32Type, Schema, TimeUnit};

    use super::*;
    use crate::codec::key;
    use crate::codec::value::ValueEncoder;

    fn round_trip(batch: &RecordBatch, key: &[usize]) -> RecordBatch {
        let layout = RowLayout::new("t", batch.schema(), key).unwrap();
        let keys = key::encode(&layout.key_columns(batch)).unwrap();
        let values = ValueEncoder::new(batch, &layout.values).unwrap();
        let mut decoder = layout.decoder().unwrap();
        for row in 0..batch.num_rows() {
            let mut value = Vec::new();
            values.write(row, &mut value);
            decoder.read(keys.get(row), &value).unwrap();
            assert!(layout.decoder().unwrap().read(keys.get(row), &value[..value.len() - 1]).is_err());
        }
        decoder.finish().unwrap()
    }

    #[test]
    fn every_kind_of_column_comes_back() {
        let mut list = ListBuilder::new(StringViewBuilder::new());
        list.append_value([Some("x"), None, Some("a text of more than twelve bytes")]);
        list.append_null();
        list.append_value(Vec::<Option<&str>>::new());
        let list = list.finish();
        let points = StructArray::from(vec![
            (
                Arc::new(Field::new("x", DataType::Float64, true)),
                Arc::new(Float64Array::from(vec![Some(1.5), None, Some(f64::NAN)])) as ArrayRef,
            ),
            (
                Arc::new(Field::new("ok", DataType::Boolean, true)),
                Arc::new(BooleanArray::from(vec![None, Some(true), Some(false)])) as ArrayRef,
            ),
        ]);
        let kinds: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("a")].into_iter().collect();
        let times = TimestampMicrosecondArray::from(vec![Some(-5), None, Some(7)]).with_timezone("+00:00");
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int64Array::from(vec![Some(-1), None, Some(i64::MAX)]))),
            ("at", Arc::new(times)),
            ("name", Arc::new(StringArray::from(vec![Some("a\0b"), Some(""), None]))),
            ("bytes", Arc::new(BinaryViewArray::from(vec![Some(b"\0\0".as_slice()), None, Some(b"z")]))),
            ("ok", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
            ("list", Arc::new(list)),
            ("point", Arc::new(points)),
            ("kind", Arc::new(kinds)),
            ("none", Arc::new(NullArray::new(3))),
            (
                "money",
                Arc::new(
                    Decimal128Array::from(vec![Some(-12), Some(3), None])
                        .with_precision_and_scale(9, 2)
                        .unwrap(),
                ),
            ),
        ];
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
        for key in [vec![0], vec![2, 1], vec![3, 4, 9]] {
            assert_eq!(round_trip(&batch, &key), batch);
            assert_eq!(round_trip(&batch.slice(1, 2), &key), batch.slice(1, 2));
        }
    }

    #[test]
    fn keys_sort_as_their_columns() {
        let numbers = vec![None, Some(i64::MIN), Some(-2), Some(-1), Some(0), Some(1), Some(i64::MAX)];
        let floats = vec![None, Some(f64::NEG_INFINITY), Some(-1.5), Some(-0.0), Some(0.0), Some(2.5)];
        let texts =
            vec![None, Some(""), Some("\0"), Some("a"), Some("a\0"), Some("a\0b"), Some("ab"), Some("b")];
        let columns: [ArrayRef; 3] = [
            Arc::new(Int64Array::from(numbers)),
            Arc::new(Float64Array::from(floats)),
            Arc::new(StringArray::from(texts)),
        ];
        for column in columns {
            let keys = key::encode(&[column]).unwrap();
            for row in 1..keys.len() {
                assert!(keys.get(row - 1) < keys.get(row), "row {row}");
            }
        }
    }

    #[test]
    fn what_cannot_be_a_table_is_refused() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("a", DataType::new_list(DataType::Int64, true), true),
            Field::new("b", DataType::Timestamp(TimeUnit::Second, None), true),
        ]));
        assert!(RowLayout::new("t", schema.clone(), &[0]).is_err());
        assert!(RowLayout::new("t", schema.clone(), &[]).is_err());
        assert!(RowLayout::new("t", schema.clone(), &[1, 1]).is_err());
        assert!(RowLayout::new("t", schema, &[1]).is_ok());
    }
}
