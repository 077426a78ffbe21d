//! Seeded events and the views over them. Every view is also a plain query over
//! the stream, and what a job keeps must be what that query gives.

use std::sync::Arc;

use pluvio_eventlog::Partition;
use pluvio_foundation::Random;
use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::BatchBuilder;

use crate::platform::TestPlatform;

/// How late an event may be, in milliseconds.
const DELAY_MS: i64 = 2_000;
const START_MS: i64 = 1_767_225_600_000;
/// Later than every other event, so that it closes their windows.
const END_MS: i64 = START_MS + 30 * 86_400_000;
const PERSONS: u64 = 40;

/// The definitions the views stand on. No partition counts as idle.
const BASE: &str = "
    CREATE STREAM events (
        id BIGINT NOT NULL, person_id BIGINT, amount DOUBLE, note VARCHAR, at TIMESTAMP NOT NULL,
        WATERMARK FOR at AS at - INTERVAL '2' SECOND
    ) WITH (topic = 'events', format = 'json', partitions = '3', idle_timeout = '1 hour', max_future = 'none');
    CREATE TABLE persons (id BIGINT PRIMARY KEY, name VARCHAR, town VARCHAR);";

/// A view: its name, its query, and whether its rows come when a window closes.
pub struct View {
    pub name: &'static str,
    pub query: &'static str,
    pub on_close: bool,
}

const fn view(name: &'static str, query: &'static str) -> View {
    View { name, query, on_close: false }
}

pub const VIEWS: &[View] = &[
    view("chosen", "SELECT id, amount * 2 AS twice, upper(note) AS note FROM events WHERE amount > 20"),
    view(
        "enriched",
        "SELECT e.id, e.person_id, p.name, p.town, e.amount, e.at
         FROM events e LEFT JOIN persons p ON p.id = e.person_id",
    ),
    view(
        "known",
        "SELECT e.id, p.town FROM events e JOIN persons p ON p.id = e.person_id WHERE p.town <> 'Ayr'",
    ),
    view(
        "by_person",
        "SELECT person_id, count(*) AS n, count(amount) AS paid, sum(amount) AS total, avg(amount) AS mean,
                min(amount) AS least, max(at) AS newest
         FROM events GROUP BY person_id",
    ),
    view(
        "all_of_it",
        "SELECT count(*) AS n, sum(amount) AS total, count(DISTINCT person_id) AS persons FROM events",
    ),
    view(
        "by_town",
        "SELECT town, count(*) AS n, sum(amount) FILTER (WHERE amount > 50) AS large
         FROM enriched GROUP BY town HAVING count(*) > 3",
    ),
    view(
        "live",
        "SELECT window_start, town, count(*) AS n, count(DISTINCT name) AS names, sum(amount) AS total
         FROM TABLE(TUMBLE(TABLE enriched, DESCRIPTOR(at), INTERVAL '10' SECOND))
         GROUP BY window_start, town",
    ),
    View {
        name: "closed",
        query: "SELECT window_start, window_end, count(*) AS n, sum(amount) AS total, max(id) AS last
                FROM TABLE(TUMBLE(TABLE enriched, DESCRIPTOR(at), INTERVAL '7' SECOND))
                GROUP BY window_start, window_end",
        on_close: true,
    },
    view(
        "hopping",
        "SELECT window_end, town, count(*) AS n, sum(amount) AS total
         FROM TABLE(HOP(TABLE enriched, DESCRIPTOR(at), INTERVAL '2' SECOND, INTERVAL '6' SECOND))
         GROUP BY window_end, town",
    ),
    View {
        name: "cumulated",
        query: "SELECT window_start, window_end, count(*) AS n, avg(amount) AS mean
                FROM TABLE(CUMULATE(TABLE enriched, DESCRIPTOR(at), INTERVAL '3' SECOND, INTERVAL '9' SECOND))
                WHERE amount > 10 GROUP BY window_start, window_end",
        on_close: true,
    },
    view(
        "letters",
        "SELECT id, letter FROM (SELECT id, unnest(string_to_array(town, 'a')) AS letter FROM enriched)",
    ),
];

/// Events that come, each once, from a seed.
pub struct Workload<'a> {
    random: &'a dyn Random,
    next_id: u64,
    /// For each partition, its newest event time.
    times_ms: Vec<i64>,
}

impl<'a> Workload<'a> {
    pub fn new(random: &'a dyn Random) -> Self {
        Self { random, next_id: 0, times_ms: Vec::new() }
    }

