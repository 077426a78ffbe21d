//! The law: at every committed epoch, a view holds what its query gives over the
//! events up to that epoch's cut. Random queries over random events, windows and
//! intervals of event time among them, cut into random epochs, with views on views,
//! restarts, power failures, checkpoints, and memory for a part of the state only;
//! a counter-example is made small before it is told, with its seed.
//!
//! `PLUVIO_ORACLE_CASES` runs more than a few; `PLUVIO_ORACLE_SEED` begins with
//! another.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use futures::FutureExt;
use pluvio_engine::EngineOptions;
use pluvio_eventlog::Partition;
use pluvio_foundation::Random;
use pluvio_foundation::random::SeededRandom;
use pluvio_keytables::StoreOptions;
use pluvio_query::Session;
use pluvio_testkit::SimDisk;
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::BatchBuilder;

use crate::platform::{EAGER, TestPlatform, execute};
use crate::queries::Query;

const CASES: u64 = 12;
const VIEWS: usize = 6;
const START_MS: i64 = 1_767_225_600_000;
/// How much older than its partition's newest an event may be, in milliseconds: as
/// much as the watermark allows, so that none is late.
const DISORDER_MS: u64 = 2_000;
/// Tries to see a view and its cut at one epoch, while epochs go on.
const TRIES: usize = 20;

/// A number from the environment.
fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// The queries of a case: each may read the views before it.
fn queries(seed: u64) -> Vec<Query> {
    let random = SeededRandom::new(seed);
    let mut names = vec!["one".to_owned(), "two".to_owned()];
    let mut queries = Vec::new();
    for i in 0..VIEWS {
        queries.push(Query::random(&random, 1 + random.next_u64() % 4, &names));
        names.push(format!("view{i}"));
    }
    queries
}

/// Sends events, and checks the views in between. `None` if all is well, else
/// what is not.
async fn counter_example(queries: &[Query], seed: u64) -> Option<String> {
    let random = SeededRandom::new(seed);
    let below = |limit: u64| random.next_u64() % limit;
    let folder = tempfile::tempdir().unwrap();
    let options = EngineOptions { trigger_ms: below(3), trigger_rows: 1 + below(60) as usize, ..EAGER };
    let memory_budget_bytes = [200 << 10, 1 << 30][below(2) as usize];
    let tables = StoreOptions { background: false, memory_budget_bytes, ..StoreOptions::default() };
    let open = async |disk: &SimDisk, folder: &Path| {
        TestPlatform::open_with(Arc::new(disk.clone()), folder, options.clone(), tables.clone()).await
    };
    let mut disk = SimDisk::new();
    let mut platform = open(&disk, folder.path()).await;
    for stream in ["one", "two"] {
        platform
            .run(&format!(
                "CREATE STREAM {stream} (a BIGINT, b BIGINT, c VARCHAR, at TIMESTAMP, \
                 part INT METADATA FROM 'partition', place BIGINT METADATA FROM 'offset', \
                 WATERMARK FOR at AS at - INTERVAL '2' SECOND) WITH (topic = '{stream}', format = 'json', \
                 partitions = '2', idle_timeout = '1 hour', max_future = 'none')"
            ))
            .await;
    }
    let mut events = Events { random: &random, newest_ms: [[START_MS; 2]; 2] };
    let mut made = 0;
    for round in 0..4 {
        // Some views come when there are events already.
        let wanted = if round == 2 { queries.len() } else { queries.len().min(made + 1 + below(4) as usize) };
        while made < wanted {
            let sql = format!("CREATE MATERIALIZED VIEW view{made} AS {}", queries[made]);
            if let Err(refusal) = execute(&platform.platform.session().unwrap(), &sql).await {
                return Some(format!("view{made} is refused: {refusal}\n{sql}"));
            }
            made += 1;
            if below(8) == 0 {
                // It may have begun with a part of what the views hold that it reads.
                let after = disk.crash(&random);
                platform.stop().await;
                disk = after;
                platform = open(&disk, folder.path()).await;
            }
        }
        for _ in 0..3 {
            events.send(&platform);
            let view = below(made as u64) as usize;
            if let Some(difference) = difference_at_cut(&platform, view, &queries[view]).await {
                platform.stop().await;
                return Some(format!("round {round}, under way: {difference}"));
            }
        }
        match below(4) {
            0 => platform.platform.store().checkpoint().unwrap(),
            1 => {
                platform.stop().await;
                platform = open(&disk, folder.path()).await;
            }
            2 => {
                let after = disk.crash(&random);
                platform.stop().await;
                disk = after;
                platform = open(&disk, folder.path()).await;
            }
            _ => {}
        }
        let session = platform.platform.session().unwrap();
        if let Err(error) = execute(&session, "FLUSH").await {
            return Some(error.to_string());
        }
        for (i, query) in queries[..made].iter().enumerate() {
            if let Some(difference) = difference(&session, i, query).await {
                platform.stop().await;
                return Some(format!("round {round}: {difference}"));
            }
        }
    }
    platform.stop().await;
    None
}

/// What a view lacks of its query over all events.
async fn difference(session: &Session, view: usize, query: &Query) -> Option<String> {
    let expected = match execute(session, &query.to_string()).await {
        Ok(rows) => rows,
        Err(refusal) => return Some(format!("a batch is refused: {refusal}\n{query}")),
    };
    let kept = execute(session, &format!("SELECT * FROM view{view}")).await.unwrap();
    let count = execute(session, &format!("SELECT count(*) FROM view{view}")).await.unwrap();
    if count != [[kept.len().to_string()]] {
        return Some(format!("view{view} has {} rows, and counts {count:?}", kept.len()));
    }
    unequal(view, query, kept, expected)
}

