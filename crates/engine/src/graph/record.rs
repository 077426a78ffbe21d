//! What a view remembers of its last epoch: with the rows and states of the same
//! commit, all that a restart needs.
//!
//! Stored as JSON, `{"version":2, …}`, one note a view, replaced by every epoch of
//! its graph. Each view has a record of its own, so that graphs may join and part.
//! Version 1 was one note a graph, and is read once.

use std::collections::BTreeMap;

use pluvio_foundation::ErrorKind;
use pluvio_foundation::hash::stable_hash;
use pluvio_keytables::{Commit, Store};
use pluvio_query::QueryError;
use serde::{Deserialize, Serialize};

const VERSION: u32 = 2;
/// What the name of every record begins with.
const RECORD_PREFIX: &str = "view/";
/// What it began with in version 1.
const RECORD_PREFIX_1: &str = "graph/";

/// How far a view has read a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRecord {
    /// For each partition, the first offset not included.
    pub cut: Vec<i64>,
    /// For each partition, its newest event time in microseconds.
    pub event_time_us: Vec<Option<i64>>,
    /// The watermark in microseconds.
    pub watermark_us: Option<i64>,
}

/// A view's last epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewRecord {
    version: u32,
    /// Its number, from 1; 0 before the first.
    pub epoch: u64,
    /// Rows taken in since the beginning.
    pub rows_in: u64,
    /// Rows given out since the beginning.
    pub rows_out: u64,
    /// Windows that end up to here have been closed, in microseconds.
    pub closed_us: Option<i64>,
    /// The last instant of processing, in microseconds, if it matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processed_us: Option<i64>,
    /// It has not taken in all rows of the views that it reads: after a crash it
    /// begins anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub catching_up: bool,
    /// The hash of the signature of the plan that made its state, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The streams it reads itself.
    pub streams: BTreeMap<String, StreamRecord>,
}

impl Default for ViewRecord {
    fn default() -> Self {
        let streams = BTreeMap::new();
        Self {
            version: VERSION,
            epoch: 0,
            rows_in: 0,
            rows_out: 0,
            closed_us: None,
            processed_us: None,
            catching_up: false,
            plan: None,
            streams,
        }
    }
}

/// The name of a view's record.
pub fn record_name(view: &str) -> String {
    format!("{RECORD_PREFIX}{view}")
}

/// Whether a crash kept a view from all that it begins with.
///
/// # Errors
/// A record of another version or none of ours.
pub fn is_catching_up(store: &Store, view: &str) -> Result<bool, QueryError> {
    let record = store.note(&record_name(view)).map(|bytes| ViewRecord::decode(&bytes)).transpose()?;
    Ok(record.is_some_and(|record| record.catching_up))
}

impl ViewRecord {
    /// The stored record of a view that reads these streams, if it has one.
    ///
    /// # Errors
    /// A record of another version or none of ours.
    pub fn read(store: &Store, view: &str, streams: &[&str]) -> Result<Option<Self>, QueryError> {
        match store.note(&record_name(view)) {
            Some(bytes) => Self::decode(&bytes).map(Some),
            None => Self::read_1(store, view, streams),
        }
    }

    /// Remembers what plan its state belongs to, by its signature.
    ///
    /// # Errors
    /// The state is another plan's: this program plans the query in another way than
    /// the one that made the state.
    pub fn belongs_to(&mut self, view: &str, signature: &str) -> Result<(), QueryError> {
        let plan = format!("{:016x}", stable_hash(signature.as_bytes()));
        if self.plan.as_ref().is_some_and(|before| *before != plan) {
            let message = format!(
                "what \"{view}\" keeps was made by other operators than those of its query now: another version of this \
                 program planned it. ALTER JOB {view} RESTART makes it anew from its topics"
            );
            return Err(QueryError::new(ErrorKind::Corrupt, message));
        }
        self.plan = Some(plan);
        Ok(())
    }

    /// The stored form.
    ///
    /// # Errors
    /// Never, in practice: every field has a JSON form.
    pub fn encode(&self) -> Result<Vec<u8>, QueryError> {
        serde_json::to_vec(self).map_err(|e| QueryError::new(ErrorKind::Internal, e.to_string()))
    }

