//! Lake tables as their users see them: written by epochs, killed, reopened,
//! compacted, expired, and read by SQL.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Poll;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float64Array, Int64Array,
    LargeStringArray, ListArray, RecordBatch, StringArray, StringViewArray, StructArray,
    TimestampMicrosecondArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::{SessionConfig, SessionContext};
use pluvio_foundation::{Clock, ErrorKind, Metrics};
use pluvio_lake::{Committed, LakeCompression, LakeError, LakeOptions, LakeSnapshot, LakeTable, LakeWriter};

/// A clock that stands until it is set.
#[derive(Debug, Default)]
struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn monotonic_us(&self) -> u64 {
        0
    }
}

const SECOND_US: i64 = 1_000_000;
const START_US: i64 = 1_700_000_000 * SECOND_US;

struct Fixture {
    folder: tempfile::TempDir,
    clock: Arc<SetClock>,
    metrics: Metrics,
    options: LakeOptions,
}

impl Fixture {
    fn new() -> Self {
        let clock = Arc::new(SetClock(AtomicI64::new(START_US)));
        let metrics = Metrics::default();
        let options =
            LakeOptions { clock: clock.clone(), metrics: metrics.clone(), ..LakeOptions::default() };
        Self { folder: tempfile::tempdir().unwrap(), clock, metrics, options }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("payments")
    }

    async fn open(&self) -> Arc<LakeTable> {
        LakeTable::open(&self.path(), "payments", schema(), self.options.clone()).await.unwrap()
    }

    fn pass_seconds(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds * SECOND_US, Ordering::SeqCst);
    }

    fn data_files(&self) -> Vec<String> {
        files_in(&self.path(), ".parquet")
    }
}

fn files_in(folder: &Path, end: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(end)).collect();
    names.sort();
    names
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("amount", DataType::Float64, true),
        Field::new("paid_at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("person", DataType::Utf8, true),
    ]))
}

/// Rows `from..to`; every seventh amount is null.
fn rows(from: i64, to: i64) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(from..to)),
        Arc::new(Float64Array::from_iter((from..to).map(|i| (i % 7 != 0).then_some(i as f64 / 4.0)))),
        Arc::new(TimestampMicrosecondArray::from_iter_values((from..to).map(|i| START_US + i))),
        Arc::new(StringArray::from_iter_values((from..to).map(|i| format!("person {i:08}")))),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// A session without tasks of its own, which might outlive a query.
fn context() -> SessionContext {
    SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1))
}

async fn query(snapshot: &LakeSnapshot, sql: &str) -> String {
    let context = context();
    context.register_table("t", Arc::clone(&snapshot.provider)).unwrap();
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    pretty_format_batches(&batches).unwrap().to_string()
}

/// The cells of the answer's rows.
async fn answer(table: &LakeTable, sql: &str) -> Vec<Vec<String>> {
    let text = query(&table.snapshot().await.unwrap(), sql).await;
    let line = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    text.lines().filter(|line| line.starts_with('|')).skip(1).map(line).collect()
}

async fn ids(snapshot: &LakeSnapshot) -> Vec<i64> {
    let context = context();
    context.register_table("t", Arc::clone(&snapshot.provider)).unwrap();
    let batches = context.sql("SELECT id FROM t ORDER BY id").await.unwrap().collect().await.unwrap();
    let column = |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    batches.iter().flat_map(column).collect()
}

