//! Partitions without events hold windows back until they count as idle, and no longer.

use pluvio_eventlog::Partition;
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::BatchBuilder;

use crate::platform::{EAGER, TestPlatform};

fn append(partition: &Partition, seconds: &[i64]) {
    let mut batch = BatchBuilder::new(0);
    for second in seconds {
        let event = format!(r#"{{"at":{}}}"#, 1_767_225_600_000 + second * 1000);
        batch.push(None, Some(event.as_bytes()), 0, &[]);
    }
    partition.append(batch.finish(Compression::None, None).unwrap()).unwrap();
    partition.sync(partition.end_offset()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_partition_does_not_hold_time_back() {
    let folder = tempfile::tempdir().unwrap();
    let platform = TestPlatform::open(folder.path(), EAGER).await;
    for (name, idle) in [("waits", "1 hour"), ("goes_on", "300 ms")] {
        platform
            .run(&format!(
                "CREATE STREAM {name} (at TIMESTAMP, WATERMARK FOR at AS at)
                 WITH (partitions = '2', idle_timeout = '{idle}', max_future = 'none');
                 CREATE MATERIALIZED VIEW {name}_closed AS SELECT window_end, count(*) AS n
                 FROM TABLE(TUMBLE(TABLE {name}, DESCRIPTOR(at), INTERVAL '10' SECOND)) GROUP BY window_end
                 EMIT ON WINDOW CLOSE"
            ))
            .await;
        let partitions = platform.platform.log().topic(name).unwrap().partitions();
        append(&partitions[0], &[1, 5, 30]);
    }
    // No event comes any more: the clock alone lets time move on.
    platform.until("SELECT n FROM goes_on_closed", &["2"]).await;
    platform.run("FLUSH").await;
    assert!(platform.rows("SELECT n FROM waits_closed").await.is_empty());
    // The other partition comes back: what is late there by now is late, the rest counts.
    let partitions = platform.platform.log().topic("goes_on").unwrap().partitions();
    append(&partitions[1], &[2, 31, 45]);
    append(&partitions[0], &[50]);
    platform.until("SELECT n FROM goes_on_closed ORDER BY window_end", &["2", "2"]).await;
    let late = "SELECT count(*) FROM pluvio.dead_letters WHERE reason LIKE 'goes_on_closed: late%'";
    assert_eq!(platform.rows(late).await, ["1"]);
    // And where nothing counts as idle, the event that was missing closes the window.
    let partitions = platform.platform.log().topic("waits").unwrap().partitions();
    append(&partitions[1], &[2, 40]);
    platform.until("SELECT n FROM waits_closed", &["3"]).await;
    platform.stop().await;
}
