//! The power goes while jobs run: after it, every view holds exactly what a
//! batch over the events on disk gives, and every acknowledged event is there.

use std::sync::Arc;

use pluvio_foundation::random::SeededRandom;
use pluvio_testkit::SimDisk;

use crate::platform::{EAGER, TestPlatform};
use crate::workload::{Workload, assert_views_equal_batches};

async fn open(disk: &SimDisk, folder: &std::path::Path) -> TestPlatform {
    TestPlatform::open_on(Arc::new(disk.clone()), folder, EAGER).await
}

async fn run(seed: u64) {
    let random = SeededRandom::new(seed);
    let mut workload = Workload::new(&random);
    let folder = tempfile::tempdir().unwrap();
    let mut disk = SimDisk::new();
    let platform = open(&disk, folder.path()).await;
    workload.define(&platform).await;
    platform.stop().await;
    for life in 0..5 {
        let platform = open(&disk, folder.path()).await;
        let mut acknowledged = 0;
        for _ in 0..=workload.below(4) {
            workload.send(&platform, 40);
            let ends = platform.rows("SELECT coalesce(sum(appended), 0) FROM pluvio.topics").await;
            acknowledged = ends[0].parse::<u64>().unwrap();
            if workload.below(2) == 0 {
                platform.run("FLUSH").await;
            }
        }
        // Epochs may be half done: the new disk is what the old one had synced.
        let after = if workload.below(4) == 0 { disk.kill() } else { disk.crash(&random) };
        platform.stop().await;
        disk = after;
        let platform = open(&disk, folder.path()).await;
        let ends = platform.rows("SELECT coalesce(sum(appended), 0) FROM pluvio.topics").await;
        assert_eq!(
            ends[0].parse::<u64>().unwrap(),
            acknowledged,
            "seed {seed} life {life}: events were lost"
        );
        platform.stop().await;
    }
    let platform = open(&disk, folder.path()).await;
    workload.send(&platform, 60);
    workload.end(&platform);
    assert_views_equal_batches(&platform, &format!("seed {seed}")).await;
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn epochs_survive_power_failures() {
    for seed in 0..8 {
        run(seed).await;
    }
}
