//! Protobuf messages: what they become, and that no bytes do harm.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};
use pluvio_formats::{
    Decoded, Format, Framing, OnError, ProtobufOptions, ProtobufSchema, decoder, encode_json,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::json_options::map;
use crate::{golden, schema, timestamp};

fn by_text(text: &str, message: &str, framing: Framing) -> Format {
    let schema = ProtobufSchema::Text { text: text.to_owned(), imports: BTreeMap::new() };
    Format::Protobuf(ProtobufOptions { schema, message: message.to_owned(), framing })
}

fn shop() -> Format {
    by_text(&golden::text("shop.proto"), "shop.events.Everything", Framing::Plain)
}

fn decode(format: &Format, columns: &[(&str, DataType)], on_error: OnError, records: &[Vec<u8>]) -> Decoded {
    let mut decoder = decoder(format, schema(columns), on_error).unwrap();
    for record in records {
        decoder.push(Some(record));
    }
    decoder.finish().unwrap()
}

fn rows(decoded: &Decoded) -> Vec<String> {
    assert_eq!(decoded.errors, []);
    encode_json(&decoded.batch).unwrap().iter().map(str::to_owned).collect()
}

fn everything() -> Vec<(&'static str, DataType)> {
    let line = |inner: Vec<Field>| {
        let own = vec![
            Field::new("sku", DataType::Utf8, false),
            Field::new("count", DataType::Int32, true),
            Field::new_list("tags", Field::new_list_field(DataType::Utf8, true), true),
        ];
        DataType::Struct(Fields::from([own, inner].concat()))
    };
    let bundled = line(vec![Field::new("bundle", line(Vec::new()), true)]);
    let by_id = Fields::from(vec![
        Field::new("keys", DataType::Utf8, false),
        Field::new("values", line(Vec::new()), true),
    ]);
    vec![
        ("flag!", DataType::Boolean),
        ("i32!", DataType::Int32),
        ("i64!", DataType::Int64),
        ("u32!", DataType::UInt32),
        ("u64!", DataType::UInt64),
        ("s32!", DataType::Int32),
        ("s64!", DataType::Int64),
        ("f32!", DataType::Int64),
        ("f64!", DataType::UInt64),
        ("sf32!", DataType::Int32),
        ("sf64!", DataType::Decimal128(10, 1)),
        ("single!", DataType::Float32),
        ("double!", DataType::Float64),
        ("text!", DataType::Utf8),
        ("raw!", DataType::Binary),
        ("state!", DataType::Utf8),
        ("state_number!", DataType::Int8),
        ("maybe", DataType::Int64),
        ("at", timestamp()),
        ("note", DataType::Utf8),
        ("quantity", DataType::Int64),
        ("numbers!", DataType::new_list(DataType::Int64, false)),
        ("loose!", DataType::new_list(DataType::Int64, false)),
        ("lines!", DataType::new_list(bundled, true)),
        ("prices!", map(DataType::Float64)),
        ("line", line(Vec::new())),
        ("card", DataType::Utf8),
        ("cash", DataType::Int64),
        ("states", DataType::new_list(DataType::Utf8, true)),
        ("not_there", DataType::Utf8),
        ("by_id", DataType::Map(Arc::new(Field::new("entries", DataType::Struct(by_id), false)), false)),
    ]
}

/// Every column but the map by number, whose keys are no text.
fn without_map_by_number() -> Vec<(&'static str, DataType)> {
    everything().into_iter().filter(|(name, _)| *name != "by_id").collect()
}

#[test]
fn messages_of_another_writer() {
    let records = golden::records("shop_records.hex");
    let decoded = decode(&shop(), &without_map_by_number(), OnError::DeadLetter, &records);
    golden::check("shop_rows.jsonl", &decoded);
}

#[test]
fn descriptors_and_text_are_one_schema() {
    let records = golden::records("shop_records.hex");
    let schema = ProtobufSchema::Descriptor(golden::bytes("shop_descriptors.bin"));
    let message = "Everything".to_owned();
    let format = Format::Protobuf(ProtobufOptions { schema, message, framing: Framing::Plain });
    let decoded = decode(&format, &without_map_by_number(), OnError::DeadLetter, &records);
    golden::check("shop_rows.jsonl", &decoded);
}

const PARTS: &str = "syntax = \"proto3\";
    message Other { message Deep { int64 x = 1; } }
    message M {
        message In { int64 a = 1; int64 b = 2; repeated int64 c = 3; }
        In in = 1;
        oneof o { In p = 2; string q = 3; int64 undeclared = 4; }
        int64 n = 5;
    }";

fn parts() -> Vec<(&'static str, DataType)> {
    let inner = Fields::from(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::Int64, true),
        Field::new_list("c", Field::new_list_field(DataType::Int64, true), true),
    ]);
    let inner = DataType::Struct(inner);
    vec![("in", inner.clone()), ("p", inner), ("q", DataType::Utf8), ("n", DataType::Int64)]
}

