//! Files that grow, rotate, are cut off and go away.

use std::fs;

use pluvio_catalog::FileStart;
use pluvio_eventlog::{Cleanup, TopicConfig};
use pluvio_feeds::FeedState;
use pluvio_foundation::hash::kafka_key_hash;

use crate::rig::{Rig, append, files, wait_for};

/// A rig with a feed of `in/*.log`.
fn logs(start: FileStart) -> Rig {
    let rig = Rig::new();
    rig.stream(files(rig.path("*.log"), start), 4);
    rig
}

#[test]
fn a_line_is_taken_when_it_has_its_end() {
    let rig = logs(FileStart::Beginning);
    let path = rig.path("a.log");
    append(&path, "one\n\r\n\ntwo\r\nthr");
    let feeds = rig.feeds();
    rig.expect(&["one", "two"]);
    append(&path, "ee\n");
    rig.expect(&["one", "two", "three"]);
    let events = rig.events();
    let path = path.to_str().unwrap();
    let positions: Vec<_> = events.iter().map(|event| event.header("position").unwrap()).collect();
    assert_eq!(positions, ["4", "12", "18"]);
    let partition = i32::try_from(kafka_key_hash(path.as_bytes()) % 4).unwrap();
    assert!(events.iter().all(|it| it.header("file") == Some(path) && it.partition == partition));
    let status = wait_for(&feeds, |status| status.events == 3);
    assert_eq!(
        (status.kind, status.state, status.bytes, status.skipped),
        ("files", FeedState::Running, 11, 0)
    );
    assert_eq!((status.source.as_str(), status.error), ("1 file", None));
}

#[test]
fn new_files_are_found_and_others_left_alone() {
    let rig = logs(FileStart::Beginning);
    let feeds = rig.feeds();
    wait_for(&feeds, |status| status.state == FeedState::Waiting && status.source == "0 files");
    append(&rig.path("a.log"), "a\n");
    append(&rig.path("other.txt"), "other\n");
    append(&rig.path(".hidden.log"), "hidden\n");
    rig.expect(&["a"]);
    append(&rig.path("b.log"), "b\n");
    rig.expect(&["a", "b"]);
    wait_for(&feeds, |status| status.state == FeedState::Running && status.source == "2 files");
}

#[test]
fn a_rotated_file_is_read_to_its_end() {
    let rig = logs(FileStart::Beginning);
    let feeds = rig.feeds();
    let path = rig.path("a.log");
    append(&path, "1\n2\n");
    rig.expect(&["1", "2"]);
    fs::rename(&path, rig.path("a.log.1")).unwrap();
    append(&rig.path("a.log.1"), "3\nlast without end");
    append(&path, "4\n");
    rig.expect(&["1", "2", "3", "4", "last without end"]);
    // All of them under the name and in the partition of the file they came from.
    let name = path.to_str().unwrap();
    let events = rig.events();
    assert!(events.iter().all(|it| it.header("file") == Some(name) && it.partition == events[0].partition));
    drop(feeds);
    // A start looks at all files again and finds nothing new.
    let feeds = rig.feeds();
    append(&path, "5\n");
    rig.expect(&["1", "2", "3", "4", "5", "last without end"]);
    drop(feeds);
}

#[test]
fn a_removed_file_is_read_to_its_end() {
    let rig = logs(FileStart::Beginning);
    let _feeds = rig.feeds();
    let path = rig.path("a.log");
    append(&path, "1\nrest");
    rig.expect(&["1"]);
    fs::remove_file(&path).unwrap();
    rig.expect(&["1", "rest"]);
    // The next file of the name often gets the inode of the last.
    append(&path, "1\n2\n");
    rig.expect(&["1", "rest", "1", "2"]);
}

#[test]
fn an_unfinished_line_is_waited_for_while_its_file_is_in_its_place() {
    let rig = logs(FileStart::Beginning);
    let _feeds = rig.feeds();
    append(&rig.path("a.log"), "1\nunfin");
    append(&rig.path("b.log"), "2\nquiet");
    rig.expect(&["1", "2"]);
    // It was written last, and is complete once it had its time.
    fs::rename(rig.path("b.log"), rig.path("c.log")).unwrap();
    rig.expect(&["1", "2", "quiet"]);
    append(&rig.path("a.log"), "ished\n");
    rig.expect(&["1", "2", "quiet", "unfinished"]);
}

