//! Runs every file of `tests/sql`, each on an empty platform of its own.
//!
//! The files are sqllogictest: https://sqlite.org/sqllogictest. `FLUSH` waits
//! until the events before it are visible; `@restart` alone in a statement
//! stops the platform and opens it again. `PLUVIO_SLT` runs only the files with
//! this in their name.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use pluvio_query::{QueryError, Session};
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
        let (_, session) = self.running.as_ref().unwrap();
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

fn is_query(sql: &str) -> bool {
    let word = sql.split_whitespace().next().unwrap_or_default().to_uppercase();
    ["SELECT", "WITH", "VALUES", "SHOW", "EXPLAIN"].contains(&word.as_str())
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sql");
    let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
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