#[test]
fn parts_are_merged_and_the_last_counts() {
    let records = [
        // in {a:1 c:1}, in {b:2 c:2 c:3}, n 1, n 2
        b"\x0a\x04\x08\x01\x18\x01\x0a\x06\x10\x02\x1a\x02\x02\x03\x28\x01\x28\x02".to_vec(),
        // p {a:1}, q "x"
        b"\x12\x02\x08\x01\x1a\x01x".to_vec(),
        // q "x", p {}
        b"\x1a\x01x\x12\x00".to_vec(),
        // q "x", undeclared 1
        b"\x1a\x01x\x20\x01".to_vec(),
    ];
    let decoded = decode(&by_text(PARTS, "M", Framing::Plain), &parts(), OnError::DeadLetter, &records);
    assert_eq!(
        rows(&decoded),
        [
            r#"{"in":{"a":1,"b":2,"c":[1,2,3]},"p":null,"q":null,"n":2}"#,
            r#"{"in":null,"p":null,"q":"x","n":0}"#,
            r#"{"in":null,"p":{"a":0,"b":0,"c":[]},"q":null,"n":0}"#,
            r#"{"in":null,"p":null,"q":null,"n":0}"#,
        ]
    );
}

#[test]
fn the_message_is_found_behind_the_id() {
    let columns = [("n", DataType::Int64)];
    let format = by_text(PARTS, "M", Framing::Confluent);
    let records = [
        b"\0\0\0\0\x07\x02\x02\x28\x05".to_vec(),
        b"\0\0\0\0\x07\x00\x28\x05".to_vec(),
        b"\0\0\0\0\x07\x04\x00\x00\x28\x05".to_vec(),
        b"\0\0\0\0\x07\x02".to_vec(),
        b"\0\0\0\0\x07\x02\x02\x28".to_vec(),
        b"\x28\x05".to_vec(),
    ];
    let decoded = decode(&format, &columns, OnError::DeadLetter, &records);
    assert_eq!(decoded.ordinals, [0]);
    let reasons: Vec<_> = decoded.errors.iter().map(|error| error.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "schema id 7: the record is another message of its schema than `M`",
            "schema id 7: the record is another message of its schema than `M`",
            "schema id 7, the message's place: byte 1: expected an integer, found the end",
            "schema id 7 (record from byte 7 on): byte 1: expected an integer, found the end",
            "the value starts with 0x28, not with 0 and a schema id: its producer uses no schema registry, or another format",
        ]
    );
    let first = by_text(PARTS, "Other", Framing::Confluent);
    let deep = by_text(PARTS, "Other.Deep", Framing::Confluent);
    let x = [("x", DataType::Int64)];
    assert_eq!(decode(&first, &x, OnError::Null, &[b"\0\0\0\0\x01\x00".to_vec()]).errors, []);
    let record = b"\0\0\0\0\x01\x04\x00\x00\x08\x09".to_vec();
    assert_eq!(rows(&decode(&deep, &x, OnError::Null, &[record])), [r#"{"x":9}"#]);
}

#[test]
fn what_does_not_fit_is_rejected_or_null() {
    let columns = [("n", DataType::Int8), ("in", DataType::Utf8), ("q!", DataType::Utf8)];
    let format = by_text(PARTS, "M", Framing::Plain);
    let records = [
        b"\x28\x80\x02\x1a\x01x".to_vec(),
        b"\x0a\x00\x1a\x01x".to_vec(),
        b"\x28\x01".to_vec(),
        b"\x2a\x01\x01".to_vec(),
        b"\x1a\x01\xff".to_vec(),
        b"\x1a\x01x".to_vec(),
    ];
    let decoded = decode(&format, &columns, OnError::DeadLetter, &records);
    let reasons: Vec<_> = decoded.errors.iter().map(|error| error.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "field `n`: number 256 is out of range for TINYINT",
            "field `in`: expected VARCHAR, found a message",
            "missing field `q`",
            "byte 1: a field that is not written as its type is",
            "byte 2: not valid UTF-8",
        ]
    );
    assert_eq!(decode(&format, &columns, OnError::Null, &records).ordinals, [0, 1, 5]);
}

