//! Runs every file of `tests/sql`, each on an empty platform of its own.
//!
//! The files are sqllogictest: https://sqlite.org/sqllogictest. `FLUSH` waits
//! until the events before it are visible; `@restart` alone in a statement
//! stops the platform and opens it again; `@produce TOPIC` and lines of
//! `KEY => VALUE` behind it, with `-` for null, and `name: value` for a header of
//! the next event, append events as a producer does. `PLUVIO_SLT` runs only the
//! files with this in their name.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use pluvio_query::{QueryError, Session};
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::BatchBuilder;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};
use tempfile::TempDir;

use crate::platform::{EAGER, TestPlatform, execute};

struct Database {
    running: Option<(TestPlatform, Session)>,
    folder: TempDir,
}

impl Database {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let running = Some(Self::open(folder.path()).await);
        Self { running, folder }
    }

    async fn open(folder: &Path) -> (TestPlatform, Session) {
        let platform = TestPlatform::open(folder, EAGER).await;
        let session = platform.platform.session().unwrap();
        (platform, session)
    }

    async fn stop(&mut self) {
        if let Some((platform, session)) = self.running.take() {
            drop(session);
            platform.stop().await;
        }
    }
}

/// An error with its place, as a client sees it.
#[derive(Debug)]
struct Refusal(QueryError);

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl std::error::Error for Refusal {}

#[async_trait]
impl AsyncDB for Database {
    type Error = Refusal;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Refusal> {
        if sql.trim() == "@restart" {
            self.stop().await;
            self.running = Some(Self::open(self.folder.path()).await);
            return Ok(DBOutput::StatementComplete(0));
        }
        let (platform, session) = self.running.as_ref().unwrap();
        if let Some(events) = sql.strip_prefix("@produce ") {
            produce(platform, events);
            return Ok(DBOutput::StatementComplete(0));
        }
        let rows = execute(session, sql).await.map_err(Refusal)?;
        if rows.is_empty() && !is_query(sql) {
            return Ok(DBOutput::StatementComplete(0));
        }
        let width = rows.first().map_or(0, Vec::len);
        Ok(DBOutput::Rows { types: vec![DefaultColumnType::Any; width], rows })
    }

    async fn shutdown(&mut self) {
        self.stop().await;
    }
}

/// Appends events to the first partition of a topic.
fn produce(platform: &TestPlatform, text: &str) {
    let (topic, lines) = text.split_once('\n').unwrap();
    let partition = platform.platform.log().topic(topic.trim()).unwrap().partitions()[0].clone();
    let now_ms = platform.platform.clock().now_ms();
    let mut builder = BatchBuilder::new(now_ms);
    let mut headers: Vec<(&str, Option<&[u8]>)> = Vec::new();
    for line in lines.lines() {
        match line.split_once(" => ") {
            Some((key, value)) => {
                let bytes = |text: &'_ str| (text != "-").then(|| text.as_bytes().to_vec());
                builder.push(bytes(key).as_deref(), bytes(value).as_deref(), now_ms, &headers);
                headers.clear();
            }
            None => {
                let (name, value) = line.split_once(": ").unwrap();
                headers.push((name, Some(value.as_bytes())));
            }
        }
    }
    partition.append(builder.finish(Compression::None, None).unwrap()).unwrap();
    partition.sync(partition.end_offset()).unwrap();
}

fn is_query(sql: &str) -> bool {
    let word = sql.split_whitespace().next().unwrap_or_default().to_uppercase();
    ["SELECT", "WITH", "VALUES", "SHOW", "EXPLAIN"].contains(&word.as_str())
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new("../../tests/sql");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let wanted = std::env::var("PLUVIO_SLT").unwrap_or_default();
    let is_one = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.ends_with(".slt") && name.contains(&wanted)
    };
    let mut files: Vec<_> = entries.filter(is_one).collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_file_of_tests_sql() {
    let files = files();
    assert!(!files.is_empty(), "tests/sql is empty");
    let mut failures = Vec::new();
    for file in files {
        let mut runner = Runner::new(|| async { Ok(Database::start().await) });
        if let Err(error) = runner.run_file_async(&file).await {
            failures.push(error.display(false).to_string());
        }
        runner.shutdown_async().await;
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
