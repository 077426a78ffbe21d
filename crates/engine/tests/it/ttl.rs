//! `ttl`: rows go when their time is over, whatever comes.

use std::time::{Duration, Instant};

use crate::platform::{EAGER, TestPlatform};

const VIEWS: [(&str, &str); 6] = [
    ("totals", "SELECT k, count(*) AS n, sum(v) AS total FROM rain GROUP BY k"),
    ("extremes", "SELECT k, min(v) AS low, count(DISTINCT v) AS kinds FROM rain GROUP BY k"),
    (
        "newest",
        "SELECT k, v FROM (SELECT k, v, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC) AS rn FROM rain) WHERE rn = 1",
    ),
    ("pairs", "SELECT a.k, a.v AS one, b.v AS other FROM rain a JOIN rain b ON a.k = b.k AND a.v < b.v"),
    ("lone", "SELECT a.k FROM rain a LEFT JOIN sun b ON a.k = b.k WHERE b.k IS NULL"),
    ("whole", "SELECT sum(v) AS total FROM rain"),
];

async fn made(platform: &TestPlatform, ttl: &str) {
    for stream in ["rain", "sun"] {
        platform
            .run(&format!(
                "CREATE STREAM {stream} (k BIGINT, v BIGINT) WITH (topic = '{stream}', format = 'json', partitions = '2')"
            ))
            .await;
    }
    for (name, query) in VIEWS {
        platform.run(&format!("CREATE MATERIALIZED VIEW {name} WITH (ttl = '{ttl}') AS {query}")).await;
    }
}

/// Rows come, go by the clock alone, and come again; across a restart, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_kept_goes_with_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let mut platform = TestPlatform::open(folder.path(), EAGER).await;
    made(&platform, "3 s").await;
    for round in 0..2 {
        let began = Instant::now();
        platform.run("INSERT INTO rain VALUES (1, 5), (1, 7), (2, 9); FLUSH").await;
        for (name, expected) in [
            ("totals", &["1 | 2 | 12", "2 | 1 | 9"][..]),
            ("extremes", &["1 | 5 | 2", "2 | 9 | 1"]),
            ("newest", &["1 | 7", "2 | 9"]),
            ("pairs", &["1 | 5 | 7"]),
            ("lone", &["1", "1", "2"]),
            ("whole", &["21"]),
        ] {
            let rows = platform.rows(&format!("SELECT * FROM {name}")).await;
            // A machine that is busy for seconds says nothing about rows that are gone.
            if began.elapsed() < Duration::from_secs(3) {
                assert_eq!(rows, expected, "{name}, round {round}");
            }
        }
        if round == 1 {
            platform.stop().await;
            platform = TestPlatform::open(folder.path(), EAGER).await;
        }
        for (name, _) in VIEWS.iter().filter(|(name, _)| *name != "whole") {
            platform.until(&format!("SELECT count(*) FROM {name}"), &["0"]).await;
        }
        platform.until("SELECT total FROM whole", &["NULL"]).await;
    }
    // Nothing is left behind but the total over no rows at all.
    let kept = "SELECT view, operator, rows FROM pluvio.state WHERE rows > 0 AND view NOT IN ('whole')";
    platform.until(kept, &[]).await;
    platform.stop().await;
}

/// At every commit, what is computed of the rows is what a batch over them gives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_is_the_batch_over_the_rows_of_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let platform = TestPlatform::open(folder.path(), EAGER).await;
    platform
        .run("CREATE STREAM rain (k BIGINT, v BIGINT) WITH (topic = 'rain', format = 'json', partitions = '2')")
        .await;
    platform.run("CREATE MATERIALIZED VIEW recent WITH (ttl = '300 ms') AS SELECT k, v FROM rain").await;
    let query = "SELECT k, count(*) AS n, sum(v) AS total, min(v) AS low FROM recent GROUP BY k";
    platform.run(&format!("CREATE MATERIALIZED VIEW by_key AS {query}")).await;
    let (mut seen, mut gone) = (0, 0);
    for round in 0..60 {
        let rows: Vec<String> = (0..20).map(|i| format!("({}, {})", i % 7, round * 20 + i)).collect();
        platform.run(&format!("INSERT INTO rain VALUES {}", rows.join(", "))).await;
        let both = format!(
            "(SELECT * FROM by_key EXCEPT ({query})) UNION ALL (({query}) EXCEPT SELECT * FROM by_key)"
        );
        assert_eq!(platform.rows(&both).await, [""; 0], "round {round}");
        let count: u64 = platform.rows("SELECT count(*) FROM recent").await[0].parse().unwrap();
        seen = seen.max(count);
        gone += u64::from(count < (round + 1) * 20);
    }
    assert!(seen > 0 && gone > 0, "rows were seen, and others had gone");
    platform.until("SELECT count(*) FROM by_key", &["0"]).await;
    platform.stop().await;
}
