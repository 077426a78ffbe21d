//! Lookups by the leading columns of the key, against a model: through merges,
//! deletions, checkpoints, restarts, and with rows that are not in memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use pluvio_foundation::random::SeededRandom;
use pluvio_foundation::{ErrorKind, Random};
use pluvio_keytables::{KeyTable, Store, StoreOptions};

use crate::rows::{below, open_real, quiet};

/// Row numbers are below this.
const ROWS: u64 = 1500;
/// Every fourth row is of group 0, the others of the groups below this.
const GROUPS: u64 = 90;

/// A table's key columns in the schema, and how many make the group.
const KINDS: [(&[usize], usize); 4] = [(&[0, 4], 1), (&[1, 2, 4], 2), (&[1, 2, 4], 1), (&[4], 1)];

/// Row number to value.
type Model = HashMap<u64, i64>;

fn group_of(row: u64) -> u64 {
    if row.is_multiple_of(4) { 0 } else { row % GROUPS }
}

fn schema() -> SchemaRef {
    let field = |name, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        field("number", DataType::Int64),
        field("text", DataType::Utf8View),
        field("part", DataType::Int32),
        field("v", DataType::Int64),
        Field::new("id", DataType::FixedSizeBinary(16), false),
        field("note", DataType::Utf8),
    ]))
}

/// The columns before the row's own: of group `n`, with NULL for group 1. Several
/// texts are beginnings of others.
fn group_columns(groups: &[u64]) -> [ArrayRef; 3] {
    let texts = ["", "a", "a\0", "a\0b", "ab", "a text of more than twelve bytes"];
    let some = |group: &u64| (*group != 1).then_some(*group);
    let text = |group: u64| texts[group as usize % texts.len()];
    [
        Arc::new(Int64Array::from_iter(groups.iter().map(|g| some(g).map(|g| 5 - g as i64)))),
        Arc::new(StringViewArray::from_iter(groups.iter().map(|g| some(g).map(text)))),
        Arc::new(Int32Array::from_iter(groups.iter().map(|g| some(g).map(|g| g as i32 / 6)))),
    ]
}

fn ids(rows: &[u64]) -> ArrayRef {
    let mut ids = FixedSizeBinaryBuilder::with_capacity(rows.len(), 16);
    rows.iter().for_each(|row| ids.append_value(u128::from(*row).to_le_bytes()).unwrap());
    Arc::new(ids.finish())
}

fn rows(pairs: &[(u64, i64)]) -> RecordBatch {
    let rows: Vec<u64> = pairs.iter().map(|(row, _)| *row).collect();
    let [numbers, texts, parts] = group_columns(&rows.iter().map(|row| group_of(*row)).collect::<Vec<_>>());
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(pairs.iter().map(|(_, value)| *value)));
    let notes = pairs.iter().map(|(row, value)| (row % 3 > 0).then(|| format!("{row} is {value}")));
    let notes: ArrayRef = Arc::new(StringArray::from_iter(notes));
    RecordBatch::try_new(schema(), vec![numbers, texts, parts, values, ids(&rows), notes]).unwrap()
}

fn create_all(store: &Store) -> Vec<Arc<KeyTable>> {
    let create = |(kind, (key, group)): (usize, &(&[usize], usize))| {
        store.create_grouped_table(&format!("t{kind}"), schema(), key, *group).unwrap()
    };
    KINDS.iter().enumerate().map(create).collect()
}

/// What tells a row's group in a table of this kind.
fn group_in(kind: usize, row: u64) -> (u64, bool) {
    let group = group_of(row);
    match kind {
        0 | 1 => (group, false),
        2 => (group % 6, group == 1),
        _ => (row, false),
    }
}

