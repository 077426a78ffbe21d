//! Avro records: what they become, and that no bytes do harm.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Fields, Int64Type, TimeUnit};
use pluvio_formats::{AvroOptions, Decoded, Format, Framing, OnError, decoder};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::json_options::map;
use crate::{golden, schema, timestamp};

fn avro(schema: &str) -> Format {
    Format::Avro(AvroOptions { schema: schema.to_owned(), ..AvroOptions::default() })
}

fn decode(format: &Format, columns: &[(&str, DataType)], on_error: OnError, records: &[Vec<u8>]) -> Decoded {
    let mut decoder = decoder(format, schema(columns), on_error).unwrap();
    for record in records {
        decoder.push(Some(record));
    }
    decoder.finish().unwrap()
}

fn everything() -> Vec<(&'static str, DataType)> {
    let time = DataType::Time64(TimeUnit::Microsecond);
    let person = |inner: Vec<Field>| {
        let own = vec![Field::new("name", DataType::Utf8, true), Field::new("mark", DataType::Binary, true)];
        DataType::Struct(Fields::from([own, inner].concat()))
    };
    let referrer = Field::new("referrer", person(Vec::new()), true);
    vec![
        ("flag!", DataType::Boolean),
        ("small!", DataType::Int16),
        ("large!", DataType::Int64),
        ("single", DataType::Float32),
        ("double", DataType::Float64),
        ("raw", DataType::Binary),
        ("text", DataType::Utf8),
        ("MARK", DataType::Binary),
        ("state", DataType::Utf8),
        ("price", DataType::Decimal128(10, 2)),
        ("tax", DataType::Decimal128(10, 2)),
        ("day", DataType::Date32),
        ("time_ms", time.clone()),
        ("time_us", time),
        ("at_ms", timestamp()),
        ("at_us", timestamp()),
        ("order_id", DataType::Utf8),
        ("maybe", DataType::Int64),
        ("either", DataType::Utf8),
        ("tags", DataType::new_list(DataType::Utf8, true)),
        ("counts", map(DataType::Int64)),
        ("customer", person(vec![referrer])),
        ("not_written", DataType::Int64),
    ]
}

#[test]
fn records_of_another_writer() {
    let format = avro(&golden::text("avro_schema.json"));
    let records = golden::records("avro_records.hex");
    let decoded = decode(&format, &everything(), OnError::DeadLetter, &records);
    golden::check("avro_rows.jsonl", &decoded);
}

#[test]
fn logical_types_fill_integers_as_written() {
    let format = avro(&golden::text("avro_schema.json"));
    let names = ["day", "time_ms", "time_us", "at_ms", "at_us"];
    let columns: Vec<_> = names.map(|name| (name, DataType::Int64)).to_vec();
    let decoded = decode(&format, &columns, OnError::DeadLetter, &golden::records("avro_records.hex")[..1]);
    let value = |column: usize| decoded.batch.column(column).as_primitive::<Int64Type>().value(0);
    let found: Vec<_> = (0..names.len()).map(value).collect();
    assert_eq!(found, [19_000, 36_000_123, 86_399_999_999, 1_357_034_400_123, -1]);
}

const PAYMENT: &str = r#"{"type":"record","name":"Payment","fields":[
    {"name":"id","type":"long"},{"name":"note","type":["null","string"]}]}"#;
const PAYMENT_V2: &str = r#"{"type":"record","name":"Payment","fields":[
    {"name":"note","type":"string"},{"name":"extra","type":"double"},{"name":"id","type":"int"}]}"#;

#[test]
fn the_id_in_front_finds_the_schema() {
    let framed = |id: u8, record: &[u8]| [&[0, 0, 0, 0, id][..], record].concat();
    let format = Format::Avro(AvroOptions {
        framing: Framing::Confluent,
        schemas: BTreeMap::from([(1, PAYMENT.to_owned()), (2, PAYMENT_V2.to_owned())]),
        ..AvroOptions::default()
    });
    let columns = [("id!", DataType::Int64), ("note", DataType::Utf8)];
    let records = [
        framed(1, b"\x02\x02\x02a"),
        framed(2, b"\x02b\0\0\0\0\0\0\0\0\x04"),
        framed(3, b"\x02\x02\x02a"),
        framed(1, b"\x02\x04\x02a"),
        framed(1, b"\x06\0!"),
        b"\0\0\0".to_vec(),
        b"{\"id\":1}".to_vec(),
        framed(1, b"\x06\0"),
    ];
    let decoded = decode(&format, &columns, OnError::DeadLetter, &records);
    assert_eq!(decoded.ordinals, [0, 1, 7]);
    assert_eq!(decoded.batch.column(0).as_primitive::<Int64Type>().values(), &[1, 2, 3]);
    let notes: Vec<_> = decoded.batch.column(1).as_string::<i32>().iter().collect();
    assert_eq!(notes, [Some("a"), Some("b"), None]);
    let reasons: Vec<_> = decoded.errors.iter().map(|error| error.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "schema id 3 is unknown; give the stream its schema",
            "schema id 1 (record from byte 5 on): byte 2: branch 2 of a union of 2",
            "schema id 1 (record from byte 5 on): byte 2: 1 bytes behind the record; was it written with another schema?",
            "a value of 3 bytes has no room for a schema id (0 and 4 bytes)",
            "the value starts with 0x7b, not with 0 and a schema id: its producer uses no schema registry, or another format",
        ]
    );
}

