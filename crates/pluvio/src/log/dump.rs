//! `pluvio log dump`: the batches of a partition and the records in them.
//!
//! As text: a line for each batch and, indented, one for each record. As JSON:
//! an object for each batch, its records in a list. Bytes that are no text are
//! hexadecimal digits, after `0x` in text and under `key_hex` or `value_hex` in
//! JSON.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;

use chrono::DateTime;
use pluvio_eventlog::inspect::{Inspection, Item};
use pluvio_foundation::limits::RECORD_BATCH_INFLATED_BYTES_MAX;
use pluvio_wire_kafka::records::{BatchHeader, Record, for_each_record, read_end_marker};
use serde_json::{Map, Value, json};

use super::named;
use crate::cli::LogDumpArgs;
use crate::error::CliError;
use crate::sql::print::failed;
use crate::sql::table::shown;

/// Prints what is asked for.
///
/// # Errors
/// No such topic or partition, files that cannot be read.
pub fn run(inspection: &Inspection, args: &LogDumpArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let topic = named(inspection, &args.topic)?;
    if args.partition >= topic.partitions {
        let (name, count) = (&topic.name, topic.partitions);
        return Err(CliError::Other(format!(
            "topic {name:?} has {count} partitions, counted from 0; there is no partition {}",
            args.partition
        )));
    }
    let mut dumper = Dumper {
        out: BufWriter::new(out),
        from: args.offset,
        left: args.count.unwrap_or(u64::MAX),
        json: args.json,
        scratch: Vec::new(),
    };
    let mut done = Ok(());
    inspection.walk(&topic, args.partition, args.offset, |path, item| {
        if dumper.left == 0 {
            return ControlFlow::Break(());
        }
        done = dumper.item(path, item);
        if done.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    done.and_then(|()| dumper.out.flush()).map_err(failed)
}

struct Dumper<W: Write> {
    out: BufWriter<W>,
    from: i64,
    /// How many records may still be printed.
    left: u64,
    json: bool,
    scratch: Vec<u8>,
}

impl<W: Write> Dumper<W> {
    fn item(&mut self, path: &Path, item: Item<'_>) -> io::Result<()> {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        match item {
            Item::Batch { position, header, bytes } => {
                let place = format!("{file}@{position}");
                if self.json {
                    self.batch_json(&place, &header, bytes)
                } else {
                    self.batch(&place, &header, bytes)
                }
            }
            Item::Damage { position, bytes, offset, next_offset, reason } => {
                let place = format!("{file}@{position}");
                if self.json {
                    let line = json!({ "damage": reason, "offset": offset, "next_offset": next_offset,
                        "bytes": bytes, "place": place });
                    return writeln!(self.out, "{line}");
                }
                let upto = next_offset.map_or("the segment's end".into(), |next| format!("before {next}"));
                writeln!(
                    self.out,
                    "damage from offset {offset} to {upto}: {reason}; {bytes} bytes at {place}"
                )
            }
        }
    }

    fn batch(&mut self, place: &str, header: &BatchHeader, bytes: &[u8]) -> io::Result<()> {
        let codec = header.compression().map_or("unknown", |codec| codec.name());
        let (first, last, records) = (header.base_offset, header.last_offset(), header.records_count);
        write!(self.out, "batch {first}..={last}: {records} records, {} bytes, {codec}", bytes.len())?;
        if header.producer_id >= 0 {
            let (id, epoch, sequence) = (header.producer_id, header.producer_epoch, header.base_sequence);
            write!(self.out, ", producer {id} epoch {epoch} sequence {sequence}")?;
        }
        for note in notes(header, bytes) {
            write!(self.out, ", {note}")?;
        }
        writeln!(self.out, ", {place}")?;
        let (from, mut left, out) = (self.from, self.left, &mut self.out);
        let mut written = Ok(());
        let walked = for_each_record(bytes, RECORD_BATCH_INFLATED_BYTES_MAX, &mut self.scratch, |record| {
            if record.offset >= from && left > 0 && written.is_ok() {
                left -= 1;
                written = print_record(out, &record);
            }
            Ok(())
        });
        self.left = left;
        written?;
        match walked {
            Ok(()) => Ok(()),
            Err(error) => writeln!(self.out, "  its records cannot be taken apart: {error}"),
        }
    }

    fn batch_json(&mut self, place: &str, header: &BatchHeader, bytes: &[u8]) -> io::Result<()> {
        let mut records = Vec::new();
        let (from, mut left) = (self.from, self.left);
        let walked = for_each_record(bytes, RECORD_BATCH_INFLATED_BYTES_MAX, &mut self.scratch, |record| {
            if record.offset >= from && left > 0 {
                left -= 1;
                records.push(record_json(&record));
            }
            Ok(())
        });
        self.left = left;
        let mut batch = json!({
            "base_offset": header.base_offset, "last_offset": header.last_offset(), "bytes": bytes.len(),
            "compression": header.compression().map_or("unknown", |codec| codec.name()),
            "max_timestamp": header.max_timestamp, "producer_id": header.producer_id,
            "producer_epoch": header.producer_epoch, "base_sequence": header.base_sequence,
            "notes": notes(header, bytes), "place": place, "records": records,
        });
        if let Err(error) = walked {
            batch["damage"] = json!(error.to_string());
        }
        writeln!(self.out, "{batch}")
    }
}

/// What is special about a batch.
fn notes(header: &BatchHeader, bytes: &[u8]) -> Vec<&'static str> {
    let marker = read_end_marker(bytes).ok().flatten();
    let notes = [
        (header.is_append_time(), "append time"),
        (header.is_transactional(), "transactional"),
        (header.is_control() && marker.is_none(), "control"),
        (marker.is_some_and(|marker| marker.is_commit), "commit"),
        (marker.is_some_and(|marker| !marker.is_commit), "abort"),
        (header.delete_horizon_ms().is_some(), "delete horizon"),
    ];
    notes.into_iter().filter(|(is, _)| *is).map(|(_, note)| note).collect()
}