fn assert_holds(table: &KeyTable, kind: usize, model: &Model, random: &SeededRandom, context: &str) {
    let mut asked: Vec<u64> = (0..below(random, 12)).map(|_| below(random, ROWS)).collect();
    asked.extend([1, 91, 3, 3]);
    let groups: Vec<u64> = asked.iter().map(|row| group_of(*row)).collect();
    let [numbers, texts, parts] = group_columns(&groups);
    let keys = match kind {
        0 => vec![numbers],
        1 => vec![texts, parts],
        2 => vec![texts],
        _ => vec![ids(&asked)],
    };
    let lookup = table.lookup_group(&keys, None).unwrap();
    let found = RecordBatch::try_new(schema(), lookup.columns).unwrap();
    assert!(lookup.probes.values().is_sorted(), "{context}");
    let number = |id: &[u8]| u128::from_le_bytes(id.try_into().unwrap()) as u64;
    let ids = found.column(4).as_fixed_size_binary();
    let numbers: Vec<u64> = ids.iter().map(|id| number(id.unwrap())).collect();
    let values = found.column(3).as_primitive::<Int64Type>().values();
    let pairs: Vec<(u64, i64)> = numbers.iter().copied().zip(values.iter().copied()).collect();
    assert_eq!(found, rows(&pairs), "{context}: the columns of a row belong together");
    let mut seen: Vec<(usize, u64, i64)> = lookup
        .probes
        .values()
        .iter()
        .zip(&pairs)
        .map(|(probe, (row, value))| (*probe as usize, *row, *value))
        .collect();
    seen.sort_unstable();
    let mut wanted = Vec::new();
    for (probe, row) in asked.iter().enumerate() {
        let of_it = model.iter().filter(|(other, _)| group_in(kind, **other) == group_in(kind, *row));
        wanted.extend(of_it.map(|(row, value)| (probe, *row, *value)));
    }
    wanted.sort_unstable();
    assert_eq!(seen, wanted, "{context}: kind {kind}");
    let projected = table.lookup_group(&keys, Some(&[3])).unwrap();
    assert_eq!(projected.columns.len(), 1);
    assert_eq!(projected.probes.len(), seen.len());
    assert_eq!(table.len(), model.len(), "{context}: rows of kind {kind}");
}

fn change(random: &SeededRandom, store: &Store, tables: &[Arc<KeyTable>], model: &mut Model, next: &mut i64) {
    let mut commit = store.begin();
    for _ in 0..=below(random, 3) {
        let count = [1, 5, 60, 500][below(random, 4) as usize];
        let numbers: Vec<u64> = (0..count).map(|_| below(random, ROWS)).collect();
        if below(random, 3) == 0 {
            for (table, (key, _)) in tables.iter().zip(KINDS) {
                let pairs: Vec<(u64, i64)> = numbers.iter().map(|row| (*row, 0)).collect();
                commit.delete(table, rows(&pairs).project(key).unwrap());
            }
            model.retain(|row, _| !numbers.contains(row));
        } else {
            let pairs: Vec<(u64, i64)> = numbers
                .into_iter()
                .map(|row| {
                    *next += 1;
                    (row, *next)
                })
                .collect();
            tables.iter().for_each(|table| commit.upsert(table, rows(&pairs)));
            model.extend(pairs);
        }
    }
    commit.commit().unwrap();
}