#[test]
fn what_does_not_fit_is_rejected_or_null() {
    let columns = [("id", DataType::Int8), ("note!", DataType::Utf8)];
    let records = [b"\x80\x04\x02\x02a".to_vec(), b"\x02\0".to_vec(), b"\x02\x02\x02b".to_vec()];
    let decoded = decode(&avro(PAYMENT), &columns, OnError::DeadLetter, &records);
    let reasons: Vec<_> = decoded.errors.iter().map(|error| error.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "field `id`: number 256 is out of range for TINYINT",
            "field `note`: expected VARCHAR, found NULL, but the column is NOT NULL",
        ]
    );
    assert_eq!(decoded.ordinals, [2]);
    let decoded = decode(&avro(PAYMENT), &columns, OnError::Null, &records);
    assert_eq!(decoded.ordinals, [0, 2]);
    let missing = decode(&avro(PAYMENT), &[("other!", DataType::Int8)], OnError::Null, &records);
    assert_eq!(missing.errors[0].reason, "missing field `other`");
    let nested = decode(
        &avro(PAYMENT),
        &[("id", DataType::new_list(DataType::Int8, true))],
        OnError::DeadLetter,
        &records,
    );
    assert_eq!(nested.errors[0].reason, "field `id`: expected ARRAY, found a scalar");
    assert!(decoder(&avro("{}"), schema(&columns), OnError::Null).is_err());
    assert!(decoder(&Format::Avro(AvroOptions::default()), schema(&columns), OnError::Null).is_err());
}

/// An array of nulls takes no bytes: its length must not decide how much memory
/// is taken.
#[test]
fn elements_are_bounded_by_the_record() {
    let text =
        r#"{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"array","items":"null"}}]}"#;
    let mut record = vec![0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0];
    let list = DataType::new_list(DataType::Int64, true);
    for columns in [vec![("a", list.clone())], vec![]] {
        let decoded = decode(&avro(text), &columns, OnError::Null, &[record.clone()]);
        assert!(decoded.errors[0].reason.contains("more than the record has room for"));
    }
    record = vec![0x80, 0x20, 0];
    let decoded = decode(&avro(text), &[("a", list)], OnError::Null, &[record]);
    assert_eq!(decoded.batch.column(0).as_list::<i32>().value_length(0), 2048);
}

#[test]
fn nesting_without_a_column_is_bounded() {
    let text = r#"{"type":"record","name":"R","fields":[{"name":"next","type":["null","R"]}]}"#;
    let deep = |levels: usize| [vec![2; levels], vec![0]].concat();
    let decoded = decode(&avro(text), &[], OnError::Null, &[deep(10), deep(1_000_000), vec![2; 100_000]]);
    assert_eq!((decoded.batch.num_rows(), decoded.errors.len()), (1, 2));
    assert!(decoded.errors[0].reason.contains("levels of nesting"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_bytes_are_judged_without_harm(record in vec(any::<u8>(), 0..200), null: bool) {
        let on_error = if null { OnError::Null } else { OnError::DeadLetter };
        let format = avro(&golden::text("avro_schema.json"));
        let decoded = decode(&format, &everything(), on_error, &[record]);
        prop_assert_eq!(decoded.batch.num_rows() + decoded.errors.len(), 1);
    }

    #[test]
    fn spoiled_records_leave_no_trace(which in 0_usize..4, place: prop::sample::Index, byte: u8, cut: bool) {
        let format = avro(&golden::text("avro_schema.json"));
        let good = golden::records("avro_records.hex");
        let mut bad = good[which].clone();
        let place = place.index(bad.len());
        bad[place] = byte;
        if cut {
            bad.truncate(place);
        }
        let mixed = [good[0].clone(), bad.clone(), good[1].clone()];
        let decoded = decode(&format, &everything(), OnError::DeadLetter, &mixed);
        let undeclared = decode(&format, &[], OnError::DeadLetter, &mixed);
        // Cut or with a wrong length, a record is none for any columns.
        prop_assert!(undeclared.errors.is_empty() || !decoded.errors.is_empty());
        if decoded.errors.len() == 1 {
            let clean = decode(&format, &everything(), OnError::DeadLetter, &good[..2]);
            prop_assert_eq!(decoded.batch, clean.batch);
        }
    }
}
