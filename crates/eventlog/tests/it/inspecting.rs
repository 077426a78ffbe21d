//! Looking at a log's folder from outside: what is whole, what is damaged, and
//! that looking changes nothing.

use crate::rig::{Rig, batch, batch_of, folder};
use pluvio_eventlog::inspect::{Inspection, Item, PartitionCheck};
use pluvio_foundation::{Disk, OpenMode};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

fn inspection(rig: &Rig) -> Inspection {
    Inspection::open(folder(), Arc::new(rig.disk.clone())).unwrap()
}

fn check(rig: &Rig) -> PartitionCheck {
    let inspection = inspection(rig);
    let topic = inspection.topic("t").unwrap();
    let digest = rig.disk.digest();
    let mut read = 0;
    let check = inspection.verify(&topic, 0, |bytes| read += bytes).unwrap();
    assert_eq!((read, rig.disk.digest()), (check.bytes, digest));
    assert_eq!(inspection.bytes(&topic, 0).unwrap(), check.bytes);
    check
}

/// Forty batches of two records in segments of a few, closed cleanly.
fn filled() -> Rig {
    let rig = Rig::without_tail();
    let (log, partition) = rig.with_topic();
    for number in 0..40 {
        partition.append(batch_of(2, number, 300, 1000, None)).unwrap();
    }
    log.close();
    rig
}

#[test]
fn a_whole_log_has_nothing_to_tell() {
    let rig = filled();
    let check = check(&rig);
    assert_eq!((check.batches, check.records), (40, 80));
    assert_eq!((check.start_offset, check.end_offset, check.durable_offset), (0, 80, Some(80)));
    assert_eq!((check.segments, check.findings.len()), (rig.files(".log").len(), 0));
    assert!(inspection(&rig).findings.is_empty());
    assert!(inspection(&rig).topic("u").is_err() && inspection(&rig).topic("..").is_err());
    assert!(Inspection::open(Path::new("/elsewhere"), Arc::new(rig.disk.clone())).is_err());
    let names: Vec<_> = inspection(&rig).topics().unwrap().into_iter().map(|it| it.unwrap().name).collect();
    assert_eq!(names, ["t"]);
}

#[test]
fn every_flipped_bit_is_found() {
    let whole = check(&filled());
    let length = batch_of(2, 0, 300, 1000, None).len() as u64;
    // In every byte of the second batch of the second segment.
    for at in length..2 * length {
        let rig = filled();
        rig.disk.flip_bit(&rig.files(".log")[1], at, u8::try_from(at % 8).unwrap()).unwrap();
        let found = check(&rig);
        // The leader epoch is outside of the checksum and means nothing.
        let epoch = (length + 12..length + 16).contains(&at);
        assert_eq!(found.is_damaged(), !epoch, "position {at}: {found:?}");
        if !epoch {
            assert_eq!((found.batches, found.end_offset), (whole.batches - 1, whole.end_offset), "{at}");
        }
    }
}

#[test]
fn what_is_missing_and_what_is_only_torn() {
    let rig = filled();
    let logs = rig.files(".log");
    rig.disk.remove_file(&logs[2]).unwrap();
    let found = check(&rig);
    assert!(found.is_damaged() && found.findings[0].text.contains("are missing"), "{found:?}");
    // A torn end that nobody was told of is no damage.
    let rig = Rig::without_tail();
    let (log, partition) = rig.with_topic();
    partition.append(batch(1, 300)).unwrap();
    partition.sync(1).unwrap();
    log.tick().unwrap();
    partition.append(batch(2, 300)).unwrap();
    let path = rig.files(".log").remove(0);
    let file = rig.disk.open(&path, OpenMode::Write).unwrap();
    file.truncate(file.len().unwrap() - 5).unwrap();
    let found = check(&rig);
    assert!(!found.is_damaged() && found.findings[0].text.contains("torn at offset 1"), "{found:?}");
    // One that was durable is.
    file.truncate(100).unwrap();
    assert!(check(&rig).is_damaged());
    file.truncate(0).unwrap();
    let found = check(&rig);
    assert!(found.findings[0].text.contains("offset 0 to before 1 were durable"), "{found:?}");
}

#[test]
fn sidecars_are_checked_against_their_segments() {
    let rig = Rig::without_tail();
    let (log, partition) = {
        let mut rig_topic = rig.topic.clone();
        rig_topic.segment_bytes = 1 << 20;
        let log = rig.open();
        let topic = log.create_topic("t", 1, rig_topic).unwrap();
        (log, topic.partition(0).unwrap())
    };
    for number in 0..10 {
        partition.append(batch(number, 40_000)).unwrap();
    }
    log.close();
    assert!(check(&rig).findings.is_empty());
    let index = rig.files(".index").remove(0);
    rig.disk.flip_bit(&index, 60, 1).unwrap();
    let found = check(&rig);
    assert!(!found.is_damaged() && found.findings[0].text.contains("made again"), "{found:?}");
}

#[test]
fn batches_are_walked_from_anywhere_and_around_damage() {
    let rig = filled();
    rig.disk.flip_bit(&rig.files(".log")[1], 100, 0).unwrap();
    let inspection = inspection(&rig);
    let topic = inspection.topic("t").unwrap();
    for from in [0, 1, 33, 79] {
        let mut bases = Vec::new();
        let mut damaged = 0;
        inspection
            .walk(&topic, 0, from, |path, item| {
                assert!(path.extension().is_some_and(|kind| kind == "log"));
                match item {
                    Item::Batch { header, bytes, .. } => {
                        assert_eq!(bytes.len(), header.total_bytes());
                        bases.push(header.base_offset);
                    }
                    Item::Damage { .. } => damaged += 1,
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(bases[0], from / 2 * 2);
        if from == 0 {
            assert_eq!((bases.len(), damaged), (39, 1));
        }
    }
    let mut visited = 0;
    let stop = |_: &Path, _: Item<'_>| {
        visited += 1;
        ControlFlow::Break(())
    };
    inspection.walk(&topic, 0, 0, stop).unwrap();
    assert_eq!(visited, 1);
}