fn run(seed: u64, steps: u64, options: &StoreOptions) {
    let random = SeededRandom::new(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut store = open_real(folder.path(), options.clone());
    let mut tables = create_all(&store);
    let (mut model, mut next) = (Model::new(), 0);
    let mut was_partial = false;
    for step in 0..steps {
        match below(&random, 10) {
            0 => store.checkpoint().unwrap(),
            1 => {
                if below(&random, 2) == 0 {
                    store.close();
                }
                drop(store);
                store = open_real(folder.path(), options.clone());
                tables = create_all(&store);
                if below(&random, 2) == 0 {
                    store.load().unwrap();
                }
            }
            _ => change(&random, &store, &tables, &mut model, &mut next),
        }
        for (kind, table) in tables.iter().enumerate() {
            was_partial |= table.is_partial();
            assert_holds(table, kind, &model, &random, &format!("seed {seed} step {step}"));
        }
    }
    if options.memory_budget_bytes < 1 << 20 {
        assert!(was_partial, "seed {seed}");
    } else {
        store.load().unwrap();
        assert!(tables.iter().all(|table| !table.is_partial()), "seed {seed}");
    }
}

#[test]
fn groups_equal_a_model() {
    for seed in 0..4 {
        run(seed, 40, &quiet());
    }
}

#[test]
fn groups_equal_a_model_beyond_the_memory_budget() {
    for seed in 100..104 {
        run(seed, 50, &StoreOptions { memory_budget_bytes: 640 << 10, ..quiet() });
    }
}

#[test]
fn groups_equal_a_model_while_checkpoints_run_by_themselves() {
    let options = StoreOptions {
        memory_budget_bytes: 640 << 10,
        checkpoint_interval_ms: 10,
        journal_bytes_max: 64 << 10,
        ..StoreOptions::default()
    };
    run(200, 60, &options);
}

/// Every commit changes all rows of a group.
#[test]
fn a_group_is_seen_at_one_instant() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        checkpoint_interval_ms: 10,
        memory_budget_bytes: 300 << 10,
        ..StoreOptions::default()
    };
    let store = open_real(folder.path(), options);
    let table = store.create_grouped_table("t", schema(), KINDS[0].0, 1).unwrap();
    let part = |round: i64| (0..40).map(|row| (row * 4, round)).collect::<Vec<_>>();
    let mut commit = store.begin();
    commit.upsert(&table, rows(&part(0)));
    commit.commit().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = || {
            while !done.load(Ordering::Acquire) {
                let [numbers, ..] = group_columns(&[0, 1, 0]);
                let found = table.lookup_group(&[numbers], Some(&[3])).unwrap();
                let values = found.columns[0].as_primitive::<Int64Type>().values();
                assert_eq!(values.len(), 80);
                assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
            }
        };
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        let random = SeededRandom::new(1);
        for round in 1..=200 {
            let mut commit = store.begin();
            commit.upsert(&table, rows(&part(round)));
            // Rows of other groups, so that others leave memory.
            let more: Vec<(u64, i64)> = (0..100).map(|_| (random.next_u64() % 9000 * 10 + 5, 0)).collect();
            commit.upsert(&table, rows(&more));
            commit.commit().unwrap();
        }
        done.store(true, Ordering::Release);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    assert!(table.is_partial());
}

#[test]
fn the_group_is_part_of_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let (key, group) = KINDS[1];
    {
        let store = open_real(folder.path(), quiet());
        let table = store.create_grouped_table("t", schema(), key, group).unwrap();
        assert!(Arc::ptr_eq(&table, &store.create_grouped_table("t", schema(), key, group).unwrap()));
        store.create_table("plain", schema(), key).unwrap();
    }
    let store = open_real(folder.path(), quiet());
    store.create_grouped_table("t", schema(), key, group).unwrap();
    assert_eq!(store.create_table("t", schema(), key).unwrap_err().kind(), ErrorKind::AlreadyExists);
    let other = store.create_grouped_table("t", schema(), key, 1).unwrap_err();
    assert_eq!(other.kind(), ErrorKind::AlreadyExists);
    store.create_grouped_table("plain", schema(), key, 3).unwrap();
    for group in [0, 4] {
        let wrong = store.create_grouped_table("u", schema(), key, group).unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::Invalid);
    }
}

#[test]
fn wrong_questions_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_real(folder.path(), quiet());
    let tables = create_all(&store);
    let [numbers, texts, parts] = group_columns(&[0, 1]);
    let short = numbers.slice(0, 0);
    let kind = |keys: &[ArrayRef], projection| match tables[1].lookup_group(keys, projection) {
        Ok(_) => None,
        Err(error) => Some(error.kind()),
    };
    assert_eq!(kind(&[texts.clone(), parts.clone()], None), None);
    for keys in [vec![], vec![texts.clone()], vec![parts.clone(), texts.clone()], vec![texts.clone(), short]]
    {
        assert_eq!(kind(&keys, None), Some(ErrorKind::Invalid));
    }
    assert_eq!(kind(&[texts, parts], Some(&[6])), Some(ErrorKind::Invalid));
    let none = tables[0].lookup_group(&[numbers.slice(0, 0)], None).unwrap();
    assert_eq!((none.probes.len(), none.columns.len()), (0, 6));
}
