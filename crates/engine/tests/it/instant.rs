//! What one query finds in several views is of one commit, while epochs go on.

use std::time::{Duration, Instant};

use crate::platform::{EAGER, TestPlatform};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_sees_all_views_at_one_instant() {
    let folder = tempfile::tempdir().unwrap();
    let platform = TestPlatform::open(folder.path(), EAGER).await;
    platform
        .run(
            "CREATE STREAM rain (k BIGINT) WITH (topic = 'rain', format = 'json', partitions = '2');
             CREATE MATERIALIZED VIEW drops AS SELECT k FROM rain;
             CREATE MATERIALIZED VIEW by_key AS SELECT k, count(*) AS n FROM drops GROUP BY k;
             CREATE MATERIALIZED VIEW whole AS SELECT sum(n) AS n FROM by_key",
        )
        .await;
    let keys: Vec<String> = (0..4_000).map(|i| format!("({})", i % 7)).collect();
    let raining = format!("INSERT INTO rain VALUES {}", keys.join(", "));
    let sums = "SELECT (SELECT count(*) FROM drops), (SELECT sum(n) FROM by_key), (SELECT max(n) FROM whole),
                    (SELECT sum(one.n) FROM by_key one JOIN by_key other ON one.k = other.k AND one.n = other.n)";
    let started = Instant::now();
    let (mut inserted, mut between) = (0_u64, 0);
    while (between < 20 || inserted < 20_000) && started.elapsed() < Duration::from_secs(60) {
        platform.run(&raining).await;
        inserted += 4_000;
        for _ in 0..10 {
            let row = platform.rows(sums).await.remove(0);
            let (drops, others) = row.split_once(" | ").unwrap();
            if drops != "0" {
                assert!(others.split(" | ").all(|sum| sum == drops), "{row}");
            }
            between += u32::from(!["0".to_owned(), inserted.to_string()].contains(&drops.to_owned()));
        }
    }
    assert!(between > 0, "queries were asked between two epochs");
    platform.stop().await;
}
