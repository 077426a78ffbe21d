//! Random commits against a model, with snapshots, checkpoints and restarts.

use std::collections::BTreeMap;

use pluvio_foundation::random::SeededRandom;
use pluvio_keytables::{Commit, StoreOptions, TableSnapshot};

use crate::rows::*;

/// Collects random changes of the tables into a commit and the models.
pub fn random_commit(
    random: &SeededRandom,
    commit: &mut Commit,
    tables: &[std::sync::Arc<pluvio_keytables::KeyTable>],
    models: &mut [Model],
    next_value: &mut u64,
) {
    for _ in 0..=below(random, 4) {
        let kind = below(random, KINDS as u64) as usize;
        let count = [1, 3, 40, 300][below(random, 4) as usize];
        if below(random, 3) == 0 {
            let gone: Vec<u64> = (0..count / 2 + 1).map(|_| below(random, KEYS)).collect();
            commit.delete(&tables[kind], keys(kind, &gone));
            for key in gone {
                models[kind].remove(&key);
            }
        } else {
            let pairs: Vec<(u64, u64)> = (0..count)
                .map(|_| {
                    *next_value += 1;
                    (below(random, KEYS), *next_value)
                })
                .collect();
            commit.upsert(&tables[kind], rows(kind, &pairs));
            models[kind].extend(pairs);
        }
    }
}

fn run(seed: u64, steps: u64, options: StoreOptions) {
    let random = SeededRandom::new(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut store = open_real(folder.path(), options.clone());
    let mut tables = create_all(&store);
    let mut models = vec![Model::new(); KINDS];
    let mut next_value = 0;
    let mut kept: Vec<(TableSnapshot, Model)> = Vec::new();
    let mut notes: BTreeMap<String, String> = BTreeMap::new();
    for step in 0..steps {
        let context = format!("seed {seed} step {step}");
        match below(&random, 12) {
            0 => store.checkpoint().unwrap(),
            1 | 2 => {
                let closed = below(&random, 2) == 0;
                if closed {
                    store.close();
                }
                let seq = store.committed_seq();
                kept.clear();
                drop(store);
                store = open_real(folder.path(), options.clone());
                // A store that is left open may have begun a checkpoint, with a frame of its own, meanwhile.
                let opened = store.committed_seq();
                assert!(opened == seq || opened > seq && !closed, "{context}: {opened} after {seq}");
                tables = create_all(&store);
                if below(&random, 3) == 0 {
                    store.load().unwrap();
                }
                for kind in 0..KINDS {
                    assert_holds(&tables[kind], kind, &models[kind], &format!("{context} after a restart"));
                }
            }
            3 => {
                let kind = below(&random, KINDS as u64) as usize;
                kept.push((tables[kind].snapshot(), models[kind].clone()));
            }
            _ => {
                let mut commit = store.begin();
                random_commit(&random, &mut commit, &tables, &mut models, &mut next_value);
                let name = format!("note {}", below(&random, 5));
                if below(&random, 3) == 0 {
                    commit.note(&name, None);
                    notes.remove(&name);
                } else {
                    commit.note(&name, Some(next_value.to_string().into()));
                    notes.insert(name, next_value.to_string());
                }
                let before = store.committed_seq();
                // A checkpoint that makes room has a frame of its own.
                assert!(commit.commit().unwrap() > before, "{context}");
            }
        }
        let kind = below(&random, KINDS as u64) as usize;
        assert_holds(&tables[kind], kind, &models[kind], &context);
        for (name, value) in &notes {
            assert_eq!(store.note(name).as_deref(), Some(value.as_bytes()), "{context}");
        }
        assert_eq!(store.note_names("note ").len(), notes.len(), "{context}");
        for (snapshot, model) in &kept {
            let rows: usize =
                snapshot.batches(Some(&[1])).unwrap().iter().map(|batch| batch.num_rows()).sum();
            assert_eq!(rows, model.len(), "{context}: a snapshot does not change");
        }
    }
}

#[test]
fn the_tables_equal_a_model() {
    for seed in 0..6 {
        run(seed, 60, quiet());
    }
}

#[test]
fn the_tables_equal_a_model_beyond_the_memory_budget() {
    for seed in 100..108 {
        run(seed, 60, StoreOptions { memory_budget_bytes: 160 << 10, ..quiet() });
    }
}

#[test]
fn the_tables_equal_a_model_while_checkpoints_run_by_themselves() {
    let options = StoreOptions {
        memory_budget_bytes: 200 << 10,
        checkpoint_interval_ms: 10,
        journal_bytes_max: 64 << 10,
        ..StoreOptions::default()
    };
    run(200, 150, options);
}

#[test]
fn a_big_table_is_loaded_again() {
    let folder = tempfile::tempdir().unwrap();
    let count = 300_000_u64;
    let pairs: Vec<(u64, u64)> = (0..count).map(|key| (key * 7 % count, key)).collect();
    {
        let store = open_real(folder.path(), quiet());
        let table = store.create_table("big", schema(0), &key(0)).unwrap();
        let mut commit = store.begin();
        commit.upsert(&table, rows(0, &pairs));
        commit.commit().unwrap();
        assert_eq!(table.len() as u64, count);
        store.close();
    }
    // Once whole, once left in the keyed store.
    for budget in [1 << 30, 24 << 20] {
        let store = open_real(folder.path(), StoreOptions { memory_budget_bytes: budget, ..quiet() });
        let table = store.table("big").unwrap();
        assert_eq!(table.len() as u64, count);
        store.checkpoint().unwrap();
        store.load().unwrap();
        assert_eq!(table.is_partial(), budget < 1 << 30);
        assert!(table.bytes() <= budget);
        let asked: Vec<u64> = (0..1000).map(|key| key * 299).collect();
        let lookup = table.lookup(keys(0, &asked).columns(), Some(&[1])).unwrap();
        assert_eq!(lookup.found.true_count(), 1000);
        let wanted = arrow::array::Int64Array::from_iter_values(asked.iter().map(|key| *key as i64));
        assert_eq!(lookup.columns[0].as_ref(), &wanted as &dyn arrow::array::Array);
        let rows: usize = table.snapshot().scan(Some(&[1])).map(|batch| batch.unwrap().num_rows()).sum();
        assert_eq!(rows as u64, count);
    }
}
