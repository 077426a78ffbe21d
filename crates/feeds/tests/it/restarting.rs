//! Files over restarts: what happened meanwhile, and checkpoints that are lost.

use std::fs;

use pluvio_catalog::FileStart;

use crate::rig::{Rig, append, files};

fn logs() -> Rig {
    let rig = Rig::new();
    rig.stream(files(rig.path("*.log"), FileStart::Beginning), 3);
    rig
}

#[test]
fn what_happened_meanwhile_is_caught_up_with() {
    let rig = logs();
    for name in ["grown.log", "rotated.log", "cut.log", "removed.log"] {
        append(&rig.path(name), &format!("{name} one\n{name} two\n"));
    }
    let feeds = rig.feeds();
    let taken = [
        "grown.log one",
        "grown.log two",
        "rotated.log one",
        "rotated.log two",
        "cut.log one",
        "cut.log two",
        "removed.log one",
        "removed.log two",
    ];
    rig.expect(&taken);
    feeds.stop();
    append(&rig.path("grown.log"), "grown\n");
    append(&rig.path("rotated.log"), "late\n");
    // Under a name that the pattern does not find.
    fs::rename(rig.path("rotated.log"), rig.path("rotated.1")).unwrap();
    append(&rig.path("rotated.log"), "fresh\n");
    fs::write(rig.path("cut.log"), "cut\n").unwrap();
    fs::remove_file(rig.path("removed.log")).unwrap();
    let rig = rig.reopened();
    let feeds = rig.feeds();
    let caught_up = [&taken[..], &["grown", "late", "fresh", "cut"]].concat();
    rig.expect(&caught_up);
    // And what was rotated while the feed was away is still followed.
    append(&rig.path("rotated.1"), "later\nrest");
    rig.expect(&[&caught_up[..], &["later", "rest"]].concat());
    drop(feeds);
}

#[test]
fn a_file_that_was_written_anew_meanwhile_is_another() {
    let rig = logs();
    append(&rig.path("a.log"), "1\n2\n");
    let feeds = rig.feeds();
    rig.expect(&["1", "2"]);
    feeds.stop();
    // In place, and longer than what was read.
    fs::write(rig.path("a.log"), "3\n4\n5\n").unwrap();
    let feeds = rig.feeds();
    rig.expect(&["1", "2", "3", "4", "5"]);
    feeds.stop();
    // The other way, the one that grew stays the same.
    append(&rig.path("a.log"), "6\n");
    let _feeds = rig.feeds();
    rig.expect(&["1", "2", "3", "4", "5", "6"]);
}

#[test]
fn without_a_checkpoint_the_topic_tells() {
    let damages: [fn(&Rig); 4] = [
        |_| {},
        |rig| fs::remove_file(&rig.checkpoints()[0]).unwrap(),
        |rig| fs::write(&rig.checkpoints()[0], "{").unwrap(),
        // Of another topic, or from before what the log holds.
        |rig| {
            let path = &rig.checkpoints()[0];
            let text = fs::read_to_string(path).unwrap();
            let forged = text.replacen("\"topic_id\":\"", "\"topic_id\":\"0", 1);
            assert_ne!(text, forged);
            fs::write(path, forged).unwrap();
        },
    ];
    let mut rig = logs();
    let mut wanted: Vec<String> = Vec::new();
    for (round, damage) in damages.into_iter().enumerate() {
        for file in ["a", "b", "c"] {
            let line = format!("{file}{round}");
            append(&rig.path(&format!("{file}.log")), &format!("{line}\n"));
            wanted.push(line);
        }
        let feeds = rig.feeds();
        rig.expect(&wanted.iter().map(String::as_str).collect::<Vec<_>>());
        feeds.stop();
        assert_eq!(rig.checkpoints().len(), 1);
        damage(&rig);
        rig = rig.reopened();
    }
    let _feeds = rig.feeds();
    append(&rig.path("a.log"), "end\n");
    wanted.push("end".into());
    rig.expect(&wanted.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn an_older_checkpoint_is_made_up_for() {
    let mut rig = logs();
    // Only the one at the beginning and those at stops.
    rig.options.checkpoint_interval_ms = 1 << 40;
    append(&rig.path("a.log"), "1\n2\n");
    let feeds = rig.feeds();
    rig.expect(&["1", "2"]);
    feeds.stop();
    let path = rig.checkpoints().remove(0);
    let older = fs::read(&path).unwrap();
    append(&rig.path("a.log"), "3\n");
    let feeds = rig.feeds();
    rig.expect(&["1", "2", "3"]);
    feeds.stop();
    assert_ne!(fs::read(&path).unwrap(), older);
    fs::write(&path, &older).unwrap();
    append(&rig.path("a.log"), "4\n");
    let _feeds = rig.feeds();
    rig.expect(&["1", "2", "3", "4"]);
}

#[test]
fn what_retention_took_the_checkpoint_knows() {
    let rig = logs();
    append(&rig.path("a.log"), "1\n2\n");
    let feeds = rig.feeds();
    rig.expect(&["1", "2"]);
    feeds.stop();
    for partition in rig.log.topic("s").unwrap().partitions() {
        partition.delete_records(partition.end_offset()).unwrap();
    }
    append(&rig.path("a.log"), "3\n");
    let _feeds = rig.feeds();
    crate::rig::wait_for(&_feeds, |status| status.events > 0);
    assert_eq!(rig.values(), ["3"]);
}

#[test]
fn more_partitions_do_not_lose_a_place() {
    let rig = logs();
    let names: Vec<String> = (0..8).map(|number| format!("{number}.log")).collect();
    let feeds = rig.feeds();
    let mut wanted = Vec::new();
    for round in 0..3 {
        for name in &names {
            append(&rig.path(name), &format!("{name} {round}\n"));
            wanted.push(format!("{name} {round}"));
        }
        rig.expect(&wanted.iter().map(String::as_str).collect::<Vec<_>>());
        feeds.stop();
        for path in rig.checkpoints() {
            fs::remove_file(path).unwrap();
        }
        rig.log.add_partitions("s", 4 + round).unwrap();
        feeds.reconcile(&rig.catalog).unwrap();
    }
}
