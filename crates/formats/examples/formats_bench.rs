//! How fast each format decodes the same event of about 500 bytes into six
//! columns, on one core. Prints a line of JSON per format; the time is that of
//! this thread on a core (Linux), the best of three rounds.
//!
//! `cargo run --release -p pluvio-formats --example formats_bench [EVENTS] [BATCH]`; batches of 131,072
//! events are what a trigger under load cuts, where most of the time goes into fresh memory for the rows;
//! small ones stay in the core's cache and show the decoders themselves.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use pluvio_formats::{
    AvroOptions, ColumnSource, CsvOptions, DebeziumOptions, Decoder, EventOptions, Format, Framing, OnError,
    ProtobufOptions, ProtobufSchema, RowContext, event_decoder,
};

const DISTINCT: usize = 1000;
const ROUNDS: usize = 3;

const AVRO_SCHEMA: &str = r#"{"type":"record","name":"Payment","fields":[
    {"name":"person_id","type":"long"},{"name":"company_id","type":["null","long"]},
    {"name":"amount","type":"double"},
    {"name":"paid_at","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"currency","type":"string"},{"name":"note","type":"string"}]}"#;
const PROTO_TEXT: &str = "syntax = \"proto3\";
    message Payment {
        int64 person_id = 1; optional int64 company_id = 2; double amount = 3; int64 paid_at = 4;
        string currency = 5; string note = 6;
    }";

/// One event's fields.
struct Payment {
    person_id: i64,
    company_id: i64,
    amount: f64,
    paid_at_ms: i64,
    note: String,
}

impl Payment {
    fn new(event: usize, note_bytes: usize) -> Self {
        let mix = i64::try_from(event.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1).unwrap_or(0);
        let note = "lorem ipsum dolor sit amet ".repeat(32).get(..note_bytes).unwrap_or_default().to_owned();
        Self {
            person_id: mix % 1_000_000,
            company_id: mix % 99_991,
            amount: (mix % 50_000) as f64 / 100.0,
            paid_at_ms: 1_357_034_400_000 + mix % 1_000_000_000,
            note,
        }
    }

    fn json(&self) -> String {
        let Self { person_id, company_id, amount, paid_at_ms, note } = self;
        format!(
            "{{\"person_id\":{person_id},\"company_id\":{company_id},\"amount\":{amount},\
             \"paid_at\":{paid_at_ms},\"currency\":\"EUR\",\"note\":\"{note}\"}}"
        )
    }

    fn csv(&self) -> String {
        let Self { person_id, company_id, amount, paid_at_ms, note } = self;
        format!("{person_id},{company_id},{amount},{paid_at_ms},EUR,{note}")
    }

    fn debezium(&self) -> String {
        let row = self.json();
        format!(
            "{{\"before\":{row},\"after\":{row},\"source\":{{\"name\":\"shop\",\"ts_ms\":1}},\"op\":\"u\",\"ts_ms\":1}}"
        )
    }

    fn avro(&self) -> Vec<u8> {
        let mut out = vec![0, 0, 0, 0, 7];
        zigzag(self.person_id, &mut out);
        out.push(2);
        zigzag(self.company_id, &mut out);
        out.extend(self.amount.to_le_bytes());
        zigzag(self.paid_at_ms * 1000, &mut out);
        for text in ["EUR", &self.note] {
            zigzag(i64::try_from(text.len()).unwrap_or(0), &mut out);
            out.extend(text.as_bytes());
        }
        out
    }

    fn protobuf(&self) -> Vec<u8> {
        let mut out = vec![0, 0, 0, 0, 7, 0, 0x08];
        varint(self.person_id.unsigned_abs(), &mut out);
        out.push(0x10);
        varint(self.company_id.unsigned_abs(), &mut out);
        out.push(0x19);
        out.extend(self.amount.to_le_bytes());
        out.push(0x20);
        varint(self.paid_at_ms.unsigned_abs(), &mut out);
        for (tag, text) in [(0x2a, "EUR"), (0x32, &self.note)] {
            out.push(tag);
            varint(text.len() as u64, &mut out);
            out.extend(text.as_bytes());
        }
        out
    }
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn zigzag(value: i64, out: &mut Vec<u8>) {
    varint(((value << 1) ^ (value >> 63)) as u64, out);
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("person_id", DataType::Int64, true),
        Field::new("company_id", DataType::Int64, true),
        Field::new("amount", DataType::Float64, true),
        Field::new("paid_at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("currency", DataType::Utf8, true),
        Field::new("note", DataType::Utf8, true),
    ]))
}

fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: f64 = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(nanoseconds / 1e9)
}

fn decode(
    decoder: &mut dyn Decoder,
    (events, batch): (usize, usize),
    values: &[Vec<u8>],
) -> Result<usize, Box<dyn Error>> {
    let mut rows = 0;
    for event in 0..events {
        let value = Some(values[event % values.len()].as_slice());
        let offset = i64::try_from(event)?;
        let context = RowContext { key: Some(b"key"), headers: &[], partition: 0, offset, timestamp_ms: 0 };
        decoder.push_with(value, &context);
        if decoder.pushed() == batch || event + 1 == events {
            rows += decoder.finish()?.batch.num_rows();
        }
    }
    Ok(rows)
}

fn measure(
    name: &str,
    (events, batch): (usize, usize),
    format: &Format,
    options: &EventOptions,
    value: impl Fn(&Payment) -> Vec<u8>,
) -> Result<(), Box<dyn Error>> {
    let note_bytes = 500_usize.saturating_sub(value(&Payment::new(1, 0)).len());
    let note_bytes = if note_bytes == 0 { 60 } else { note_bytes };
    let values: Vec<Vec<u8>> = (0..DISTINCT).map(|event| value(&Payment::new(event, note_bytes))).collect();
    let mut decoder = event_decoder(format, schema(), OnError::DeadLetter, options)?;
    let (mut best, mut rows) = (f64::MAX, 0);
    for _ in 0..ROUNDS {
        let start = cpu_seconds()?;
        rows = decode(decoder.as_mut(), (events, batch), &values)?;
        best = best.min(cpu_seconds()? - start);
    }
    if rows < events {
        return Err(format!("{name}: {rows} rows of {events} events").into());
    }
    let bytes: usize = values.iter().map(Vec::len).sum();
    let per_second = events as f64 / best;
    println!(
        "{{\"format\":\"{name}\",\"batch\":{batch},\"event_bytes\":{},\"rows_per_event\":{},\"events_per_second\":{per_second:.0},\"ns_per_event\":{:.0}}}",
        bytes / DISTINCT,
        rows / events,
        1e9 / per_second,
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let argument =
        |place, default| std::env::args().nth(place).map_or(Ok(default), |text| text.parse::<usize>());
    let events = (argument(1, 1_000_000)?, argument(2, 131_072)?);
    let plain = EventOptions::default();
    let avro = Format::Avro(AvroOptions {
        framing: Framing::Confluent,
        schemas: BTreeMap::from([(7, AVRO_SCHEMA.to_owned())]),
        ..AvroOptions::default()
    });
    let schema = ProtobufSchema::Text { text: PROTO_TEXT.to_owned(), imports: BTreeMap::new() };
    let protobuf = Format::Protobuf(ProtobufOptions {
        schema,
        message: "Payment".to_owned(),
        framing: Framing::Confluent,
    });
    let debezium = Format::Debezium(DebeziumOptions::default());
    let mut sources = vec![ColumnSource::Value; 6];
    (sources[1], sources[4]) = (ColumnSource::Offset, ColumnSource::Key);
    let surroundings = EventOptions { sources, ..EventOptions::default() };
    let json = |payment: &Payment| payment.json().into_bytes();
    measure("json", events, &Format::Json, &plain, json)?;
    measure("json_offset_and_key", events, &Format::Json, &surroundings, json)?;
    measure("csv", events, &Format::Csv(CsvOptions::default()), &plain, |it| it.csv().into_bytes())?;
    measure("avro", events, &avro, &plain, Payment::avro)?;
    measure("protobuf", events, &protobuf, &plain, Payment::protobuf)?;
    measure("debezium_update", events, &debezium, &plain, |it| it.debezium().into_bytes())
}