    pub fn below(&self, limit: u64) -> u64 {
        self.random.next_u64() % limit
    }

    /// Makes the stream, the table with its rows, and the views.
    pub async fn define(&self, platform: &TestPlatform) {
        platform.run(BASE).await;
        let towns = ["Ayr", "Bonn", "Cork", "Davos"];
        let person = |id: u64| {
            let town =
                towns.get(self.below(5) as usize).map_or("NULL".to_owned(), |town| format!("'{town}'"));
            format!("({id}, 'person {id}', {town})")
        };
        // Some persons that events name are not known.
        let rows: Vec<String> = (0..PERSONS - 5).map(person).collect();
        platform.run(&format!("INSERT INTO persons VALUES {}", rows.join(", "))).await;
        for view in VIEWS {
            let emit = if view.on_close { " EMIT ON WINDOW CLOSE" } else { "" };
            platform.run(&format!("CREATE MATERIALIZED VIEW {} AS {}{emit}", view.name, view.query)).await;
        }
    }

    /// Appends some events to random partitions; they are on disk when it returns.
    pub fn send(&mut self, platform: &TestPlatform, count: u64) {
        let partitions = partitions(platform);
        self.times_ms.resize(partitions.len(), START_MS);
        for _ in 0..count {
            let place = self.below(partitions.len() as u64) as usize;
            append(&partitions[place], (0..=self.below(8)).map(|_| self.event(place)).collect());
        }
        sync(&partitions);
    }

    /// Appends one last event to every partition, so late that all windows close.
    pub fn end(&self, platform: &TestPlatform) {
        let partitions = partitions(platform);
        for (i, partition) in partitions.iter().enumerate() {
            append(partition, vec![format!(r#"{{"id":{},"at":{END_MS}}}"#, 1_000_000 + i)]);
        }
        sync(&partitions);
    }

    fn event(&mut self, place: usize) -> String {
        self.next_id += 1;
        if self.below(40) == 0 {
            return ["{\"id\": \"no number\"}", "{", "", "[1]"][self.below(4) as usize].to_owned();
        }
        let newest = &mut self.times_ms[place];
        *newest += (self.random.next_u64() % 900) as i64;
        let at_ms = *newest - (self.random.next_u64() % DELAY_MS as u64) as i64;
        let person = match self.below(12) {
            0 => "null".to_owned(),
            _ => self.below(PERSONS).to_string(),
        };
        // Quarters add up exactly in any order.
        let amount = match self.below(15) {
            0 => "null".to_owned(),
            _ => format!("{}", self.below(400) as f64 / 4.0),
        };
        let id = self.next_id;
        format!(r#"{{"id":{id},"person_id":{person},"amount":{amount},"note":"é{id}","at":{at_ms}}}"#)
    }
}

fn partitions(platform: &TestPlatform) -> Vec<Arc<Partition>> {
    platform.platform.log().topic("events").unwrap().partitions()
}

fn append(partition: &Partition, events: Vec<String>) {
    let mut batch = BatchBuilder::new(START_MS);
    for event in &events {
        batch.push(None, Some(event.as_bytes()), START_MS, &[]);
    }
    // A disk that is full or gone refuses; what is not appended does not count.
    let _refused = partition.append(batch.finish(Compression::None, None).unwrap());
}

fn sync(partitions: &[Arc<Partition>]) {
    for partition in partitions {
        let _refused = partition.sync(partition.end_offset());
    }
}

/// Every view holds what its query gives as a batch over all events.
pub async fn assert_views_equal_batches(platform: &TestPlatform, context: &str) {
    platform.run("FLUSH").await;
    for View { name, query, on_close } in VIEWS {
        let kept = platform.rows(&format!("SELECT * FROM {name}")).await;
        let end = END_MS / 1000 - DELAY_MS / 1000;
        let closed = format!("SELECT * FROM ({query}) WHERE window_end <= to_timestamp({end})");
        let expected = platform.rows(if *on_close { &closed } else { query }).await;
        assert_eq!(kept.len(), expected.len(), "{context}: {name} has another number of rows");
        for (kept, expected) in kept.iter().zip(&expected) {
            assert_eq!(kept, expected, "{context}: {name}");
        }
        let sound = match *name {
            "by_town" => kept.len() >= 3,
            "all_of_it" => kept.len() == 1,
            _ => kept.len() > 10,
        };
        assert!(sound, "{context}: {name} has {} rows, too few to show anything", kept.len());
    }
}
