//! What a view holds at an instant, batch by batch.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::{Int64Type, SchemaRef};
use pluvio_keytables::{Span, TableSnapshot};
use pluvio_query::QueryError;

use crate::operators::{batch_of, copies, take_rows};

/// Bytes read from a span at a time.
const READ_BYTES: u64 = 8 << 20;

/// All rows of a view, as readers see them.
pub struct Content {
    rows: Rows,
    visible: SchemaRef,
}

/// Where they stand.
pub enum Rows {
    /// Rows that were added. Not to be read while some are added.
    Span(Arc<Span>),
    /// Rows by a key.
    Table(TableSnapshot),
    /// Rows with how often each is there, in the last column.
    Counted(TableSnapshot),
}

impl Content {
    /// The rows, of which readers see the first columns.
    pub fn new(rows: Rows, visible: SchemaRef) -> Self {
        Self { rows, visible }
    }

    /// About how many there are.
    pub fn rows(&self) -> u64 {
        match &self.rows {
            Rows::Span(span) => span.len_rows(),
            Rows::Table(rows) | Rows::Counted(rows) => rows.len() as u64,
        }
    }

    /// Gives the rows out.
    ///
    /// # Errors
    /// Rows that cannot be read, or what `f` says.
    pub fn each(&self, f: &mut dyn FnMut(RecordBatch) -> Result<(), QueryError>) -> Result<(), QueryError> {
        match &self.rows {
            Rows::Span(span) => {
                let mut read = span.read(None, READ_BYTES)?;
                while let Some((last, _)) = read.last() {
                    let last = *last;
                    read.into_iter().try_for_each(|(_, rows)| f(rows))?;
                    read = span.read(Some(last), READ_BYTES)?;
                }
                Ok(())
            }
            Rows::Table(table) => table.scan(None).try_for_each(|rows| f(self.readable(&rows?)?)),
            Rows::Counted(table) => table.scan(None).try_for_each(|rows| {
                let rows = rows?;
                let counts = rows.column(rows.num_columns() - 1).as_primitive::<Int64Type>();
                f(take_rows(&self.readable(&rows)?, &copies(counts)?)?)
            }),
        }
    }

    fn readable(&self, rows: &RecordBatch) -> Result<RecordBatch, QueryError> {
        let columns = rows.columns()[..self.visible.fields().len()].to_vec();
        batch_of(&self.visible, columns, rows.num_rows())
    }
}
