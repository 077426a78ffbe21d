//! JSON events: what they become, and the reasons when they become nothing.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Fields, Float32Type, Float64Type, Int32Type, Int64Type,
    TimeUnit, TimestampMicrosecondType, UInt8Type,
};
use pluvio_formats::{Format, OnError, decoder, encode_json};

use crate::{decode, schema, timestamp};

/// The only column's array after these documents, all of which must be good.
fn column(data_type: DataType, documents: &[&str]) -> ArrayRef {
    let documents: Vec<&[u8]> = documents.iter().map(|document| document.as_bytes()).collect();
    let decoded = decode(&schema(&[("x", data_type)]), OnError::DeadLetter, &documents);
    assert_eq!(decoded.errors, []);
    Arc::clone(decoded.batch.column(0))
}

/// The reason why a document is rejected by these columns.
fn reason(columns: &[(&str, DataType)], document: &str) -> String {
    let decoded = decode(&schema(columns), OnError::DeadLetter, &[document.as_bytes()]);
    assert_eq!(decoded.batch.num_rows(), 0, "{document}");
    decoded.errors[0].reason.clone()
}

#[test]
fn payments() {
    let schema = schema(&[
        ("person_id", DataType::Int64),
        ("amount", DataType::Float64),
        ("paid_at", timestamp()),
        ("note", DataType::Utf8),
    ]);
    let documents: [&[u8]; 3] = [
        br#"{"person_id":123456,"company_id":4711,"amount":12.34,"paid_at":"2026-11-21T10:00:00.123456Z","note":"a\u00e9"}"#,
        br#" { "amount" : 5 , "PAID_AT" : 1357034400000 , "extra" : [ { } , [ 1 ] ] , "person_id" : 5.0 } "#,
        b"{}",
    ];
    let decoded = decode(&schema, OnError::DeadLetter, &documents);
    assert_eq!(decoded.errors, []);
    assert_eq!(decoded.ordinals, [0, 1, 2]);
    let rows = encode_json(&decoded.batch).unwrap();
    assert_eq!(
        rows.iter().collect::<Vec<_>>(),
        [
            r#"{"person_id":123456,"amount":12.34,"paid_at":"2026-11-21T10:00:00.123456Z","note":"aé"}"#,
            r#"{"person_id":5,"amount":5.0,"paid_at":"2013-01-01T10:00:00Z","note":null}"#,
            r#"{"person_id":null,"amount":null,"paid_at":null,"note":null}"#,
        ]
    );
}

