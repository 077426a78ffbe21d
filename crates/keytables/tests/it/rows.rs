//! Tables of several key shapes, and rows that are told by two numbers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::*;
use arrow::compute::{concat_batches, sort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use pluvio_foundation::random::SeededRandom;
use pluvio_foundation::{Clock, Disk, Metrics, Random, RealDisk, SystemClock};
use pluvio_keytables::{KeyTable, Store, StoreOptions};

/// What a table should hold: key number to value number.
pub type Model = BTreeMap<u64, u64>;

/// How many kinds of table there are.
pub const KINDS: usize = 5;
/// Key numbers are below this.
pub const KEYS: u64 = 400;

/// The key columns of a kind; key number 0 is NULL where the kind allows it.
fn key_columns(kind: usize, keys: &[u64]) -> Vec<ArrayRef> {
    let some = |key: &u64| (*key != 0).then_some(*key);
    let pair = |key: &u64| (!key.is_multiple_of(7)).then_some((*key % 7) as i64);
    match kind {
        0 => vec![Arc::new(Int64Array::from_iter(
            keys.iter().map(|k| some(k).map(|k| k as i64 * 7919 - 1000)),
        ))],
        1 => {
            let text = |k: &u64| some(k).map(|k| if k == 1 { String::new() } else { format!("key\0{k}") });
            vec![Arc::new(StringArray::from_iter(keys.iter().map(text)))]
        }
        2 => vec![Arc::new(Date32Array::from_iter(keys.iter().map(|k| some(k).map(|k| 100 - k as i32))))],
        3 => vec![
            Arc::new(TimestampMillisecondArray::from_iter(
                keys.iter().map(|k| pair(k).map(|at| at * 60_000)),
            )),
            Arc::new(StringViewArray::from_iter(
                keys.iter().map(|k| Some(format!("company number {}", k / 7))),
            )),
        ],
        _ => vec![
            Arc::new(BooleanArray::from_iter(keys.iter().map(|k| Some(k % 2 == 0)))),
            Arc::new(Float64Array::from_iter(keys.iter().map(|k| some(k).map(|k| -(k as f64) / 3.0)))),
        ],
    }
}

/// Where the key columns of a kind stand, in key order.
pub fn key(kind: usize) -> Vec<usize> {
    match kind {
        0 => vec![0],
        1 | 2 => vec![2],
        3 => vec![0, 3],
        _ => vec![3, 1],
    }
}

/// The columns of a kind.
pub fn schema(kind: usize) -> SchemaRef {
    rows(kind, &[(1, 1)]).schema()
}

/// Rows told by key number and value number.
pub fn rows(kind: usize, pairs: &[(u64, u64)]) -> RecordBatch {
    let keys: Vec<u64> = pairs.iter().map(|(key, _)| *key).collect();
    let values = || pairs.iter().map(|(_, value)| *value);
    let text = |v: u64| (v % 10 != 3).then(|| format!("the value of number {v}"));
    let list =
        |v: u64| (v % 4 != 1).then(|| (0..v % 4).map(|n| (n != 1).then_some(n as i64)).collect::<Vec<_>>());
    let mut others: Vec<(&str, ArrayRef, bool)> = vec![
        ("k", Arc::new(Int64Array::from_iter_values(keys.iter().map(|key| *key as i64))), false),
        ("v", Arc::new(Int64Array::from_iter_values(values().map(|value| value as i64))), false),
        ("text", Arc::new(StringArray::from_iter(values().map(text))), true),
        ("list", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(values().map(list))), true),
    ];
    let mut columns: Vec<(&str, ArrayRef, bool)> = Vec::new();
    let names = ["key a", "key b"];
    let mut parts = key_columns(kind, &keys).into_iter().zip(names);
    let mut placed: Vec<(usize, (ArrayRef, &str))> = key(kind).into_iter().zip(parts.by_ref()).collect();
    placed.sort_by_key(|(column, _)| *column);
    let mut placed = placed.into_iter().peekable();
    while !others.is_empty() || placed.peek().is_some() {
        match placed.next_if(|(column, _)| *column == columns.len()) {
            Some((_, (array, name))) => columns.push((name, array, true)),
            None => columns.push(others.remove(0)),
        }
    }
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array, null)| Field::new(*name, array.data_type().clone(), *null))
        .collect();
    let arrays = columns.into_iter().map(|(_, array, _)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

/// Keys alone, as a deletion takes them.
pub fn keys(kind: usize, keys: &[u64]) -> RecordBatch {
    let columns = key_columns(kind, keys);
    let named = columns.into_iter().enumerate().map(|(at, array)| (format!("c{at}"), array, true));
    RecordBatch::try_from_iter_with_nullable(named).unwrap()
}

/// Fails unless the table holds exactly the model, by snapshot and by lookup.
pub fn assert_holds(table: &KeyTable, kind: usize, model: &Model, context: &str) {
    let pairs: Vec<(u64, u64)> = model.iter().map(|(key, value)| (*key, *value)).collect();
    let snapshot = table.snapshot();
    assert_eq!(snapshot.len(), model.len(), "{context}: rows of a snapshot");
    assert_eq!(table.len(), model.len(), "{context}: rows");
    let batches = snapshot.batches(None).unwrap();
    let all = concat_batches(&table.schema(), &batches).unwrap();
    let order = sort_to_indices(all.column_by_name("k").unwrap(), None, None).unwrap();
    let sorted = take_record_batch(&all, &order).unwrap();
    assert_eq!(sorted, rows(kind, &pairs), "{context}: snapshot of kind {kind}");

    let asked: Vec<u64> = (0..KEYS).rev().chain([5, 5, 0]).collect();
    let lookup = table.lookup(&key_columns(kind, &asked), None).unwrap();
    let present: Vec<u64> = asked.iter().copied().filter(|key| model.contains_key(key)).collect();
    let mask = BooleanArray::from(asked.iter().map(|key| model.contains_key(key)).collect::<Vec<_>>());
    assert_eq!(lookup.found, mask, "{context}: found of kind {kind}");
    let wanted: Vec<(u64, u64)> = present.iter().map(|key| (*key, model[key])).collect();
    let wanted = rows(kind, &wanted);
    for (column, array) in lookup.columns.iter().enumerate() {
        let found = arrow::compute::filter(array, &lookup.found).unwrap();
        assert_eq!(&found, wanted.column(column), "{context}: column {column} of kind {kind}");
        let absent = arrow::compute::filter(array, &arrow::compute::not(&lookup.found).unwrap()).unwrap();
        assert_eq!(absent.null_count(), absent.len(), "{context}: absent keys give NULL");
    }
    let projected = table.lookup(&key_columns(kind, &asked), Some(&[3, 1])).unwrap();
    assert_eq!(projected.columns, [lookup.columns[3].clone(), lookup.columns[1].clone()]);
    assert_eq!(
        snapshot.batches(Some(&[1])).unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(),
        model.len()
    );
}

/// A number below `bound`.
pub fn below(random: &SeededRandom, bound: u64) -> u64 {
    random.next_u64() % bound
}

/// Options that do nothing by themselves.
pub fn quiet() -> StoreOptions {
    StoreOptions { background: false, ..StoreOptions::default() }
}

/// Opens a store on the machine's own disk.
pub fn open_real(folder: &Path, options: StoreOptions) -> Arc<Store> {
    open(folder, Arc::new(RealDisk), Arc::new(SystemClock), options)
}

/// Opens a store.
pub fn open(folder: &Path, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, options: StoreOptions) -> Arc<Store> {
    Store::open(folder, disk, clock, Metrics::default(), options).unwrap()
}

/// A table of every kind, grouped by the first key column.
pub fn create_all(store: &Store) -> Vec<Arc<KeyTable>> {
    (0..KINDS)
        .map(|kind| store.create_grouped_table(&format!("t{kind}"), schema(kind), &key(kind), 1).unwrap())
        .collect()
}

/// The schema of the spans used in tests.
pub fn span_schema() -> SchemaRef {
    let at = DataType::Timestamp(TimeUnit::Millisecond, None);
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false), Field::new("at", at, true)]))
}

/// Rows of a span: consecutive numbers.
pub fn span_rows(first: i64, count: i64) -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + count));
    let times = (first..first + count).map(|n| (n % 3 != 0).then_some(n * 1000));
    let times: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter(times));
    RecordBatch::try_new(span_schema(), vec![numbers, times]).unwrap()
}

/// The numbers in what a span returned.
pub fn numbers(found: &[(u64, RecordBatch)]) -> Vec<i64> {
    found
        .iter()
        .flat_map(|(_, batch)| batch.column(0).as_primitive::<Int64Type>().values().to_vec())
        .collect()
}
