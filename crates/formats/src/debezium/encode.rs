//! Changes as Debezium events, for whoever reads a topic of changes.

use arrow::array::RecordBatch;

use crate::encode::{JsonRows, encode_json};
use crate::error::FormatError;

/// Most changes of one batch.
const CHANGES_MAX: usize = 1 << 24;

/// What happened to a row; numbers are rows of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It came.
    Insert(usize),
    /// It went.
    Delete(usize),
    /// It went and another came in its place.
    Update {
        /// As it was.
        before: usize,
        /// As it is.
        after: usize,
    },
}

/// The changes that weights tell: a row of weight n comes n times, of weight -n
/// goes n times.
///
/// # Errors
/// [`FormatError::Invalid`] if they are more than 16,777,216.
pub fn changes_of(weights: &[i64]) -> Result<Vec<Change>, FormatError> {
    let mut changes = Vec::with_capacity(weights.len());
    for (row, weight) in weights.iter().enumerate() {
        let times = usize::try_from(weight.unsigned_abs()).unwrap_or(usize::MAX);
        if times > CHANGES_MAX - changes.len().min(CHANGES_MAX) {
            let message = format!("more than {CHANGES_MAX} changes in one batch; cut it into smaller ones");
            return Err(FormatError::Invalid(message));
        }
        let change = if *weight < 0 { Change::Delete(row) } else { Change::Insert(row) };
        changes.extend(std::iter::repeat_n(change, times));
    }
    Ok(changes)
}

/// A Debezium envelope per change, without a schema: `before`, `after`,
/// `source` (with `name`, what changed), `op` (`c`, `u`, `d`) and `ts_ms`, when.
/// Rows are written as [`encode_json`] writes them.
///
/// # Errors
/// [`FormatError::Arrow`] names a column type that JSON cannot show;
/// [`FormatError::Invalid`] a change whose row the batch does not have.
pub fn encode_debezium(
    batch: &RecordBatch,
    changes: &[Change],
    source: &str,
    timestamp_ms: i64,
) -> Result<JsonRows, FormatError> {
    let documents = encode_json(batch)?;
    let rows: Vec<&str> = documents.iter().collect();
    let row = |row: usize| {
        let message = || FormatError::Invalid(format!("a change of row {row} in a batch of {}", rows.len()));
        rows.get(row).copied().ok_or_else(message)
    };
    let source = serde_json::Value::from(source);
    let mut envelopes = JsonRows::default();
    for change in changes {
        let (before, after, op) = match *change {
            Change::Insert(after) => ("null", row(after)?, 'c'),
            Change::Delete(before) => (row(before)?, "null", 'd'),
            Change::Update { before, after } => (row(before)?, row(after)?, 'u'),
        };
        envelopes.push(format_args!(
            "{{\"before\":{before},\"after\":{after},\"source\":{{\"connector\":\"pluvio\",\"name\":{source},\
             \"ts_ms\":{timestamp_ms}}},\"op\":\"{op}\",\"ts_ms\":{timestamp_ms}}}"
        ));
    }
    Ok(envelopes)
}
