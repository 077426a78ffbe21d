//! A start reads no rows, and what it finds is exact; a stop writes few.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pluvio_foundation::random::SeededRandom;
use pluvio_keytables::{KeyTable, Store, StoreOptions};

use crate::rows::*;

fn upsert(store: &Store, table: &Arc<KeyTable>, model: &mut Model, keys: std::ops::Range<u64>, by: u64) {
    let pairs: Vec<(u64, u64)> = keys.map(|key| (key, key + by)).collect();
    let mut commit = store.begin();
    commit.upsert(table, rows(0, &pairs));
    commit.commit().unwrap();
    model.extend(pairs);
}

fn delete(store: &Store, table: &Arc<KeyTable>, model: &mut Model, gone: std::ops::Range<u64>) {
    let gone: Vec<u64> = gone.collect();
    let mut commit = store.begin();
    commit.delete(table, keys(0, &gone));
    commit.commit().unwrap();
    model.retain(|key, _| !gone.contains(key));
}

#[test]
fn a_start_reads_no_rows_and_counts_them_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Model::new();
    {
        let store = open_real(folder.path(), quiet());
        let table = store.create_table("t", schema(0), &key(0)).unwrap();
        upsert(&store, &table, &mut model, 0..300, 1);
        store.checkpoint().unwrap();
        delete(&store, &table, &mut model, 10..30);
        upsert(&store, &table, &mut model, 20..40, 2);
        upsert(&store, &table, &mut model, 290..350, 3);
    }
    for _ in 0..2 {
        let store = open_real(folder.path(), quiet());
        let table = store.table("t").unwrap();
        assert!(table.is_partial());
        assert_holds(&table, 0, &model, "after a kill");
        // Rows that come and go in what is not in memory.
        delete(&store, &table, &mut model, 100..120);
        upsert(&store, &table, &mut model, 110..115, 4);
        assert_holds(&table, 0, &model, "changed while cold");
    }
    let store = open_real(folder.path(), quiet());
    let table = store.table("t").unwrap();
    store.load().unwrap();
    assert!(!table.is_partial());
    assert_holds(&table, 0, &model, "loaded");
    store.close();
    let store = open_real(folder.path(), quiet());
    let table = store.table("t").unwrap();
    assert_eq!((table.len(), table.bytes()), (model.len(), 0));
    assert_holds(&table, 0, &model, "closed and opened");
}

#[test]
fn rows_are_loaded_while_commits_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let count = 100_000_u64;
    {
        let store = open_real(folder.path(), quiet());
        let table = store.create_table("t", schema(0), &key(0)).unwrap();
        upsert(&store, &table, &mut Model::new(), 0..count, 0);
        store.checkpoint().unwrap();
    }
    let options = StoreOptions { checkpoint_interval_ms: 20, ..StoreOptions::default() };
    let store = open_real(folder.path(), options);
    let table = store.table("t").unwrap();
    let random = SeededRandom::new(3);
    let mut model: Model = (0..count).map(|key| (key, key)).collect();
    let mut value = count;
    while table.is_partial() {
        value += 1;
        let key = below(&random, count);
        let mut commit = store.begin();
        if below(&random, 3) == 0 {
            commit.delete(&table, keys(0, &[key]));
            model.remove(&key);
        } else {
            commit.upsert(&table, rows(0, &[(key, value)]));
            model.insert(key, value);
        }
        commit.commit().unwrap();
    }
    assert_eq!(table.len(), model.len());
    let asked: Vec<u64> = (0..count).collect();
    let found = table.lookup(keys(0, &asked).columns(), Some(&[2])).unwrap();
    for key in asked {
        let row = key as usize;
        let value = found.found.value(row).then(|| {
            let values: &arrow::array::Int64Array = found.columns[0].as_any().downcast_ref().unwrap();
            values.value(row) as u64
        });
        assert_eq!(value, model.get(&key).copied(), "key {key}");
    }
}

#[test]
fn a_stop_leaves_much_to_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_real(folder.path(), quiet());
    let table = store.create_table("t", schema(0), &key(0)).unwrap();
    let mut model = Model::new();
    upsert(&store, &table, &mut model, 0..300_000, 0);
    store.close();
    let journal = || std::fs::read_dir(folder.path().join("journal")).unwrap().count();
    assert_eq!(journal(), 1, "a stop need not write 300,000 rows");
    let store = open_real(folder.path(), quiet());
    let table = store.table("t").unwrap();
    assert_eq!(table.len(), model.len());
    // Now as sorted runs, upon what is stored, with deletions between.
    store.checkpoint().unwrap();
    delete(&store, &table, &mut Model::new(), 50_000..120_000);
    upsert(&store, &table, &mut model, 100_000..110_000, 7);
    upsert(&store, &table, &mut model, 290_000..310_000, 7);
    store.checkpoint().unwrap();
    store.close();
    assert_eq!(journal(), 0);
    model.retain(|key, _| !(50_000..100_000).contains(key) && !(110_000..120_000).contains(key));
    let store = open_real(folder.path(), quiet());
    let table = store.table("t").unwrap();
    assert!(table.is_partial());
    assert_eq!(table.len(), model.len());
    let mut stored: Vec<(u64, u64)> = Vec::new();
    for batch in table.snapshot().scan(Some(&[1, 2])) {
        let batch = batch.unwrap();
        let column =
            |at: usize| batch.column(at).as_any().downcast_ref::<arrow::array::Int64Array>().unwrap();
        stored.extend(column(0).values().iter().zip(column(1).values()).map(|(k, v)| (*k as u64, *v as u64)));
    }
    stored.sort_unstable();
    assert_eq!(stored, model.into_iter().collect::<Vec<_>>());
}

#[test]
fn closing_ends_readers_of_stored_rows() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_real(folder.path(), StoreOptions::default());
    let table = store.create_table("t", schema(0), &key(0)).unwrap();
    let mut model = Model::new();
    upsert(&store, &table, &mut model, 0..50_000, 0);
    store.checkpoint().unwrap();
    drop(store);
    let store = open_real(folder.path(), quiet());
    let table = store.table("t").unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                // Found, or closed: never absent.
                if let Ok(found) = table.lookup(keys(0, &[7, 49_999]).columns(), Some(&[])) {
                    assert_eq!(found.found.true_count(), 2);
                }
            }
        });
        store.close();
        done.store(true, Ordering::Release);
    });
}
