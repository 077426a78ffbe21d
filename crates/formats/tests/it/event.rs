//! Columns from the event around the value, and events without one.

use arrow::datatypes::DataType;
use pluvio_formats::{
    ColumnSource, DebeziumOptions, Decoded, Decoder, EventOptions, Format, OnError, OnTombstone, RowContext,
    encode_json, event_decoder,
};

use crate::{schema, timestamp};

const COLUMNS: [(&str, DataType); 3] =
    [("id", DataType::Int64), ("v", DataType::Utf8), ("offset!", DataType::Int64)];

fn options(sources: &[ColumnSource], on_tombstone: OnTombstone) -> EventOptions {
    EventOptions { sources: sources.to_vec(), on_tombstone }
}

fn push(decoder: &mut dyn Decoder, key: Option<&str>, value: Option<&str>, offset: i64) {
    let headers: [(&str, Option<&[u8]>); 4] =
        [("trace", Some(b"old")), ("n", Some(b"12")), ("trace", Some(b"new")), ("null", None)];
    let key = key.map(str::as_bytes);
    let context =
        RowContext { key, headers: &headers, partition: 3, offset, timestamp_ms: 1_357_034_400_123 };
    decoder.push_with(value.map(str::as_bytes), &context);
}

fn rows(decoded: &Decoded) -> Vec<String> {
    encode_json(&decoded.batch).unwrap().iter().map(str::to_owned).collect()
}

fn reasons(decoded: &Decoded) -> Vec<(u32, &str)> {
    decoded.errors.iter().map(|error| (error.ordinal, error.reason.as_str())).collect()
}

