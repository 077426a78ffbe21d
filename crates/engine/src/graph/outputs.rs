//! What an epoch gathers on its way to the commit: each view's rows and the dead
//! letters.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use pluvio_formats::encode_json;
use pluvio_foundation::limits::DEAD_LETTER_PREVIEW_BYTES_MAX;
use pluvio_query::{QueryError, dead_letters};

use super::view::{View, isolate};

/// A dead letter before it is written.
#[derive(Debug)]
pub struct DeadLetter {
    pub partition: Option<i32>,
    pub offset: Option<i64>,
    pub reason: String,
    pub value: String,
}

/// One epoch's rows, by view.
pub struct Outputs {
    /// For each view, its batches: stored rows, or the aggregate's input.
    pub batches: Vec<Vec<RecordBatch>>,
    /// For each view, rows taken in.
    pub rows_in: Vec<u64>,
    pub dead_letters: Vec<DeadLetter>,
}

/// Where a batch of the stream came from.
pub struct Place<'a> {
    pub partition: i32,
    pub offsets: &'a [i64],
}

impl Outputs {
    pub fn new(views: usize) -> Self {
        Self { batches: vec![Vec::new(); views], rows_in: vec![0; views], dead_letters: Vec::new() }
    }

    /// Runs a batch through a view and all views behind it, up to aggregates.
    pub fn feed(&mut self, views: &[View], index: usize, batch: RecordBatch, place: Option<&Place<'_>>) {
        let view = &views[index];
        self.rows_in[index] += batch.num_rows() as u64;
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        isolate(batch.clone(), 0, &|rows| view.step(rows), &mut done, &mut failed);
        let letter = |row: usize, reason: String| DeadLetter {
            partition: place.map(|p| p.partition),
            offset: place.and_then(|p| p.offsets.get(row).copied()),
            reason: format!("{}: {reason}", view.name),
            value: row_text(&batch.slice(row, 1)),
        };
        for (row, _, error) in failed {
            self.dead_letters.push(letter(row, error.message().to_owned()));
        }
        for (first, (rows, missed)) in done {
            self.dead_letters.extend(missed.into_iter().map(|(row, table)| {
                letter(first + row as usize, format!("there is no row in \"{table}\" for its key"))
            }));
            if rows.num_rows() == 0 {
                continue;
            }
            if view.aggregate.is_none() {
                for next in &view.downstream {
                    self.feed(views, *next, rows.clone(), None);
                }
            }
            self.batches[index].push(rows);
        }
    }

    /// Adds another's outputs.
    pub fn merge(&mut self, other: Self) {
        for (mine, theirs) in self.batches.iter_mut().zip(other.batches) {
            mine.extend(theirs);
        }
        for (mine, theirs) in self.rows_in.iter_mut().zip(other.rows_in) {
            *mine += theirs;
        }
        self.dead_letters.extend(other.dead_letters);
    }
}

/// The first row as JSON, cut off at the preview's limit.
pub fn row_text(rows: &RecordBatch) -> String {
    let Ok(encoded) = encode_json(&rows.slice(0, rows.num_rows().min(1))) else { return String::new() };
    let text = encoded.iter().next().unwrap_or_default();
    let end = text.floor_char_boundary(DEAD_LETTER_PREVIEW_BYTES_MAX);
    text[..end].to_owned()
}

/// Dead letters as rows of their span.
pub fn dead_letter_rows(
    letters: &[DeadLetter],
    at_us: i64,
    stream: &str,
    topic: &str,
) -> Result<RecordBatch, QueryError> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from(vec![at_us; letters.len()])),
        Arc::new(StringArray::from(vec![stream; letters.len()])),
        Arc::new(StringArray::from(vec![topic; letters.len()])),
        Arc::new(letters.iter().map(|l| l.partition).collect::<Int32Array>()),
        Arc::new(letters.iter().map(|l| l.offset).collect::<Int64Array>()),
        Arc::new(letters.iter().map(|l| Some(&l.reason)).collect::<StringArray>()),
        Arc::new(letters.iter().map(|l| Some(&l.value)).collect::<StringArray>()),
    ];
    Ok(RecordBatch::try_new(dead_letters::schema(), columns)?)
}