#[tokio::test]
async fn epochs_over_several_commits_are_read_back_and_survive_reopening() {
    let fixture = Fixture::new();
    let table = fixture.open().await;
    assert_eq!((table.version(), table.rows(), table.committed_epoch("job")), (0, 0, None));
    assert_eq!(ids(&table.snapshot().await.unwrap()).await, [] as [i64; 0]);

    let mut writer = table.writer("job");
    writer.write(1, &rows(0, 100)).unwrap();
    writer.write(2, &rows(100, 250)).unwrap();
    assert_eq!((writer.buffered_rows(), writer.last_epoch()), (250, Some(2)));
    assert!(writer.buffered_bytes() > 0);
    assert_eq!(table.rows(), 0);
    let committed = writer.commit().await.unwrap();
    assert_eq!(committed, Some(Committed { version: 1, rows: 250, epoch: 2 }));
    writer.write(7, &rows(250, 300)).unwrap();
    writer.commit().await.unwrap().unwrap();
    assert_eq!(writer.commit().await.unwrap(), None);
    assert_eq!((table.version(), table.rows(), table.files()), (2, 300, 2));

    let reading = |name| {
        let readings = fixture.metrics.readings();
        readings.into_iter().find(|r| r.name == name && r.label == "payments").unwrap().value
    };
    assert_eq!((reading("lake_rows"), reading("lake_files")), (300, 2));
    assert_eq!((reading("lake_version"), reading("lake_commits")), (2, 2));
    assert_eq!(reading("lake_bytes"), table.bytes());

    drop((writer, table));
    let table = fixture.open().await;
    assert_eq!((table.version(), table.rows(), table.files()), (2, 300, 2));
    assert_eq!(ids(&table.snapshot().await.unwrap()).await, (0..300).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_existing_table_opens_with_its_own_columns_and_refuses_others() {
    let fixture = Fixture::new();
    drop(fixture.open().await);
    let table = LakeTable::open_existing(&fixture.path(), fixture.options.clone()).await.unwrap();
    assert_eq!(table.schema(), schema());
    assert_eq!(table.name(), "payments");

    let locked = LakeTable::open_existing(&fixture.path(), fixture.options.clone()).await.unwrap_err();
    assert!(matches!(locked, LakeError::Locked { .. }) && locked.kind() == ErrorKind::Unavailable);
    drop(table);

    let other = Arc::new(Schema::new(vec![Field::new("id", DataType::Utf8, true)]));
    let refused = LakeTable::open(&fixture.path(), "payments", other, fixture.options.clone()).await;
    assert!(matches!(refused.unwrap_err(), LakeError::Schema { .. }));

    let nothing = LakeTable::open_existing(fixture.folder.path(), fixture.options.clone()).await;
    assert_eq!(nothing.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn epochs_sent_again_are_skipped() {
    let fixture = Fixture::new();
    let table = fixture.open().await;
    let mut writer = table.writer("job");
    writer.write(3, &rows(0, 10)).unwrap();
    writer.commit().await.unwrap().unwrap();
    drop((writer, table));

    let table = fixture.open().await;
    assert_eq!(table.committed_epoch("job"), Some(3));
    let mut writer = table.writer("job");
    writer.write(2, &rows(0, 5)).unwrap();
    writer.write(3, &rows(5, 10)).unwrap();
    assert_eq!((writer.buffered_rows(), writer.last_epoch()), (0, Some(3)));
    assert_eq!(writer.commit().await.unwrap(), None);
    writer.write(4, &rows(10, 12)).unwrap();
    assert_eq!(writer.commit().await.unwrap().unwrap().rows, 2);
    assert_eq!(ids(&table.snapshot().await.unwrap()).await, (0..12).collect::<Vec<_>>());

    let back = writer.write(3, &rows(0, 1)).unwrap_err();
    assert!(matches!(back, LakeError::EpochWentBack { epoch: 3, last: 4, .. }), "{back}");
    assert_eq!(table.writer("other job").last_epoch(), None);
}

#[tokio::test]
async fn jobs_have_epochs_of_their_own_through_checkpoints() {
    let mut fixture = Fixture::new();
    fixture.options.checkpoint_versions = 2;
    fixture.options.log_retention_ms = 0;
    let table = fixture.open().await;
    let (mut one, mut two) = (table.writer("one"), table.writer("two"));
    one.write(10, &rows(0, 1)).unwrap();
    one.commit().await.unwrap();
    two.write(5, &rows(1, 2)).unwrap();
    two.commit().await.unwrap();
    fixture.clock.0.store(i64::MAX / 2, Ordering::SeqCst);
    let report = table.maintain().await.unwrap();
    assert!(report.checkpointed && report.log_entries_deleted > 0, "{report:?}");
    one.write(11, &rows(2, 3)).unwrap();
    one.commit().await.unwrap();
    drop((one, two, table));

    let log = fixture.path().join("_delta_log");
    assert_eq!(files_in(&log, ".checkpoint.parquet").len(), 1);
    assert!(!files_in(&log, ".json").contains(&format!("{:020}.json", 0)));
    let table = fixture.open().await;
    assert_eq!((table.committed_epoch("one"), table.committed_epoch("two")), (Some(11), Some(5)));
    let epochs = table.snapshot().await.unwrap().epochs;
    assert_eq!(BTreeMap::from_iter(epochs), BTreeMap::from([("one".into(), 11), ("two".into(), 5)]));
    assert_eq!(ids(&table.snapshot().await.unwrap()).await, [0, 1, 2]);
}

#[tokio::test]
async fn what_was_not_committed_leaves_nothing() {
    let fixture = Fixture::new();
    let table = fixture.open().await;
    let mut writer = table.writer("job");
    writer.write(1, &rows(0, 10)).unwrap();
    assert_eq!(fixture.data_files().len(), 1);
    drop(writer);
    assert_eq!(fixture.data_files().len(), 0);
    let mut writer = table.writer("job");
    writer.write(1, &rows(0, 10)).unwrap();
    writer.abandon();
    assert_eq!((fixture.data_files().len(), table.rows(), table.version()), (0, 0, 0));
}

#[tokio::test]
async fn files_of_a_killed_process_are_swept_at_open() {
    let fixture = Fixture::new();
    let table = fixture.open().await;
    let mut writer = table.writer("job");
    writer.write(1, &rows(0, 10)).unwrap();
    writer.commit().await.unwrap();
    drop((writer, table));

    let orphan = fixture.path().join("pluvio-000000000000-killed.parquet");
    let foreign = fixture.path().join("part-0-of-someone-else.parquet");
    let fresh = fixture.path().join("pluvio-000000000000-fresh.parquet");
    let staged = fixture.path().join("_delta_log/00000000000000000002.json#1");
    for path in [&orphan, &foreign, &fresh, &staged] {
        std::fs::write(path, b"PAR1").unwrap();
    }
    let past = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    for path in [&orphan, &foreign] {
        std::fs::File::options().write(true).open(path).unwrap().set_modified(past).unwrap();
    }
    let table = fixture.open().await;
    let there = [&orphan, &staged, &foreign, &fresh].map(|path| path.exists());
    assert_eq!(there, [false, false, true, true]);
    assert_eq!(ids(&table.snapshot().await.unwrap()).await, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_kill_after_the_commit_and_before_the_answer_repeats_nothing() {
    let fixture = Fixture::new();
    let table = fixture.open().await;
    let mut writer = table.writer("job");
    writer.write(1, &rows(0, 10)).unwrap();
    // The answer never arrives: the caller only has the epochs it sent.
    drop(writer.commit().await);
    drop((writer, table));
    let table = fixture.open().await;
    let mut writer = table.writer("job");
    for epoch in 1..=2 {
        writer.write(epoch, &rows((epoch - 1) * 10, epoch * 10)).unwrap();
    }
    assert_eq!(writer.commit().await.unwrap().unwrap().rows, 10);
    assert_eq!(ids(&table.snapshot().await.unwrap()).await, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn two_writers_of_one_job_cannot_both_bring_an_epoch() {
    let fixture = Fixture::new();
    let table = fixture.open().await;
    let (mut first, mut second, mut third) = (table.writer("j"), table.writer("j"), table.writer("j"));
    first.write(1, &rows(0, 10)).unwrap();
    second.write(1, &rows(0, 10)).unwrap();
    third.write(1, &rows(0, 10)).unwrap();
    third.write(2, &rows(10, 20)).unwrap();
    assert!(first.commit().await.unwrap().is_some());
    assert_eq!(second.commit().await.unwrap(), None);
    let overlap = third.commit().await.unwrap_err();
    assert!(matches!(overlap, LakeError::Overlap { committed: 1, .. }), "{overlap}");
    drop((second, third));
    assert_eq!((table.rows(), fixture.data_files().len()), (10, 1));
}

#[tokio::test]
async fn a_commit_that_fails_can_be_tried_again() {
    let fixture = Fixture::new();
    let table = fixture.open().await;
    let mut writer = table.writer("job");
    writer.write(1, &rows(0, 10)).unwrap();
    let log = fixture.path().join("_delta_log");
    let aside = fixture.path().join("_aside");
    std::fs::rename(&log, &aside).unwrap();
    writer.commit().await.unwrap_err();
    assert_eq!(fixture.data_files().len(), 1);
    std::fs::rename(&aside, &log).unwrap();
    assert_eq!(writer.commit().await.unwrap().unwrap(), Committed { version: 1, rows: 10, epoch: 1 });
    assert_eq!(ids(&table.snapshot().await.unwrap()).await, (0..10).collect::<Vec<_>>());
}

/// Commits and is dropped as soon as the log has the entry.
async fn commit_without_answer(fixture: &Fixture, writer: &mut LakeWriter, version: i64) {
    let entry = fixture.path().join(format!("_delta_log/{version:020}.json"));
    let mut commit = std::pin::pin!(writer.commit());
    let answered = std::future::poll_fn(|context| match commit.as_mut().poll(context) {
        Poll::Ready(_) => Poll::Ready(true),
        Poll::Pending if entry.exists() => Poll::Ready(false),
        Poll::Pending => Poll::Pending,
    });
    assert!(!answered.await);
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_keeps_its_files_and_is_not_repeated() {
    let fixture = Fixture::new();
    let table = fixture.open().await;
    let mut writer = table.writer("job");
    writer.write(1, &rows(0, 10)).unwrap();
    commit_without_answer(&fixture, &mut writer, 1).await;
    drop(writer);
    assert_eq!((fixture.data_files().len(), table.committed_epoch("job")), (1, None));
    let mut writer = table.writer("job");
    writer.write(1, &rows(0, 10)).unwrap();
    assert_eq!(writer.commit().await.unwrap(), None);
    assert_eq!((fixture.data_files().len(), table.committed_epoch("job")), (1, Some(1)));
    writer.write(2, &rows(10, 20)).unwrap();
    assert_eq!(writer.commit().await.unwrap().unwrap().version, 2);
    assert_eq!(ids(&table.snapshot().await.unwrap()).await, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_writer_goes_on_after_a_commit_whose_answer_was_lost() {
    let fixture = Fixture::new();
    let table = fixture.open().await;
    let mut writer = table.writer("job");
    writer.write(1, &rows(0, 10)).unwrap();
    commit_without_answer(&fixture, &mut writer, 1).await;
    writer.write(2, &rows(10, 15)).unwrap();
    let committed = writer.commit().await.unwrap();
    assert_eq!(committed, Some(Committed { version: 2, rows: 15, epoch: 2 }));
    assert_eq!((fixture.data_files().len(), table.files()), (2, 2));
    assert_eq!(ids(&table.snapshot().await.unwrap()).await, (0..15).collect::<Vec<_>>());

    writer.write(3, &rows(15, 20)).unwrap();
    commit_without_answer(&fixture, &mut writer, 3).await;
    let committed = writer.commit().await.unwrap();
    assert_eq!(committed, Some(Committed { version: 3, rows: 5, epoch: 3 }));
    assert_eq!(ids(&table.snapshot().await.unwrap()).await, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn commits_of_another_delta_writer_are_taken_in() {
    let fixture = Fixture::new();
    let table = fixture.open().await;
    let mut writer = table.writer("job");
    writer.write(1, &rows(0, 10)).unwrap();
    writer.commit().await.unwrap();
    let url = deltalake::ensure_table_uri(fixture.path().to_str().unwrap()).unwrap();
    let outside = deltalake::open_table(url).await.unwrap();
    let zone = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let batch = rows(100, 110);
    let columns: Vec<_> = batch
        .schema()
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| match field.name().as_str() {
            "paid_at" => ("paid_at", arrow::compute::cast(column, &zone).unwrap()),
            name => (name, Arc::clone(column)),
        })
        .map(|(name, column)| (Field::new(name, column.data_type().clone(), name != "id"), column))
        .collect();
    let (fields, columns): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    outside.write(vec![batch]).await.unwrap();

    writer.write(2, &rows(10, 20)).unwrap();
    assert_eq!(writer.commit().await.unwrap().unwrap().version, 3);
    let expected: Vec<_> = (0..20).chain(100..110).collect();
    assert_eq!(ids(&table.snapshot().await.unwrap()).await, expected);
    assert_eq!((table.rows(), table.committed_epoch("job")), (30, Some(2)));
}

#[tokio::test]
async fn compaction_keeps_every_row_its_order_and_the_epoch() {
    let fixture = Fixture::new();
    let table = fixture.open().await;
    let mut writer = table.writer("job");
    for epoch in 0..20 {
        writer.write(epoch, &rows(epoch * 10, epoch * 10 + 10)).unwrap();
        writer.commit().await.unwrap();
        fixture.pass_seconds(1);
    }
    let sums = "SELECT count(*), count(amount), sum(amount), min(paid_at), max(person) FROM t";
    let before = answer(&table, sums).await;
    assert_eq!(table.files(), 20);
    let report = table.maintain().await.unwrap();
    assert_eq!((report.files_compacted, report.files_deleted), (20, 0));
    assert!(report.more());
    assert_eq!((table.files(), table.rows(), table.version()), (1, 200, 21));
    assert_eq!(answer(&table, sums).await, before);
    assert_eq!(table.committed_epoch("job"), Some(19));
    let in_order: Vec<_> = (0..200).map(|i| vec![i.to_string()]).collect();
    assert_eq!(answer(&table, "SELECT id FROM t").await, in_order);

    assert_eq!(fixture.data_files().len(), 21);
    assert_eq!(table.maintain().await.unwrap(), Default::default());
    fixture.pass_seconds(3601);
    assert_eq!(table.maintain().await.unwrap().files_deleted, 20);
    assert_eq!(fixture.data_files().len(), 1);
    drop((writer, table));
    let table = fixture.open().await;
    assert_eq!(table.committed_epoch("job"), Some(19));
    assert_eq!(ids(&table.snapshot().await.unwrap()).await, (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn files_that_left_before_a_restart_are_deleted_after_it() {
    let fixture = Fixture::new();
    let table = fixture.open().await;
    let mut writer = table.writer("job");
    for epoch in 0..8 {
        writer.write(epoch, &rows(epoch, epoch + 1)).unwrap();
        writer.commit().await.unwrap();
    }
    table.maintain().await.unwrap();
    drop((writer, table));
    let table = fixture.open().await;
    assert_eq!((table.maintain().await.unwrap().files_deleted, fixture.data_files().len()), (0, 9));
    fixture.pass_seconds(3601);
    assert_eq!((table.maintain().await.unwrap().files_deleted, fixture.data_files().len()), (8, 1));
}

#[tokio::test]
async fn retention_takes_out_old_files_only() {
    let mut fixture = Fixture::new();
    fixture.options.retention_ms = Some(60_000);
    fixture.options.compaction_files_min = 3;
    let table = fixture.open().await;
    let mut writer = table.writer("job");
    for epoch in 0..4 {
        writer.write(epoch, &rows(epoch * 10, epoch * 10 + 10)).unwrap();
        writer.commit().await.unwrap();
        fixture.pass_seconds(20);
    }
    // Ages are now 80, 60, 40 and 20 seconds.
    let report = table.maintain().await.unwrap();
    assert_eq!((report.files_expired, report.files_compacted), (1, 3));
    assert_eq!(ids(&table.snapshot().await.unwrap()).await, (10..40).collect::<Vec<_>>());
    // A joined file is as young as its youngest row.
    fixture.pass_seconds(40);
    assert_eq!(table.maintain().await.unwrap().files_expired, 0);
    assert_eq!(table.rows(), 30);
    fixture.pass_seconds(1);
    assert_eq!(table.maintain().await.unwrap().files_expired, 1);
    assert_eq!((table.rows(), table.committed_epoch("job")), (0, Some(3)));
}

#[tokio::test]
async fn a_snapshot_stays_as_it_was_and_keeps_its_files() {
    let mut fixture = Fixture::new();
    fixture.options.vacuum_delay_ms = 0;
    let table = fixture.open().await;
    let mut writer = table.writer("job");
    for epoch in 0..8 {
        writer.write(epoch, &rows(epoch, epoch + 1)).unwrap();
        writer.commit().await.unwrap();
    }
    let pinned = table.snapshot().await.unwrap();
    let context = context();
    context.register_table("t", Arc::clone(&pinned.provider)).unwrap();
    let frame = context.sql("SELECT sum(id) FROM t").await.unwrap();
    let plan = frame.create_physical_plan().await.unwrap();
    writer.write(8, &rows(8, 100)).unwrap();
    writer.commit().await.unwrap();
    table.maintain().await.unwrap();
    assert_eq!(table.maintain().await.unwrap().files_deleted, 0);
    assert_eq!((pinned.version, pinned.rows, pinned.epochs["job"]), (8, 8, 7));
    assert_eq!(ids(&pinned).await, (0..8).collect::<Vec<_>>());
    assert_eq!(ids(&table.snapshot().await.unwrap()).await, (0..100).collect::<Vec<_>>());
    // The provider goes, a plan made of it stays.
    drop((pinned, context, frame));
    assert_eq!(table.maintain().await.unwrap().files_deleted, 0);
    let task = Arc::new(datafusion::execution::TaskContext::default());
    let batches = datafusion::physical_plan::collect(Arc::clone(&plan), task).await.unwrap();
    assert_eq!(batches[0].column(0).as_primitive::<Int64Type>().value(0), 28);
    drop(plan);
    assert_eq!(table.maintain().await.unwrap().files_deleted, 9);
    assert_eq!(ids(&table.snapshot().await.unwrap()).await, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn sql_over_a_snapshot_counts_filters_and_prunes() {
    let fixture = Fixture::new();
    let table = fixture.open().await;
    let mut writer = table.writer("job");
    for epoch in 0..5 {
        writer.write(epoch, &rows(epoch * 100, epoch * 100 + 100)).unwrap();
        writer.commit().await.unwrap();
    }
    assert_eq!(answer(&table, "SELECT count(*) FROM t").await, [["500"]]);
    assert_eq!(answer(&table, "SELECT count(*) FROM t WHERE id >= 450").await, [["50"]]);
    assert_eq!(answer(&table, "SELECT id FROM t WHERE person = 'person 00000123'").await, [["123"]]);
    assert_eq!(answer(&table, "SELECT count(*) FROM t WHERE amount IS NULL").await, [["72"]]);
    let last = "SELECT max(paid_at) = arrow_cast(1700000000000499, 'Timestamp(Microsecond, None)'), \
                max(person), min(amount) FROM t";
    assert_eq!(answer(&table, last).await, [["true", "person 00000499", "0.25"]]);
    let after = "SELECT count(*) FROM t WHERE paid_at > TIMESTAMP '2023-11-14T22:13:20.000489'";
    assert_eq!(answer(&table, after).await, [["10"]]);
    let top = "SELECT id FROM t ORDER BY paid_at DESC LIMIT 2";
    assert_eq!(answer(&table, top).await, [["499"], ["498"]]);

    let snapshot = table.snapshot().await.unwrap();
    let plan = query(&snapshot, "EXPLAIN SELECT amount FROM t WHERE id = 250").await;
    assert_eq!(plan.matches("pluvio-").count(), 1, "{plan}");
    let counted = query(&snapshot, "EXPLAIN SELECT count(*) FROM t").await;
    assert!(!counted.contains("pluvio-"), "{counted}");
}

#[tokio::test]
async fn declared_types_come_back_as_declared() {
    let fixture = Fixture::new();
    let texts = vec![Some("a"), None, Some("b")];
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
        Some(vec![Some(1), None]),
        None,
        Some(vec![]),
    ]);
    let inner: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(1), None, Some(3)]));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("flag", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("day", Arc::new(Date32Array::from(vec![Some(1), None, Some(19_000)]))),
        ("view", Arc::new(StringViewArray::from(texts.clone()))),
        ("large", Arc::new(LargeStringArray::from(texts.clone()))),
        ("coded", Arc::new(texts.into_iter().collect::<DictionaryArray<Int32Type>>())),
        ("zoned", Arc::new(TimestampMicrosecondArray::from(vec![1, 2, 3]).with_timezone("+02:00"))),
        ("coarse", Arc::new(TimestampMillisecondArray::from(vec![1, 2, 3]))),
        ("money", Arc::new(Decimal128Array::from(vec![1, -2, 3]).with_precision_and_scale(9, 2).unwrap())),
        (
            "wide",
            Arc::new(
                Decimal128Array::from(vec![i128::from(i64::MAX), -2, 3])
                    .with_precision_and_scale(38, 10)
                    .unwrap(),
            ),
        ),
        ("list", Arc::new(list)),
        (
            "pair",
            Arc::new(StructArray::from(vec![(
                Arc::new(Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true)),
                inner,
            )])),
        ),
        ("odd", Arc::new(Float64Array::from(vec![1.0, f64::NAN, 2.0]))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)));
    let batch = batch.unwrap();
    let path = fixture.path();
    for compression in [LakeCompression::Zstd(3), LakeCompression::Snappy, LakeCompression::Lz4] {
        let options = LakeOptions { compression, ..fixture.options.clone() };
        let table = LakeTable::open(&path, "payments", batch.schema(), options).await.unwrap();
        let before = table.rows();
        let mut writer = table.writer(&format!("{compression:?}"));
        writer.write(1, &batch).unwrap();
        writer.commit().await.unwrap();
        assert_eq!(table.rows(), before + 3);
    }
    let table = LakeTable::open_existing(&path, fixture.options.clone()).await.unwrap();
    assert_eq!(table.schema(), batch.schema());
    let snapshot = table.snapshot().await.unwrap();
    let context = context();
    let frame = context.read_table(Arc::clone(&snapshot.provider)).unwrap();
    let read = frame.collect().await.unwrap();
    let read = arrow::compute::concat_batches(&batch.schema(), &read).unwrap();
    for start in [0, 3, 6] {
        let text = |batch: RecordBatch| pretty_format_batches(&[batch]).unwrap().to_string();
        assert_eq!(text(read.slice(start, 3)), text(batch.clone()));
    }
    // NaN is greater than all numbers, but no bound of Parquet's knows it.
    assert_eq!(answer(&table, "SELECT count(*) FROM t WHERE odd > 100").await, [["3"]]);
    assert_eq!(answer(&table, "SELECT count(*) FROM t WHERE wide > 1").await, [["3"]]);
    for filter in [
        "money < 0",
        "view = 'a'",
        "large = 'b'",
        "coded = 'a'",
        "pair.at = arrow_cast(3, 'Timestamp(Microsecond, None)')",
        "zoned > TIMESTAMP '1970-01-01T02:00:00.000002'",
        "coarse > TIMESTAMP '1970-01-01T00:00:00.002'",
        "flag",
        "day > DATE '2000-01-01'",
    ] {
        let count = answer(&table, &format!("SELECT count(*) FROM t WHERE {filter}")).await;
        assert_eq!(count, [["3"]], "{filter}");
    }
}

#[tokio::test]
async fn large_commits_are_split_into_files_of_the_target_size() {
    let mut fixture = Fixture::new();
    fixture.options.target_file_bytes = 32 << 10;
    fixture.options.row_group_rows = 4096;
    let table = fixture.open().await;
    let mut writer = table.writer("job");
    for start in 0..20_i64 {
        writer.write(1, &rows(start * 4096, (start + 1) * 4096)).unwrap();
    }
    let committed = writer.commit().await.unwrap().unwrap();
    assert_eq!((committed.version, committed.rows), (1, 20 * 4096));
    assert!(table.files() > 2, "{} files", table.files());
    assert!(table.bytes() / table.files() < 64 << 10, "{} bytes", table.bytes());
    assert_eq!(answer(&table, "SELECT count(DISTINCT id) FROM t").await, [["81920"]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn housekeeping_and_appends_at_once_lose_nothing() {
    let mut fixture = Fixture::new();
    fixture.options.compaction_files_min = 2;
    fixture.options.checkpoint_versions = 10;
    fixture.options.vacuum_delay_ms = 0;
    // The log's files are as old as this machine's clock says: all are too old.
    fixture.options.log_retention_ms = -(1 << 50);
    let table = fixture.open().await;
    let keeper = Arc::clone(&table);
    let (done, mut end) = tokio::sync::oneshot::channel::<()>();
    let housekeeping = tokio::spawn(async move {
        let mut compacted = 0;
        while end.try_recv().is_err() {
            compacted += keeper.maintain().await.unwrap().files_compacted;
        }
        compacted
    });
    let mut writer = table.writer("job");
    for epoch in 0..60 {
        writer.write(epoch, &rows(epoch * 10, epoch * 10 + 10)).unwrap();
        writer.commit().await.unwrap();
        if epoch % 10 == 0 {
            let snapshot = table.snapshot().await.unwrap();
            assert_eq!(ids(&snapshot).await, (0..epoch * 10 + 10).collect::<Vec<_>>());
        }
    }
    done.send(()).unwrap();
    assert!(housekeeping.await.unwrap() > 0);
    drop(writer);
    drop(table);
    let table = fixture.open().await;
    assert_eq!(ids(&table.snapshot().await.unwrap()).await, (0..600).collect::<Vec<_>>());
    assert_eq!(table.committed_epoch("job"), Some(59));
}

#[test]
fn a_thread_of_its_own_with_a_handle_of_a_larger_runtime_will_do() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let handle = runtime.handle().clone();
    let mut fixture = Fixture::new();
    fixture.options.checkpoint_versions = 1;
    let rows = std::thread::spawn(move || {
        let table = handle.block_on(fixture.open());
        let mut writer = table.writer("job");
        for epoch in 0..10 {
            writer.write(epoch, &rows(epoch, epoch + 1)).unwrap();
            handle.block_on(writer.commit()).unwrap().unwrap();
            assert!(handle.block_on(table.maintain()).unwrap().checkpointed);
        }
        table.rows()
    });
    assert_eq!(rows.join().unwrap(), 10);
}

#[tokio::test]
async fn a_folder_of_any_name_will_do() {
    let fixture = Fixture::new();
    let path = fixture.folder.path().join("müll & 100% #1 räume?");
    let table = LakeTable::open(&path, "odd", schema(), fixture.options.clone()).await.unwrap();
    let mut writer = table.writer("job");
    writer.write(1, &rows(0, 10)).unwrap();
    writer.commit().await.unwrap();
    assert_eq!(answer(&table, "SELECT sum(id) FROM t").await, [["45"]]);
}

#[test]
fn tables_and_writers_go_between_threads() {
    fn sent<T: Send>(_: &T) {}
    fn check(table: &Arc<LakeTable>) {
        let mut writer = table.writer("job");
        sent(&writer);
        sent(&writer.commit());
        sent(&table.maintain());
        sent(&table.snapshot());
    }
    let _ = check;
}

const CHILD_FOLDER: &str = "PLUVIO_LAKE_TEST_FOLDER";
const CHILD_EPOCH_ROWS: i64 = 20;

/// Not a test of its own: the process that
/// `a_killed_process_loses_nothing_it_reported` starts and kills.
#[tokio::test]
#[ignore = "run by another test in a process of its own"]
async fn child_appends_until_killed() {
    let Ok(folder) = std::env::var(CHILD_FOLDER) else { return };
    let options = LakeOptions { compaction_files_min: 3, checkpoint_versions: 4, ..LakeOptions::default() };
    let table = LakeTable::open(Path::new(&folder), "payments", schema(), options).await.unwrap();
    let mut writer = table.writer("job");
    for epoch in table.committed_epoch("job").map_or(0, |epoch| epoch + 1).. {
        writer.write(epoch, &rows(epoch * CHILD_EPOCH_ROWS, (epoch + 1) * CHILD_EPOCH_ROWS)).unwrap();
        writer.commit().await.unwrap().unwrap();
        // Past the test harness, which would keep it.
        let report = format!("committed {epoch}\n");
        std::io::Write::write_all(&mut std::io::stderr(), report.as_bytes()).unwrap();
        table.maintain().await.unwrap();
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_it_reported() {
    use std::io::BufRead;
    let fixture = Fixture::new();
    for round in 1..=6 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "child_appends_until_killed"])
            .env(CHILD_FOLDER, fixture.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
        let reports = lines
            .map(|line| line.unwrap())
            .filter_map(|line| line.strip_prefix("committed ").map(|epoch| epoch.parse::<i64>().unwrap()));
        let reported = reports.take(round * 2).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();

        let table = fixture.open().await;
        let committed = table.committed_epoch("job").unwrap();
        assert!(committed >= reported, "{committed} after {reported} was reported");
        let expected: Vec<_> = (0..(committed + 1) * CHILD_EPOCH_ROWS).collect();
        assert_eq!(ids(&table.snapshot().await.unwrap()).await, expected);
    }
}