#[test]
fn faults_of_schemas_are_named() {
    let fault = |text: &str, message: &str| {
        let format = by_text(text, message, Framing::Plain);
        decoder(&format, schema(&[("a", DataType::Int8)]), OnError::Null).err().unwrap().to_string()
    };
    assert!(fault("message A {}", "B").ends_with("it has no message `B`; it has A"));
    assert!(fault("import \"x.proto\";", "A").ends_with("it imports \"x.proto\"; give that text too"));
    assert!(fault("message A { int64 }", "A").contains("near line 1: expected a name"));
    assert!(fault("message A {\n int64 x = 0;", "A").contains("near line 2: a field number is 1 to"));
    assert!(fault("message A { /*", "A").contains("a comment without an end"));
    assert!(fault("message A { message C {} } message B { message C {} }", "C").contains("several messages"));
    assert!(fault(&"message A { ".repeat(1000), "A").contains("32 levels deep"));
    let schema_of = ProtobufSchema::Descriptor(vec![0xff]);
    let options = ProtobufOptions { schema: schema_of, message: "A".to_owned(), framing: Framing::Plain };
    let error = decoder(&Format::Protobuf(options), schema(&[]), OnError::Null).err().unwrap();
    assert!(error.to_string().contains("no FileDescriptorSet: byte 0"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn any_bytes_are_judged_without_harm(record in vec(any::<u8>(), 0..200), null: bool) {
        let on_error = if null { OnError::Null } else { OnError::DeadLetter };
        let decoded = decode(&shop(), &everything(), on_error, &[record]);
        prop_assert_eq!(decoded.batch.num_rows() + decoded.errors.len(), 1);
    }

    #[test]
    fn spoiled_records_leave_no_trace(which in 0_usize..3, places in vec((any::<prop::sample::Index>(), any::<u8>()), 1..3), cut: bool) {
        let good = golden::records("shop_records.hex");
        let mut bad = good[which].clone();
        for (place, byte) in &places {
            if !bad.is_empty() {
                let place = place.index(bad.len());
                bad[place] = *byte;
                if cut {
                    bad.truncate(place);
                }
            }
        }
        let mixed = [good[1].clone(), bad, good[2].clone()];
        let columns = without_map_by_number();
        let decoded = decode(&shop(), &columns, OnError::DeadLetter, &mixed);
        if decoded.errors.len() == 1 {
            let clean = decode(&shop(), &columns, OnError::DeadLetter, &good[1..]);
            prop_assert_eq!(decoded.batch, clean.batch);
        }
    }

    #[test]
    fn any_schema_is_judged_without_harm(place: prop::sample::Index, removed in 0_usize..40, inserted in "[a-z{}=;<>\"/*. \\[\\]0-9é]{0,4}", descriptor: bool, bytes in vec(any::<u8>(), 0..4)) {
        let schema_of = if descriptor {
            let mut set = golden::bytes("shop_descriptors.bin");
            let at = place.index(set.len());
            set.splice(at..(at + removed).min(set.len()), bytes);
            ProtobufSchema::Descriptor(set)
        } else {
            let mut text: Vec<char> = golden::text("shop.proto").chars().collect();
            let at = place.index(text.len());
            text.splice(at..(at + removed).min(text.len()), inserted.chars());
            ProtobufSchema::Text { text: text.into_iter().collect(), imports: BTreeMap::new() }
        };
        let options = ProtobufOptions { schema: schema_of, message: "Everything".to_owned(), framing: Framing::Plain };
        if let Ok(mut decoder) = decoder(&Format::Protobuf(options), schema(&everything()), OnError::Null) {
            decoder.push(Some(&golden::records("shop_records.hex")[1]));
            prop_assert_eq!(decoder.pushed(), 1);
            prop_assert!(decoder.finish().is_ok());
        }
    }
}
