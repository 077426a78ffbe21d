//! Tables and spans come and go by name.

use std::sync::Arc;

use pluvio_foundation::{ErrorKind, RealDisk, SystemClock};
use pluvio_keytables::{SpanRetention, Store};

use crate::rows::*;

const RETENTION: SpanRetention = SpanRetention { age_ms: None, bytes_max: 1 << 20 };

#[test]
fn names_are_durable_and_dropped_ones_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    {
        let store = open_real(folder.path(), quiet());
        let table = store.create_table("t", schema(0), &key(0)).unwrap();
        assert!(Arc::ptr_eq(&table, &store.create_table("t", schema(0), &key(0)).unwrap()));
        let other = store.create_table("t", schema(1), &key(1)).unwrap_err();
        assert_eq!(other.kind(), ErrorKind::AlreadyExists);
        assert_eq!(store.create_table("t", schema(0), &[1]).unwrap_err().kind(), ErrorKind::AlreadyExists);
        let span = store.create_span("s", span_schema(), RETENTION).unwrap();
        let mut commit = store.begin();
        commit.upsert(&table, rows(0, &[(1, 1), (2, 2)]));
        commit.append(&span, 1, span_rows(0, 3));
        commit.commit().unwrap();
        store.checkpoint().unwrap();
        let mut commit = store.begin();
        commit.upsert(&table, rows(0, &[(3, 3)]));
        commit.commit().unwrap();
        store.drop_table("t").unwrap();
        store.drop_span("s").unwrap();
        assert_eq!(store.drop_table("t").unwrap_err().kind(), ErrorKind::NotFound);
        let mut commit = store.begin();
        commit.upsert(&table, rows(0, &[(4, 4)]));
        assert_eq!(commit.commit().unwrap_err().kind(), ErrorKind::NotFound);
        let mut commit = store.begin();
        commit.append(&span, 2, span_rows(3, 1));
        assert_eq!(commit.commit().unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(table.snapshot().len(), 3, "who still has it can read it");
        let again = store.create_table("t", schema(0), &key(0)).unwrap();
        assert!(again.is_empty());
        assert_eq!(store.create_span("s", span_schema(), RETENTION).unwrap().len_rows(), 0);
        store.checkpoint().unwrap();
    }
    let store = open_real(folder.path(), quiet());
    assert_eq!(store.tables().len(), 1);
    assert_eq!(store.spans().len(), 1);
    assert!(store.table("t").unwrap().is_empty());
    assert_eq!(store.span("s").unwrap().len_rows(), 0);
}

#[test]
fn a_folder_has_one_store_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_real(folder.path(), quiet());
    let table = store.create_table("t", schema(0), &key(0)).unwrap();
    let again =
        || Store::open(folder.path(), Arc::new(RealDisk), Arc::new(SystemClock), Default::default(), quiet());
    assert_eq!(again().unwrap_err().kind(), ErrorKind::Unavailable);
    store.close();
    store.close();
    let mut commit = store.begin();
    commit.upsert(&table, rows(0, &[(1, 1)]));
    assert_eq!(commit.commit().unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(store.create_table("u", schema(0), &key(0)).is_err());
    assert!(table.lookup(keys(0, &[1]).columns(), None).is_ok());
    assert!(again().is_ok());
}
