//! `pluvio bench`: recorded workloads.
//!
//! Storm: payments already in the topic are enriched into a real-time table and
//! a Delta table. The clock runs from the job's start until every row is visible
//! and committed in Delta. Loading the tables and the topic is not counted.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pluvio_config::Config;
use pluvio_kafka_client::Client;
use pluvio_query::{Outcome, Session};
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::BatchBuilder;

use crate::cli::{BenchArgs, Workload};
use crate::error::CliError;
use crate::platform::Running;
use crate::terminal;

const EVENTS_PER_BATCH: usize = 500;
const TIMEOUT: Duration = Duration::from_secs(300);

const TABLES: &str = "
CREATE STREAM payments (person_id BIGINT, company_id BIGINT, amount DOUBLE, paid_at TIMESTAMP)
  WITH (topic = 'payments', format = 'json', partitions = 'PARTITIONS');
CREATE TABLE persons (id BIGINT PRIMARY KEY, name VARCHAR);
CREATE TABLE companies (id BIGINT PRIMARY KEY, name VARCHAR);
COPY persons FROM 'persons.csv';
COPY companies FROM 'companies.csv';
";

const JOB: &str = "
CREATE MATERIALIZED VIEW enriched WITH (retention_bytes = '256 MiB') AS
SELECT p.*, per.name AS person, com.name AS company FROM payments p
LEFT JOIN persons per ON per.id = p.person_id LEFT JOIN companies com ON com.id = p.company_id;
CREATE SINK archive INTO LAKE 'payments' FROM enriched WITH (commit_interval = '100 ms');
";

/// Runs a workload.
pub async fn run(args: BenchArgs) -> Result<(), CliError> {
    let Workload::Storm { events, partitions, json } = args.workload;
    let folder = std::env::temp_dir().join(format!("pluvio-bench-{}", std::process::id()));
    let result = storm(&folder, &events, partitions).await;
    let _ = std::fs::remove_dir_all(&folder);
    let result = result?;
    match json {
        true => println!("{result}"),
        false => eprintln!("{result:#}"),
    }
    Ok(())
}

async fn storm(folder: &Path, events: &Path, partitions: u16) -> Result<serde_json::Value, CliError> {
    let any_port = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config {
        data_dir: folder.to_owned(),
        kafka_listen: any_port,
        postgres_listen: any_port,
        http_listen: any_port,
        ..Config::default()
    };
    let mut running = Running::start(&config).await?;
    running.open();
    let script = |sql: &'static str| {
        let (platform, folder) = (running.pluvio.platform().clone(), events.to_owned());
        let sql = sql.replace("PARTITIONS", &partitions.to_string());
        async move {
            let done = Session::run_script(&platform, &sql, folder, &mut |_| {}).await;
            done.map_err(|error| CliError::Script { file: "storm".into(), error })
        }
    };
    eprintln!("loading persons and companies");
    script(TABLES).await?;
    eprintln!("filling the topic");
    let count = fill(&running.addresses.queue()?.to_string(), &events.join("payments"), partitions).await?;
    make_durable(&running).await?;
    let before = cpu_seconds();
    let start = Instant::now();
    script(JOB).await?;
    let visible = wait(&running, "enriched", count, start).await?;
    let committed = wait(&running, "archive", count, start).await?;
    let cpu = cpu_seconds() - before;
    let epochs = running.pluvio.platform().jobs()?.epochs();
    let (duration_ms, commit_ms) =
        epochs.iter().fold((0.0, 0.0), |(d, c), e| (d + e.duration_ms, c + e.commit_ms));
    let sums = sums(&running).await?;
    let rss_mb = terminal::resident_bytes_max() >> 20;
    running.stop().await;
    Ok(serde_json::json!({
        "peer": "pluvio", "version": env!("CARGO_PKG_VERSION"), "seconds": committed.as_secs_f64(),
        "seconds_visible": visible.as_secs_f64(), "rows": count, "rss_mb_max": rss_mb, "cpu_seconds": cpu,
        "epochs": epochs.len(), "epochs_ms": duration_ms, "commits_ms": commit_ms, "result": sums,
    }))
}

/// Sends the lines of every file in a folder to the topic; returns how many.
async fn fill(address: &str, folder: &Path, partitions: u16) -> Result<u64, CliError> {
    let failed = |e| CliError::io(folder.display().to_string(), e);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).map_err(failed)?.filter_map(|f| f.ok().map(|f| f.path())).collect();
    files.sort();
    let client = Client::connect(address).await?;
    let (mut count, mut partition) = (0, 0);
    for path in files {
        let file = std::fs::File::open(&path).map_err(|e| CliError::io(path.display().to_string(), e))?;
        let mut lines = std::io::BufReader::with_capacity(1 << 20, file).lines();
        loop {
            let mut batch = BatchBuilder::new(0);
            while batch.count() < EVENTS_PER_BATCH
                && let Some(line) = lines.next()
            {
                let line = line.map_err(|e| CliError::io(path.display().to_string(), e))?;
                batch.push(None, Some(line.as_bytes()), 0, &[]);
            }
            if batch.is_empty() {
                break;
            }
            count += batch.count() as u64;
            let batch = batch.finish(Compression::None, None).map_err(|e| CliError::Other(e.to_string()))?;
            client.produce("payments", partition, batch, 1).await?.await?;
            partition = (partition + 1) % i32::from(partitions);
        }
    }
    Ok(count)
}

/// The topic lies on the disk before the clock starts, as the peers' files do.
async fn make_durable(running: &Running) -> Result<(), CliError> {
    let topic = running.pluvio.platform().log().topic("payments");
    let partitions = topic.map(|t| t.partitions()).unwrap_or_default();
    let sync = move || partitions.iter().try_for_each(|p| p.sync(p.end_offset()));
    let synced = tokio::task::spawn_blocking(sync).await.map_err(|e| CliError::Other(e.to_string()))?;
    synced.map_err(|e| CliError::Other(e.to_string()))
}

async fn wait(running: &Running, job: &str, rows: u64, start: Instant) -> Result<Duration, CliError> {
    loop {
        let jobs = running.pluvio.platform().jobs()?.jobs();
        let status = jobs.into_iter().find(|j| j.name == job);
        if status.as_ref().is_some_and(|s| s.rows_out >= rows) {
            return Ok(start.elapsed());
        }
        if start.elapsed() > TIMEOUT {
            return Err(CliError::Other(format!("{job} has not finished after {TIMEOUT:?}: {status:?}")));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// What the result is checked by: counts and sums over the lake table.
async fn sums(running: &Running) -> Result<serde_json::Value, CliError> {
    use futures::StreamExt;
    let sql = "SELECT count(*) AS rows, count(person) AS with_person, count(company) AS with_company, \
               sum(amount) AS amount FROM lake.payments";
    let session = running.pluvio.platform().session()?;
    let Some(Outcome::Rows(mut rows)) = session.execute(sql).await?.pop() else {
        return Err(CliError::Other("the check gave no rows".into()));
    };
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(pluvio_query::QueryError::from)?;
        let encoded = pluvio_formats::encode_json(&batch).map_err(pluvio_query::QueryError::from)?;
        if let Some(line) = encoded.iter().next() {
            return serde_json::from_str(line).map_err(|e| CliError::Other(e.to_string()));
        }
    }
    Err(CliError::Other("the check gave no rows".into()))
}

/// CPU time of this process so far.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
    ticks / 100.0
}
