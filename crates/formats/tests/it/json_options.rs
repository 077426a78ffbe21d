//! JSON told more than nothing: missing and unknown fields, other types, epochs,
//! maps.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};
use pluvio_formats::{
    Decoded, EpochUnit, Format, Framing, JsonOptions, OnDrift, OnError, OnMissing, OnUnknown, decoder,
    encode_json,
};

use crate::{schema, timestamp};

fn decode(options: JsonOptions, columns: &[(&str, DataType)], documents: &[&str]) -> Decoded {
    let mut decoder = decoder(&Format::JsonWith(options), schema(columns), OnError::DeadLetter).unwrap();
    for document in documents {
        decoder.push(Some(document.as_bytes()));
    }
    decoder.finish().unwrap()
}

fn rows(decoded: &Decoded) -> Vec<String> {
    assert_eq!(decoded.errors, []);
    encode_json(&decoded.batch).unwrap().iter().map(str::to_owned).collect()
}

/// MAP(VARCHAR, `value`).
pub fn map(value: DataType) -> DataType {
    let entries =
        Fields::from(vec![Field::new("keys", DataType::Utf8, false), Field::new("values", value, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}

#[test]
fn missing_and_unknown_fields() {
    let inner = Fields::from(vec![Field::new("a", DataType::Int64, true)]);
    let columns = [("x", DataType::Int64), ("s", DataType::Struct(inner))];
    let options = JsonOptions {
        on_missing: OnMissing::Reject,
        on_unknown: OnUnknown::Reject,
        ..JsonOptions::default()
    };
    let documents = [
        r#"{"x":null,"s":{"a":1}}"#,
        r#"{"s":{"a":1}}"#,
        r#"{"x":1,"s":{}}"#,
        r#"{"x":1,"s":{"a":1},"y":2}"#,
        r#"{"x":1,"s":{"a":1,"b\u0063":[1]}}"#,
    ];
    let decoded = decode(options, &columns, &documents);
    let reasons: Vec<_> = decoded.errors.iter().map(|error| error.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "missing field `x`",
            "missing field `s.a`",
            "field `y`: unknown: no column declares it",
            "field `s.bc`: unknown: no column declares it",
        ]
    );
    assert_eq!(decoded.ordinals, [0]);
}

#[test]
fn other_types_are_converted() {
    let options = JsonOptions { on_drift: OnDrift::Convert, ..JsonOptions::default() };
    let columns = [
        ("n", DataType::Int64),
        ("d", DataType::Decimal128(10, 2)),
        ("b", DataType::Boolean),
        ("t", DataType::Utf8),
        ("at", timestamp()),
    ];
    let decoded = decode(
        options,
        &columns,
        &[
            r#"{"n":" 12 ","d":"1.005","b":"TRUE","t":1.50,"at":"1357034400000"}"#,
            r#"{"n":"1e2","d":7,"b":"0","t":{"a": [1,"x"]},"at":"2013-01-01 10:00:00"}"#,
            r#"{"t":false}"#,
        ],
    );
    assert_eq!(
        rows(&decoded),
        [
            r#"{"n":12,"d":1.01,"b":true,"t":"1.50","at":"2013-01-01T10:00:00Z"}"#,
            r#"{"n":100,"d":7.00,"b":false,"t":"{\"a\": [1,\"x\"]}","at":"2013-01-01T10:00:00Z"}"#,
            r#"{"n":null,"d":null,"b":null,"t":"false","at":null}"#,
        ]
    );
    let decoded = decode(
        options,
        &columns,
        &[r#"{"n":"1.5"}"#, r#"{"n":"x"}"#, r#"{"n":"99999999999999999999"}"#, r#"{"b":1}"#, r#"{"n":[1]}"#],
    );
    let reasons: Vec<_> = decoded.errors.iter().map(|error| error.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "field `n`: expected BIGINT, found string \"1.5\"",
            "field `n`: expected BIGINT, found string \"x\"",
            "field `n`: string \"99999999999999999999\" is out of range for BIGINT",
            "field `b`: expected BOOLEAN, found number 1",
            "field `n`: expected BIGINT, found an array",
        ]
    );
}

#[test]
fn numbers_count_what_they_are_told_to() {
    for (epoch, number) in [
        (EpochUnit::Seconds, "1357034400.5"),
        (EpochUnit::Milliseconds, "1357034400500"),
        (EpochUnit::Microseconds, "1357034400500000"),
        (EpochUnit::Nanoseconds, "1357034400500000000"),
    ] {
        let options = JsonOptions { epoch, ..JsonOptions::default() };
        let decoded = decode(options, &[("at", timestamp())], &[&format!("{{\"at\":{number}}}")]);
        assert_eq!(rows(&decoded), [r#"{"at":"2013-01-01T10:00:00.500000Z"}"#]);
    }
}

#[test]
fn objects_fill_maps() {
    let columns = [("m", map(DataType::new_list(DataType::Int64, true)))];
    let decoded = decode(
        JsonOptions::default(),
        &columns,
        &[
            r#"{"m":{"a":[1,2],"\u0062":null}}"#,
            r#"{"m":{ }}"#,
            r#"{"m":null}"#,
            r#"{"m":{"c" : [] , "d":[3]}}"#,
        ],
    );
    assert_eq!(
        rows(&decoded),
        [r#"{"m":{"a":[1,2],"b":null}}"#, r#"{"m":{}}"#, r#"{"m":null}"#, r#"{"m":{"c":[],"d":[3]}}"#]
    );
    let decoded = decode(
        JsonOptions::default(),
        &columns,
        &[r#"{"m":{"a":[1],"b":["x"]}}"#, r#"{"m":{"a":[1]"b":1}}"#, r#"{"m":[]}"#, r#"{"m":{"z":[9]}}"#],
    );
    let reasons: Vec<_> = decoded.errors.iter().map(|error| error.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "field `m[b][0]`: expected BIGINT, found string \"x\"",
            "byte 13: expected ',' or '}', found '\"'",
            "field `m`: expected MAP, found an array",
        ]
    );
    assert_eq!(encode_json(&decoded.batch).unwrap().as_lines(), "{\"m\":{\"z\":[9]}}\n");
}

#[test]
fn a_schema_id_may_stand_in_front() {
    let options = JsonOptions { framing: Framing::Confluent, ..JsonOptions::default() };
    let decoded = decode(
        options,
        &[("x", DataType::Int64)],
        &["\0\0\0\0\u{7}{\"x\":1}", "{\"x\":1}", "\0\0\0\0\u{7}{"],
    );
    assert_eq!(encode_json(&decoded.batch).unwrap().as_lines(), "{\"x\":1}\n");
    assert!(decoded.errors[0].reason.starts_with("the value starts with 0x7b, not with 0"));
    assert_eq!(decoded.errors[1].reason, "byte 1: expected a field name in quotes, found the end");
}
