//! A full disk, wrong input, and limits.

use std::sync::Arc;

use pluvio_foundation::{Disk, ErrorKind};
use pluvio_keytables::{SpanRetention, StoreOptions};
use pluvio_testkit::{ManualClock, SimDisk};

use crate::rows::*;

#[test]
fn a_full_disk_refuses_a_commit_and_takes_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SimDisk::new();
    let clock = Arc::new(ManualClock::default());
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let store = open(folder.path(), shared, clock, quiet());
    let table = store.create_table("t", schema(0), &key(0)).unwrap();
    let retention = SpanRetention { age_ms: None, bytes_max: 1 << 20 };
    let span = store.create_span("s", span_schema(), retention).unwrap();
    let pairs: Vec<(u64, u64)> = (0..KEYS).map(|key| (key, key)).collect();
    let commit = |tag| {
        let mut commit = store.begin();
        commit.upsert(&table, rows(0, &pairs));
        commit.append(&span, tag, span_rows(tag as i64 * 10, 10));
        commit.note("n", Some("x".into()));
        commit.commit()
    };
    for room in [0, 100, 2000, 5000] {
        disk.set_quota_bytes(Some(disk.used_bytes() + room));
        let used = disk.used_bytes();
        let error = commit(1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
        assert_eq!((table.len(), span.len_rows(), store.note("n"), store.committed_seq()), (0, 0, None, 0));
        assert!(disk.used_bytes() <= used + 100, "what failed is cut off again");
    }
    disk.set_quota_bytes(None);
    assert_eq!(commit(1).unwrap(), 1);
    assert_eq!((table.len() as u64, span.len_rows()), (KEYS, 10));
    assert_eq!(commit(2).unwrap(), 2);
    drop(store);
    let shared: Arc<dyn Disk> = Arc::new(disk);
    let store = open(folder.path(), shared, Arc::new(ManualClock::default()), quiet());
    assert_eq!((store.table("t").unwrap().len() as u64, store.span("s").unwrap().len_rows()), (KEYS, 20));
}

#[test]
fn wrong_input_is_refused_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_real(folder.path(), quiet());
    let table = store.create_table("t", schema(0), &key(0)).unwrap();
    let retention = SpanRetention { age_ms: None, bytes_max: 1 << 20 };
    let span = store.create_span("s", span_schema(), retention).unwrap();
    let wrong: [&dyn Fn(&mut pluvio_keytables::Commit); 4] = [
        &|commit| commit.upsert(&table, rows(1, &[(1, 1)])),
        &|commit| commit.delete(&table, keys(1, &[1])),
        &|commit| commit.append(&span, 9, rows(0, &[(1, 1)])),
        &|commit| commit.note("", None),
    ];
    for wrong in wrong {
        let mut commit = store.begin();
        commit.upsert(&table, rows(0, &[(1, 1)]));
        wrong(&mut commit);
        assert_eq!(commit.commit().unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!((table.len(), store.committed_seq()), (0, 0));
    }
    let mut commit = store.begin();
    commit.append(&span, 5, span_rows(0, 1));
    commit.commit().unwrap();
    let mut commit = store.begin();
    commit.append(&span, 4, span_rows(0, 1));
    assert_eq!(commit.commit().unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(table.lookup(keys(1, &[1]).columns(), None).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(table.lookup(keys(0, &[1]).columns(), Some(&[9])).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(store.begin().commit().unwrap(), 1, "an empty commit writes nothing");
}

#[test]
fn limits_name_what_to_change() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_real(folder.path(), StoreOptions { memory_budget_bytes: 10_000, ..quiet() });
    let table = store.create_table("t", schema(0), &key(0)).unwrap();
    let pairs: Vec<(u64, u64)> = (0..1000).map(|key| (key, key)).collect();
    let mut commit = store.begin();
    commit.upsert(&table, rows(0, &pairs));
    let error = commit.commit().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains("memory_budget_bytes"));

    let folder = tempfile::tempdir().unwrap();
    let store = open_real(folder.path(), quiet());
    let texts = store.create_table("texts", schema(1), &key(1)).unwrap();
    let long = arrow::array::StringArray::from(vec!["x".repeat(70_000)]);
    let mut columns = rows(1, &[(1, 1)]).columns().to_vec();
    columns[2] = Arc::new(long);
    let mut commit = store.begin();
    commit.upsert(&texts, arrow::array::RecordBatch::try_new(schema(1), columns).unwrap());
    assert_eq!(commit.commit().unwrap_err().kind(), ErrorKind::TooLarge);
}
