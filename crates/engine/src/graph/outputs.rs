//! What an epoch gathers before its operators run: what each view reads, and the
//! dead letters.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use pluvio_formats::encode_json;
use pluvio_foundation::limits::DEAD_LETTER_PREVIEW_BYTES_MAX;
use pluvio_query::{QueryError, dead_letters, isolate};

use super::view::View;
use crate::operators::Delta;

/// A dead letter before it is written.
#[derive(Debug)]
pub struct DeadLetter {
    /// The graph's stream, by its place.
    pub stream: usize,
    pub partition: Option<i32>,
    pub offset: Option<i64>,
    pub reason: String,
    pub value: String,
}

/// One epoch's rows, by view.
pub struct Outputs {
    /// For each view and each of its reads, what it takes in; of a direct view,
    /// what it gives out, at the read's place.
    pub taken: Vec<Vec<Vec<Delta>>>,
    /// For each view, rows taken in.
    pub rows_in: Vec<u64>,
    pub dead_letters: Vec<DeadLetter>,
    /// Whether rows go on through direct views at once.
    through: bool,
}

/// Where a batch of a stream came from.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub stream: usize,
    pub partition: i32,
    pub offsets: &'a [i64],
}

impl Outputs {
    pub fn new(views: &[View], through: bool) -> Self {
        let taken = views.iter().map(|view| vec![Vec::new(); view.reads.len()]).collect();
        Self { taken, rows_in: vec![0; views.len()], dead_letters: Vec::new(), through }
    }

    /// Takes in changes of a stream. The read's steps, if it has any, come behind
    /// its changelog.
    pub fn feed_changes(&mut self, to: (usize, usize), changes: Delta) {
        let (index, read) = to;
        self.rows_in[index] += changes.len() as u64;
        self.taken[index][read].push(changes);
    }

    /// Runs added rows through a read's steps, and on through all direct views
    /// behind it. `whole` tells that the place is that of these very rows.
    pub fn feed(
        &mut self,
        views: &[View],
        to: (usize, usize),
        batch: &RecordBatch,
        place: &Place<'_>,
        whole: bool,
    ) {
        let (index, read) = to;
        let view = &views[index];
        self.rows_in[index] += batch.num_rows() as u64;
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        isolate(batch, 0, &|rows| view.step(read, rows.clone()), &mut done, &mut failed);
        let letter = |row: usize, reason: String| DeadLetter {
            stream: place.stream,
            partition: whole.then_some(place.partition),
            offset: place.offsets.get(row).copied().filter(|_| whole),
            reason: format!("{}: {reason}", view.name),
            value: row_text(&batch.slice(row, 1)),
        };
        for (row, error) in failed {
            self.dead_letters.push(letter(row, error.message().to_owned()));
        }
        for (first, (rows, missed)) in done {
            self.dead_letters.extend(missed.into_iter().map(|(row, table)| {
                letter(first + row as usize, format!("there is no row in \"{table}\" for its key"))
            }));
            if rows.num_rows() == 0 {
                continue;
            }
            if view.direct && self.through {
                for next in &view.downstream {
                    self.feed(views, *next, &rows, place, false);
                }
            }
            self.taken[index][read].push(Delta::added(rows));
        }
    }

    /// Adds another's outputs.
    pub fn merge(&mut self, other: Self) {
        for (mine, theirs) in self.taken.iter_mut().flatten().zip(other.taken.into_iter().flatten()) {
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

/// Dead letters as rows of their span; `streams` are the names of the graph's
/// streams and of their topics.
pub fn dead_letter_rows(
    letters: &[DeadLetter],
    at_us: i64,
    streams: &[(&str, &str)],
) -> Result<RecordBatch, QueryError> {
    let of = |letter: &DeadLetter| streams.get(letter.stream).copied().unzip();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from(vec![at_us; letters.len()])),
        Arc::new(letters.iter().map(|l| of(l).0).collect::<StringArray>()),
        Arc::new(letters.iter().map(|l| of(l).1).collect::<StringArray>()),
        Arc::new(letters.iter().map(|l| l.partition).collect::<Int32Array>()),
        Arc::new(letters.iter().map(|l| l.offset).collect::<Int64Array>()),
        Arc::new(letters.iter().map(|l| Some(&l.reason)).collect::<StringArray>()),
        Arc::new(letters.iter().map(|l| Some(&l.value)).collect::<StringArray>()),
    ];
    Ok(RecordBatch::try_new(dead_letters::schema(), columns)?)
}
