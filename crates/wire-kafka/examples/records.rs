//! How fast batches are built and read:
//! `cargo run --release -p pluvio-wire-kafka --example records`.

use std::hint::black_box;
use std::time::Instant;

use pluvio_wire_kafka::records::{BatchBuilder, for_each_record, validate_produced};
use pluvio_wire_kafka::{Compression, WireError};

const RECORDS: usize = 1_000;
const ROUNDS: usize = 200;

fn report(what: &str, begun: Instant, bytes: usize) {
    let seconds = begun.elapsed().as_secs_f64();
    let (records, megabytes) = ((RECORDS * ROUNDS) as f64, (bytes * ROUNDS) as f64 / 1e6);
    println!("{what:<22} {:>7.1} ns/record {:>8.0} MB/s", seconds * 1e9 / records, megabytes / seconds);
}

fn value(number: usize, length: usize) -> Vec<u8> {
    let mut text = format!("{{\"person\":{number},\"amount\":{}.5,\"note\":\"", number * 7).into_bytes();
    while text.len() + 2 < length {
        text.push(b'a' + (text.len() * number % 26) as u8);
    }
    text.extend_from_slice(b"\"}");
    text
}

fn main() -> Result<(), WireError> {
    for length in [100, 1_000] {
        let values: Vec<Vec<u8>> = (0..RECORDS).map(|number| value(number, length)).collect();
        let build = |codec| {
            let mut builder = BatchBuilder::with_capacity(0, RECORDS * (length + 30));
            for value in &values {
                builder.push(Some(&value[..10]), Some(value), 5, &[]);
            }
            builder.finish(codec, None)
        };
        println!("records of {length} bytes");
        for codec in
            [Compression::None, Compression::Lz4, Compression::Snappy, Compression::Zstd, Compression::Gzip]
        {
            let begun = Instant::now();
            for _ in 0..ROUNDS {
                black_box(build(codec)?);
            }
            report(&format!("build {}", codec.name()), begun, RECORDS * length);
            let (batch, mut scratch) = (build(codec)?, Vec::new());
            let begun = Instant::now();
            for _ in 0..ROUNDS {
                let mut bytes = 0;
                for_each_record(black_box(&batch), 64 << 20, &mut scratch, |record| {
                    bytes += record.value.map_or(0, <[u8]>::len);
                    Ok(())
                })?;
                black_box(bytes);
            }
            report(&format!("read {}", codec.name()), begun, RECORDS * length);
            let begun = Instant::now();
            for _ in 0..ROUNDS {
                black_box(validate_produced(black_box(&batch), 64 << 20)?);
            }
            report(&format!("validate {}", codec.name()), begun, batch.len());
        }
    }
    Ok(())
}
