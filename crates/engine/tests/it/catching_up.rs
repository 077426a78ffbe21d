//! A view made on views that hold more than an epoch takes: it begins with all their
//! rows, also if the power goes meanwhile, and its sink tells each once.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pluvio_foundation::random::SeededRandom;
use pluvio_testkit::SimDisk;
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::BatchBuilder;

use crate::platform::{EAGER, TestPlatform};

const EVENTS: u64 = 4_000;

async fn open(disk: &SimDisk, folder: &Path) -> TestPlatform {
    TestPlatform::open_on(Arc::new(disk.clone()), folder, EAGER).await
}

fn send(platform: &TestPlatform, from: u64, to: u64) {
    let partitions = platform.platform.log().topic("rain").unwrap().partitions();
    for first in (from..to).step_by(50) {
        let partition = &partitions[(first / 50 % 2) as usize];
        let mut batch = BatchBuilder::new(0);
        for v in first..(first + 50).min(to) {
            batch.push(None, Some(format!(r#"{{"k":{},"v":{v}}}"#, v * 7 % 1_000).as_bytes()), 0, &[]);
        }
        partition.append(batch.finish(Compression::None, None).unwrap()).unwrap();
        partition.sync(partition.end_offset()).unwrap();
    }
}

/// Waits until a view has some of what it begins with, and not all.
async fn begun(platform: &TestPlatform, view: &str) {
    let started = Instant::now();
    loop {
        let record = platform.platform.store().note(&format!("view/{view}")).unwrap_or_default();
        let record = String::from_utf8_lossy(&record).into_owned();
        if record.contains(r#""catching_up":true"#) {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{view} never stood half-way: {record}");
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_on_views_begins_in_portions() {
    let (mut disk, folder) = (SimDisk::new(), tempfile::tempdir().unwrap());
    let mut platform = open(&disk, folder.path()).await;
    platform
        .run(
            "CREATE STREAM rain (k BIGINT, v BIGINT) WITH (topic = 'rain', format = 'json', partitions = '2');
             CREATE MATERIALIZED VIEW drops AS SELECT k, v FROM rain;
             CREATE MATERIALIZED VIEW by_key AS SELECT k, count(*) AS n, max(v) AS v FROM rain GROUP BY k;
             CREATE MATERIALIZED VIEW some AS SELECT DISTINCT v % 500 AS v FROM rain",
        )
        .await;
    send(&platform, 0, EVENTS);
    platform.run("FLUSH").await;
    let late = [
        ("again", "SELECT d.k, d.v, b.n FROM drops d JOIN by_key b ON b.k = d.k"),
        ("counts", "SELECT v % 10 AS d, count(*) AS n, sum(n) AS s FROM by_key GROUP BY v % 10"),
        ("missing", "SELECT v FROM some WHERE v NOT IN (SELECT d FROM counts)"),
        ("copies", "SELECT k, v FROM drops WHERE v >= 0"),
    ];
    let random = SeededRandom::new(1);
    for (life, (name, query)) in late.iter().enumerate() {
        platform.run(&format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await;
        if *name == "copies" {
            platform
                .run("CREATE SINK told INTO LAKE 'told' FROM copies WITH (commit_interval = '10 ms')")
                .await;
        }
        if life == 0 {
            platform.run("FLUSH").await;
            let kept = platform.rows(&format!("SELECT * FROM {name}")).await;
            assert_eq!(kept, platform.rows(query).await, "a flush waits for what {name} begins with");
            platform
                .run(&format!("DROP MATERIALIZED VIEW {name}; CREATE MATERIALIZED VIEW {name} AS {query}"))
                .await;
        }
        begun(&platform, name).await;
        // Events that come meanwhile wait.
        send(&platform, EVENTS + life as u64 * 100, EVENTS + life as u64 * 100 + 100);
        let after = disk.crash(&random);
        platform.stop().await;
        disk = after;
        platform = open(&disk, folder.path()).await;
        platform.run("FLUSH").await;
        for (name, query) in &late[..=life] {
            let kept = platform.rows(&format!("SELECT * FROM {name}")).await;
            assert!(!kept.is_empty());
            assert_eq!(kept, platform.rows(query).await, "{name}");
        }
    }
    let copies = platform.rows("SELECT k, v FROM copies").await;
    platform.until("SELECT count(*) FROM lake.told", &["4400"]).await;
    assert_eq!(platform.rows("SELECT k, v FROM lake.told").await, copies);
    platform.stop().await;
}