/// What a view lacks, while epochs go on, of its query over the events up to its cut.
/// Only looks at views that read streams and nothing else.
async fn difference_at_cut(platform: &TestPlatform, view: usize, query: &Query) -> Option<String> {
    let streams = BTreeSet::from_iter(query.streams()?);
    let session = platform.platform.session().unwrap();
    let note = || platform.platform.store().note(&format!("view/view{view}"));
    for _ in 0..TRIES {
        let Some(before) = note() else { continue };
        let kept = execute(&session, &format!("SELECT * FROM view{view}")).await.unwrap();
        if note().as_ref() != Some(&before) {
            continue;
        }
        let record: serde_json::Value = serde_json::from_slice(&before).unwrap();
        let mut batch = query.to_string();
        for stream in &streams {
            let cut = &record["streams"][*stream]["cut"];
            let taken = format!(
                "FROM (SELECT * FROM {stream} WHERE place < CASE part WHEN 0 THEN {} ELSE {} END) AS {stream}",
                cut[0], cut[1]
            );
            batch = batch.replace(&format!("FROM {stream}"), &taken);
        }
        let expected = execute(&session, &batch).await.unwrap();
        return unequal(view, query, kept, expected);
    }
    None
}

fn unequal(
    view: usize,
    query: &Query,
    mut kept: Vec<Vec<String>>,
    mut expected: Vec<Vec<String>>,
) -> Option<String> {
    expected.sort();
    kept.sort();
    (kept != expected).then(|| {
        let missing: Vec<_> = expected.iter().filter(|row| !kept.contains(row)).take(4).collect();
        let extra: Vec<_> = kept.iter().filter(|row| !expected.contains(row)).take(4).collect();
        format!(
            "view{view} has {} rows, a batch gives {}; missing {missing:?}, too much {extra:?}\n{query}",
            kept.len(),
            expected.len()
        )
    })
}

/// Events as they come.
struct Events<'a> {
    random: &'a dyn Random,
    /// Of each stream, each partition's newest event time.
    newest_ms: [[i64; 2]; 2],
}

impl Events<'_> {
    fn below(&self, limit: u64) -> u64 {
        self.random.next_u64() % limit
    }

    fn number(&self, limit: u64) -> String {
        match self.below(9) {
            0 => "null".to_owned(),
            _ => self.below(limit).to_string(),
        }
    }

    /// Appends some events to some partitions.
    fn send(&mut self, platform: &TestPlatform) {
        for (place, stream) in ["one", "two"].into_iter().enumerate() {
            let partitions: Vec<Arc<Partition>> = platform.platform.log().topic(stream).unwrap().partitions();
            for _ in 0..self.below(6) {
                let index = self.below(2) as usize;
                let mut batch = BatchBuilder::new(0);
                for _ in 0..=self.below(5) {
                    batch.push(None, Some(self.event(place, index).as_bytes()), 0, &[]);
                }
                let partition = &partitions[index];
                partition.append(batch.finish(Compression::None, None).unwrap()).unwrap();
                partition.sync(partition.end_offset()).unwrap();
            }
        }
    }

    fn event(&mut self, stream: usize, partition: usize) -> String {
        let step_ms = self.below(700) as i64;
        let newest_ms = &mut self.newest_ms[stream][partition];
        *newest_ms += step_ms;
        let at_ms = *newest_ms - (self.random.next_u64() % DISORDER_MS) as i64;
        let c = ["null", "\"x\"", "\"y\"", "\"z\""][self.below(4) as usize];
        format!(r#"{{"a":{},"b":{},"c":{c},"at":{at_ms}}}"#, self.number(5), self.number(12))
    }
}

/// The counter-example with the fewest and simplest queries that still fails.
async fn smallest(mut queries: Vec<Query>, seed: u64, mut told: String) -> (Vec<Query>, String) {
    let mut tries = 0;
    'again: while tries < 200 {
        let mut candidates: Vec<Vec<Query>> = Vec::new();
        let last = queries.len() - 1;
        if last > 0 {
            candidates.push(queries[..last].to_vec());
        }
        for (i, query) in queries.iter().enumerate().rev() {
            for simpler in query.simpler() {
                let mut fewer = queries.clone();
                fewer[i] = simpler;
                candidates.push(fewer);
            }
        }
        for candidate in candidates {
            tries += 1;
            if let Some(still) = run(candidate.clone(), seed).await {
                (queries, told) = (candidate, still);
                continue 'again;
            }
        }
        break;
    }
    (queries, told)
}

async fn run(queries: Vec<Query>, seed: u64) -> Option<String> {
    let case = async move { counter_example(&queries, seed).await };
    std::panic::AssertUnwindSafe(case).catch_unwind().await.unwrap_or_else(|_| Some("a panic".to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_views_are_what_a_batch_gives() {
    let first = setting("PLUVIO_ORACLE_SEED", 0);
    for seed in first..first + setting("PLUVIO_ORACLE_CASES", CASES) {
        let chosen = queries(seed);
        if let Some(told) = run(chosen.clone(), seed).await {
            let (queries, told) = smallest(chosen, seed, told).await;
            let texts: Vec<String> =
                queries.iter().enumerate().map(|(i, q)| format!("view{i}: {q}")).collect();
            panic!("PLUVIO_ORACLE_SEED={seed}: {told}\n{}", texts.join("\n"));
        }
    }
}