#[test]
fn every_scalar_type() {
    let booleans = column(DataType::Boolean, &[r#"{"x":true}"#, r#"{"x":null}"#]);
    assert_eq!(booleans.as_boolean().iter().collect::<Vec<_>>(), [Some(true), None]);
    let bytes = column(DataType::UInt8, &[r#"{"x":255}"#]);
    assert_eq!(bytes.as_primitive::<UInt8Type>().values(), &[255]);
    let floats = column(DataType::Float32, &[r#"{"x":0.1}"#, r#"{"x":-1e-45}"#]);
    assert_eq!(floats.as_primitive::<Float32Type>().values(), &[0.1, -1e-45]);
    let doubles = column(DataType::Float64, &[r#"{"x":1}"#, r#"{"x":123456789.123456789e-300}"#]);
    let small: f64 = "123456789.123456789e-300".parse().unwrap();
    assert_eq!(doubles.as_primitive::<Float64Type>().values(), &[1.0, small]);
    let decimals = column(DataType::Decimal128(10, 2), &[r#"{"x":12.345}"#, r#"{"x":-7}"#]);
    assert_eq!(decimals.as_primitive::<Decimal128Type>().values(), &[1235, -700]);
    let dates = column(DataType::Date32, &[r#"{"x":"1970-01-02"}"#]);
    assert_eq!(dates.as_primitive::<Date32Type>().values(), &[1]);
    let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Vienna".into()));
    let times = column(zoned.clone(), &[r#"{"x":"2013-01-01T11:00:00+01:00"}"#]);
    assert_eq!(times.as_primitive::<TimestampMicrosecondType>().values(), &[1_357_034_400_000_000]);
    assert_eq!(times.data_type(), &zoned);
}

#[test]
fn of_duplicates_the_last_counts() {
    let documents = [r#"{"x":1,"x":2}"#, r#"{"x":3,"X":null}"#, r#"{"x":4}"#];
    let values = column(DataType::Int64, &documents);
    assert_eq!(values.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(2), None, Some(4)]);
    let values = column(DataType::Utf8, &[r#"{"x":"long text","x":"b"}"#, r#"{"x":"c"}"#]);
    assert_eq!(values.as_string::<i32>().iter().collect::<Vec<_>>(), [Some("b"), Some("c")]);
}

#[test]
fn an_exact_name_goes_before_one_in_another_case() {
    let schema = schema(&[("id", DataType::Int64), ("ID", DataType::Int64), ("Größe", DataType::Int64)]);
    let documents: [&[u8]; 2] =
        [br#"{"ID":1,"id":2,"Id":3}"#, r#"{"gr\u00f6ße":7,"\u0049D":8,"GRÖSSE":9}"#.as_bytes()];
    let decoded = decode(&schema, OnError::DeadLetter, &documents);
    assert_eq!(decoded.errors, []);
    let value = |column: usize, row| decoded.batch.column(column).as_primitive::<Int64Type>().value(row);
    // `Id` is neither: it goes to the first that matches without case.
    assert_eq!((value(0, 0), value(1, 0)), (3, 1));
    assert_eq!((value(1, 1), value(2, 1)), (8, 7));
}

#[test]
fn names_in_any_order_and_number_find_their_columns() {
    let schema = schema(&[("a", DataType::Int64), ("b", DataType::Int64)]);
    let mut decoder = decoder(&Format::Json, schema, OnError::DeadLetter).unwrap();
    for round in 0..300 {
        let document = match round % 4 {
            0 => format!(r#"{{"a":{round},"b":{round}}}"#),
            1 => format!(r#"{{"b":{round},"other{round}":0,"a":{round}}}"#),
            2 => format!(r#"{{"{}":"","b":{round},"a":{round}}}"#, "n".repeat(round)),
            _ => format!(r#"{{"ab":-1,"":-1,"a\"":-1,"a":{round},"b":{round}}}"#),
        };
        decoder.push(Some(document.as_bytes()));
    }
    let decoded = decoder.finish().unwrap();
    assert_eq!(decoded.errors, []);
    for column in decoded.batch.columns() {
        assert!(column.as_primitive::<Int64Type>().iter().eq((0..300).map(Some)));
    }
}

#[test]
fn reasons_of_wrong_values() {
    let cases = [
        (DataType::Float64, r#"{"x":"abc"}"#, "field `x`: expected DOUBLE, found string \"abc\""),
        (DataType::Float64, r#"{"x":1e999}"#, "field `x`: number 1e999 is out of range for DOUBLE"),
        (DataType::Int64, r#"{"x":5.5}"#, "field `x`: expected BIGINT, found number 5.5"),
        (DataType::Int8, r#"{"x":300}"#, "field `x`: number 300 is out of range for TINYINT"),
        (DataType::Utf8, r#"{"x":5}"#, "field `x`: expected VARCHAR, found number 5"),
        (DataType::Utf8, r#"{"x":[1]}"#, "field `x`: expected VARCHAR, found an array"),
        (DataType::Boolean, r#"{"x":{}}"#, "field `x`: expected BOOLEAN, found an object"),
        (DataType::Int32, r#"{"x":true}"#, "field `x`: expected INT, found boolean true"),
        (DataType::Date32, r#"{"x":20130101}"#, "field `x`: expected DATE, found number 20130101"),
        (timestamp(), r#"{"x":"noon"}"#, "field `x`: expected TIMESTAMP, found string \"noon\""),
        (timestamp(), r#"{"x":1e30}"#, "field `x`: number 1e30 is out of range for TIMESTAMP"),
        (
            DataType::Decimal128(4, 1),
            r#"{"x":1000}"#,
            "field `x`: number 1000 is out of range for DECIMAL(4, 1)",
        ),
    ];
    for (data_type, document, expected) in cases {
        assert_eq!(reason(&[("x", data_type)], document), expected);
    }
    assert_eq!(reason(&[("x!", DataType::Int64)], "{}"), "missing field `x`");
    assert_eq!(
        reason(&[("x!", DataType::Int64)], r#"{"x":null}"#),
        "field `x`: expected BIGINT, found NULL, but the column is NOT NULL"
    );
}

#[test]
fn reasons_of_malformed_documents() {
    for (document, expected) in [
        ("", "byte 0: expected a JSON object, found the end"),
        ("[1]", "byte 0: expected a JSON object, found '['"),
        ("null", "byte 0: expected a JSON object, found 'n'"),
        ("{\"x\":1 \"y\":2}", "byte 7: expected ',' or '}', found '\"'"),
        ("{\"x\":1} {", "byte 8: expected the end of the document, found '{'"),
        ("{\"x\":1", "byte 6: expected ',' or '}', found the end"),
        ("{\"x\":01}", "byte 6: expected the digits of a number, found '1'"),
        ("{\"x\":nul}", "byte 5: expected a value, found 'n'"),
        ("{\"y\":\"\\ud800\"}", "byte 12: expected the second half of a surrogate pair, found '\"'"),
        ("{\"y\":\"a\u{1}\"}", "byte 7: expected a control character written as an escape, found 0x01"),
        ("\u{feff}{}", "byte 0: expected a JSON object, found 0xef"),
    ] {
        assert_eq!(reason(&[("x", DataType::Int64)], document), expected, "{document}");
    }
    let nested = format!("{{\"y\":{}{}}}", "[".repeat(200), "]".repeat(200));
    assert!(reason(&[], &nested).contains("at most 128 levels of nesting"));
    let latin1 = decode(&schema(&[]), OnError::Null, &[b"{\"y\":\"caf\xe9\"}"]);
    assert_eq!(latin1.errors[0].reason, "byte 9: expected valid UTF-8, found 0xe9");
}

#[test]
fn a_rejected_event_leaves_no_trace() {
    let inner =
        Fields::from(vec![Field::new("s", DataType::Utf8, true), Field::new("n", DataType::Int32, false)]);
    let schema = schema(&[
        ("text", DataType::Utf8),
        ("inner", DataType::Struct(inner)),
        ("list", DataType::new_list(DataType::Int64, true)),
        ("last!", DataType::Int64),
    ]);
    let good =
        |n: usize| format!(r#"{{"text":"t{n}","inner":{{"s":"s{n}","n":{n}}},"list":[{n},{n}],"last":{n}}}"#);
    let bad = [
        r#"{"text":"bad","inner":{"s":"bad","n":1},"list":[1,2,3]}"#,
        r#"{"text":"bad","inner":{"s":"bad"},"list":[1,2,3],"last":1}"#,
        r#"{"text":"bad","inner":{"s":"bad","n":1},"list":[1,"2"],"last":1}"#,
        r#"{"text":"bad","inner":{"s":"bad","n":1},"list":[1,2,3],"last":1}x"#,
        r#"{"text":"bad","inner":{"s":"bad","n":1},"list":[1,2"#,
    ];
    let reasons = [
        "missing field `last`",
        "missing field `inner.n`",
        "field `list[1]`: expected BIGINT, found string \"2\"",
        "byte 64: expected the end of the document, found 'x'",
        "byte 51: expected ',' or ']', found the end",
    ];
    let (mut mixed, mut clean) = (Vec::new(), Vec::new());
    for (n, bad) in bad.iter().enumerate() {
        mixed.extend([good(n), (*bad).to_owned()]);
        clean.push(good(n));
    }
    let bytes = |documents: &[String]| documents.iter().map(|it| it.clone().into_bytes()).collect::<Vec<_>>();
    let (mixed, clean) = (bytes(&mixed), bytes(&clean));
    let slices = |documents: &'_ [Vec<u8>]| documents.iter().map(|it| it.to_vec()).collect::<Vec<_>>();
    let run = |documents: &[Vec<u8>]| {
        let documents = slices(documents);
        let documents: Vec<&[u8]> = documents.iter().map(Vec::as_slice).collect();
        decode(&schema, OnError::DeadLetter, &documents)
    };
    let (mixed, clean) = (run(&mixed), run(&clean));
    assert_eq!(mixed.batch, clean.batch);
    assert_eq!(mixed.ordinals, [0, 2, 4, 6, 8]);
    let found: Vec<_> = mixed.errors.iter().map(|error| (error.ordinal, error.reason.as_str())).collect();
    assert_eq!(found, [1, 3, 5, 7, 9].into_iter().zip(reasons).collect::<Vec<_>>());
}

#[test]
fn wrong_types_become_null_if_told_so() {
    let inner = Fields::from(vec![Field::new("n", DataType::Int32, true)]);
    let schema = schema(&[
        ("a", DataType::Int64),
        ("inner", DataType::Struct(inner)),
        ("list", DataType::new_list(DataType::Int64, true)),
        ("must!", DataType::Int64),
    ]);
    let documents: [&[u8]; 4] = [
        br#"{"a":"x","inner":[1],"list":{"b":1},"must":1}"#,
        br#"{"a":{"b":[1]},"inner":{"n":"x"},"list":[1,"x",true],"must":2}"#,
        br#"{"a":1,"must":"x"}"#,
        br#"{"a":1,"must":3"#,
    ];
    let decoded = decode(&schema, OnError::Null, &documents);
    let rows = encode_json(&decoded.batch).unwrap();
    assert_eq!(
        rows.iter().collect::<Vec<_>>(),
        [
            r#"{"a":null,"inner":null,"list":null,"must":1}"#,
            r#"{"a":null,"inner":{"n":null},"list":[1,null,null],"must":2}"#,
        ]
    );
    assert_eq!(decoded.errors[0].reason, "field `must`: expected BIGINT, found string \"x\"");
    assert_eq!(decoded.errors[1].ordinal, 3);
}

#[test]
fn nested_columns() {
    let line = Fields::from(vec![
        Field::new("sku", DataType::Utf8, false),
        Field::new("tags", DataType::new_list(DataType::Utf8, false), true),
    ]);
    let lines = DataType::new_list(DataType::Struct(line), true);
    let order = DataType::Struct(Fields::from(vec![Field::new("lines", lines, true)]));
    let columns = [("order", order)];
    let good = [
        r#"{"order":{"lines":[{"sku":"a","tags":["x","y"]},null,{"sku":"b"}]}}"#,
        r#"{"order":{"lines":[]}}"#,
        r#"{"order":{}}"#,
        r#"{}"#,
        r#"{"order":{"lines":[{"sku":"z"}]},"order":{"lines":[{"sku":"c","tags":[]}]}}"#,
    ];
    let documents: Vec<&[u8]> = good.iter().map(|document| document.as_bytes()).collect();
    let decoded = decode(&schema(&columns), OnError::DeadLetter, &documents);
    assert_eq!(decoded.errors, []);
    assert_eq!(
        encode_json(&decoded.batch).unwrap().iter().collect::<Vec<_>>(),
        [
            r#"{"order":{"lines":[{"sku":"a","tags":["x","y"]},null,{"sku":"b","tags":null}]}}"#,
            r#"{"order":{"lines":[]}}"#,
            r#"{"order":{"lines":null}}"#,
            r#"{"order":null}"#,
            r#"{"order":{"lines":[{"sku":"c","tags":[]}]}}"#,
        ]
    );
    for (document, expected) in [
        (r#"{"order":{"lines":[{"sku":"a"},{"tags":[]}]}}"#, "missing field `order.lines[1].sku`"),
        (
            r#"{"order":{"lines":[{"sku":"a","tags":["x",1]}]}}"#,
            "field `order.lines[0].tags[1]`: expected VARCHAR, found number 1",
        ),
        (r#"{"order":{"lines":[5]}}"#, "field `order.lines[0]`: expected STRUCT, found number 5"),
        (r#"{"order":{"lines":"none"}}"#, "field `order.lines`: expected ARRAY, found string \"none\""),
    ] {
        assert_eq!(reason(&columns, document), expected);
    }
}

#[test]
fn each_batch_starts_anew() {
    let schema = schema(&[("x", DataType::Int64), ("s", DataType::Utf8)]);
    let mut decoder = decoder(&Format::Json, schema, OnError::DeadLetter).unwrap();
    for round in 0..3 {
        assert_eq!(decoder.pushed(), 0);
        decoder.push(None);
        decoder.push(Some(format!(r#"{{"x":{round},"s":"{round}"}}"#).as_bytes()));
        assert_eq!(decoder.pushed(), 2);
        let decoded = decoder.finish().unwrap();
        assert_eq!(decoded.errors[0].reason, "no value (a tombstone), expected a JSON object");
        assert_eq!((decoded.errors[0].ordinal, decoded.ordinals), (0, vec![1]));
        assert_eq!(decoded.batch.column(0).as_primitive::<Int64Type>().values(), &[round]);
        assert_eq!(decoded.batch.column(1).as_string::<i32>().value(0), round.to_string());
    }
    assert_eq!(decoder.finish().unwrap().batch.num_rows(), 0);
}

#[test]
fn no_columns_still_count_rows() {
    let decoded = decode(&schema(&[]), OnError::DeadLetter, &[b"{}", b"{\"a\":1}", b"{"]);
    assert_eq!((decoded.batch.num_rows(), decoded.errors.len()), (2, 1));
}

#[test]
fn unsupported_columns_are_named() {
    let inner = Fields::from(vec![Field::new("at", DataType::Timestamp(TimeUnit::Second, None), true)]);
    let error =
        decoder(&Format::Json, schema(&[("a", DataType::Struct(inner))]), OnError::Null).err().unwrap();
    let expected = "column `a.at` has type Timestamp(s), which format json cannot fill";
    assert!(error.to_string().starts_with(expected), "{error}");
    let error =
        decoder(&Format::Json, schema(&[("a", DataType::Int8), ("a", DataType::Int8)]), OnError::Null);
    assert_eq!(error.err().unwrap().to_string(), "the schema has two columns `a`; rename one");
    let ints = column(DataType::Int32, &[r#"{"x":-0}"#]);
    assert_eq!(ints.as_primitive::<Int32Type>().values(), &[0]);
}
