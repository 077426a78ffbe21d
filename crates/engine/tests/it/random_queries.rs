//! The law: at every instant, a view holds what its query gives over the events
//! so far. Random queries over random events, cut into random epochs, with
//! restarts and views on views; a counter-example is made small before it is
//! told, with its seed.
//!
//! `PLUVIO_ORACLE_CASES` runs more than a few; `PLUVIO_ORACLE_SEED` begins with
//! another.

use std::sync::Arc;

use futures::FutureExt;
use pluvio_engine::EngineOptions;
use pluvio_eventlog::Partition;
use pluvio_foundation::Random;
use pluvio_foundation::random::SeededRandom;
use pluvio_query::Session;
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::BatchBuilder;

use crate::platform::{EAGER, TestPlatform, execute};
use crate::queries::Query;

const CASES: u64 = 12;
const VIEWS: usize = 6;

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
    let mut platform = TestPlatform::open(folder.path(), options.clone()).await;
    for stream in ["one", "two"] {
        platform
            .run(&format!(
                "CREATE STREAM {stream} (a BIGINT, b BIGINT, c VARCHAR) \
                 WITH (topic = '{stream}', format = 'json', partitions = '2')"
            ))
            .await;
    }
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
        }
        for _ in 0..3 {
            send(&platform, &random);
        }
        if below(3) == 0 {
            platform.stop().await;
            platform = TestPlatform::open(folder.path(), options.clone()).await;
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

async fn difference(session: &Session, view: usize, query: &Query) -> Option<String> {
    let mut expected = match execute(session, &query.to_string()).await {
        Ok(rows) => rows,
        // What a batch cannot run is not the jobs' fault.
        Err(_) => return None,
    };
    let mut kept = execute(session, &format!("SELECT * FROM view{view}")).await.unwrap();
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

/// Appends some events to some partitions.
fn send(platform: &TestPlatform, random: &dyn Random) {
    let below = |limit: u64| random.next_u64() % limit;
    let number = |limit: u64| match below(9) {
        0 => "null".to_owned(),
        _ => below(limit).to_string(),
    };
    for stream in ["one", "two"] {
        let partitions: Vec<Arc<Partition>> = platform.platform.log().topic(stream).unwrap().partitions();
        for _ in 0..below(6) {
            let mut batch = BatchBuilder::new(0);
            for _ in 0..=below(5) {
                let c = ["null", "\"x\"", "\"y\"", "\"z\""][below(4) as usize];
                let event = format!(r#"{{"a":{},"b":{},"c":{c}}}"#, number(5), number(12));
                batch.push(None, Some(event.as_bytes()), 0, &[]);
            }
            let partition = &partitions[below(2) as usize];
            partition.append(batch.finish(Compression::None, None).unwrap()).unwrap();
            partition.sync(partition.end_offset()).unwrap();
        }
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
