//! Changes of a database: which rows come and go.

use arrow::datatypes::DataType;
use pluvio_formats::{
    Change, DebeziumOptions, Decoded, Format, JsonOptions, OnDrift, OnError, OnMissingBefore, changes_of,
    decoder, encode_debezium, encode_json,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::schema;

fn decode(options: DebeziumOptions, events: &[Option<&[u8]>]) -> Decoded {
    let columns = [("id!", DataType::Int64), ("name", DataType::Utf8), ("day", DataType::Date32)];
    let mut decoder = decoder(&Format::Debezium(options), schema(&columns), OnError::DeadLetter).unwrap();
    events.iter().for_each(|event| decoder.push(*event));
    assert_eq!(decoder.pushed(), events.len());
    decoder.finish().unwrap()
}

fn decode_texts(options: DebeziumOptions, events: &[&str]) -> Decoded {
    let events: Vec<_> = events.iter().map(|event| Some(event.as_bytes())).collect();
    decode(options, &events)
}

fn rows(decoded: &Decoded) -> Vec<String> {
    encode_json(&decoded.batch).unwrap().iter().map(str::to_owned).collect()
}

#[test]
fn rows_come_and_go() {
    let drift = JsonOptions { on_drift: OnDrift::Convert, ..JsonOptions::default() };
    let decoded = decode(
        DebeziumOptions { json: drift, ..DebeziumOptions::default() },
        &[
            Some(br#"{"before":null,"after":{"id":1,"name":"a","day":15706},"source":{"op":"x","after":5},"op":"c","ts_ms":1}"#),
            Some(br#"{"schema":{"type":"struct","fields":[{"field":"after"}]},"payload":{"op":"u","before":{"id":1,"name":"a"},"after":{"id":1,"name":"b"}}}"#),
            None,
            Some(br#"{ "op" : "d" , "before" : {"id":1,"name":"b"} , "after" : null }"#),
            Some(br#"{"schema":null,"payload":null}"#),
            Some(br#"{"op":"r","after":{"id":2}}"#),
            Some(br#"{"op":"m","message":{"prefix":"x"}}"#),
        ],
    );
    assert_eq!(decoded.errors, []);
    assert_eq!(
        rows(&decoded),
        [
            r#"{"id":1,"name":"a","day":"2013-01-01"}"#,
            r#"{"id":1,"name":"a","day":null}"#,
            r#"{"id":1,"name":"b","day":null}"#,
            r#"{"id":1,"name":"b","day":null}"#,
            r#"{"id":2,"name":null,"day":null}"#,
        ]
    );
    assert_eq!(decoded.ordinals, [0, 1, 1, 3, 5]);
    assert_eq!(decoded.weights, Some(vec![1, -1, 1, -1, 1]));
}

#[test]
fn reasons() {
    let events = [
        r#"{"op":"d","before":null}"#,
        r#"{"op":"u","before":null,"after":{"id":1}}"#,
        r#"{"op":"c"}"#,
        r#"{"op":"t"}"#,
        r#"{"op":"q"}"#,
        r#"{"id":1}"#,
        r#"{"op":"u","before":{"id":1},"after":{"id":"x"}}"#,
        r#"{"op":"u","before":{"name":"a"},"after":{"id":1}}"#,
        r#"{"op":"c","after":[1]}"#,
        r#"{"op":"c","after":{"id":1}"#,
        r#"{"op":"c","after":{"id":1}}x"#,
        r#"{"op":"c","after":{"id":1},"source":tru}"#,
        r#"{"op":"c","after":{"id":7}}"#,
    ];
    let hint = "; let the table log whole rows (PostgreSQL: REPLICA IDENTITY FULL)";
    let decoded = decode_texts(DebeziumOptions::default(), &events);
    let reasons: Vec<_> = decoded.errors.iter().map(|error| error.reason.clone()).collect();
    assert_eq!(
        reasons,
        [
            format!("op \"d\" without `before`{hint}"),
            format!("op \"u\" without `before`{hint}"),
            "op \"c\" without `after`".to_owned(),
            "op \"t\": the table was truncated, which names no rows".to_owned(),
            "op \"q\" is none of c, r, u, d".to_owned(),
            "missing field `op`; is this a Debezium event?".to_owned(),
            "field `after.id`: expected BIGINT, found string \"x\"".to_owned(),
            "missing field `before.id`".to_owned(),
            "byte 18: expected a JSON object, found '['".to_owned(),
            "byte 26: expected ',' or '}', found the end".to_owned(),
            "byte 27: expected the end of the document, found 'x'".to_owned(),
            "byte 36: expected a value, found 't'".to_owned(),
        ]
    );
    assert_eq!((decoded.ordinals.as_slice(), rows(&decoded).len()), (&[12][..], 1));
    let upsert = DebeziumOptions { on_missing_before: OnMissingBefore::Upsert, ..DebeziumOptions::default() };
    let decoded = decode_texts(upsert, &events[..2]);
    assert_eq!((decoded.weights, decoded.errors.len()), (Some(vec![1]), 1));
}

#[test]
fn changes_survive_being_written_and_read() {
    let source = decode_texts(
        DebeziumOptions::default(),
        &[r#"{"op":"u","before":{"id":1,"name":"a\"b"},"after":{"id":2,"day":"2013-01-01"}}"#],
    );
    let changes = [Change::Insert(0), Change::Update { before: 0, after: 1 }, Change::Delete(1)];
    let events = encode_debezium(&source.batch, &changes, "sh\"op", 5).unwrap();
    let first = events.iter().next().unwrap();
    assert_eq!(
        first,
        r#"{"before":null,"after":{"id":1,"name":"a\"b","day":null},"source":{"connector":"pluvio","name":"sh\"op","ts_ms":5},"op":"c","ts_ms":5}"#
    );
    let events: Vec<_> = events.iter().map(|event| Some(event.as_bytes())).collect();
    let decoded = decode(DebeziumOptions::default(), &events);
    assert_eq!(decoded.weights, Some(vec![1, -1, 1, -1]));
    let (a, b) = (rows(&source)[0].clone(), rows(&source)[1].clone());
    assert_eq!(rows(&decoded), [a.clone(), a, b.clone(), b]);
    assert!(encode_debezium(&source.batch, &[Change::Insert(2)], "x", 0).is_err());
    assert_eq!(changes_of(&[2, 0, -1]).unwrap(), [Change::Insert(0), Change::Insert(0), Change::Delete(2)]);
    assert!(changes_of(&[i64::MIN]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_judged_without_harm(place: prop::sample::Index, removed in 0_usize..9, inserted in vec(any::<u8>(), 0..4)) {
        let mut event = br#"{"payload":{"op":"u","before":{"id":1,"name":"a"},"after":{"id":2,"name":"b"}}}"#.to_vec();
        let at = place.index(event.len());
        event.splice(at..(at + removed).min(event.len()), inserted);
        let decoded = decode(DebeziumOptions::default(), &[Some(&event), Some(br#"{"op":"c","after":{"id":9}}"#)]);
        let last = rows(&decoded).pop();
        prop_assert_eq!(last.as_deref(), Some(r#"{"id":9,"name":null,"day":null}"#));
        prop_assert!(decoded.batch.num_rows() <= 3 && decoded.errors.len() <= 1);
        prop_assert_eq!(decoded.weights.map(|weights| weights.len()), Some(decoded.batch.num_rows()));
    }
}
