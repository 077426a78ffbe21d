//! Produces as fast as a broker takes it, through our own client, and says how
//! fast that was:
//! `cargo run --release --example load -- --address 127.0.0.1:9092 --seconds 10`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use clap::Parser;
use pluvio_kafka_client::Client;
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::BatchBuilder;

#[derive(Parser, Clone)]
struct Arguments {
    /// The broker, host:port.
    #[arg(long, default_value = "127.0.0.1:9092")]
    address: String,
    /// How long to produce.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Size of a record's value, in bytes.
    #[arg(long, default_value_t = 1000)]
    record_bytes: usize,
    /// Records of one batch.
    #[arg(long, default_value_t = 500)]
    batch_records: usize,
    /// 0, 1 or -1.
    #[arg(long, default_value_t = 1, allow_negative_numbers = true)]
    acks: i16,
    /// Connections, each with a partition of its own.
    #[arg(long, default_value_t = 2)]
    connections: u32,
    /// Build each batch anew instead of sending the same one.
    #[arg(long)]
    build: bool,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn batch(arguments: &Arguments, value: &[u8]) -> Result<bytes::Bytes, Failure> {
    let bytes = arguments.batch_records * (arguments.record_bytes + 20);
    let mut builder = BatchBuilder::with_capacity(0, bytes);
    for _ in 0..arguments.batch_records {
        builder.push(None, Some(value), 0, &[]);
    }
    Ok(builder.finish(Compression::None, None)?)
}

async fn produce(arguments: Arguments, topic: String, partition: i32) -> Result<u64, Failure> {
    let client = Client::connect(&arguments.address).await?;
    let value = vec![b'x'; arguments.record_bytes];
    let once = batch(&arguments, &value)?;
    let mut under_way = VecDeque::new();
    let mut batches = 0;
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    while Instant::now() < end {
        let batch = if arguments.build { batch(&arguments, &value)? } else { once.clone() };
        under_way.push_back(client.produce(&topic, partition, batch, arguments.acks).await?);
        batches += 1;
        if under_way.len() > 16
            && let Some(answer) = under_way.pop_front()
        {
            answer.await?;
        }
    }
    for answer in under_way {
        answer.await?;
    }
    Ok(batches * arguments.batch_records as u64)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let admin = Client::connect(&arguments.address).await?;
    let topic = format!("load-{}", std::process::id());
    admin.create_topic(&topic, arguments.connections, &[]).await?;
    let begun = Instant::now();
    let mut producers = Vec::new();
    for partition in 0..arguments.connections {
        let partition = i32::try_from(partition)?;
        producers.push(tokio::spawn(produce(arguments.clone(), topic.clone(), partition)));
    }
    let mut records = 0;
    for producer in producers {
        records += producer.await??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let megabytes = records as f64 * arguments.record_bytes as f64 / 1e6;
    println!(
        "{records} records in {seconds:.2} s: {:.0} records/s, {:.0} MB/s",
        records as f64 / seconds,
        megabytes / seconds
    );
    let read_begun = Instant::now();
    let mut offset = admin.list_offsets(&topic, 0, -2).await?;
    let first = offset;
    while read_begun.elapsed() < Duration::from_secs(arguments.seconds) {
        let fetched = admin.fetch(&topic, 0, offset, 100, 8 << 20).await?;
        let Some(last) = last_offset(&fetched.records)? else { break };
        offset = last + 1;
    }
    let (seconds, read) = (read_begun.elapsed().as_secs_f64(), (offset - first) as f64);
    println!("read back {read} records: {:.0} MB/s", read * arguments.record_bytes as f64 / 1e6 / seconds);
    admin.delete_topic(&topic).await?;
    Ok(())
}

fn last_offset(mut records: &[u8]) -> Result<Option<i64>, Failure> {
    let mut last = None;
    while !records.is_empty() {
        let header = pluvio_wire_kafka::records::parse_header(records)?;
        last = Some(header.last_offset());
        records = records.get(header.total_bytes()..).unwrap_or_default();
    }
    Ok(last)
}
