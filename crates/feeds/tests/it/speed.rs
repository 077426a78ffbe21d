//! How fast a generator is. Not a check: run it by name, in a release build.

use std::time::Instant;

use pluvio_catalog::FeedDef;
use pluvio_eventlog::TopicConfig;
use pluvio_feeds::FeedState;

use crate::generating::{columns, counting};
use crate::rig::{Rig, wait_for};

#[test]
#[ignore = "a measurement"]
fn of_a_generator() {
    const ROWS: u64 = 20_000_000;
    let rig = Rig::new();
    rig.named("s", FeedDef::Generator(counting(0, ROWS)), columns());
    rig.log.create_topic("s", 4, TopicConfig::default()).unwrap();
    let began = Instant::now();
    let feeds = rig.feeds();
    let status = wait_for(&feeds, |status| status.state == FeedState::Finished);
    let seconds = began.elapsed().as_secs_f64();
    let rate = status.events as f64 / seconds;
    eprintln!("{rate:.0} events a second of {} bytes", status.bytes / status.events);
    assert_eq!(status.events, ROWS);
}
