//! Windows of processing time: closed by the clock, whatever comes.

use crate::platform::{EAGER, TestPlatform};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_closes_windows() {
    let folder = tempfile::tempdir().unwrap();
    let mut platform = TestPlatform::open(folder.path(), EAGER).await;
    platform
        .run("CREATE STREAM taps (who VARCHAR, at AS PROCTIME()) WITH (topic = 'taps', format = 'json', partitions = '2')")
        .await;
    for (name, window) in [
        ("tumbled", "TUMBLE(TABLE taps, DESCRIPTOR(at), INTERVAL '0.2' SECOND)"),
        ("sessions", "SESSION(TABLE taps PARTITION BY who, DESCRIPTOR(at), INTERVAL '0.2' SECOND)"),
    ] {
        platform
            .run(&format!(
                "CREATE MATERIALIZED VIEW {name} AS SELECT who, window_start, window_end, count(*) AS n \
                 FROM TABLE({window}) GROUP BY who, window_start, window_end EMIT ON WINDOW CLOSE"
            ))
            .await;
    }
    for round in 1..=3 {
        platform.run("INSERT INTO taps (who) VALUES ('ann'), ('ann'), ('bo')").await;
        let expected = [format!("ann | {}", 2 * round), format!("bo | {round}")];
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        for view in ["tumbled", "sessions"] {
            platform.until(&format!("SELECT who, sum(n) FROM {view} GROUP BY who"), &expected).await;
        }
        if round == 2 {
            platform.stop().await;
            platform = TestPlatform::open(folder.path(), EAGER).await;
        }
    }
    let wrong =
        platform.rows("SELECT * FROM tumbled WHERE window_end > now() OR window_start >= window_end").await;
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(platform.rows("SELECT count(*) FROM pluvio.dead_letters").await, ["0"]);
    platform.stop().await;
}
