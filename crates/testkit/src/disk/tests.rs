//! Tests of the simulated disk.

use super::*;
use pluvio_foundation::random::SeededRandom;
use std::io::ErrorKind;

fn write(disk: &SimDisk, path: &str, bytes: &[u8]) -> Box<dyn DiskFile> {
    let file = disk.open(Path::new(path), OpenMode::Create).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

#[test]
fn behaves_like_a_disk() {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new("/a/b")).unwrap();
    write(&disk, "/a/b/x", b"hello");
    assert_eq!(disk.read(Path::new("/a/b/x"), 10).unwrap(), b"hello");
    assert_eq!(disk.list(Path::new("/a/b")).unwrap(), ["x"]);
    assert!(disk.list(Path::new("/none")).unwrap().is_empty());
    assert_eq!(disk.open(Path::new("/a/y"), OpenMode::Read).unwrap_err().kind(), ErrorKind::NotFound);
    let exists = disk.open(Path::new("/a/b/x"), OpenMode::CreateNew).unwrap_err();
    assert_eq!(exists.kind(), ErrorKind::AlreadyExists);
    disk.rename(Path::new("/a/b"), Path::new("/c")).unwrap();
    assert!(disk.exists(Path::new("/c/x")) && !disk.exists(Path::new("/a/b")));
    disk.replace(Path::new("/c/x"), b"new").unwrap();
    assert_eq!(disk.read(Path::new("/c/x"), 10).unwrap(), b"new");
    assert_eq!(disk.used_bytes(), 3);
    disk.remove_dir_all(Path::new("/c")).unwrap();
    assert_eq!(disk.used_bytes(), 0);
    let read_only = {
        write(&disk, "/r", b"r");
        disk.open(Path::new("/r"), OpenMode::Read).unwrap()
    };
    assert_eq!(read_only.write_all_at(b"w", 0).unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[test]
fn a_crash_keeps_the_synced_and_only_the_synced_for_sure() {
    let mut lost = 0;
    let mut kept = 0;
    let mut torn = 0;
    for seed in 0..200 {
        let disk = SimDisk::new();
        let file = write(&disk, "/f", &[1; 2000]);
        file.sync().unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        file.write_all_at(&[2; 2000], 2000).unwrap();
        let disk = disk.crash(&SeededRandom::new(seed));
        let content = disk.read(Path::new("/f"), 5000).unwrap();
        assert_eq!(content[..2000], [1; 2000]);
        match content[2000..].iter().filter(|byte| **byte == 2).count() {
            0 => lost += 1,
            2000 => kept += 1,
            _ => torn += 1,
        }
    }
    assert!(lost > 20 && kept > 20 && torn > 20, "{lost} lost, {kept} kept, {torn} torn");
}

#[test]
fn the_same_seed_gives_the_same_crash() {
    let run = |seed| {
        let disk = SimDisk::new();
        let file = write(&disk, "/f", &[7; 3000]);
        for part in 0..10 {
            file.write_all_at(&[part; 700], 3000 + u64::from(part) * 700).unwrap();
        }
        disk.sync_dir(Path::new("/")).unwrap();
        disk.crash(&SeededRandom::new(seed)).read(Path::new("/f"), 100_000).unwrap()
    };
    assert_eq!(run(11), run(11));
    assert!((0..20).any(|seed| run(seed) != run(11)));
}

#[test]
fn a_name_survives_only_with_its_folder() {
    let mut lost = 0;
    for seed in 0..50 {
        let disk = SimDisk::new();
        write(&disk, "/old", b"old").sync().unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        write(&disk, "/new", b"new").sync().unwrap();
        disk.rename(Path::new("/new"), Path::new("/old")).unwrap();
        let disk = disk.crash(&SeededRandom::new(seed));
        let content = disk.read(Path::new("/old"), 10).unwrap();
        assert!(content == b"old" || content == b"new");
        lost += usize::from(content == b"old");
    }
    assert!((1..50).contains(&lost), "{lost}");
}

#[test]
fn handles_from_before_a_crash_are_dead() {
    let disk = SimDisk::new();
    let file = write(&disk, "/f", b"1");
    let next = disk.crash(&SeededRandom::new(1));
    assert!(file.write_all_at(b"2", 0).is_err() && file.sync().is_err());
    assert!(disk.open(Path::new("/g"), OpenMode::Create).is_err() && !disk.exists(Path::new("/")));
    assert!(next.exists(Path::new("/")));
    write(&next, "/h", b"kept");
    let after = next.kill();
    assert_eq!(after.read(Path::new("/h"), 10).unwrap(), b"kept");
    assert!(next.list(Path::new("/")).is_err());
}

#[test]
fn the_quota_fills_and_gives_way() {
    let disk = SimDisk::new();
    disk.set_quota_bytes(Some(10));
    let file = write(&disk, "/f", b"12345678");
    assert_eq!(disk.available_bytes(Path::new("/")).unwrap(), 2);
    assert_eq!(disk.total_bytes(Path::new("/")).unwrap(), 10);
    assert_eq!(file.write_all_at(b"abcd", 8).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 10);
    file.write_all_at(b"overwritten"[..8].into(), 0).unwrap();
    file.truncate(8).unwrap();
    disk.set_quota_bytes(Some(12));
    file.write_all_at(b"abcd", 8).unwrap();
    assert_eq!(disk.used_bytes(), 12);
}

#[test]
fn asked_for_failures_come_once() {
    let disk = SimDisk::new();
    let file = write(&disk, "/f", b"");
    disk.sync_dir(Path::new("/")).unwrap();
    disk.fail_write(2, ErrorKind::Other);
    file.write_all_at(b"aaaa", 0).unwrap();
    assert!(file.write_all_at(b"bbbb", 4).is_err());
    assert_eq!(file.len().unwrap(), 6);
    disk.fail_sync(1, ErrorKind::Other);
    assert!(file.sync().is_err());
    file.write_all_at(b"cccc", 0).unwrap();
    file.sync().unwrap();
    assert_eq!((disk.writes(), disk.syncs()), (4, 2));
    // What the failed sync was to cover is gone, what came later is durable.
    let content = disk.crash(&SeededRandom::new(3)).read(Path::new("/f"), 10).unwrap();
    assert_eq!(content, b"cccc");
}

#[test]
fn a_flipped_bit_stays() {
    let disk = SimDisk::new();
    let file = write(&disk, "/f", &[0, 0]);
    disk.flip_bit(Path::new("/f"), 1, 3).unwrap();
    file.sync().unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk.flip_bit(Path::new("/f"), 0, 0).unwrap();
    assert!(disk.flip_bit(Path::new("/f"), 2, 0).is_err());
    assert_eq!(disk.crash(&SeededRandom::new(9)).read(Path::new("/f"), 10).unwrap(), [1, 8]);
}

#[test]
fn paused_syncs_wait() {
    let disk = SimDisk::new();
    let file = write(&disk, "/f", b"1");
    disk.pause_syncs(true);
    let waiting = std::thread::spawn(move || file.sync());
    while disk.syncs_waiting() == 0 {
        std::thread::yield_now();
    }
    assert_eq!(disk.syncs(), 0);
    disk.pause_syncs(false);
    waiting.join().unwrap().unwrap();
    assert_eq!((disk.syncs(), disk.syncs_waiting()), (1, 0));
}

#[test]
fn after_the_stop_nothing_changes() {
    let disk = SimDisk::new();
    let file = disk.open(Path::new("/f"), OpenMode::Create).unwrap();
    disk.stop_after_changes(2);
    file.write_all_at(b"ab", 0).unwrap();
    file.sync().unwrap();
    let digest = disk.digest();
    assert!(file.write_all_at(b"c", 0).is_err() && file.sync().is_err() && file.truncate(0).is_err());
    assert!(disk.open(Path::new("/g"), OpenMode::Create).is_err());
    assert!(disk.rename(Path::new("/f"), Path::new("/g")).is_err());
    assert_eq!(disk.digest(), digest);
    let disk = disk.crash(&SeededRandom::new(1));
    disk.open(Path::new("/g"), OpenMode::Create).unwrap();
    assert_ne!(disk.digest(), digest);
}

#[test]
fn a_lying_sync_keeps_nothing() {
    for seed in 0..20 {
        let disk = SimDisk::new();
        let file = disk.open(Path::new("/f"), OpenMode::Create).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        disk.lie_about_syncs(true);
        file.write_all_at(b"lost", 0).unwrap();
        file.sync().unwrap();
        disk.lie_about_syncs(false);
        let disk = disk.crash(&SeededRandom::new(seed));
        if disk.read(Path::new("/f"), 100).unwrap().is_empty() {
            return;
        }
    }
    panic!("no crash lost what was never synced");
}
