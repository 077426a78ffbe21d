//! The epoch record: with the rows and states of the same commit, all that a
//! restart needs.
//!
//! Stored as JSON, `{"version":1, …}`, one note a graph, replaced by every epoch.

use std::collections::BTreeMap;

use pluvio_foundation::ErrorKind;
use pluvio_query::QueryError;
use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;

/// A graph's last committed epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRecord {
    version: u32,
    /// Its number, from 1; 0 before the first.
    pub epoch: u64,
    /// For each partition, the first offset not included.
    pub cut: Vec<i64>,
    /// For each partition, its newest event time in microseconds.
    pub event_time_us: Vec<Option<i64>>,
    /// The watermark in microseconds.
    pub watermark_us: Option<i64>,
    /// Events read since the beginning.
    pub events: u64,
    /// Events that became dead letters since the beginning.
    pub dead_letters: u64,
    /// For each view that has taken part, what it did.
    pub views: BTreeMap<String, ViewRecord>,
}

/// A view's part of the record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewRecord {
    /// Rows taken in since the beginning.
    pub rows_in: u64,
    /// Rows given out since the beginning.
    pub rows_out: u64,
    /// Windows that end up to here have been closed, in microseconds.
    pub closed_us: Option<i64>,
}

impl EpochRecord {
    /// Before the first epoch.
    pub fn new() -> Self {
        Self {
            version: VERSION,
            epoch: 0,
            cut: Vec::new(),
            event_time_us: Vec::new(),
            watermark_us: None,
            events: 0,
            dead_letters: 0,
            views: BTreeMap::new(),
        }
    }

    /// How many events lie between an earlier cut and this one.
    pub fn taken_since(&self, cut: &[i64]) -> u64 {
        self.cut.iter().zip(cut).map(|(to, from)| u64::try_from(to - from).unwrap_or(0)).sum()
    }

    /// The stored form.
    ///
    /// # Errors
    /// Never, in practice: every field has a JSON form.
    pub fn encode(&self) -> Result<Vec<u8>, QueryError> {
        serde_json::to_vec(self).map_err(|e| QueryError::new(ErrorKind::Internal, e.to_string()))
    }

    /// Reads a stored record.
    ///
    /// # Errors
    /// Bytes of another version or none of ours.
    pub fn decode(bytes: &[u8]) -> Result<Self, QueryError> {
        let corrupt = |reason: String| {
            QueryError::new(ErrorKind::Corrupt, format!("an epoch record cannot be read: {reason}"))
        };
        let record: Self = serde_json::from_slice(bytes).map_err(|e| corrupt(e.to_string()))?;
        match record.version {
            VERSION => Ok(record),
            other => Err(corrupt(format!("version {other} is not {VERSION}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_frozen_sample() {
        let mut record = EpochRecord::new();
        record.epoch = 7;
        record.cut = vec![3, 4];
        record.event_time_us = vec![None, Some(5)];
        record.views.insert("v".into(), ViewRecord { rows_in: 1, rows_out: 2, closed_us: Some(9) });
        assert_eq!(EpochRecord::decode(&record.encode().unwrap()).unwrap(), record);
        let frozen = br#"{"version":1,"epoch":7,"cut":[3,4],"event_time_us":[null,5],"watermark_us":null,"events":0,"dead_letters":0,"views":{"v":{"rows_in":1,"rows_out":2,"closed_us":9}}}"#;
        assert_eq!(EpochRecord::decode(frozen).unwrap(), record);
        assert!(EpochRecord::decode(b"{\"version\":2}").is_err());
    }
}