fn print_record(out: &mut impl Write, record: &Record<'_>) -> io::Result<()> {
    let time = DateTime::from_timestamp_millis(record.timestamp_ms);
    let time = time.map_or_else(|| record.timestamp_ms.to_string(), |time| time.to_rfc3339());
    write!(out, "  {} {time} key={} value={}", record.offset, text(record.key), text(record.value))?;
    for (name, value) in record.headers().flatten() {
        write!(out, " {}={}", shown(name), text(value))?;
    }
    writeln!(out)
}

/// Bytes for a terminal.
fn text(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "null".into() };
    match std::str::from_utf8(bytes) {
        Ok(text) => shown(text).into_owned(),
        Err(_) => format!("0x{}", hex(bytes)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn record_json(record: &Record<'_>) -> Value {
    let mut object = Map::new();
    object.insert("offset".into(), json!(record.offset));
    object.insert("timestamp".into(), json!(record.timestamp_ms));
    put(&mut object, "key", record.key);
    put(&mut object, "value", record.value);
    let headers = record.headers().flatten().map(|(name, value)| {
        let mut header = Map::new();
        header.insert("name".into(), json!(name));
        put(&mut header, "value", value);
        Value::Object(header)
    });
    object.insert("headers".into(), Value::Array(headers.collect()));
    Value::Object(object)
}

fn put(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(std::str::from_utf8) {
        None => object.insert(name.into(), Value::Null),
        Some(Ok(text)) => object.insert(name.into(), json!(text)),
        Some(Err(_)) => object.insert(format!("{name}_hex"), json!(bytes.map(hex))),
    };
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn dumped(folder: &Path, offset: i64, count: Option<u64>, json: bool) -> String {
        let args = LogDumpArgs { topic: "rain".into(), partition: 1, offset, count, json };
        let mut out = Vec::new();
        run(&samples::inspection(folder), &args, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn batches_and_records_as_text() {
        let folder = samples::folder();
        let all = dumped(folder.path(), 0, None, false);
        assert_eq!(all.lines().filter(|line| line.starts_with("batch")).count(), 2);
        assert!(all.contains("batch 3..=5: 3 records") && all.contains("lz4, producer 7 epoch 0 sequence 3"));
        assert!(all.contains("  0 2023-11-14T22:13:20.001+00:00 key=key value=value 0 from=x"), "{all}");
        assert!(all.contains("  1 ") && all.contains("key=null value=null") && all.contains("key=0xff"));
        // Nothing of what is stored steers the terminal.
        assert!(!all.contains('\u{1b}'));
        let some = dumped(folder.path(), 2, Some(2), false);
        let offsets: Vec<_> =
            some.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
        assert_eq!(offsets, ["2", "3"]);
    }

    #[test]
    fn batches_and_records_as_json() {
        let folder = samples::folder();
        let lines = dumped(folder.path(), 1, Some(4), true);
        let batches: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let offsets = |batch: &Value| -> Vec<i64> {
            batch["records"].as_array().unwrap().iter().map(|it| it["offset"].as_i64().unwrap()).collect()
        };
        assert_eq!((offsets(&batches[0]), offsets(&batches[1])), (vec![1, 2], vec![3, 4]));
        assert_eq!(batches[0]["records"][1]["key_hex"], "ff");
        assert_eq!(batches[1]["records"][0]["headers"][0]["value"], "x");
        assert_eq!(batches[1]["compression"], "lz4");
    }

    #[test]
    fn damage_is_shown_where_it_lies() {
        let folder = samples::folder();
        samples::damage(folder.path());
        let all = dumped(folder.path(), 0, None, false);
        assert!(all.starts_with("damage from offset 0 to before 3"), "{all}");
        assert!(all.contains("batch 3..=5"));
        assert!(dumped(folder.path(), 0, None, true).contains("\"next_offset\":3"));
    }

    #[test]
    fn a_partition_must_be_there() {
        let folder = samples::folder();
        let args = LogDumpArgs { topic: "rain".into(), partition: 2, offset: 0, count: None, json: false };
        let refused = run(&samples::inspection(folder.path()), &args, &mut Vec::new()).unwrap_err();
        assert!(refused.to_string().contains("has 2 partitions"), "{refused}");
    }
}
