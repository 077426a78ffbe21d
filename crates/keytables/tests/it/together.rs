//! Readers see one instant while commits go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use pluvio_keytables::{KeyTable, SpanRetention, StoreOptions};

use crate::rows::*;

fn values(table: &KeyTable) -> Vec<i64> {
    let column = table.schema().index_of("v").unwrap();
    let batches = table.snapshot().batches(Some(&[column])).unwrap();
    batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

#[test]
fn all_tables_spans_and_notes_change_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        checkpoint_interval_ms: 10,
        memory_budget_bytes: 400 << 10,
        ..StoreOptions::default()
    };
    let store = open_real(folder.path(), options);
    let tables = create_all(&store);
    let retention = SpanRetention { age_ms: None, bytes_max: 1 << 20 };
    let span = store.create_span("s", span_schema(), retention).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = || {
            let mut last = 0;
            let mut looks = 0;
            while !done.load(Ordering::Acquire) || looks == 0 {
                looks += 1;
                let (one, two, tag, note) = store.read_together(|| {
                    let (a, b) = (tables[0].snapshot(), tables[3].snapshot());
                    let one = a.batches(None).unwrap();
                    let two = b.batches(None).unwrap();
                    (one, two, span.last_tag().unwrap_or(0), store.note("n"))
                });
                let seen = |batches: &[arrow::array::RecordBatch]| {
                    let mut seen: Vec<i64> = batches
                        .iter()
                        .flat_map(|b| {
                            b.column_by_name("v").unwrap().as_primitive::<Int64Type>().values().to_vec()
                        })
                        .collect();
                    seen.dedup();
                    seen.iter().for_each(|value| assert_eq!(*value, tag as i64));
                    seen.len()
                };
                assert_eq!(seen(&one) > 0, tag > 0);
                assert_eq!(seen(&two) > 0, tag > 0);
                assert_eq!(note.map_or(0, |note| note[0]), (tag % 256) as u8);
                assert!(tag >= last);
                last = tag;
                let lookup = tables[0].lookup(keys(0, &[1, 50, 99]).columns(), Some(&[2])).unwrap();
                let found = lookup.columns[0].as_primitive::<Int64Type>();
                assert!(found.iter().all(|value| value == found.iter().next().unwrap()), "{found:?}");
            }
        };
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        for tag in 1..=300_u64 {
            let pairs: Vec<(u64, u64)> = (0..100).map(|key| (key, tag)).collect();
            let mut commit = store.begin();
            commit.upsert(&tables[0], rows(0, &pairs));
            commit.upsert(&tables[3], rows(3, &pairs));
            commit.append(&span, tag, span_rows(tag as i64, 1));
            commit.note("n", Some(vec![(tag % 256) as u8].into()));
            commit.commit().unwrap();
        }
        done.store(true, Ordering::Release);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    assert_eq!(values(&tables[0]), vec![300; 100]);
    assert!(Arc::strong_count(&tables[0]) >= 1);
}

#[test]
fn the_version_tells_of_changes() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_real(folder.path(), quiet());
    let tables = create_all(&store);
    let before = (tables[0].version(), tables[1].version());
    let mut commit = store.begin();
    commit.upsert(&tables[0], rows(0, &[(1, 1)]));
    commit.commit().unwrap();
    assert_ne!(tables[0].version(), before.0);
    assert_eq!(tables[1].version(), before.1);
    assert_eq!(tables[0].snapshot().version(), tables[0].version());
}
