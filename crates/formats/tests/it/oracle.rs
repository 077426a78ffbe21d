//! The JSON decoder against two others: serde_json says which documents are
//! good, arrow-json what good documents become.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Fields, SchemaRef};
use arrow::json::ReaderBuilder;
use pluvio_formats::OnError;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::Value;

use crate::{decode, schema, timestamp};

/// Any JSON value, three levels deep.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[a-z\"\\\\\u{1}é😀]{0,100}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map("[abx]|[a-z\"é]{0,9}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A document of which most are objects, compact or with white space.
fn document() -> impl Strategy<Value = Vec<u8>> {
    (btree_map("[abx]|[a-z]{1,9}", value(), 0..5), any::<bool>()).prop_map(|(map, pretty)| {
        let object = Value::Object(map.into_iter().collect());
        if pretty {
            serde_json::to_vec_pretty(&object).unwrap()
        } else {
            serde_json::to_vec(&object).unwrap()
        }
    })
}

/// One way to spoil a document: at a place (of 65,536), put these bytes instead
/// of so many.
type Mutation = (u16, usize, Vec<u8>);

fn mutation() -> impl Strategy<Value = Mutation> {
    let token = prop_oneof![
        Just(b"".to_vec()),
        prop::sample::select(b"{}[]:,\"\\ \n-+.eE019tfnu/\x00\x1f\x7f\x80\xc3\xed\xff".to_vec())
            .prop_map(|byte| vec![byte]),
        prop::sample::select(vec![
            "\\u00e9",
            "\\ud83d\\ude00",
            "\\ud83d",
            "\\ude00",
            "null",
            "-0",
            "1e5",
            "{}",
            "[]",
            "\"a\":"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        any::<u8>().prop_map(|byte| vec![byte]),
    ];
    (any::<u16>(), 0_usize..3, token)
}

fn mutate(document: &mut Vec<u8>, (place, removed, inserted): Mutation) {
    let at = usize::from(place) * (document.len() + 1) / 65_536;
    let end = (at + removed).min(document.len());
    document.splice(at..end, inserted);
}

/// Whether serde_json takes it for an object; `None` where it is stricter than
/// the standard (a number beyond a double is well-formed).
fn is_object(document: &[u8]) -> Option<bool> {
    match serde_json::from_slice::<Value>(document) {
        Ok(value) => Some(value.is_object()),
        Err(error) if error.to_string().contains("number out of range") => None,
        Err(_) => Some(false),
    }
}

fn declared() -> SchemaRef {
    let inner =
        Fields::from(vec![Field::new("a", DataType::Utf8, true), Field::new("b", DataType::Float64, true)]);
    schema(&[
        ("a", DataType::Int64),
        ("b", DataType::Struct(inner)),
        ("x", DataType::new_list(DataType::Utf8, true)),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn verdicts_are_those_of_serde_json(mut document in document(), mutations in vec(mutation(), 0..3)) {
        for mutation in mutations {
            mutate(&mut document, mutation);
        }
        let undeclared = decode(&schema(&[]), OnError::Null, &[&document]);
        let declared = decode(&declared(), OnError::Null, &[&document]);
        prop_assert_eq!(undeclared.batch.num_rows(), declared.batch.num_rows(), "what is declared made a difference");
        if let Some(expected) = is_object(&document) {
            prop_assert_eq!(undeclared.batch.num_rows() == 1, expected, "{:?}", undeclared.errors);
        }
    }

    #[test]
    fn any_bytes_are_judged_without_harm(document in vec(any::<u8>(), 0..200)) {
        let decoded = decode(&declared(), OnError::Null, &[&document]);
        prop_assert_eq!(decoded.batch.num_rows() + decoded.errors.len(), 1);
    }
}

/// A value for a column of this type, or null.
fn fitting(data_type: &DataType) -> BoxedStrategy<Value> {
    let value = match data_type {
        DataType::Int64 => any::<i64>().prop_map(Value::from).boxed(),
        DataType::Int8 => any::<i8>().prop_map(Value::from).boxed(),
        DataType::UInt64 => any::<u64>().prop_map(Value::from).boxed(),
        DataType::Float64 => {
            prop_oneof![any::<f64>(), (-1e6..1e6).prop_map(|value: f64| (value * 100.0).round() / 100.0)]
                .prop_map(Value::from)
                .boxed()
        }
        DataType::Float32 => any::<f32>().prop_map(Value::from).boxed(),
        DataType::Boolean => any::<bool>().prop_map(Value::from).boxed(),
        DataType::Utf8 => any::<String>().prop_map(Value::from).boxed(),
        DataType::Date32 => (-719_162_i32..2_932_897)
            .prop_map(|day| Value::from(chrono::NaiveDate::from_epoch_days(day).unwrap().to_string()))
            .boxed(),
        DataType::Timestamp(..) => (-62_135_596_800_000_000_i64..=253_402_300_799_999_999)
            .prop_map(|us| Value::from(chrono::DateTime::from_timestamp_micros(us).unwrap().to_rfc3339()))
            .boxed(),
        DataType::List(element) => vec(fitting(element.data_type()), 0..4).prop_map(Value::from).boxed(),
        DataType::Struct(fields) => object(fields).boxed(),
        other => unreachable!("{other}"),
    };
    prop_oneof![6 => value, 1 => Just(Value::Null)].boxed()
}

/// An object with some of these fields and others.
fn object(fields: &Fields) -> impl Strategy<Value = Value> + use<> {
    let entry = |field: &Arc<Field>| {
        let name = field.name().clone();
        prop_oneof![6 => fitting(field.data_type()).prop_map(move |value| Some((name.clone(), value))), 1 => Just(None)]
    };
    let entries: Vec<_> = fields.iter().map(entry).collect();
    (entries, btree_map("u[a-z]{1,5}", value(), 0..3))
        .prop_map(|(entries, others)| Value::Object(entries.into_iter().flatten().chain(others).collect()))
}

fn wide() -> SchemaRef {
    let inner =
        Fields::from(vec![Field::new("n", DataType::Int64, true), Field::new("s", DataType::Utf8, true)]);
    schema(&[
        ("long", DataType::Int64),
        ("tiny", DataType::Int8),
        ("big", DataType::UInt64),
        ("double", DataType::Float64),
        ("single", DataType::Float32),
        ("flag", DataType::Boolean),
        ("text", DataType::Utf8),
        ("day", DataType::Date32),
        ("time", timestamp()),
        ("list", DataType::new_list(DataType::Utf8, true)),
        ("inner", DataType::Struct(inner.clone())),
        ("inners", DataType::new_list(DataType::Struct(inner), true)),
    ])
}

fn by_arrow(schema: &SchemaRef, documents: &[Vec<u8>]) -> RecordBatch {
    let lines = documents.join(&b'\n');
    let reader = ReaderBuilder::new(Arc::clone(schema)).build(Cursor::new(lines)).unwrap();
    concat_batches(schema, &reader.collect::<Result<Vec<_>, _>>().unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn values_are_those_of_arrow(values in vec(object(wide().fields()), 1..5)) {
        let schema = wide();
        let documents: Vec<_> = values.iter().map(|value| serde_json::to_vec(value).unwrap()).collect();
        let slices: Vec<&[u8]> = documents.iter().map(Vec::as_slice).collect();
        let decoded = decode(&schema, OnError::DeadLetter, &slices);
        prop_assert_eq!(decoded.errors, []);
        prop_assert_eq!(decoded.batch, by_arrow(&schema, &documents));
    }
}
