//! A stream over a compacted topic: its offsets have gaps, and what a view has
//! counted may be gone from the topic later.

use pluvio_eventlog::{Cleanup, TopicConfig};
use pluvio_foundation::{Clock, SystemClock};
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::BatchBuilder;

use crate::platform::{EAGER, TestPlatform};

const KEYS: u64 = 5;

/// Appends events, each in a batch of its own.
fn send(platform: &TestPlatform, numbers: std::ops::Range<u64>) {
    let log = platform.platform.log();
    let partition = log.topic("states").unwrap().partition(0).unwrap();
    for number in numbers {
        let key = number % KEYS;
        let mut batch = BatchBuilder::new(SystemClock.now_ms());
        let value = format!(r#"{{"id":{key},"n":{number},"note":"{:->200}"}}"#, "");
        batch.push(Some(&key.to_be_bytes()), Some(value.as_bytes()), SystemClock.now_ms(), &[]);
        partition.append(batch.finish(Compression::None, None).unwrap()).unwrap();
    }
    partition.sync(i64::MAX).unwrap();
}

fn compact(platform: &TestPlatform) {
    platform.platform.log().tick().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_over_a_compacted_topic_goes_on_behind_the_gaps() {
    let folder = tempfile::tempdir().unwrap();
    let platform = TestPlatform::open(folder.path(), EAGER).await;
    let config = TopicConfig {
        cleanup: Cleanup::Compact,
        segment_bytes: 1024,
        dirty_ratio_min_ppm: 0,
        ..TopicConfig::default()
    };
    platform.platform.log().create_topic("states", 1, config).unwrap();
    send(&platform, 0..60);
    compact(&platform);
    platform.run("CREATE STREAM states (id BIGINT, n BIGINT) WITH (topic = 'states', format = 'json')").await;
    let query = "SELECT id, count(*) AS events, max(n) AS newest FROM states GROUP BY id";
    platform.run(&format!("CREATE MATERIALIZED VIEW newest AS {query}")).await;
    platform.run("FLUSH").await;
    let rows = platform.rows("SELECT * FROM newest").await;
    assert_eq!(rows, platform.rows(query).await, "what the topic holds");
    let counted = |rows: &[String]| rows.iter().map(|row| number(row, 1)).sum::<u64>();
    let before = counted(&rows);
    assert!((KEYS..60).contains(&before), "{before} of 60 events are left");

    // All that was counted is replaced, and the place the view goes on from falls into a gap.
    send(&platform, 60..90);
    platform.run("FLUSH").await;
    assert_eq!(counted(&platform.rows("SELECT * FROM newest").await), before + 30);
    compact(&platform);
    platform.stop().await;
    let platform = TestPlatform::open(folder.path(), EAGER).await;
    send(&platform, 90..120);
    platform.run("FLUSH").await;
    compact(&platform);
    let rows = platform.rows("SELECT * FROM newest").await;
    assert_eq!(counted(&rows), before + 60, "each event counts once, whatever became of it later");
    assert!(rows.iter().all(|row| number(row, 2) == 115 + number(row, 0)), "{rows:?}");
    assert!(counted(&platform.rows(query).await) < before + 60, "the topic has forgotten most of them");
    platform.stop().await;
}

fn number(row: &str, place: usize) -> u64 {
    row.split(" | ").nth(place).unwrap().parse().unwrap()
}