#[test]
fn a_file_that_was_cut_off_begins_anew() {
    let rig = logs(FileStart::Beginning);
    let _feeds = rig.feeds();
    let path = rig.path("a.log");
    append(&path, "one\ntwo\nthree\n");
    rig.expect(&["one", "two", "three"]);
    // Shorter than what was read, in place.
    fs::write(&path, "four\n").unwrap();
    rig.expect(&["one", "two", "three", "four"]);
    // Longer, but another content.
    fs::write(&path, "five\nsix\nseven\n").unwrap();
    rig.expect(&["one", "two", "three", "four", "five", "six", "seven"]);
    // Of the same length, later than the clock of the file system can miss.
    fs::write(&path, "FIVE\nSIX\nSEVEN\n").unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(1);
    fs::OpenOptions::new().append(true).open(&path).unwrap().set_modified(later).unwrap();
    rig.expect(&["one", "two", "three", "four", "five", "six", "seven", "FIVE", "SIX", "SEVEN"]);
}

#[test]
fn a_file_that_lost_its_end_goes_on() {
    let rig = logs(FileStart::Beginning);
    let path = rig.path("a.log");
    let lines: Vec<String> = (0..200).map(|line| format!("{line:09}")).collect();
    append(&path, &lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    let mut wanted: Vec<&str> = lines.iter().map(String::as_str).collect();
    for length in [1_805, 1_024] {
        let feeds = rig.feeds();
        rig.expect(&wanted);
        feeds.stop();
        let file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.set_len(length).unwrap();
        let feeds = rig.feeds();
        // It is seen to be shorter before it grows again.
        let generation = |wanted| fs::read_to_string(&rig.checkpoints()[0]).unwrap().contains(wanted);
        let seen = if length == 1_805 { "\"generation\":1" } else { "\"generation\":2" };
        wait_for(&feeds, |_| generation(seen));
        let line = if length == 1_805 { "next" } else { "last" };
        append(&path, &format!("{line}\n"));
        wanted.push(line);
        rig.expect(&wanted);
    }
}

#[test]
fn the_end_is_where_files_end_at_first() {
    let rig = logs(FileStart::End);
    append(&rig.path("a.log"), "old\nunfin");
    append(&rig.path("empty.log"), "");
    let feeds = rig.feeds();
    wait_for(&feeds, |status| status.source == "2 files");
    append(&rig.path("a.log"), "ished\n");
    append(&rig.path("empty.log"), "first\n");
    append(&rig.path("b.log"), "new\n");
    rig.expect(&["unfinished", "first", "new"]);
    feeds.stop();
    append(&rig.path("c.log"), "while away\n");
    let _feeds = rig.feeds();
    rig.expect(&["unfinished", "first", "new", "while away"]);
}

#[test]
fn lines_that_are_too_long_are_left_out() {
    let rig = logs(FileStart::Beginning);
    let feeds = rig.feeds();
    let long = "x".repeat(900_000);
    let text = format!("first\n{long}\n{}\nsecond\n", "y".repeat(3 << 20));
    let path = rig.path("a.log");
    append(&path, &text);
    rig.expect(&["first", &long, "second"]);
    // One that is found to be too long before it ends, and ends after a restart.
    append(&path, &"z".repeat(2 << 20));
    wait_for(&feeds, |status| status.skipped == 2);
    feeds.stop();
    append(&path, "zzz\nthird\n");
    let feeds = rig.feeds();
    rig.expect(&["first", &long, "second", "third"]);
    assert_eq!(wait_for(&feeds, |status| status.events == 1).skipped, 0);
}

#[test]
fn packed_files_are_named() {
    let rig = Rig::new();
    rig.stream(files(rig.path(""), FileStart::Beginning), 1);
    append(&rig.path("a"), "a\n");
    append(&rig.path("b.gz"), "b\n");
    let feeds = rig.feeds();
    rig.expect(&["a"]);
    let status = wait_for(&feeds, |status| status.error.is_some());
    assert_eq!(status.state, FeedState::Running);
    assert!(status.error.unwrap().contains("b.gz: it is packed"));
}

#[test]
fn a_topic_that_is_not_there_is_waited_for() {
    let rig = Rig::new();
    let def = files(rig.path("*.log"), FileStart::Beginning);
    rig.named("s", def, Vec::new());
    append(&rig.path("a.log"), "a\n");
    let feeds = rig.feeds();
    let status = wait_for(&feeds, |status| status.error.is_some());
    assert_eq!(status.state, FeedState::Waiting);
    let compact = TopicConfig { cleanup: Cleanup::Compact, ..TopicConfig::default() };
    rig.log.create_topic("s", 1, compact).unwrap();
    let status = wait_for(&feeds, |status| status.state == FeedState::Failed);
    assert!(status.error.unwrap().contains("cleanup.policy"));
    rig.log.alter_topic("s", TopicConfig::default()).unwrap();
    rig.expect(&["a"]);
    wait_for(&feeds, |status| status.state == FeedState::Running && status.error.is_none());
    // And one that is made anew is filled anew.
    rig.log.delete_topic("s").unwrap();
    append(&rig.path("a.log"), "b\n");
    wait_for(&feeds, |status| status.state == FeedState::Waiting);
    rig.log.create_topic("s", 1, TopicConfig::default()).unwrap();
    rig.expect(&["a", "b"]);
}
