//! Prints events as lines: the value alone, or after partition, offset, time
//! and key.

use std::io::{self, BufWriter, Write};

use chrono::DateTime;
use pluvio_foundation::limits::RECORD_BATCH_INFLATED_BYTES_MAX;
use pluvio_kafka_client::ClientError;
use pluvio_wire_kafka::records::{Record, parse_header, records};

use super::Fetched;
use crate::error::CliError;
use crate::sql::print::failed;

/// Prints events.
pub struct Printer<W: Write> {
    out: BufWriter<W>,
    /// How many may still be printed; `None` if all.
    left: Option<u64>,
    verbose: bool,
    inflated: Vec<u8>,
}

impl<W: Write> Printer<W> {
    /// Prints to `out`, at most `count` events.
    pub fn new(out: W, count: Option<u64>, verbose: bool) -> Self {
        let out = BufWriter::with_capacity(64 << 10, out);
        Self { out, left: count, verbose, inflated: Vec::new() }
    }

    /// Prints the events of some whole batches, from their first offset on.
    /// Returns whether there may be more.
    ///
    /// # Errors
    /// A batch cannot be read, or the output cannot be written.
    pub fn print(&mut self, fetched: &Fetched) -> Result<bool, CliError> {
        let mut rest: &[u8] = &fetched.batches;
        while !rest.is_empty() {
            let header = parse_header(rest).map_err(ClientError::from)?;
            let batch = rest.get(..header.total_bytes()).unwrap_or(rest);
            // Control batches are the broker's own marks.
            if !header.is_control() {
                let mut inflated = std::mem::take(&mut self.inflated);
                let more = self.print_batch(fetched, batch, &mut inflated);
                self.inflated = inflated;
                if !more? {
                    return Ok(false);
                }
            }
            rest = &rest[batch.len()..];
        }
        Ok(true)
    }

    fn print_batch(
        &mut self,
        fetched: &Fetched,
        batch: &[u8],
        inflated: &mut Vec<u8>,
    ) -> Result<bool, CliError> {
        let records = records(batch, RECORD_BATCH_INFLATED_BYTES_MAX, inflated).map_err(ClientError::from)?;
        for record in records {
            let record = record.map_err(ClientError::from)?;
            if record.offset < fetched.offset {
                continue;
            }
            self.print_event(fetched.partition, &record).map_err(failed)?;
            if let Some(left) = &mut self.left {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn print_event(&mut self, partition: i32, record: &Record<'_>) -> io::Result<()> {
        if self.verbose {
            write!(self.out, "{partition} {} {} ", record.offset, time(record.timestamp_ms))?;
            self.out.write_all(record.key.unwrap_or(b"null"))?;
            self.out.write_all(b" ")?;
            self.out.write_all(record.value.unwrap_or(b"null"))?;
        } else {
            self.out.write_all(record.value.unwrap_or_default())?;
        }
        self.out.write_all(b"\n")
    }

    /// Hands over what was printed.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn flush(&mut self) -> Result<(), CliError> {
        self.out.flush().map_err(failed)
    }
}

/// Milliseconds since 1970 as a time in UTC.
fn time(ms: i64) -> String {
    match DateTime::from_timestamp_millis(ms) {
        Some(time) => time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        None => ms.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use pluvio_wire_kafka::Compression;
    use pluvio_wire_kafka::records::{BatchBuilder, set_base_offset};

    /// Two batches with the events 10, 11 and 12.
    fn fetched(offset: i64) -> Fetched {
        let time_ms = 1_700_000_000_123;
        let mut first = BatchBuilder::new(time_ms);
        first.push(None, Some(b"ten"), time_ms, &[]);
        first.push(Some(b"k"), Some(b"\xff"), time_ms, &[]);
        let mut second = BatchBuilder::new(time_ms);
        second.push(Some(b"k"), None, time_ms, &[]);
        let mut all = Vec::new();
        for (builder, codec, base) in [(first, Compression::Lz4, 10), (second, Compression::None, 12)] {
            let mut batch = builder.finish(codec, None).unwrap().to_vec();
            set_base_offset(&mut batch, base);
            all.extend(batch);
        }
        Fetched { partition: 3, offset, batches: Bytes::from(all) }
    }

    fn printed(offset: i64, count: Option<u64>, verbose: bool) -> (bool, Vec<u8>) {
        let mut printer = Printer::new(Vec::new(), count, verbose);
        let more = printer.print(&fetched(offset)).unwrap();
        (more, printer.out.into_inner().unwrap())
    }

    #[test]
    fn values_are_printed_as_they_are() {
        assert_eq!(printed(10, None, false), (true, b"ten\n\xff\n\n".to_vec()));
    }

    #[test]
    fn events_before_the_offset_are_left_out() {
        let expected = b"3 11 2023-11-14T22:13:20.123Z k \xff\n3 12 2023-11-14T22:13:20.123Z k null\n";
        assert_eq!(printed(11, None, true), (true, expected.to_vec()));
    }

    #[test]
    fn it_stops_after_the_count() {
        assert_eq!(printed(10, Some(2), false), (false, b"ten\n\xff\n".to_vec()));
        assert_eq!(super::super::next_offset(&fetched(10).batches).unwrap(), Some(13));
    }
}