#[test]
fn every_source() {
    let columns = [
        ("p", DataType::Int32),
        ("v", DataType::Int64),
        ("k", DataType::Utf8),
        ("o!", DataType::Int64),
        ("at", timestamp()),
        ("at_ms", DataType::Int64),
        ("trace", DataType::Utf8),
        ("n", DataType::Int16),
        ("none", DataType::Utf8),
        ("bytes", DataType::Binary),
    ];
    let header = |name: &str| ColumnSource::Header(name.to_owned());
    let sources = [
        ColumnSource::Partition,
        ColumnSource::Value,
        ColumnSource::Key,
        ColumnSource::Offset,
        ColumnSource::Timestamp,
        ColumnSource::Timestamp,
        header("trace"),
        header("n"),
        header("null"),
        header("trace"),
    ];
    let options = options(&sources, OnTombstone::Format);
    let mut decoder = event_decoder(&Format::Json, schema(&columns), OnError::DeadLetter, &options).unwrap();
    for round in 0..2 {
        push(decoder.as_mut(), Some("a"), Some(r#"{"v":1,"k":"not from here"}"#), 7);
        push(decoder.as_mut(), None, Some(r#"{"v":2}"#), 8);
        if round == 1 {
            push(decoder.as_mut(), Some("x"), Some("{"), 9);
            push(decoder.as_mut(), Some("x"), None, 10);
            push(decoder.as_mut(), None, Some("{}"), 11);
        }
        let decoded = decoder.finish().unwrap();
        let row = |v: &str, k: &str, o: i64| {
            format!(
                r#"{{"p":3,"v":{v},"k":{k},"o":{o},"at":"2013-01-01T10:00:00.123000Z","at_ms":1357034400123,"trace":"new","n":12,"none":null,"bytes":"6e6577"}}"#
            )
        };
        let mut expected = vec![row("1", "\"a\"", 7), row("2", "null", 8)];
        if round == 1 {
            expected.push(row("null", "null", 11));
            assert_eq!(decoded.ordinals, [0, 1, 4]);
            assert_eq!(
                reasons(&decoded),
                [
                    (2, "byte 1: expected a field name in quotes, found the end"),
                    (3, "no value (a tombstone), expected a JSON object"),
                ]
            );
        }
        assert_eq!(rows(&decoded), expected);
        assert_eq!(decoded.weights, None);
    }
}

#[test]
fn upserts_by_a_field_of_the_key() {
    let sources = [ColumnSource::KeyField, ColumnSource::Value, ColumnSource::Offset];
    let options = options(&sources, OnTombstone::Delete);
    let mut decoder = event_decoder(&Format::Json, schema(&COLUMNS), OnError::DeadLetter, &options).unwrap();
    push(decoder.as_mut(), Some(r#"{"id":1}"#), Some(r#"{"v":"a"}"#), 0);
    push(decoder.as_mut(), Some(r#"{"id":"x"}"#), Some(r#"{"v":"b"}"#), 1);
    push(decoder.as_mut(), Some(r#"{"id":1}"#), None, 2);
    push(decoder.as_mut(), Some(r#"{"id":2}"#), Some(r#"{"v":3}"#), 3);
    push(decoder.as_mut(), None, None, 4);
    push(decoder.as_mut(), Some(r#"{"id":3}"#), Some(r#"{"v":"c"}"#), 5);
    let decoded = decoder.finish().unwrap();
    assert_eq!(
        rows(&decoded),
        [
            r#"{"id":1,"v":"a","offset":0}"#,
            r#"{"id":1,"v":null,"offset":2}"#,
            r#"{"id":3,"v":"c","offset":5}"#,
        ]
    );
    assert_eq!((decoded.weights.clone(), decoded.ordinals.clone()), (Some(vec![1, -1, 1]), vec![0, 2, 5]));
    assert_eq!(
        reasons(&decoded),
        [
            (1, "key: field `id`: expected BIGINT, found string \"x\""),
            (3, "field `v`: expected VARCHAR, found number 3"),
            (4, "key: no key, expected a JSON object"),
        ]
    );
    push(decoder.as_mut(), Some(r#"{"id":1}"#), None, 9);
    assert_eq!(rows(&decoder.finish().unwrap()), [r#"{"id":1,"v":null,"offset":9}"#]);
    assert_eq!(decoder.finish().unwrap().batch.num_rows(), 0);
}

#[test]
fn two_rows_of_one_event_share_its_surroundings() {
    let sources = [ColumnSource::Value, ColumnSource::Value, ColumnSource::Offset];
    let options = options(&sources, OnTombstone::Format);
    let format = Format::Debezium(DebeziumOptions::default());
    let mut decoder = event_decoder(&format, schema(&COLUMNS), OnError::DeadLetter, &options).unwrap();
    push(decoder.as_mut(), None, None, 4);
    push(decoder.as_mut(), None, Some(r#"{"op":"u","before":{"id":1},"after":{"id":2}}"#), 5);
    push(decoder.as_mut(), None, Some(r#"{"op":"d"}"#), 6);
    push(decoder.as_mut(), None, Some(r#"{"op":"c","after":{"id":3}}"#), 7);
    let decoded = decoder.finish().unwrap();
    assert_eq!(
        rows(&decoded),
        [
            r#"{"id":1,"v":null,"offset":5}"#,
            r#"{"id":2,"v":null,"offset":5}"#,
            r#"{"id":3,"v":null,"offset":7}"#,
        ]
    );
    assert_eq!((decoded.weights.clone(), decoded.ordinals.clone()), (Some(vec![-1, 1, 1]), vec![1, 1, 3]));
    assert_eq!(reasons(&decoded)[0].0, 2);
}

#[test]
fn tombstones_may_be_ignored() {
    let options = options(&[], OnTombstone::Ignore);
    let mut decoder = event_decoder(&Format::Json, schema(&[]), OnError::DeadLetter, &options).unwrap();
    decoder.push(None);
    decoder.push(Some(b"{}"));
    assert_eq!(decoder.pushed(), 2);
    let decoded = decoder.finish().unwrap();
    assert_eq!((decoded.batch.num_rows(), decoded.ordinals, decoded.errors.len()), (1, vec![1], 0));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let fault = |columns: &[(&str, DataType)], sources: &[ColumnSource], on_tombstone| {
        let options = options(sources, on_tombstone);
        let decoder = event_decoder(&Format::Json, schema(columns), OnError::Null, &options);
        decoder.err().unwrap().to_string()
    };
    let text = [("x!", DataType::Utf8)];
    assert_eq!(
        fault(&text, &[ColumnSource::Offset], OnTombstone::Format),
        "column `x` has type Utf8, which the offset cannot fill; use INT or BIGINT"
    );
    assert_eq!(
        fault(&text, &[ColumnSource::Key, ColumnSource::Key], OnTombstone::Format),
        "2 sources for 1 columns; give each one"
    );
    assert_eq!(
        fault(&text, &[ColumnSource::Value], OnTombstone::Delete),
        "a deletion has no value for column `x`; let it be NULL"
    );
    let required = options(&[ColumnSource::Key], OnTombstone::Format);
    let mut decoder = event_decoder(&Format::Json, schema(&text), OnError::Null, &required).unwrap();
    push(decoder.as_mut(), None, Some("{}"), 0);
    let decoded = decoder.finish().unwrap();
    assert_eq!(
        reasons(&decoded),
        [(0, "field `x`: expected VARCHAR, found NULL, but the column is NOT NULL")]
    );
}
