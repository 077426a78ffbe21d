//! Jobs against batches: whatever the epochs, restarts and partitions, a view
//! holds what its query gives over all events at once.

use pluvio_engine::EngineOptions;
use pluvio_foundation::random::SeededRandom;

use crate::platform::{EAGER, TestPlatform};
use crate::workload::{Workload, assert_views_equal_batches};

async fn run(seed: u64) {
    let random = SeededRandom::new(seed);
    let mut workload = Workload::new(&random);
    let folder = tempfile::tempdir().unwrap();
    let options = EngineOptions {
        trigger_ms: workload.below(5),
        trigger_rows: 1 + workload.below(300) as usize,
        ..EAGER
    };
    let mut platform = TestPlatform::open(folder.path(), options.clone()).await;
    workload.define(&platform).await;
    for _ in 0..6 {
        workload.send(&platform, 60);
        if workload.below(2) == 0 {
            platform.run("FLUSH").await;
        }
        if workload.below(3) == 0 {
            platform.stop().await;
            platform = TestPlatform::open(folder.path(), options.clone()).await;
        }
    }
    workload.end(&platform);
    assert_views_equal_batches(&platform, &format!("seed {seed}")).await;
    platform.stop().await;
    let platform = TestPlatform::open(folder.path(), options).await;
    assert_views_equal_batches(&platform, &format!("seed {seed}, reopened")).await;
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_are_what_a_batch_gives() {
    for seed in 0..8 {
        run(seed).await;
    }
}