    fn decode(bytes: &[u8]) -> Result<Self, QueryError> {
        let record: Self = serde_json::from_slice(bytes).map_err(|e| corrupt(&e.to_string()))?;
        match record.version {
            VERSION => Ok(record),
            other => Err(corrupt(&format!("version {other} is not {VERSION}"))),
        }
    }

    fn read_1(store: &Store, view: &str, streams: &[&str]) -> Result<Option<Self>, QueryError> {
        for name in store.note_names(RECORD_PREFIX_1) {
            let Some(bytes) = store.note(&name) else { continue };
            let graph: GraphRecord1 = serde_json::from_slice(&bytes).map_err(|e| corrupt(&e.to_string()))?;
            if let Some(did) = graph.views.get(view) {
                return Ok(Some(graph.view(did, streams)));
            }
        }
        Ok(None)
    }
}

/// Removes the records of version 1, once their views have records of their own.
pub fn remove_1(store: &Store, commit: &mut Commit, graph: &str) {
    let name = format!("{RECORD_PREFIX_1}{graph}");
    if store.note(&name).is_some() {
        commit.note(&name, None);
    }
}

#[derive(Deserialize)]
struct GraphRecord1 {
    epoch: u64,
    #[serde(flatten)]
    stream: StreamRecord,
    views: BTreeMap<String, ViewRecord1>,
}

#[derive(Deserialize)]
struct ViewRecord1 {
    rows_in: u64,
    rows_out: u64,
    closed_us: Option<i64>,
}

impl GraphRecord1 {
    fn view(&self, did: &ViewRecord1, streams: &[&str]) -> ViewRecord {
        let streams = streams.iter().map(|name| ((*name).to_owned(), self.stream.clone())).collect();
        let ViewRecord1 { rows_in, rows_out, closed_us } = *did;
        ViewRecord { epoch: self.epoch, rows_in, rows_out, closed_us, streams, ..ViewRecord::default() }
    }
}

fn corrupt(reason: &str) -> QueryError {
    QueryError::new(ErrorKind::Corrupt, format!("an epoch record cannot be read: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> ViewRecord {
        let stream = StreamRecord { cut: vec![3, 4], event_time_us: vec![None, Some(5)], watermark_us: None };
        let mut record =
            ViewRecord { epoch: 7, rows_in: 1, rows_out: 2, closed_us: Some(9), ..ViewRecord::default() };
        record.streams.insert("s".into(), stream);
        record
    }

    #[test]
    fn round_trip_and_frozen_sample() {
        assert_eq!(ViewRecord::decode(&sample().encode().unwrap()).unwrap(), sample());
        let frozen = br#"{"version":2,"epoch":7,"rows_in":1,"rows_out":2,"closed_us":9,"streams":{"s":{"cut":[3,4],"event_time_us":[null,5],"watermark_us":null}}}"#;
        assert_eq!(ViewRecord::decode(frozen).unwrap(), sample());
        let other = frozen.to_vec();
        let other = String::from_utf8(other).unwrap().replace("\"version\":2", "\"version\":3");
        assert!(ViewRecord::decode(other.as_bytes()).is_err());
    }

    #[test]
    fn state_stays_with_the_plan_that_made_it() {
        let mut record = sample();
        record.belongs_to("v", "-; aggregate 1 sum").unwrap();
        let mut record = ViewRecord::decode(&record.encode().unwrap()).unwrap();
        record.belongs_to("v", "-; aggregate 1 sum").unwrap();
        let refused = record.belongs_to("v", "-; aggregate 1 max").unwrap_err();
        assert!(refused.message().contains("ALTER JOB v RESTART"), "{refused}");
    }

    #[test]
    fn version_1_is_read() {
        let frozen = br#"{"version":1,"epoch":7,"cut":[3,4],"event_time_us":[null,5],"watermark_us":null,"events":0,"dead_letters":0,"views":{"v":{"rows_in":1,"rows_out":2,"closed_us":9}}}"#;
        let graph: GraphRecord1 = serde_json::from_slice(frozen).unwrap();
        assert_eq!(graph.view(&graph.views["v"], &["s"]), sample());
    }
}
